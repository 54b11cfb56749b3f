//! The directory source as a whole: a sink and a source in memory, and archives made byte by byte.

mod change;
mod choose;
mod drill;
mod hostile;
mod plan;
mod resume;

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;

use super::Directory;
use super::export::export;
use super::walk::Walk;
use crate::digest::Blake3;
use crate::error::{Error, ErrorKind, Result};
use crate::source::{
    ExportReport, Facts, ImportAction, ImportOptions, ImportReport, ItemInfo, ItemSink, ItemSource, ItemSpec,
    ItemWriter, Problem, ResourceImporter,
};
use crate::store::{BoxStream, ByteStream};

/// Takes an export; it holds content and facts once the item is finished.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Finished>>);

type Finished = Option<(Vec<u8>, Facts)>;

struct Writer(Vec<u8>, Sink);

#[async_trait]
impl ItemSink for Sink {
    async fn item(&self, spec: ItemSpec) -> Result<Box<dyn ItemWriter>> {
        assert_eq!((&spec.name[..], &spec.format[..]), ("tree", "tar"));
        Ok(Box::new(Writer(Vec::new(), self.clone())))
    }
}

#[async_trait]
impl ItemWriter for Writer {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        self.0.extend_from_slice(&data);
        Ok(())
    }

    async fn finish(self: Box<Self>, facts: Facts) -> Result<()> {
        *self.1.0.lock().unwrap() = Some((self.0, facts));
        Ok(())
    }

    async fn restart(&mut self) -> Result<()> {
        unreachable!("a directory is read once")
    }

    async fn abandon(self: Box<Self>, _problem: Problem) {
        unreachable!("a directory is one item")
    }
}

/// One archive to restore, which may break off.
#[derive(Clone)]
struct Archive {
    content: Bytes,
    facts: Facts,
    cut: Option<usize>,
}

impl Archive {
    fn new(content: impl Into<Bytes>) -> Self {
        Self { content: content.into(), facts: Facts::new(), cut: None }
    }

    fn cut(&self, at: usize) -> Self {
        Self { cut: Some(at), ..self.clone() }
    }
}

#[async_trait]
impl ItemSource for Archive {
    fn list(&self) -> BoxStream<'_, Result<ItemInfo>> {
        let info = ItemInfo::new("files", "directory", "tree", "tar", self.content.len() as u64);
        let info = info.with_digest(Blake3::of(&self.content)).with_facts(self.facts.clone());
        Box::pin(futures_util::stream::iter([Ok(info)]))
    }

    async fn open(&self, _item: &ItemInfo) -> Result<ByteStream> {
        let end = self.cut.unwrap_or(self.content.len());
        // An odd length, so that chunks end anywhere.
        let mut chunks: Vec<_> = self.content[..end].chunks(7_001).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
        if self.cut.is_some() {
            chunks.push(Err(Error::new(ErrorKind::Unavailable, "cut off")));
        }
        Ok(Box::pin(futures_util::stream::iter(chunks)))
    }

    async fn open_range(&self, _item: &ItemInfo, _range: Range<u64>) -> Result<ByteStream> {
        Err(Error::new(ErrorKind::Unsupported, "nobody asks for ranges"))
    }
}

async fn export_with(
    directory: &Directory,
    prepare: impl FnOnce(&mut Walk<'_>) + Send + 'static,
) -> Result<(Archive, ExportReport)> {
    let sink = Sink::default();
    let report = export(directory, &sink, prepare).await?.report();
    let (content, facts) = sink.0.lock().unwrap().take().expect("the item was finished");
    Ok((Archive { content: content.into(), facts, cut: None }, report))
}

async fn export_all(root: &Path) -> Archive {
    let (archive, report) = export_with(&Directory::new(root), |_| {}).await.unwrap();
    assert_eq!(report.problems, []);
    archive
}

async fn import(archive: &Archive, target: &Path, options: &ImportOptions) -> Result<ImportReport> {
    let directory = Directory::new(target);
    let plan = directory.plan(archive, options).await?;
    directory.apply(archive, plan).await
}

/// Restores into an empty place, where nothing may go wrong.
async fn restore(archive: &Archive, target: &Path) {
    let report = import(archive, target, &ImportOptions::default()).await.unwrap();
    assert_eq!(report.problems, []);
    assert_eq!(report.counts.keys().collect::<Vec<_>>(), [&ImportAction::Create]);
}

/// Every path below `root` with its content, its link target or `/`, sorted.
fn tree(root: &Path) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            let metadata = entry.symlink_metadata().unwrap();
            let what = if metadata.is_dir() {
                todo.push(entry.clone());
                "/".to_owned()
            } else if metadata.is_symlink() {
                std::fs::read_link(&entry).unwrap().display().to_string()
            } else {
                String::from_utf8_lossy(&std::fs::read(&entry).unwrap()).into_owned()
            };
            all.push((entry.strip_prefix(root).unwrap().display().to_string(), what));
        }
    }
    all.sort();
    all
}

/// A header made by hand, so that it can be wrong.
fn header(name: &str, kind: u8, link: &str, size: u64) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..108].copy_from_slice(if kind == b'5' { b"0000755\0" } else { b"0000644\0" });
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"00000000144\0");
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link.as_bytes());
    block[257..265].copy_from_slice(b"ustar\x0000");
    seal(&mut block);
    block
}

fn seal(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block[..512].iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A whole entry.
fn entry(name: &str, kind: u8, link: &str, content: &[u8]) -> Vec<u8> {
    let mut out = header(name, kind, link, content.len() as u64);
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

fn file(name: &str, content: &str) -> Vec<u8> {
    entry(name, b'0', "", content.as_bytes())
}

/// An extended header with these records.
fn records(records: &str) -> Vec<u8> {
    entry("././@PaxHeader", b'x', "", records.as_bytes())
}

/// `KEY=VALUE` as a record.
fn record(text: &str) -> String {
    let length = (text.len()..).find(|n: &usize| *n == n.to_string().len() + text.len() + 2).unwrap();
    format!("{length} {text}\n")
}

fn archive(entries: &[Vec<u8>]) -> Archive {
    let mut all = entries.concat();
    all.extend_from_slice(&[0; 1024]);
    Archive::new(all)
}
