//! Versions, as they are listed.

use std::collections::VecDeque;
use std::fmt;

use backstay_core::store::{BoxStream, GetOptions, Key, ObjectStore as _, Prefix, VersionId};
use backstay_core::{ErrorKind, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::head::StateHead;
use super::locks::LOCK_FILE;
use super::objects::VersionedObjects;
use crate::s3::{After, S3Store, VersionLine, is_archive};

/// Bytes of a state in which its head lies, if Terraform wrote it.
pub(super) const HEAD_BYTES: u64 = 4 << 10;
/// Heads that are read at once.
const AT_ONCE: usize = 8;

/// One version of an object, or a delete marker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ObjectVersion {
    /// The object's key.
    pub key: String,
    /// The version's ID; `null` for what was written while the bucket kept no versions.
    pub version: String,
    /// When it was written, by the server.
    pub modified: Timestamp,
    /// Its length in bytes.
    pub size: u64,
    /// The server's mark of its content.
    pub etag: Option<String>,
    /// Its storage class.
    pub class: Option<String>,
    /// Who wrote it, where the server tells: at Amazon the account that owns the object.
    pub owner: Option<String>,
    /// Whether it is the current one.
    pub latest: bool,
    /// Whether it says that the object was deleted, and holds nothing.
    pub deleted: bool,
    /// Whether it has to be thawed before it can be read: it lies in an archive class, and nobody has thawed it yet. What
    /// Intelligent-Tiering has archived is known only where it is read, which of states it is.
    pub archived: bool,
    /// Serial and lineage, of a Terraform state that can be read.
    pub state: Option<StateHead>,
}

impl ObjectVersion {
    fn of(line: VersionLine) -> Self {
        Self {
            key: line.key,
            version: line.version.unwrap_or_else(|| "null".to_owned()),
            modified: line.modified,
            size: line.size,
            etag: line.etag,
            class: line.class,
            owner: line.owner,
            latest: line.latest,
            deleted: line.marker,
            archived: false,
            state: None,
        }
    }
}

impl VersionedObjects {
    /// All versions of these objects, newest first for each key. Of states the head is read too, by a small request each; of
    /// what is in an archive class, whether it [has been thawed](ObjectVersion::archived).
    ///
    /// Names that are no [`Key`], and Terraform's lock files, are left out.
    pub fn versions(&self) -> BoxStream<'static, Result<ObjectVersion>> {
        let (store, states) = (self.store.clone(), self.are_states());
        let heads = move |found: ObjectVersion| {
            let store = store.clone();
            async move {
                match states || is_archive(found.class.as_deref()) {
                    true => looked_at(&store, found, states).await,
                    false => Ok(found),
                }
            }
        };
        let named = |found: &ObjectVersion| std::future::ready(Key::new(found.key.as_str()).is_ok());
        Box::pin(self.lines().try_filter(named).map_ok(heads).try_buffered(AT_ONCE))
    }

    /// The same without heads, and with names that are no keys: who has to take everything must say what he cannot.
    pub(super) fn lines(&self) -> BoxStream<'static, Result<ObjectVersion>> {
        let prefixes = match self.prefixes() {
            Ok(prefixes) => prefixes,
            Err(error) => return Box::pin(stream::once(async { Err(error) })),
        };
        let lists = prefixes.into_iter().map(|prefix| lines(self.store.clone(), prefix));
        let objects = self.clone();
        let meant = move |found: &ObjectVersion| objects.means(&found.key) && !found.key.ends_with(LOCK_FILE);
        let all = stream::iter(lists.collect::<Vec<_>>()).flatten();
        Box::pin(all.try_filter(move |found| std::future::ready(meant(found))))
    }
}

/// Where a listing is.
struct Listing {
    store: S3Store,
    prefix: Prefix,
    lines: VecDeque<VersionLine>,
    /// None at the end; the first page is behind nothing.
    next: Option<Option<After>>,
}

fn lines(store: S3Store, prefix: Prefix) -> BoxStream<'static, Result<ObjectVersion>> {
    let listing = Listing { store, prefix, lines: VecDeque::new(), next: Some(None) };
    Box::pin(stream::try_unfold(listing, |mut listing| async move {
        loop {
            if let Some(line) = listing.lines.pop_front() {
                return Ok(Some((ObjectVersion::of(line), listing)));
            }
            let Some(after) = listing.next.take() else { return Ok(None) };
            let page = listing.store.ask_for_versions(listing.prefix.as_str(), false, after).await?;
            (listing.lines, listing.next) = (page.lines.into(), page.next.map(Some));
        }
    }))
}

async fn looked_at(store: &S3Store, mut found: ObjectVersion, is_state: bool) -> Result<ObjectVersion> {
    if found.size == 0 {
        return Ok(found);
    }
    let mut options = GetOptions::range(0..found.size.min(if is_state { HEAD_BYTES } else { 1 }));
    options.version = Some(VersionId(found.version.clone()));
    match store.get(&Key::new(found.key.as_str())?, &options).await {
        Ok(got) if is_state => {
            let head = StateHead::of(&got.body.try_collect::<Vec<_>>().await?.concat());
            found.state = head.is_state().then_some(head);
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::Archived => found.archived = true,
        // A rule of the bucket ends earlier versions when it likes.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(found)
}

impl fmt::Display for ObjectVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.modified, self.key, self.version)?;
        match (&self.state, self.deleted) {
            (_, true) => f.write_str(", deleted")?,
            (Some(StateHead { serial: Some(serial), .. }), _) => write!(f, ", serial {serial}, {} bytes", self.size)?,
            _ => write!(f, ", {} bytes", self.size)?,
        }
        if self.archived {
            f.write_str(", archived: to be thawed first")?;
        }
        if let Some(owner) = &self.owner {
            write!(f, ", by {owner}")?;
        }
        f.write_str(if self.latest { ", current" } else { "" })
    }
}
