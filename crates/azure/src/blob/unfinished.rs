//! Blocks that were staged and never committed.

use std::cmp::Ordering;

use azure_core::http::RequestContent;
use azure_storage_blob::models::{
    BlobClientDeleteOptions, BlockBlobClientCommitBlockListOptions, BlockLookupList, ListBlobsIncludeItem,
};
use backstay_core::store::{BoxStream, Key, ListEntry, ListOptions, Operation, Prefix, UploadRef, VersionId};
use backstay_core::{Error, ErrorKind, Result};
use futures_util::stream::{Peekable, StreamExt as _, try_unfold};

use super::list::Listing;
use super::meta::{header, quoted};
use super::page::Line;
use super::{BlobStore, told};
use crate::error::is_status;

/// All uploads of a key are one: the service knows blocks by the key alone.
const ID: &str = "uncommitted";

/// Two listings side by side: one of blobs and what may become one, one of blobs alone.
struct Both {
    all: BoxStream<'static, Result<Line>>,
    blobs: Peekable<BoxStream<'static, Result<ListEntry>>>,
}

impl BlobStore {
    /// Keys that the listing with uncommitted blobs has and the one without has not. The service does not tell since when.
    pub(super) fn unfinished(&self, prefix: &Prefix) -> BoxStream<'static, Result<UploadRef>> {
        let options = ListOptions::default();
        let all =
            Listing::new(self, prefix, &options, Operation::Uploads).including(ListBlobsIncludeItem::UncommittedBlobs);
        let blobs = Listing::new(self, prefix, &options, Operation::Uploads);
        let both = Both { all: all.lines(), blobs: blobs.entries().peekable() };
        Box::pin(try_unfold(both, |mut both| async move {
            while let Some(line) = both.all.next().await.transpose()? {
                let (key, started) = match line {
                    Line::Blocks(key) => (key, None),
                    // An emulator's line of them is that of a blob without bytes.
                    Line::Entry(ListEntry::Object(meta)) if meta.size == 0 => (meta.key, Some(meta.last_modified)),
                    Line::Entry(_) => continue,
                };
                if !both.is_blob(&key).await? {
                    return Ok(Some((UploadRef::new(key, ID, started), both)));
                }
            }
            Ok(None)
        }))
    }

    /// Frees the blocks that were staged for a key, and touches no blob. The service lets them go when a blob is made, so
    /// an empty one is, and deleted again; who may not delete leaves them, and they vanish after a week.
    pub(super) async fn drop_blocks(&self, key: &Key, operation: Operation) -> Result<()> {
        let failed = |error: azure_core::Error| self.failed(operation, key, &error);
        let blob = self.blob(key);
        // It can never delete: no blob has this etag. What it shows is whether we may.
        match blob.delete(Some(of_etag("0x0"))).await {
            Err(error) if is_status(&error, 412) => {}
            Err(error) if is_status(&error, 404) && crate::error::code(&error) != Some("ContainerNotFound") => {}
            Ok(_) => {}
            Err(error) => {
                let told = failed(error);
                let denied = told.kind() == ErrorKind::Denied;
                return Err(if denied {
                    told.advise("leave it: blocks vanish by themselves after a week")
                } else {
                    told
                });
            }
        }
        let list = BlockLookupList { uncommitted: Some(Vec::new()), ..Default::default() };
        let list = RequestContent::try_from(list).map_err(&failed)?;
        let create = BlockBlobClientCommitBlockListOptions { if_none_match: Some("*".into()), ..Default::default() };
        let made = match blob.block_blob_client().commit_block_list(list, Some(create)).await {
            Ok(made) => made,
            // There is a blob, so the upload has ended, this way or that.
            Err(error) if told(&error).kind() == ErrorKind::AlreadyExists => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let Some(etag) = header(made.headers(), "etag") else {
            let told = Error::new(
                ErrorKind::Other,
                "the service did not tell the etag of an empty blob that stands there now",
            );
            return Err(self.placed(operation, told).with("key", key).advise("delete it"));
        };
        match blob.delete(Some(of_etag(etag))).await {
            Ok(_) => {}
            Err(error) if is_status(&error, 404) || is_status(&error, 412) => {}
            Err(error) => {
                return Err(
                    failed(error).advise("an empty blob stands there now: delete it with a credential that may")
                );
            }
        }
        match header(made.headers(), "x-ms-version-id") {
            Some(id) if self.0.versions => self.delete_version(key, &VersionId(id.to_owned()), operation).await,
            _ => Ok(()),
        }
    }
}

/// A delete of the blob with this etag alone.
pub(super) fn of_etag(etag: &str) -> BlobClientDeleteOptions<'static> {
    BlobClientDeleteOptions { if_match: Some(quoted(etag).into()), ..Default::default() }
}

impl Both {
    /// Whether the listing of blobs has the key. It is read behind the other one, so that what was committed between is seen.
    async fn is_blob(&mut self, key: &Key) -> Result<bool> {
        let mut blobs = std::pin::Pin::new(&mut self.blobs);
        loop {
            let next = match blobs.as_mut().peek().await {
                Some(Ok(ListEntry::Object(meta))) => meta.key.cmp(key),
                Some(Ok(_)) => Ordering::Less,
                None => return Ok(false),
                Some(Err(_)) => {
                    let error = blobs.next().await.and_then(Result::err);
                    return Err(error.unwrap_or_else(|| Error::new(ErrorKind::Other, "a listing lost its error")));
                }
            };
            match next {
                Ordering::Less => {
                    blobs.next().await;
                }
                Ordering::Equal => return Ok(true),
                Ordering::Greater => return Ok(false),
            }
        }
    }
}
