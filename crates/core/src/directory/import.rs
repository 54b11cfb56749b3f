//! The importer: this task fetches bytes, a thread takes them apart and writes files.

use std::collections::HashSet;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use rustix::fs::statvfs;
use tokio::sync::mpsc;

use super::entry::{Kind, show};
use super::place::names;
use super::restore::{Mode, Record, Restore};
use super::tar::reader::{Input, Reader};
use super::target::{Target, is_empty};
use super::{Directory, FORMAT, KIND, errno};
use crate::digest::Blake3;
use crate::error::{Error, ErrorKind, Result};
use crate::source::{
    CheckReport, ImportAction, ImportOptions, ImportPlan, ImportReport, ItemInfo, ItemSource, Problem, ResourceImporter,
};

/// Chunks between task and thread.
const QUEUE: usize = 4;
/// Most entries that cannot be restored; an archive with more is not worth going on with.
const MAX_IMPOSSIBLE: u64 = 100_000;

#[async_trait]
impl ResourceImporter for Directory {
    fn accepts(&self, item: &ItemInfo) -> bool {
        item.format == FORMAT
    }

    async fn check(&self, items: &dyn ItemSource) -> Result<CheckReport> {
        let mut report = CheckReport::default();
        for item in self.items(items).await? {
            report = with_archive(items, &item, move |archive| check(archive, report)).await?;
        }
        report.unproved.push("whether what is in the files makes sense to those who use them".to_owned());
        Ok(report)
    }

    async fn plan(&self, items: &dyn ItemSource, options: &ImportOptions) -> Result<ImportPlan> {
        let archives = self.items(items).await?;
        let mut plan = ImportPlan::new(self.to_string(), options);
        if let Some((entries, bytes)) = self.known(&archives, options)? {
            plan.counts.insert(ImportAction::Create, entries);
            plan.bytes = bytes;
        } else {
            plan = self.run(items, &archives, options, Mode::Plan, plan).await?.0;
        }
        self.has_room(&plan)?;
        if plan.count(ImportAction::Unchanged) > 0 {
            let by =
                if options.compare_content { "by content, mode and owner" } else { "by size and time, mode and owner" };
            plan.notes.push(format!("files that are there were compared {by}"));
        }
        if !rustix::process::geteuid().is_root() {
            plan.notes.push(
                "entries of others will belong to this process's user: only the super-user can restore owners"
                    .to_owned(),
            );
        }
        plan.fingerprint = fingerprint(&plan);
        Ok(plan)
    }

    async fn apply(&self, items: &dyn ItemSource, plan: ImportPlan) -> Result<ImportReport> {
        if plan.target != self.to_string() {
            return Err(Error::new(ErrorKind::Invalid, "the plan was made for another target")
                .with("planned", &plan.target)
                .with("target", self));
        }
        let replacing = plan.entries.into_iter().filter(|entry| entry.action == ImportAction::Overwrite);
        let planned: HashSet<_> = replacing.map(|entry| (entry.what, entry.why)).collect();
        let archives = self.items(items).await?;
        let mode = Mode::Apply(planned);
        let (mut report, notes) = self.run(items, &archives, &plan.options, mode, ImportReport::default()).await?;
        report.notes.extend(notes);
        Ok(report)
    }
}

