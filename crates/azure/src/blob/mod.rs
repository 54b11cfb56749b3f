//! A store in a container of Azure Blob Storage.

mod builder;
mod container;
mod copy;
mod delete;
mod doctor;
mod get;
mod list;
mod lock;
mod meta;
mod page;
mod policy;
mod put;
mod thaw;
mod unfinished;
mod upload;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::http::HttpClient;
use azure_storage_blob::{BlobClient, BlobContainerClient, BlobServiceClient};
use backstay_core::clock::{Clock, Random};
use backstay_core::store::{
    BoxStream, Capabilities, DeleteOutcome, GetOptions, GetOutcome, HeadOptions, Key, ListEntry, ListOptions, Location,
    Lock, ObjectMeta, ObjectRef, ObjectStore, Operation, Prefix, PutOptions, Thaw, ThawState, Upload, UploadRef,
    VersionId,
};
use backstay_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use jiff::Timestamp;

pub use builder::BlobStoreBuilder;
pub use policy::RoleDefinition;

use crate::error::told;

/// The version of the service's API that every call asks for, so that an answer means today what it will mean later.
pub(crate) const API_VERSION: &str = "2025-11-05";

/// A container of Azure Blob Storage.
///
/// * A create is `If-None-Match: *`, also when blocks are committed. The server checks an MD5 of every body; there is none
///   of SHA-256, so a put is checked before it is sent, and an upload block by block.
/// * Copies by the service prove no SHA-256 either: where one is announced, as in a replication, the caller streams.
/// * A read is pinned to one etag. A connection that breaks in the middle is taken up again where it broke.
/// * The SDK tries again by itself, for at most three minutes; put no `Retry` layer around it.
/// * Blocks that were staged and not committed vanish by themselves after a week. Uploads of one key share them: ending one
///   ends all, and makes an empty blob for a moment, which the service needs to let them go. Only a credential that may
///   delete does it.
/// * Without [`versions`](BlobStoreBuilder::versions) there is one content of a key. With them a delete keeps the content as
///   an older version; Azure has no delete markers, so a listing does not tell when a key was deleted.
/// * An account with a hierarchical namespace lists in another order than that of bytes. Its listing fails, and
///   [`doctor`](Self::doctor) says so.
///
/// ```no_run
/// use backstay_azure::{BlobStore, Credential};
///
/// let store = BlobStore::builder("acmebackups", "vault").credential(Credential::workload_identity()).build()?;
/// assert_eq!(store.to_string(), "azblob://acmebackups.blob.core.windows.net/vault");
/// # Ok::<(), backstay_core::Error>(())
/// ```
#[derive(Clone)]
pub struct BlobStore(Arc<Inner>);

