//! The way in: an exporter turns a live component into named byte streams.

use std::fmt::{Debug, Display};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use crate::error::Result;
use crate::name::{Name, PointId};
use crate::source::Facts;
use crate::vault::VaultId;

/// Turns a live component into named byte streams.
///
/// # Contract
/// * **No false success.** `export` returns `Ok` only when everything it was asked for is in the items it finished, or is
///   named in [`ExportReport::problems`], or by [`ItemWriter::abandon`]. A producer that dies late is an error, or with
///   other items that stand an abandoned item.
/// * **One item at a time is enough.** At least two items may be open at once; an exporter that opens more may wait for ever.
/// * **Nothing is told.** Where there is nothing to protect it makes no item, or says [`ExportReport::empty`].
/// * **Streaming.** It holds no item in memory as a whole and writes no temporary files.
/// * **Cancel safety.** The future may be dropped at any await. What it started elsewhere (processes, threads, sessions)
///   ends by itself soon after.
#[async_trait]
pub trait ResourceExporter: Debug + Display + Send + Sync + 'static {
    /// What kind of component this is.
    fn info(&self) -> &ExporterInfo;

    /// Writes the component's items to `out`.
    ///
    /// # Errors
    /// Any; the component then counts as failed and none of its items can be restored.
    async fn export(&self, request: &ExportRequest, out: &dyn ItemSink) -> Result<ExportReport>;
}

/// What an exporter is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExporterInfo {
    /// The kind of component, kept in the manifest: "directory", "postgres.dump".
    pub kind: String,
    /// Its items hold secrets: a program takes it only into a vault that is encrypted.
    pub secret: bool,
}

impl ExporterInfo {
    /// An exporter of components of `kind`.
    #[must_use]
    pub fn new(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), secret: false }
    }

    /// Says that the items hold secrets.
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

/// What is asked of an exporter.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExportRequest {
    /// The component's name in the program.
    pub component: Name,
    /// The point that the items go into.
    pub point: PointId,
    /// When the run began, by our clock.
    pub started: Timestamp,
    /// The vault that they go into: a source that holds it leaves it out, or it would double with every backup.
    pub vault: Option<VaultId>,
}

impl ExportRequest {
    /// A request.
    #[must_use]
    pub fn new(component: Name, point: PointId, started: Timestamp) -> Self {
        Self { component, point, started, vault: None }
    }
}

/// Where items go.
#[async_trait]
pub trait ItemSink: Send + Sync {
    /// Opens an item. Waits until the shared budget has room for it.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a name that the component already used; what the store answers.
    async fn item(&self, spec: ItemSpec) -> Result<Box<dyn ItemWriter>>;
}

/// One item that is being written. It ends by [`finish`](Self::finish) or [`abandon`](Self::abandon); dropped without either
/// it is a failed item, and so is its component.
#[async_trait]
pub trait ItemWriter: Send {
    /// Takes the next bytes. Waits while the budget is used up. Not cancel safe: after a dropped call give the item up.
    ///
    /// # Errors
    /// What went wrong behind it (the store, mostly); every later call fails too.
    async fn write(&mut self, data: Bytes) -> Result<()>;

    /// Declares the item whole. Only then it counts.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    async fn finish(self: Box<Self>, facts: Facts) -> Result<()>;

    /// Forgets what was written so far: the item begins again, as if it had just been opened. For a producer that died and
    /// can be started anew. It may wait for the shared budget, as opening an item does.
    ///
    /// # Errors
    /// What the store answers; the item can then only be abandoned.
    async fn restart(&mut self) -> Result<()>;

    /// Ends an item that failed while the others of its component stand. Nothing of it can ever be restored, and what the
    /// store holds of it is freed. The problem is added to the component, which is then incomplete, whatever
    /// [`ExportReport::problems`] says.
    async fn abandon(self: Box<Self>, problem: Problem);
}

/// What an item is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ItemSpec {
    /// Its name within the component, any text; "dump", "apps/v1/deployments". It never becomes part of a key.
    pub name: String,
    /// What its bytes are: "tar", "pg_dump custom".
    pub format: String,
    /// Bytes expected, if known; small items then take less of the budget.
    pub size_hint: Option<u64>,
}

impl ItemSpec {
    /// An item of unknown size.
    #[must_use]
    pub fn new(name: impl Into<String>, format: impl Into<String>) -> Self {
        Self { name: name.into(), format: format.into(), size_hint: None }
    }

    /// Tells the size to expect. It may be wrong.
    #[must_use]
    pub fn size_hint(mut self, bytes: u64) -> Self {
        self.size_hint = Some(bytes);
        self
    }
}

/// What an exporter says when it is done.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ExportReport {
    /// What the component truly is, whatever it is called: a system identifier, a cluster uid, a file system's id. A
    /// change of it makes the next point doubtful.
    pub identity: Option<String>,
    /// The moment whose state the items show, if there is one.
    pub cut_at: Option<Timestamp>,
    /// Anything the importer or a person will want to know.
    pub facts: Facts,
    /// What is missing or may be torn. With any of these the component is incomplete and the point partial.
    pub problems: Vec<Problem>,
    /// What was left out on purpose, or is odd and harmless.
    pub notes: Vec<String>,
    /// There was nothing to protect, though items were made: a directory without a file, a database without a table. The
    /// component then failed, as one without items does, unless
    /// [`allow_empty`](crate::engine::BackupRequest::allow_empty) was asked for.
    pub empty: bool,
}

/// Something that was to be exported and is not, or not surely, in the items.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Problem {
    /// What is concerned: a path, a table, an object.
    pub what: String,
    /// What happened to it.
    pub why: String,
}

impl Problem {
    /// `what` is missing or torn because of `why`.
    #[must_use]
    pub fn new(what: impl Into<String>, why: impl Display) -> Self {
        Self { what: what.into(), why: why.to_string() }
    }
}
