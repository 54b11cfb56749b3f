//! An object that grows part by part in a temporary file.

use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::future::BoxFuture;
use sha2::Digest as _;

use super::blocking;
use super::temp::Temp;
use crate::digest::Sha256;
use crate::error::Result;
use crate::store::{ObjectMeta, PutOptions, Upload, part_missing};

#[derive(Debug)]
pub(super) struct LocalUpload {
    temp: Arc<Temp>,
    options: PutOptions,
    /// Where the next part begins.
    end: u64,
    /// Parts that were handed in and have not been written.
    missing: Arc<AtomicUsize>,
    /// One part is written at a time: the file system lets only one write to a file, and who waits there keeps a core busy.
    turn: Arc<Mutex<()>>,
}

impl LocalUpload {
    pub(super) fn new(temp: Temp, options: PutOptions) -> Self {
        Self { temp: Arc::new(temp), options, end: 0, missing: Arc::default(), turn: Arc::default() }
    }
}

#[async_trait]
impl Upload for LocalUpload {
    fn part(&mut self, data: Bytes) -> BoxFuture<'static, Result<()>> {
        let at = self.end;
        self.end += data.len() as u64;
        let (temp, missing, turn) = (Arc::clone(&self.temp), Arc::clone(&self.missing), Arc::clone(&self.turn));
        missing.fetch_add(1, Ordering::Relaxed);
        Box::pin(blocking(move || {
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            temp.write(&data, at).map_err(|error| temp.failed("part", error))?;
            temp.start_writeback(at, data.len());
            missing.fetch_sub(1, Ordering::Release);
            Ok(())
        }))
    }

    async fn complete(self: Box<Self>) -> Result<ObjectMeta> {
        blocking(move || {
            let Self { temp, options, missing, .. } = *self;
            let done = || {
                if missing.load(Ordering::Acquire) > 0 {
                    return Err(part_missing(&temp.key));
                }
                if let Some(expected) = options.sha256 {
                    crate::store::options::expect(expected, digest(&temp)?)
                        .map_err(|error| error.with("key", &temp.key))?;
                }
                temp.commit(options.mode)
            };
            done().inspect_err(|_| temp.discard())
        })
        .await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        blocking(move || self.temp.abort()).await
    }
}

/// Parts are written in any order, so the content is read again.
fn digest(temp: &Temp) -> Result<Sha256> {
    let mut hasher = sha2::Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    let mut at = 0;
    loop {
        let read = temp.file.read_at(&mut chunk, at).map_err(|error| temp.failed("complete", error))?;
        if read == 0 {
            return Ok(Sha256(hasher.finalize().into()));
        }
        hasher.update(&chunk[..read]);
        at += read as u64;
    }
}
