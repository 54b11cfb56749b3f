//! What a drill checks of a restored tree.

use std::error::Error as StdError;
use std::fmt;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::{SignedDuration, Timestamp, Unit};

use super::import::on_thread;
use crate::clock::{Clock as _, SystemClock};
use crate::error::Result;
use crate::source::{Check, ItemSource, Validation};

type Looks = dyn Fn(&Path) -> Result<String, Box<dyn StdError + Send + Sync>> + Send + Sync;

#[derive(Clone, Debug, Default)]
pub(super) struct Checks {
    pub(super) exist: Vec<PathBuf>,
    pub(super) newest_within: Option<Duration>,
    pub(super) named: Vec<NamedCheck>,
}

/// A check of the application's own.
#[derive(Clone)]
pub(super) struct NamedCheck {
    pub(super) name: String,
    pub(super) check: Arc<Looks>,
}

/// What the archives say that they hold; none where one does not say it.
#[derive(Clone, Copy)]
struct Told {
    entries: Option<u64>,
    bytes: Option<u64>,
}

/// What lies in a tree.
#[derive(Default)]
struct Counted {
    entries: u64,
    bytes: u64,
    newest: Option<Timestamp>,
}

impl Checks {
    /// Looks at a tree that was restored from these items.
    pub(super) async fn run(&self, tree: &Path, items: &dyn ItemSource, began: Timestamp) -> Result<Validation> {
        let told = Told::of(items).await?;
        let (checks, tree) = (self.clone(), tree.to_owned());
        on_thread(move || Ok(checks.look(&tree, told, began))).await
    }

    fn look(&self, tree: &Path, told: Told, began: Timestamp) -> Validation {
        let mut validation = Validation::default();
        let (counted, took) = timed(|| Counted::of(tree).map_err(|error| error.to_string()));
        let counted = counted.as_ref();
        let judge = |judge: &dyn Fn(&Counted) -> Result<String, String>| counted.map_err(Clone::clone).and_then(judge);
        let (expected, least) = match told.entries {
            Some(entries) => (format!("{entries}, as the archive says"), entries..=entries),
            None => ("at least one".to_owned(), 1..=u64::MAX),
        };
        let found = judge(&|counted| as_it_should(least.contains(&counted.entries), counted.entries.to_string()));
        validation.add(Check::new("files, folders and links", expected, found, took));
        if let Some(bytes) = told.bytes {
            // Holes of sparse files are not in the archive's count.
            let found = judge(&|counted| as_it_should(counted.bytes >= bytes, counted.bytes.to_string()));
            validation.add(Check::new(
                "bytes in files",
                format!("at least {bytes}, as the archive says"),
                found,
                Duration::ZERO,
            ));
        }
        if let Some(within) = self.newest_within {
            let found = judge(&|counted| fresh(counted.newest, within, began));
            let expected = format!("not older than {:#}", whole(within));
            validation.add(Check::new("file that was changed last", expected, found, Duration::ZERO));
        }
        for path in &self.exist {
            let (found, took) = timed(|| exists(tree, path));
            validation.add(Check::new(path.display().to_string(), "is there", found, took));
        }
        for NamedCheck { name, check } in &self.named {
            let (found, took) = timed(|| check(tree).map_err(|error| error.to_string()));
            validation.add(Check::new(name, "holds", found, took));
        }
        validation
    }
}

impl Told {
    async fn of(items: &dyn ItemSource) -> Result<Self> {
        let mut told = Self { entries: Some(0), bytes: Some(0) };
        let mut listed = items.list();
        while let Some(item) = listed.next().await {
            let facts = item?.facts;
            let add = |sum: Option<u64>, more: Option<u64>| sum.zip(more).map(|(sum, more)| sum.saturating_add(more));
            told.entries = add(told.entries, facts.get("entries")?);
            told.bytes = add(told.bytes, facts.get("bytes")?);
        }
        Ok(told)
    }
}

impl Counted {
    fn of(tree: &Path) -> std::io::Result<Self> {
        let mut counted = Self::default();
        let mut waiting = vec![tree.to_owned()];
        counted.entries += u64::from(fs::symlink_metadata(tree)?.is_dir());
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(&directory)? {
                let entry = entry?;
                let meta = entry.metadata()?;
                counted.entries += 1;
                if meta.is_dir() {
                    waiting.push(entry.path());
                } else if meta.is_file() {
                    counted.bytes = counted.bytes.saturating_add(meta.len());
                    counted.newest = counted.newest.max(Timestamp::try_from(meta.modified()?).ok());
                }
            }
        }
        Ok(counted)
    }
}

fn as_it_should(ok: bool, found: String) -> Result<String, String> {
    if ok { Ok(found) } else { Err(found) }
}

fn fresh(newest: Option<Timestamp>, within: Duration, began: Timestamp) -> Result<String, String> {
    let Some(newest) = newest else { return Err("no file at all".to_owned()) };
    let age = began.duration_since(newest).max(SignedDuration::ZERO);
    let ok = Duration::try_from(age).is_ok_and(|age| age <= within);
    as_it_should(ok, format!("{:#} old", age.round(Unit::Second).unwrap_or(age)))
}

/// A path is looked for in the tree alone: a link on the way could lead to what was never restored.
fn exists(tree: &Path, path: &Path) -> Result<String, String> {
    if !path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err("no path in the tree".to_owned());
    }
    let parents = path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
    if let Some(link) = parents.map(|parent| tree.join(parent)).find(|parent| parent.is_symlink()) {
        return Err(format!("a link is on the way: {}", link.display()));
    }
    match fs::symlink_metadata(tree.join(path)) {
        Ok(meta) if meta.is_dir() => Ok("a folder".to_owned()),
        Ok(meta) if meta.is_symlink() => Ok("a link".to_owned()),
        Ok(meta) => Ok(format!("{} bytes", meta.len())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err("nothing".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn whole(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = SystemClock.monotonic();
    let done = work();
    (done, SystemClock.monotonic().saturating_sub(began))
}

impl fmt::Debug for NamedCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
