//! The exporter: a thread reads the tree, this task hands its bytes on.

use async_trait::async_trait;

use super::tally::Tally;
use super::walk::Walk;
use super::{Directory, FORMAT, ITEM, pack};
use crate::error::{Error, ErrorKind, Result};
use crate::source::{ExportReport, ExportRequest, ExporterInfo, ItemSink, ItemSpec, ResourceExporter};
use crate::vault::layout;

#[async_trait]
impl ResourceExporter for Directory {
    fn info(&self) -> &ExporterInfo {
        &self.info
    }

    async fn export(&self, request: &ExportRequest, out: &dyn ItemSink) -> Result<ExportReport> {
        let beacon = request.vault.as_ref().map(layout::beacon).transpose()?;
        let tally = export(self, out, |walk| walk.beacon = beacon.map(|key| key.to_string())).await?;
        Ok(tally.report())
    }
}

/// Exports; `prepare` sees the walk before it begins.
pub(super) async fn export(
    directory: &Directory,
    out: &dyn ItemSink,
    prepare: impl FnOnce(&mut Walk<'_>) + Send + 'static,
) -> Result<Tally> {
    let (root, options) = (directory.root.clone(), directory.options.clone());
    let (pack, mut buffers) = pack::channel();
    let mut item = out.item(ItemSpec::new(ITEM, FORMAT)).await?;
    let thread = tokio::task::spawn_blocking(move || {
        let mut walk = Walk::new(&options, pack)?;
        prepare(&mut walk);
        walk.run(&root)
    });
    // Dropped here or in the middle, the receiver ends the thread at its next buffer or directory.
    while let Some(buffer) = buffers.recv().await {
        item.write(buffer).await?;
    }
    let tally = thread
        .await
        .map_err(|error| Error::new(ErrorKind::Other, "the thread that reads the directory died").because(error))??;
    item.finish(tally.facts()).await?;
    Ok(tally)
}