struct Inner {
    account: String,
    container_name: String,
    /// As people and logs see it.
    shown: String,
    service: BlobServiceClient,
    container: BlobContainerClient,
    /// Who we are in Entra ID, where we are anyone there.
    token: Option<Arc<dyn TokenCredential>>,
    sources: Vec<copy::Source>,
    /// One for all calls, so that they share its connections.
    client: Arc<dyn HttpClient>,
    client_options: azure_core::http::ClientOptions,
    versions: bool,
    locks: bool,
    thaw_to: &'static str,
    /// The service does not know where to begin a listing.
    lists_from_start: AtomicBool,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl BlobStore {
    /// The container `container` of the storage account `account` in Azure's public cloud.
    #[must_use]
    pub fn builder(account: impl Into<String>, container: impl Into<String>) -> BlobStoreBuilder {
        BlobStoreBuilder::new(account.into(), container.into())
    }

    /// The container at this URL: `https://ACCOUNT.blob.core.windows.net/CONTAINER`, or with the account in the path as
    /// Azurite has it. A SAS in its query is the credential.
    #[must_use]
    pub fn at(url: &str) -> BlobStoreBuilder {
        BlobStoreBuilder::at(url)
    }

    /// The container `container` of the account that a connection string names. It holds a key or a SAS.
    #[must_use]
    pub fn from_connection_string(
        text: &backstay_core::Secret<String>,
        container: impl Into<String>,
    ) -> BlobStoreBuilder {
        BlobStoreBuilder::from_connection_string(text.expose(), container.into())
    }

    fn blob(&self, key: &Key) -> BlobClient {
        self.0.container.blob_client(key.as_str())
    }

    fn blob_at(&self, key: &Key, version: Option<&VersionId>) -> Result<BlobClient> {
        let blob = self.blob(key);
        match version {
            None => Ok(blob),
            Some(VersionId(version)) => blob.with_version(version).map_err(|error| told(&error)),
        }
    }

    /// An error with the place where it happened.
    fn placed(&self, operation: Operation, error: Error) -> Error {
        error.operation(operation.name()).with("store", self)
    }

    fn failed(&self, operation: Operation, key: &Key, error: &azure_core::Error) -> Error {
        self.placed(operation, told(error)).with("key", key)
    }

    /// Names that the service takes and gives back otherwise.
    fn check_name(&self, operation: Operation, key: &Key) -> Result<()> {
        let flaw = match key.as_str() {
            name if name.contains('\\') => "a blob's name cannot have a backslash: the service makes a slash of it",
            name if name.split('/').any(|segment| segment.ends_with('.')) => {
                "no part of a blob's name can end in a dot: the service drops it"
            }
            _ => return Ok(()),
        };
        Err(self.placed(operation, Error::new(ErrorKind::Invalid, flaw)).with("key", key).advise("choose another key"))
    }
}

#[async_trait]
impl ObjectStore for BlobStore {
    fn capabilities(&self) -> Capabilities {
        let mut all = Capabilities::default();
        all.versions = self.0.versions;
        all.locks = self.0.locks;
        all.classes = meta::CLASSES.iter().map(|(name, _)| (*name).to_owned()).collect();
        // 50,000 blocks of 4,000 MiB.
        all.max_parts = 50_000;
        all.max_object_bytes = 50_000 * upload::MAX_BLOCK;
        all
    }

    async fn put(&self, key: &Key, data: Bytes, options: &PutOptions) -> Result<ObjectMeta> {
        self.put_blob(key, data, options).await
    }

    async fn upload(&self, key: &Key, options: &PutOptions) -> Result<Box<dyn Upload>> {
        Ok(Box::new(upload::BlobUpload::new(self.clone(), key.clone(), options.clone())?))
    }

    fn uploads(&self, prefix: &Prefix) -> BoxStream<'static, Result<UploadRef>> {
        self.unfinished(prefix)
    }

    async fn abort_upload(&self, upload: &UploadRef) -> Result<()> {
        self.drop_blocks(&upload.key, Operation::AbortUpload).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.service_time().await
    }

    async fn get(&self, key: &Key, options: &GetOptions) -> Result<GetOutcome> {
        self.get_blob(key, options).await
    }

    async fn head(&self, key: &Key, options: &HeadOptions) -> Result<ObjectMeta> {
        self.head_blob(key, options.version.as_ref(), Operation::Head).await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> BoxStream<'static, Result<ListEntry>> {
        self.list_blobs(prefix, options)
    }

    async fn delete(&self, what: &[ObjectRef]) -> Result<Vec<DeleteOutcome>> {
        Ok(self.delete_blobs(what).await)
    }

    async fn protect(&self, what: &ObjectRef, lock: &Lock) -> Result<()> {
        self.lock_blob(what, lock).await
    }

    async fn thaw(&self, what: &ObjectRef, thaw: &Thaw) -> Result<ThawState> {
        self.thaw_blob(what, thaw).await
    }

    fn locate(&self, key: &Key) -> Option<Location> {
        Some(self.location(key))
    }

    async fn copy_in(&self, from: &Location, to: &Key, options: &PutOptions) -> Result<Option<ObjectMeta>> {
        self.copy_blob(from, to, options).await
    }
}

/// Where it is; no secret.
impl fmt::Display for BlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.shown)
    }
}

impl fmt::Debug for BlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { shown, versions, locks, .. } = &*self.0;
        f.debug_struct("BlobStore")
            .field("at", shown)
            .field("versions", versions)
            .field("locks", locks)
            .finish_non_exhaustive()
    }
}
