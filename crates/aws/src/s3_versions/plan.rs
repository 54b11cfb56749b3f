//! What would be written over an object: decided before anything is done, and again before it is.

use std::fmt;

use backstay_core::store::{GetOptions, HeadOptions, Key, ObjectMeta, ObjectStore as _, VersionId};
use backstay_core::{Error, ErrorKind, Result, Sha256};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};

use super::diff::StateDiff;
use super::head::StateHead;
use super::locks::digest_id;
use super::objects::VersionedObjects;
use super::state::{State, is_encrypted, too_long, with_serial};
use crate::s3::integrity::md5_hex;

/// What bringing an earlier version back, or pushing a state, would do. It holds no content.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RestoreVersionPlan {
    /// The bucket.
    pub target: String,
    /// The object's key.
    pub key: String,
    /// The version that is brought back; none where the content is given.
    pub version: Option<String>,
    /// Bytes that would be written.
    pub bytes: u64,
    /// The digest of what would be written, of a state.
    pub sha256: Option<Sha256>,
    /// What lies at the key now; none if nothing does.
    pub current: Option<Current>,
    /// Whether the object is written: it is not if its content is there already.
    pub writes: bool,
    /// The serial that it gets instead of its own.
    pub serial: Option<u64>,
    /// What differs from the current state to the one that takes its place.
    pub diff: Option<StateDiff>,
    /// What becomes of the digest in the lock table.
    pub digest: Option<DigestChange>,
    /// What a person should know before.
    pub notes: Vec<String>,
}

/// What lies at a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Current {
    /// Its version.
    pub version: Option<String>,
    /// The server's mark of its content.
    pub etag: Option<String>,
    /// Serial and lineage, of a state.
    pub state: Option<StateHead>,
}

/// The item by which Terraform knows a state for the one that it wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DigestChange {
    /// The item's `LockID`.
    pub item: String,
    /// The MD5 that it has.
    pub old: Option<String>,
    /// The MD5 that it gets.
    pub new: String,
}

/// Where the new content comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From<'a> {
    /// An earlier version: its serial is lower.
    Version(&'a str),
    /// A point of a vault: the same holds.
    Point,
    /// Somebody's own.
    Push,
}

impl VersionedObjects {
    /// Says what bringing an earlier version back would do.
    ///
    /// # Errors
    /// [`Busy`](ErrorKind::Busy) while somebody holds the state's lock; [`Refused`](ErrorKind::Refused) if it is of another
    /// lineage than the current one; [`NotFound`](ErrorKind::NotFound) if there is no such version or it is a delete marker;
    /// [`Corrupt`](ErrorKind::Corrupt) if it is no Terraform state where one should be; [`Archived`](ErrorKind::Archived), with
    /// the way to thaw it; [`Unsupported`](ErrorKind::Unsupported) if the server cannot copy so much; what the servers answer.
    pub async fn plan_bring_back(&self, key: &Key, version: &str) -> Result<RestoreVersionPlan> {
        if self.are_states() {
            let (_, content) = self.read(key, Some(version)).await?.ok_or_else(|| no_version(key, version))?;
            return Ok(self.plan_state(key, From::Version(version), content).await?.0);
        }
        self.meant(key)?;
        let (meta, current) = (self.version_meta(key, version).await?, self.head(key).await?);
        let writes = current.as_ref().is_none_or(|current| current.version != meta.version);
        if writes {
            let copied = self.store.check_copy(key, &VersionId(version.to_owned())).await;
            copied.map_err(|error| self.unread(error, key.as_str(), Some(version)))?;
        }
        Ok(RestoreVersionPlan {
            target: self.store.to_string(),
            key: key.to_string(),
            version: Some(version.to_owned()),
            bytes: if writes { meta.size } else { 0 },
            sha256: None,
            current: current.map(|meta| current_of(&meta, None)),
            writes,
            serial: None,
            diff: None,
            digest: None,
            notes: Vec::new(),
        })
    }

