//! An object in blocks: staged side by side, committed once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use azure_core::http::{Body, RequestContent};
use azure_storage_blob::models::{
    BlockBlobClientCommitBlockListOptions, BlockBlobClientStageBlockOptions, BlockLookupList,
};
use backstay_core::store::{
    Key, ListEntry, ListOptions, ObjectMeta, ObjectStore as _, Operation, Prefix, PutMode, PutOptions, Upload,
};
use backstay_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures_core::future::BoxFuture;
use futures_util::TryStreamExt as _;

use super::put::{Terms, md5_of};
use super::{BlobStore, meta};
use crate::error::code;

/// Largest block in bytes.
pub(super) const MAX_BLOCK: u64 = 4_000 << 20;

/// Blocks of one upload. All uploads of a key share the service's list of blocks, so the ids are of this attempt alone.
pub(super) struct BlobUpload {
    store: BlobStore,
    key: Key,
    options: PutOptions,
    terms: Terms,
    attempt: [u8; 16],
    parts: u32,
    size: u64,
    /// Parts that were handed in and are not staged.
    missing: Arc<AtomicUsize>,
}

impl BlobUpload {
    pub(super) fn new(store: BlobStore, key: Key, options: PutOptions) -> Result<Self> {
        let terms = store.terms(Operation::Upload, &key, &options)?;
        let mut attempt = [0; 16];
        store.0.random.fill(&mut attempt);
        Ok(Self { store, key, options, terms, attempt, parts: 0, size: 0, missing: Arc::default() })
    }

    /// All ids of a blob have one length, or the service refuses them.
    fn block_id(&self, part: u32) -> Vec<u8> {
        [&self.attempt[..], &part.to_be_bytes()].concat()
    }

    fn error(&self, error: Error) -> Error {
        self.store.placed(Operation::Complete, error).with("key", &self.key)
    }

    /// Whether the key is there, for a credential that may list and not read.
    async fn is_taken(&self) -> Result<bool> {
        let mut listing = self.store.list(&Prefix::new(self.key.as_str())?, &ListOptions::default());
        // The key itself comes before all that begin with it.
        Ok(matches!(listing.try_next().await?, Some(ListEntry::Object(found)) if found.key == self.key))
    }
}

#[async_trait]
impl Upload for BlobUpload {
    fn part(&mut self, data: Bytes) -> BoxFuture<'static, Result<()>> {
        let (store, key, missing) = (self.store.clone(), self.key.clone(), Arc::clone(&self.missing));
        let (id, size) = (self.block_id(self.parts), data.len() as u64);
        self.parts += 1;
        self.size += size;
        missing.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let options = BlockBlobClientStageBlockOptions {
                transactional_content_md5: Some(md5_of(data.clone()).await?.to_vec()),
                ..Default::default()
            };
            let blob = store.blob(&key).block_blob_client();
            let staged = blob.stage_block(&id, size, Body::Bytes(data).into(), Some(options)).await;
            staged.map_err(|error| store.failed(Operation::Part, &key, &error))?;
            missing.fetch_sub(1, Ordering::Release);
            Ok(())
        })
    }

    async fn complete(self: Box<Self>) -> Result<ObjectMeta> {
        if self.missing.load(Ordering::Acquire) > 0 {
            let error = Error::new(ErrorKind::Invalid, "a part of the upload did not arrive");
            return Err(self.error(error).advise("complete an upload only after every part has succeeded"));
        }
        let blocks = BlockLookupList {
            // Blocks that are staged, and none that another content is made of.
            uncommitted: Some((0..self.parts).map(|part| self.block_id(part)).collect()),
            ..Default::default()
        };
        let blocks = RequestContent::try_from(blocks).map_err(|error| self.error(super::told(&error)))?;
        let options = BlockBlobClientCommitBlockListOptions {
            if_none_match: self.terms.create.then(|| "*".into()),
            blob_content_type: Some("application/octet-stream".to_owned()),
            tier: self.terms.tier.clone(),
            immutability_policy_expiry: self.terms.until,
            immutability_policy_mode: self.terms.mode,
            legal_hold: self.terms.hold,
            blob_tags_string: self.terms.tags.clone(),
            ..Default::default()
        };
        let answer = self.store.blob(&self.key).block_blob_client().commit_block_list(blocks, Some(options)).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if code(&error) == Some("InvalidBlockList") => {
                // Who committed before us took all blocks away, ours too.
                let taken = self.options.mode == PutMode::Create && self.is_taken().await?;
                let told = match taken {
                    true => Error::new(ErrorKind::AlreadyExists, "the key is taken"),
                    false => Error::new(ErrorKind::NotFound, "the upload was aborted, or another one took its blocks"),
                };
                return Err(self.error(told.because(super::told(&error))));
            }
            Err(error) => return Err(self.store.refused(Operation::Complete, &self.key, self.options.mode, &error)),
        };
        let meta = meta::of_headers(&self.key, self.size, answer.headers());
        let mut meta = meta.map_err(|error| self.error(error))?;
        meta.class = self.options.class.clone();
        meta.lock = self.options.lock;
        Ok(meta)
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        if self.parts == 0 {
            return Ok(());
        }
        self.store.drop_blocks(&self.key, Operation::Abort).await
    }
}

impl fmt::Debug for BlobUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { store, key, parts, size, .. } = self;
        let mut shown = f.debug_struct("BlobUpload");
        shown.field("store", store).field("key", key).field("parts", parts).field("size", size).finish_non_exhaustive()
    }
}
