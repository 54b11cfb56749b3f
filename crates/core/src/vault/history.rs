//! History: how acts ended that left no point behind. A signed end record, and beside it the sealed log of its events.

use std::fmt;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::name::{Name, PointId, RunId};
use crate::source::Validation;
use crate::store::{Key, ListEntry, ListOptions, Prefix, PutOptions};
use crate::vault::items::lines;
use crate::vault::layout;
use crate::vault::lines::wrapping_of;
use crate::vault::settle::put_new;
use crate::vault::signed::{Purpose, check_length};
use crate::vault::{DetailsRef, Epoch, Vault, VaultId};

const MAX_RECORD_BYTES: u64 = 1 << 20;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Act {
    /// A backup that failed. One that succeeded has its point.
    Backup,
    /// A prune that changed something, or was to.
    Prune,
    /// A restore.
    Restore,
    /// A drill.
    Drill,
}

/// The name of a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// The ID of the act; of a backup, that of its run. Sorts by time.
    pub id: RunId,
    /// What was done.
    pub act: Act,
}

/// How an act ended. Tells no item name, error text or plain digest: those are in the log, which is sealed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HistoryRecord {
    /// The vault that it is for.
    pub vault: VaultId,
    /// The source that it belongs to.
    pub source: Name,
    /// Its name.
    #[serde(flatten)]
    pub entry: HistoryEntry,
    /// The tier of a backup or prune.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Name>,
    /// The point of a restore or drill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<PointId>,
    /// The component of a restore or drill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<Name>,
    /// When it began, by its host's clock.
    pub started: Timestamp,
    /// When it ended, by its host's clock.
    pub ended: Timestamp,
    /// How long it took, by a clock that does not jump; of a drill, from the empty place to the end of the validation.
    pub took: Duration,
    /// Plain bytes that were restored, by a drill too; stored bytes that a prune freed.
    pub bytes: u64,
    /// The kind of failure; none if it went well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The host.
    pub host: String,
    /// The version of the program.
    pub version: String,
    /// What the log is sealed to; none without a log and in a vault that is not encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// The log; none if the program knew of no epoch to seal it to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<DetailsRef>,
    /// Events that the log leaves out, the oldest of too many.
    #[serde(default)]
    pub left_out: u64,
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogLine {
    /// When, by the host's clock.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: Logged,
}

/// What a line of a log says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Logged {
    /// Something happened.
    Event(Event),
    /// What ended the act, with its causes.
    Error(String),
    /// What a drill checked of the restored.
    Validation(Validation),
}

/// The history of a source.
///
/// ```
/// # use backstay_core::{Tier, engine::Backstay, retention::Keep, store::MemoryStore, vault::{Keyring, Vault}};
/// use backstay_core::directory::Directory;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let keyring = Keyring::generate()?;
/// # let vault = Vault::create(MemoryStore::new()).keyring(&keyring).build().await?;
/// let backstay = Backstay::builder("prod-eu", vault)
///     .export("files", Directory::new("/nowhere"))
///     .tier(Tier::new("daily").keep(Keep::daily(30)))
///     .build()?;
/// backstay.backup("daily").await.unwrap_err();
///
/// let history = backstay.vault().history("prod-eu".parse()?);
/// for entry in history.list().await? {
///     let record = history.get(&entry).await?;
///     assert_eq!(record.error.as_deref(), Some("not found"));
///     assert!(!history.log(&record).await?.is_empty());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct History {
    vault: Vault,
    source: Name,
}

impl Vault {
    /// What was done to a source's points, and which of its backups failed.
    #[must_use]
    pub fn history(&self, source: Name) -> History {
        History { vault: self.clone(), source }
    }
}

