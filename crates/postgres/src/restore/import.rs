//! The contract of importers.

use async_trait::async_trait;
use backstay_core::source::{
    CheckReport, ImportOptions, ImportPlan, ImportReport, ItemInfo, ItemSource, ResourceImporter,
};
use backstay_core::{Error, ErrorKind, Result};

use super::archive::Archive;
use super::plan::Planned;
use super::toc::Compression;
use super::{PgRestore, apply, globals, items};

#[async_trait]
impl ResourceImporter for PgRestore {
    fn accepts(&self, item: &ItemInfo) -> bool {
        items::accepts(item)
    }

    /// Needs no server.
    async fn check(&self, items: &dyn ItemSource) -> Result<CheckReport> {
        let found = items::find(items).await?;
        if found.archives.is_empty() && found.globals.is_none() {
            return Err(Error::new(ErrorKind::NotFound, "there is no archive to check"));
        }
        let mut report = CheckReport::default();
        for item in &found.archives {
            let mut archive = Archive::open(items, item).await?;
            let program = self.program(0, &archive.toc).await?;
            archive.list(&program).await?;
            report.entries += archive.toc.entries.len() as u64;
            report.unproved.extend(unproved(item, archive.toc.compression));
            archive.content.parse(&program).await?;
        }
        if let Some(item) = &found.globals {
            let globals = globals::read(items, item).await?;
            report.entries += (globals.roles.len() + globals.tablespaces.len()) as u64;
        }
        report.unproved.push("that a server takes it: a drill restores it".to_owned());
        Ok(report)
    }

    async fn plan(&self, items: &dyn ItemSource, options: &ImportOptions) -> Result<ImportPlan> {
        Ok(Planned::make(self, items, options, None).await?.0.plan)
    }

    async fn apply(&self, items: &dyn ItemSource, plan: ImportPlan) -> Result<ImportReport> {
        apply::apply(self, items, plan).await
    }
}

/// What parsing to the end does not prove of an archive that nobody has the digest of.
fn unproved(item: &ItemInfo, compression: Compression) -> Option<String> {
    if item.digest.is_some() {
        return None;
    }
    let what = match compression {
        Compression::None => "nothing proves its data: it is not compressed, and its digest is not known",
        Compression::Lz4 | Compression::Zstd => {
            "nothing proves its data: its compression has no checksum, and its digest is not known"
        }
        Compression::Zlib => "nothing proves its definitions, only its data: its digest is not known",
    };
    Some(format!("{}: {what}", item.name))
}