    /// Decides what writing a state would do, and what would be written.
    pub(super) async fn plan_state(
        &self,
        key: &Key,
        from: From<'_>,
        content: Bytes,
    ) -> Result<(RestoreVersionPlan, Bytes)> {
        self.meant(key)?;
        self.locks.refuse_if_held(&self.store, key).await?;
        let mut content = content;
        let mut notes = Vec::new();
        let (head, state) = understood(&content, key)?;
        if state.is_none() {
            notes.push("the state is encrypted: what differs cannot be told".to_owned());
        }
        let found = self.read(key, None).await?;
        let now = found.as_ref().map(|(_, content)| understood(content, key));
        let current_head = now.as_ref().and_then(|now| Some(now.as_ref().ok()?.0.clone()));
        let current_state = now.and_then(|now| now.ok()?.1);
        if found.is_some() && current_head.is_none() {
            notes.push("what is there now is no Terraform state".to_owned());
        }
        let is_empty = current_state.as_ref().is_some_and(State::is_empty);
        let diff = current_state.as_ref().zip(state.as_ref()).map(|(now, new)| now.diff(new));
        if let Some(now) = &current_head {
            self.related(now, &head, is_empty, key, &mut notes)?;
            if from == From::Push && !is_empty && !self.options.any_serial {
                not_older(now, &head, diff.as_ref(), key)?;
            }
        }
        let mut serial = None;
        if self.options.bump_serial && from != From::Push {
            let there = found.as_ref().map(|(_, there)| there);
            content = raised(&content, &head, there.zip(current_head.as_ref()), &mut serial)
                .map_err(|error| error.with("key", key))?;
        }
        let writes = found.as_ref().is_none_or(|(_, there)| *there != content);
        let digest = self.digest_change(key, &content, &mut notes).await?;
        let version = if let From::Version(version) = from { Some(version.to_owned()) } else { None };
        let plan = RestoreVersionPlan {
            target: self.store.to_string(),
            key: key.to_string(),
            version,
            bytes: if writes { content.len() as u64 } else { 0 },
            sha256: Some(Sha256::of(&content)),
            current: found.map(|(meta, _)| current_of(&meta, current_head)),
            writes,
            serial,
            diff,
            digest,
            notes,
        };
        Ok((plan, content))
    }

    /// Refuses a state of another lineage, as Terraform does.
    fn related(
        &self,
        now: &StateHead,
        new: &StateHead,
        is_empty: bool,
        key: &Key,
        notes: &mut Vec<String>,
    ) -> Result<()> {
        let named = |head: &StateHead| head.lineage.clone().unwrap_or_default();
        let (now, new) = (named(now), named(new));
        if now == new || now.is_empty() || new.is_empty() {
            return Ok(());
        }
        if is_empty {
            notes.push(format!("what is there now is empty, and of another lineage ({now})"));
            return Ok(());
        }
        if self.options.any_lineage {
            notes.push(format!("what is there now is of another lineage ({now}): what it tells of is forgotten"));
            return Ok(());
        }
        Err(Error::new(ErrorKind::Refused, "the state is of another lineage than the current one")
            .with("key", key)
            .with("lineage", new)
            .with("current", now)
            .advise(
                "check that the key is the right one; `danger_any_lineage` forgets what the current state tells of",
            ))
    }

    async fn digest_change(&self, key: &Key, content: &[u8], notes: &mut Vec<String>) -> Result<Option<DigestChange>> {
        let Some(table) = &self.locks.table else {
            if !self.locks.file {
                notes.push(
                    "no lock is taken, and no digest kept: name the backend's lock table or lock file".to_owned(),
                );
            }
            return Ok(None);
        };
        let (item, new) = (digest_id(&self.store, key), md5_hex(content));
        let old = table.digest(&item).await?;
        Ok((old.as_ref() != Some(&new)).then_some(DigestChange { item, old, new }))
    }

    /// The object, or one version of it. None if it is not there.
    pub(super) async fn read(&self, key: &Key, version: Option<&str>) -> Result<Option<(ObjectMeta, Bytes)>> {
        let mut options = GetOptions::default();
        options.version = version.map(|version| VersionId(version.to_owned()));
        let got = match self.store.get(key, &options).await {
            Ok(got) => got,
            Err(error)
                if error.kind() == ErrorKind::NotFound && version.is_none() && error.context("key").is_some() =>
            {
                return Ok(None);
            }
            Err(error) => return Err(self.unread(error, key.as_str(), version)),
        };
        if got.meta.size > State::MAX_BYTES {
            return Err(too_long(got.meta.size).with("key", key));
        }
        let content = got.body.try_collect::<Vec<_>>().await?.concat();
        Ok(Some((got.meta, content.into())))
    }