impl Directory {
    /// The archives among the items, which must be all of them.
    async fn items(&self, items: &dyn ItemSource) -> Result<Vec<ItemInfo>> {
        let mut archives = Vec::new();
        let mut list = items.list();
        while let Some(item) = list.next().await.transpose()? {
            if !self.accepts(&item) {
                return Err(Error::new(ErrorKind::Invalid, "an item is no tar archive")
                    .with("item", item.name)
                    .with("format", item.format)
                    .advise("choose the importer for this kind of component"));
            }
            archives.push(item);
        }
        if archives.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, "there is no item to restore"));
        }
        Ok(archives)
    }

    /// Goes through all archives.
    async fn run<R: Record + 'static>(
        &self,
        items: &dyn ItemSource,
        archives: &[ItemInfo],
        options: &ImportOptions,
        mode: Mode,
        record: R,
    ) -> Result<(R, Vec<String>)> {
        let (root, options) = (self.root.clone(), options.clone());
        let mark = mark(archives)?;
        let mut restore = on_thread(move || Restore::new(&root, &options, mode, mark, record)).await?;
        for item in archives {
            restore = with_archive(items, item, move |archive| {
                restore.run(archive)?;
                Ok(restore)
            })
            .await?;
        }
        on_thread(move || restore.finish()).await
    }

    /// Entries and bytes, where the answer is known without reading: nothing is in the way, and the exporter counted.
    fn known(&self, archives: &[ItemInfo], options: &ImportOptions) -> Result<Option<(u64, u64)>> {
        let target = Target::open(&self.root, false, mark(archives)?)?;
        let empty =
            target.dir().map_or(Ok(true), is_empty).map_err(|e| errno::error(e, "list", self.root.display()))?;
        let ours = archives.iter().all(|item| item.kind == KIND);
        if !empty || !ours || !options.only.is_empty() {
            return Ok(None);
        }
        let mut sum: (u64, u64) = (0, 0);
        for item in archives {
            let fact = |name| item.facts.get::<u64>(name);
            let (Some(entries), Some(bytes), Some(0)) = (fact("entries")?, fact("bytes")?, fact("devices")?) else {
                return Ok(None);
            };
            sum = (sum.0 + entries, sum.1 + bytes);
        }
        Ok(Some(sum))
    }

    /// Refuses a restore that cannot fit.
    fn has_room(&self, plan: &ImportPlan) -> Result<()> {
        let parent = self.root.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let place = if self.root.is_dir() { &self.root } else { parent };
        let stat = statvfs(place).map_err(|e| errno::error(e, "ask for free space", place.display()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let full = |what, needed: u64, free: u64| {
            Err(Error::new(ErrorKind::Exhausted, format!("the target has too few free {what}"))
                .with("path", self.root.display())
                .with("needed", needed)
                .with("free", free)
                .advise("make room, restore elsewhere, or choose less with `only`"))
        };
        if plan.bytes > free {
            return full("bytes", plan.bytes, free);
        }
        let created = plan.count(ImportAction::Create);
        // File systems that make inodes as they need them say 0 of 0.
        if stat.f_files > 0 && created > stat.f_favail {
            return full("inodes", created, stat.f_favail);
        }
        Ok(())
    }
}

impl Record for ImportPlan {
    fn entry(&mut self, action: ImportAction, path: &[u8], why: &str, bytes: u64) -> Result<()> {
        self.bytes += bytes;
        self.add(action, show(path), why);
        bounded(self.count(ImportAction::Impossible))
    }

    fn lack(&mut self, path: &[u8], why: String) {
        self.notes.push(format!("{}: {why}", show(path)));
    }
}

impl Record for ImportReport {
    fn entry(&mut self, action: ImportAction, path: &[u8], why: &str, bytes: u64) -> Result<()> {
        self.bytes += bytes;
        self.add(action);
        if matches!(action, ImportAction::Conflict | ImportAction::Impossible) {
            self.problems.push(Problem::new(show(path), format!("{action}: {why}")));
        }
        bounded(self.counts.get(&ImportAction::Impossible).copied().unwrap_or(0))
    }

    fn lack(&mut self, path: &[u8], why: String) {
        self.problems.push(Problem::new(show(path), why));
    }
}

fn bounded(impossible: u64) -> Result<()> {
    if impossible < MAX_IMPOSSIBLE {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Refused, "100,000 entries cannot be restored")
        .advise("restore as the super-user if they are devices; else look where the archive comes from"))
}

/// What tells an unfinished restore of these items from one of others.
fn mark(archives: &[ItemInfo]) -> Result<String> {
    let items = serde_json::to_vec(archives)
        .map_err(|error| Error::new(ErrorKind::Other, "the items' facts cannot be written as JSON").because(error))?;
    Ok(format!("restore of {}\n", Blake3::of(&items)))
}

/// A digest of what the plan found in the way.
fn fingerprint(plan: &ImportPlan) -> String {
    let mut digest = blake3::Hasher::new();
    digest.update(format!("{:?} {}", plan.counts, plan.bytes).as_bytes());
    for entry in &plan.entries {
        digest.update(format!("\n{} {:?} {:?}", entry.action, entry.what, entry.why).as_bytes());
    }
    Blake3(*digest.finalize().as_bytes()).to_string()
}

fn check(mut archive: Reader<Feed>, mut report: CheckReport) -> Result<CheckReport> {
    let mut problem = |path: &[u8], why: &str| {
        if (report.problems.len() as u64) < MAX_IMPOSSIBLE {
            report.problems.push(Problem::new(show(path), why));
        }
    };
    while let Some(entry) = archive.next()? {
        report.entries += 1;
        if let Err(why) = names(&entry.path) {
            problem(&entry.path, why);
        }
        if let Kind::HardLink(target) = &entry.kind
            && let Err(why) = names(target)
        {
            problem(&entry.path, &format!("what it links to cannot be: {why}"));
        }
    }
    if archive.finish()? {
        problem(b"", "something follows the end of the archive");
    }
    Ok(report)
}

/// Runs `work` on a thread over an item's content. `work` reads to the end, so that the whole is proved.
async fn with_archive<T: Send + 'static>(
    items: &dyn ItemSource,
    item: &ItemInfo,
    work: impl FnOnce(Reader<Feed>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let mut content = items.open(item).await?;
    let (send, receive) = mpsc::channel(QUEUE);
    let fetch = async move {
        while let Some(chunk) = content.next().await {
            // A thread that takes no more has said why.
            if send.send(chunk).await.is_err() {
                return;
            }
        }
    };
    let thread = on_thread(move || work(Reader::new(Feed(receive))));
    let (result, ()) = tokio::join!(thread, fetch);
    result.map_err(|error| error.with("item", &item.name))
}

pub(super) async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(ErrorKind::Other, "the thread that restores died").because(error))?
}

/// Chunks from the task. If that is dropped they end early, which a reader finds out by itself.
struct Feed(mpsc::Receiver<Result<Bytes>>);

impl Input for Feed {
    fn next(&mut self) -> Result<Option<Bytes>> {
        self.0.blocking_recv().transpose()
    }
}
