//! A file as a component of one item, and back into a file.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;

use async_trait::async_trait;
use backstay::source::{
    CheckReport, ExportReport, ExportRequest, ExporterInfo, Facts, ImportAction, ImportOptions, ImportPlan,
    ImportReport, ItemInfo, ItemSink, ItemSource, ItemSpec, ResourceExporter, ResourceImporter,
};
use backstay::{Error, ErrorKind, Result};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;

const CHUNK: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct FileExporter {
    path: PathBuf,
    info: ExporterInfo,
}

#[derive(Debug)]
pub(crate) struct FileImporter(PathBuf);

impl FileExporter {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), info: ExporterInfo::new("file") }
    }
}

impl FileImporter {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
}

#[async_trait]
impl ResourceExporter for FileExporter {
    fn info(&self) -> &ExporterInfo {
        &self.info
    }

    async fn export(&self, _: &ExportRequest, out: &dyn ItemSink) -> Result<ExportReport> {
        let mut writer = out.item(ItemSpec::new("content", "file")).await?;
        let (send, mut receive) = mpsc::channel(4);
        let mut file = File::open(&self.path).map_err(failed)?;
        let reader = tokio::task::spawn_blocking(move || {
            loop {
                let mut buffer = BytesMut::zeroed(CHUNK);
                match file.read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(read) => buffer.truncate(read),
                    Err(error) => return Err(failed(error)),
                }
                if send.blocking_send(buffer.freeze()).is_err() {
                    return Ok(());
                }
            }
        });
        while let Some(chunk) = receive.recv().await {
            writer.write(chunk).await?;
        }
        reader.await.map_err(|error| Error::new(ErrorKind::Other, "the reader died").because(error))??;
        writer.finish(Facts::new()).await?;
        Ok(ExportReport::default())
    }
}

#[async_trait]
impl ResourceImporter for FileImporter {
    fn accepts(&self, item: &ItemInfo) -> bool {
        item.format == "file"
    }

    async fn check(&self, _: &dyn ItemSource) -> Result<CheckReport> {
        Ok(CheckReport::default())
    }

    async fn plan(&self, _: &dyn ItemSource, options: &ImportOptions) -> Result<ImportPlan> {
        let mut plan = ImportPlan::new(self.to_string(), options);
        plan.add(ImportAction::Create, "content", "absent");
        Ok(plan)
    }

    async fn apply(&self, items: &dyn ItemSource, _: ImportPlan) -> Result<ImportReport> {
        let item = items.list().next().await.ok_or_else(|| Error::new(ErrorKind::NotFound, "no item"))??;
        let mut content = items.open(&item).await?;
        // What waits here is the importer's own memory.
        let (send, mut receive) = mpsc::channel::<Bytes>(1);
        let mut file = File::create_new(&self.0).map_err(failed)?;
        let writer = tokio::task::spawn_blocking(move || {
            while let Some(chunk) = receive.blocking_recv() {
                // A long write makes the kernel look for long runs of free memory, at three times the cost.
                chunk.chunks(256 << 10).try_for_each(|piece| file.write_all(piece))?;
            }
            file.sync_all()
        });
        let mut report = ImportReport::default();
        while let Some(chunk) = content.try_next().await? {
            report.bytes += chunk.len() as u64;
            if send.send(chunk).await.is_err() {
                break;
            }
        }
        drop(send);
        writer
            .await
            .map_err(|error| Error::new(ErrorKind::Other, "the writer died").because(error))?
            .map_err(failed)?;
        report.add(ImportAction::Create);
        Ok(report)
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Other, "the file cannot be read or written").because(error)
}

impl fmt::Display for FileExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file {}", self.path.display())
    }
}

impl fmt::Display for FileImporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file {}", self.0.display())
    }
}