impl History {
    /// The names of all records, oldest first: told by the listing alone, so that one may turn out unsigned when read.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn list(&self) -> Result<Vec<HistoryEntry>> {
        let mut entries = Vec::new();
        let mut listing = self.vault.store().list(&layout::history(&self.source)?, &ListOptions::default());
        while let Some(entry) = listing.next().await {
            if let ListEntry::Object(meta) = entry? {
                entries.extend(layout::parse_history(&self.source, &meta.key));
            }
        }
        Ok(entries)
    }

    /// Reads a record and proves its signature.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Untrusted`](ErrorKind::Untrusted), [`Corrupt`](ErrorKind::Corrupt), each with
    /// the key.
    pub async fn get(&self, entry: &HistoryEntry) -> Result<HistoryRecord> {
        let key = layout::history_record(&self.source, entry)?;
        let signatures = |digest: &Sha256| self.signatures(entry, digest);
        let verified = self.vault.get_signed(&key, MAX_RECORD_BYTES, Purpose::History, signatures).await?;
        let record: HistoryRecord = verified.read()?;
        let own = layout::history_log(&self.source, entry, wrapping_of(record.epoch.as_ref()))?;
        let own_log = record.log.as_ref().is_none_or(|log| log.key == own);
        if record.vault != *self.vault.id() || record.source != self.source || record.entry != *entry || !own_log {
            let text = "a record that was signed for another place was put here";
            return Err(Error::new(ErrorKind::Untrusted, text).with("key", key));
        }
        Ok(record)
    }

    /// Opens a record's log, which takes a custodian's key.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if it has none, [`Denied`](ErrorKind::Denied) without such a key;
    /// [`Corrupt`](ErrorKind::Corrupt) if it is not what was signed, or has a line that this version does not know.
    pub async fn log(&self, record: &HistoryRecord) -> Result<Vec<LogLine>> {
        let stored = record.log.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the record has no log: its program knew of no epoch to seal one to")
                .with("id", &record.entry.id)
                .advise(
                    "for the acts to come, open the vault there with the keys that a keyring issues, or `encrypt_to`",
                )
        })?;
        let mut log = Vec::new();
        let mut lines = lines(&self.vault, record.epoch.as_ref(), stored);
        while let Some(line) = lines.next().await {
            let line = serde_json::from_slice(&line?).map_err(|error| {
                Error::new(ErrorKind::Corrupt, format!("not a line of a log: {error}")).with("key", &stored.key)
            })?;
            log.push(line);
        }
        Ok(log)
    }

    /// Stores a record, create-only; settled by a listing, because a writer may not read.
    pub(crate) async fn put(&self, record: &HistoryRecord) -> Result<()> {
        let key = layout::history_record(&self.source, &record.entry)?;
        let bytes = serde_json::to_vec_pretty(record)
            .map_err(|error| Error::new(ErrorKind::Other, "a record cannot be written as JSON").because(error))?;
        check_length(&bytes, MAX_RECORD_BYTES, &key)?;
        let signatures = |digest: &Sha256| self.signatures(&record.entry, digest);
        self.vault.put_signature(&bytes, Purpose::History, signatures, &PutOptions::default()).await?;
        put_new(self.vault.store(), &key, bytes.into(), &PutOptions::default()).await.map(drop)
    }

    /// Stores a log.
    pub(crate) async fn put_log(&self, entry: &HistoryEntry, log: &[LogLine]) -> Result<DetailsRef> {
        let key: Key = layout::history_log(&self.source, entry, self.vault.wrapping()?)?;
        let lines = log.iter().map(|line| {
            let mut line = serde_json::to_vec(line)
                .map_err(|error| Error::new(ErrorKind::Other, "an event cannot be written as JSON").because(error))?;
            line.push(b'\n');
            Ok(line)
        });
        self.vault.put_lines(key, PutOptions::default(), 256 * log.len() as u64, lines).await
    }

    fn signatures(&self, entry: &HistoryEntry, digest: &Sha256) -> Result<Prefix> {
        layout::signatures_beside(&format!("{}/history/{}.{}", self.source, entry.id, entry.act), digest)
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Backup => "backup",
            Self::Prune => "prune",
            Self::Restore => "restore",
            Self::Drill => "drill",
        })
    }
}

impl fmt::Display for HistoryRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entry, started, took, host, .. } = self;
        write!(f, "{started} {} {}", entry.act, entry.id)?;
        self.tier.iter().try_for_each(|tier| write!(f, " of tier {tier}"))?;
        self.component.iter().try_for_each(|component| write!(f, " of {component}"))?;
        self.point.iter().try_for_each(|point| write!(f, " from {point}"))?;
        write!(f, " on {host}, {} bytes in {took:.1?}: ", self.bytes)?;
        f.write_str(self.error.as_deref().unwrap_or("done"))
    }
}
