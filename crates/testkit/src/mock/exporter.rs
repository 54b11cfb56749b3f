//! An exporter that does what it is told.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use backstay_core::clock::{Clock, SystemClock};
use backstay_core::source::{
    ExportReport, ExportRequest, ExporterInfo, Facts, ItemSink, ItemSpec, Problem, ResourceExporter,
};
use backstay_core::{ErrorKind, Result};
use bytes::Bytes;

use crate::mock::{Calls, scripted};

/// Exports items of given content, and fails where a script says so.
///
/// ```
/// use backstay_core::ErrorKind;
/// use backstay_testkit::mock::{ExportFault, ExportScript, MockExporter};
///
/// // Whole on the first night, dead after 10 bytes on the second, whole again and different from then on.
/// let exporter = MockExporter::new([("dump", "all the rows")])
///     .then(ExportScript::new([("dump", "all the rows")]).fault(ExportFault::After(10, ErrorKind::Unavailable)))
///     .then(ExportScript::new([("dump", "all the rows and more")]));
/// ```
#[derive(Clone, Debug)]
pub struct MockExporter {
    info: ExporterInfo,
    scripts: Vec<ExportScript>,
    runs: Arc<AtomicUsize>,
    calls: Calls,
}

/// What one run exports and how it goes wrong.
#[derive(Clone, Debug, Default)]
pub struct ExportScript {
    items: Vec<(String, Bytes)>,
    report: ExportReport,
    chunk: Option<usize>,
    pause: Duration,
    fault: Option<ExportFault>,
}

/// How an export goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportFault {
    /// An error before the first item.
    AtStart(ErrorKind),
    /// An error after so many bytes, all items together. A script with fewer bytes panics.
    After(u64, ErrorKind),
    /// An error when every item is finished.
    AtEnd(ErrorKind),
    /// The last item is written, dropped without a finish, and the export called good.
    DropWriter,
    /// The last item is written, abandoned, and the export called good.
    Abandon,
    /// The last item is written, begun again, written once more, and all is well.
    Restart,
    /// A panic when every item is written but the last is not finished.
    Panic,
    /// Never ends once every item is written but the last is not finished.
    Hang,
}

impl MockExporter {
    /// Exports these items, each a name and its content, in every run.
    #[must_use]
    pub fn new<N: Into<String>, C: Into<Bytes>>(items: impl IntoIterator<Item = (N, C)>) -> Self {
        Self::scripted(ExportScript::new(items))
    }

    /// Follows the script in every run.
    #[must_use]
    pub fn scripted(script: ExportScript) -> Self {
        Self { info: ExporterInfo::new("mock"), scripts: vec![script], runs: Arc::default(), calls: Calls::default() }
    }

    /// Follows this script in the next run; the last one given also in all that come after.
    #[must_use]
    pub fn then(mut self, script: ExportScript) -> Self {
        self.scripts.push(script);
        self
    }

    /// Says that its components are of this kind. Default: "mock".
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.info = ExporterInfo::new(kind);
        self
    }

    /// Says that its items hold secrets.
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.info = self.info.secret();
        self
    }

    /// Notes its calls, as `export COMPONENT`, in this list.
    #[must_use]
    pub fn record(mut self, calls: &Calls) -> Self {
        self.calls = calls.clone();
        self
    }

    /// How many runs began.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.runs.load(Ordering::Relaxed)
    }
}

impl ExportScript {
    /// These items, each a name and its content, and nothing wrong.
    #[must_use]
    pub fn new<N: Into<String>, C: Into<Bytes>>(items: impl IntoIterator<Item = (N, C)>) -> Self {
        let items = items.into_iter().map(|(name, content)| (name.into(), content.into())).collect();
        Self { items, ..Self::default() }
    }

    /// What goes wrong.
    #[must_use]
    pub fn fault(mut self, fault: ExportFault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// Reports something as missing or torn.
    #[must_use]
    pub fn problem(mut self, what: &str, why: &str) -> Self {
        self.report.problems.push(Problem::new(what, why));
        self
    }

    /// Notes something that a reader should know and that is no problem.
    #[must_use]
    pub fn note(mut self, note: &str) -> Self {
        self.report.notes.push(note.to_owned());
        self
    }

    /// Tells a fact of the component.
    #[must_use]
    pub fn fact(mut self, name: &str, value: &str) -> Self {
        self.report.facts = std::mem::take(&mut self.report.facts).with(name, value);
        self
    }

    /// Says what the component truly is.
    #[must_use]
    pub fn identity(mut self, identity: impl Into<String>) -> Self {
        self.report.identity = Some(identity.into());
        self
    }

    /// Writes pieces of at most so many bytes. Default: each item in one piece.
    #[must_use]
    pub fn chunk(mut self, bytes: usize) -> Self {
        self.chunk = Some(bytes.max(1));
        self
    }

    /// Waits so long before each piece, by tokio's time.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    async fn run(&self, out: &dyn ItemSink) -> Result<ExportReport> {
        let mut left = match self.fault {
            Some(ExportFault::AtStart(kind)) => return Err(scripted(kind)),
            Some(ExportFault::After(bytes, kind)) => Some((bytes, kind)),
            _ => None,
        };
        for (i, (name, content)) in self.items.iter().enumerate() {
            let spec = ItemSpec::new(name, "mock").size_hint(content.len() as u64);
            let mut writer = out.item(spec).await?;
            let mut content = content.clone();
            loop {
                let room = left.map_or(u64::MAX, |(bytes, _)| bytes).min(content.len() as u64);
                // At most the length of what is in memory.
                let piece = content.split_to((room as usize).min(self.chunk.unwrap_or(usize::MAX)));
                if !piece.is_empty() {
                    if !self.pause.is_zero() {
                        SystemClock.sleep(self.pause).await;
                    }
                    let written = piece.len() as u64;
                    writer.write(piece).await?;
                    left = left.map(|(bytes, kind)| (bytes - written, kind));
                }
                if let Some((0, kind)) = left {
                    return Err(scripted(kind));
                }
                if content.is_empty() {
                    break;
                }
            }
            match self.fault.filter(|_| i + 1 == self.items.len()) {
                Some(ExportFault::DropWriter) => drop(writer),
                Some(ExportFault::Abandon) => writer.abandon(Problem::new(name, "told to abandon it")).await,
                Some(ExportFault::Restart) => {
                    writer.restart().await?;
                    writer.write(self.items[i].1.clone()).await?;
                    writer.finish(Facts::new()).await?;
                }
                Some(ExportFault::Panic) => panic!("the mock was told to panic"),
                Some(ExportFault::Hang) => std::future::pending().await,
                _ => writer.finish(Facts::new()).await?,
            }
        }
        match self.fault {
            Some(ExportFault::AtEnd(kind)) => Err(scripted(kind)),
            Some(ExportFault::After(bytes, _)) => panic!("told to fail after {bytes} bytes, and there are fewer"),
            _ => Ok(self.report.clone()),
        }
    }
}

#[async_trait]
impl ResourceExporter for MockExporter {
    fn info(&self) -> &ExporterInfo {
        &self.info
    }

    async fn export(&self, request: &ExportRequest, out: &dyn ItemSink) -> Result<ExportReport> {
        self.calls.add(format_args!("export {}", request.component));
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        self.scripts[run.min(self.scripts.len() - 1)].run(out).await
    }
}

impl fmt::Display for MockExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MockExporter({})", self.info.kind)
    }
}
