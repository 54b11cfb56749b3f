//! An object that grows part by part in memory.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::future::BoxFuture;

use super::MemoryStore;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Key, ObjectMeta, PutOptions, Upload};

#[derive(Debug)]
pub(super) struct MemoryUpload {
    store: MemoryStore,
    id: String,
    key: Key,
    options: PutOptions,
    /// One place per part; empty until its future has run.
    parts: Arc<Mutex<Vec<Option<Bytes>>>>,
    part_size: usize,
    /// A part was smaller than the first, so it must be the last.
    ended: bool,
}

impl MemoryUpload {
    pub(super) fn new(store: MemoryStore, id: String, key: Key, options: PutOptions) -> Self {
        Self { store, id, key, options, parts: Arc::default(), part_size: 0, ended: false }
    }
}

#[async_trait]
impl Upload for MemoryUpload {
    fn part(&mut self, data: Bytes) -> BoxFuture<'static, Result<()>> {
        let parts = Arc::clone(&self.parts);
        let place = {
            let mut parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
            parts.push(None);
            parts.len() - 1
        };
        if place == 0 {
            self.part_size = data.len();
        }
        if self.ended || data.len() > self.part_size {
            let error =
                Error::new(ErrorKind::Invalid, "all parts but the last must have one size").with("key", &self.key);
            return Box::pin(std::future::ready(Err(error)));
        }
        self.ended = data.len() < self.part_size;
        Box::pin(async move {
            parts.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some(Bytes::copy_from_slice(&data));
            Ok(())
        })
    }

    async fn complete(self: Box<Self>) -> Result<ObjectMeta> {
        let parts = std::mem::take(&mut *self.parts.lock().unwrap_or_else(PoisonError::into_inner));
        let parts: Option<Vec<Bytes>> = parts.into_iter().collect();
        let parts = parts.ok_or_else(|| super::super::part_missing(&self.key))?;
        let data = match <[Bytes; 1]>::try_from(parts) {
            Ok([whole]) => whole,
            Err(parts) => parts.concat().into(),
        };
        if !self.store.state().end(&self.id) {
            return Err(super::super::upload_gone(&self.key));
        }
        self.store.commit(&self.key, data, &self.options)
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.store.state().end(&self.id);
        Ok(())
    }
}