    pub(super) async fn head(&self, key: &Key) -> Result<Option<ObjectMeta>> {
        match self.store.head(key, &HeadOptions::default()).await {
            Ok(meta) => Ok(Some(meta)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn version_meta(&self, key: &Key, version: &str) -> Result<ObjectMeta> {
        let mut options = HeadOptions::default();
        options.version = Some(VersionId(version.to_owned()));
        self.store.head(key, &options).await
    }
}

/// Serial and lineage, and the rest unless it is encrypted.
pub(super) fn understood(content: &[u8], key: &Key) -> Result<(StateHead, Option<State>)> {
    if is_encrypted(content) {
        let head = StateHead::of(content);
        if head.is_state() {
            return Ok((head, None));
        }
    }
    let state = State::parse(content).map_err(|error| error.with("key", key))?;
    Ok((state.head().clone(), Some(state)))
}

/// The state under a serial above its own and the current one's, unless it is there already but for its serial.
fn raised(
    content: &Bytes,
    head: &StateHead,
    there: Option<(&Bytes, &StateHead)>,
    serial: &mut Option<u64>,
) -> Result<Bytes> {
    let now = there.and_then(|(_, now)| now.serial);
    if let (Some((there, _)), Some(now)) = (there, now)
        && with_serial(content, now)? == **there
    {
        *serial = (head.serial != Some(now)).then_some(now);
        return Ok(there.clone());
    }
    let highest = head.serial.max(now).unwrap_or_default();
    *serial = Some(highest.saturating_add(1));
    with_serial(content, highest.saturating_add(1)).map(Bytes::from)
}

/// What `terraform state push` refuses.
fn not_older(now: &StateHead, new: &StateHead, diff: Option<&StateDiff>, key: &Key) -> Result<()> {
    let message = match (now.serial, new.serial) {
        (Some(now), Some(new)) if new < now => "the state is older than the current one",
        (Some(now), Some(new)) if new == now && !diff.is_some_and(StateDiff::is_same_content) => {
            "the state is another one than the current one, with the same serial"
        }
        _ => return Ok(()),
    };
    let number = |head: &StateHead| head.serial.unwrap_or_default();
    Err(Error::new(ErrorKind::Refused, message)
        .with("key", key)
        .with("serial", number(new))
        .with("current", number(now))
        .advise("pull the current one and begin from it; `danger_any_serial` puts the older one over it"))
}

pub(super) fn current_of(meta: &ObjectMeta, state: Option<StateHead>) -> Current {
    Current { version: meta.version.as_ref().map(|id| id.0.clone()), etag: meta.etag.clone(), state }
}

fn no_version(key: &Key, version: &str) -> Error {
    Error::new(ErrorKind::NotFound, "there is no such version").with("key", key).with("version", version)
}

impl RestoreVersionPlan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.writes && self.digest.is_none()
    }
}

impl fmt::Display for RestoreVersionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}:", self.key, self.target)?;
        let what = self.version.as_ref().map_or("what was given".to_owned(), |version| format!("version {version}"));
        match (&self.current, self.writes) {
            (_, false) => write!(f, " the content of {what} is there already")?,
            (None, true) => write!(f, " {what} becomes the current one, where nothing is; {} bytes", self.bytes)?,
            (Some(current), true) => {
                write!(f, " {what} takes the place of ")?;
                match &current.version {
                    Some(version) => write!(f, "version {version}")?,
                    None => f.write_str("the current one")?,
                }
                write!(f, "; {} bytes", self.bytes)?;
            }
        }
        if let Some(serial) = self.serial {
            write!(f, "\n  with the serial {serial}")?;
        }
        if let Some(diff) = &self.diff {
            write!(f, "\n  {}", diff.to_string().replace('\n', "\n  "))?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "\n  digest {}: {} -> {}", digest.item, digest.old.as_deref().unwrap_or("none"), digest.new)?;
        }
        for note in &self.notes {
            write!(f, "\n  note: {note}")?;
        }
        Ok(())
    }
}
