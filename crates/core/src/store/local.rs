//! A store in a folder of this machine.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;

use crate::clock::{Clock, SystemClock};
use crate::error::{Error, ErrorKind, Result};
use crate::store::loan::Loan;
use crate::store::{
    BoxStream, ByteStream, Capabilities, DeleteOutcome, GetOptions, GetOutcome, HeadOptions, Key, ListEntry,
    ListOptions, ObjectMeta, ObjectRef, ObjectStore, Prefix, PutMode, PutOptions, Upload, UploadRef, VersionId,
};

mod delete;
mod failure;
mod folder;
mod name;
mod temp;
mod upload;
mod walk;

use folder::Folder;
use temp::Temp;
use upload::LocalUpload;
use walk::Walk;

/// Bytes of one chunk of a read. Small: what many threads allocate and others free is what an allocator keeps.
const CHUNK: u64 = 128 << 10;
/// Lines of a listing made in one go.
const PAGE: usize = 512;

/// Objects as files under one folder. Clones share it.
///
/// * **Atomic and exclusive** between processes: content is written to `.backstay-tmp/` in the same folder, forced to
///   disk, then linked (create) or renamed (overwrite) to its name. The file system must have hard links.
/// * **Names.** A key is a path. Lower-case ASCII letters, digits, `-`, `_` and inner dots stand as they are; every other
///   byte is written `%xx`, so that file systems which fold case or normalise Unicode keep keys apart. A segment that is
///   longer than 255 bytes when written so is refused by a put.
/// * **Nothing outside.** Symbolic links inside the folder are not followed but reported.
/// * Files whose names are not written so (`lost+found`) are no objects: they are not listed.
/// * An unfinished upload tells the time of its last write, at or after its beginning: a sweep comes late, never early.
///   Puts that a crash cut off are listed as unfinished uploads too.
/// * Tags are not kept. Versions, locks and classes there are none.
///
/// ```
/// use backstay_core::store::{LocalStore, ObjectStoreExt};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("vault");
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = LocalStore::create(&path)?;
/// store.put_new(&"points/a".parse()?, "content").await?;
/// assert_eq!(LocalStore::open(&path)?.get_bytes(&"points/a".parse()?, 100).await?, "content");
/// # Ok::<(), backstay_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct LocalStore {
    root: Arc<Folder>,
}

impl LocalStore {
    /// The store in the folder `path`, which must exist: a disk that is not mounted is an error, never a new store.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Denied`](ErrorKind::Denied), [`Invalid`](ErrorKind::Invalid) if it is no folder.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self { root: Arc::new(Folder::open(path.as_ref())?) })
    }

    /// Makes the folder `path`, readable by its owner only, and opens it. The folder that it lies in must exist; an existing
    /// `path` is opened as it is.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`Exhausted`](ErrorKind::Exhausted).
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        Folder::make(path.as_ref())?;
        Self::open(path)
    }
}

/// Runs blocking work where it does not hold up the runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Error::new(ErrorKind::Cancelled, "the runtime is shutting down").because(error)),
    }
}

fn supported(options: &PutOptions) -> Result<()> {
    let what = match options {
        PutOptions { class: Some(_), .. } => "storage classes",
        PutOptions { lock: Some(_), .. } => "locks",
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::Unsupported, format!("a local folder has no {what}")))
}

fn no_version(key: &Key, version: Option<&VersionId>) -> Result<()> {
    match version {
        None => Ok(()),
        Some(VersionId(id)) => Err(Error::new(ErrorKind::Unsupported, "a local folder has no versions")
            .with("key", key)
            .with("version", id)),
    }
}

#[async_trait]
impl ObjectStore for LocalStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn put(&self, key: &Key, data: Bytes, options: &PutOptions) -> Result<ObjectMeta> {
        supported(options)?;
        let (root, key, options) = (Arc::clone(&self.root), key.clone(), options.clone());
        blocking(move || {
            options.check(&data).map_err(|error| error.with("key", &key))?;
            let temp = Temp::create(&root, &key)?;
            let written = temp.write(&data, 0).map_err(|error| temp.failed("put", error));
            written.and_then(|()| temp.commit(options.mode)).inspect_err(|_| temp.discard())
        })
        .await
    }

    async fn upload(&self, key: &Key, options: &PutOptions) -> Result<Box<dyn Upload>> {
        supported(options)?;
        let (root, key, options) = (Arc::clone(&self.root), key.clone(), options.clone());
        blocking(move || {
            if options.mode == PutMode::Create && root.object(&key).is_ok() {
                return Err(Error::new(ErrorKind::AlreadyExists, "the key is taken").with("key", &key));
            }
            Ok(Box::new(LocalUpload::new(Temp::create(&root, &key)?, options)) as Box<dyn Upload>)
        })
        .await
    }

    fn uploads(&self, prefix: &Prefix) -> BoxStream<'static, Result<UploadRef>> {
        let (root, prefix) = (Arc::clone(&self.root), prefix.clone());
        let found = blocking(move || temp::unfinished(&root, &prefix));
        Box::pin(stream::once(found).flat_map(|found| match found {
            Ok(found) => stream::iter(found.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(error)]),
        }))
    }

    async fn abort_upload(&self, upload: &UploadRef) -> Result<()> {
        let (root, upload) = (Arc::clone(&self.root), upload.clone());
        blocking(move || temp::abort(&root, &upload)).await
    }

    /// The clock of the file system, read from a file made for it; where none can be made, the host's.
    async fn now(&self) -> Result<Timestamp> {
        let root = Arc::clone(&self.root);
        blocking(move || match temp::touch(&root) {
            Err(error) if error.kind() == ErrorKind::Denied => Ok(SystemClock.now()),
            time => time,
        })
        .await
    }

    async fn get(&self, key: &Key, options: &GetOptions) -> Result<GetOutcome> {
        no_version(key, options.version.as_ref())?;
        let (root, key, options) = (Arc::clone(&self.root), key.clone(), options.clone());
        blocking(move || {
            let (file, meta) = root.read(&key)?;
            let range = options.bytes_of(&meta)?;
            let open = OpenObject { root, key, file, at: range.start, end: range.end };
            let body = match options.loan {
                Some(loan) => open.read_in_place(&loan)?,
                None => open.body(),
            };
            Ok(GetOutcome { meta, range, body })
        })
        .await
    }

    async fn head(&self, key: &Key, options: &HeadOptions) -> Result<ObjectMeta> {
        no_version(key, options.version.as_ref())?;
        let (root, key) = (Arc::clone(&self.root), key.clone());
        blocking(move || root.object(&key)).await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> BoxStream<'static, Result<ListEntry>> {
        if options.versions {
            let error = Error::new(ErrorKind::Unsupported, "a local folder has no versions").with("prefix", prefix);
            return Box::pin(stream::iter([Err(error)]));
        }
        let walk = Walk::new(Arc::clone(&self.root), prefix, options);
        let pages = stream::try_unfold(walk, |mut walk| {
            blocking(move || {
                let page = walk.page(PAGE)?;
                Ok((!page.is_empty()).then(|| (stream::iter(page.into_iter().map(Ok)), walk)))
            })
        });
        Box::pin(pages.try_flatten())
    }

    async fn delete(&self, what: &[ObjectRef]) -> Result<Vec<DeleteOutcome>> {
        let (root, what) = (Arc::clone(&self.root), what.to_vec());
        blocking(move || Ok(delete::delete(&root, what))).await
    }
}

/// An object that is being read. The file stays what it was when it was opened, also if its name goes to another.
struct OpenObject {
    root: Arc<Folder>,
    key: Key,
    file: File,
    at: u64,
    end: u64,
}

impl OpenObject {
    /// All of it as one chunk, in memory of the caller; in chunks where that does not suffice.
    fn read_in_place(mut self, loan: &Loan) -> Result<ByteStream> {
        let bytes = self.end - self.at;
        let Some(mut memory) = usize::try_from(bytes).ok().and_then(|bytes| loan.take(bytes)) else {
            return Ok(self.body());
        };
        if let Err(error) = self.read(&mut memory, bytes) {
            loan.give_back(memory);
            return Err(error);
        }
        let chunk = loan.fill(memory);
        Ok(Box::pin(stream::once(std::future::ready(Ok(chunk)))))
    }

    fn body(self) -> ByteStream {
        Box::pin(stream::try_unfold(self, |mut open| {
            blocking(move || {
                let wanted = (open.end - open.at).min(CHUNK);
                let mut chunk = Vec::with_capacity(usize::try_from(wanted).unwrap_or_default());
                open.read(&mut chunk, wanted)?;
                Ok((wanted > 0).then(|| (Bytes::from(chunk), open)))
            })
        }))
    }

    /// Reads the next `bytes` into empty memory with room for them.
    fn read(&mut self, memory: &mut Vec<u8>, bytes: u64) -> Result<()> {
        let failed = |error: Errno| self.root.failed("get", self.key.as_str(), error.into());
        while (memory.len() as u64) < bytes {
            let at = self.at + memory.len() as u64;
            match rustix::io::pread(&self.file, spare_capacity(memory), at) {
                Ok(0) => {
                    let error = Error::new(ErrorKind::Corrupt, "the file was cut while it was read");
                    return Err(error.operation("get").with("key", &self.key));
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        memory.truncate(usize::try_from(bytes).unwrap_or(usize::MAX));
        self.at += bytes;
        Ok(())
    }
}

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "local({})", self.root.path().display())
    }
}

#[cfg(test)]
mod tests;
