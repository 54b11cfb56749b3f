//! The exporter: an item for each version that was chosen.

use std::collections::BTreeSet;

use async_trait::async_trait;
use backstay_core::source::{
    ExportReport, ExportRequest, ExporterInfo, Facts, ItemSink, ItemSpec, Problem, ResourceExporter,
};
use backstay_core::store::{GetOptions, Key, ObjectStore as _, VersionId};
use backstay_core::{ErrorKind, Result};
use futures_util::TryStreamExt as _;

use super::choose::Choice;
use super::head::StateHead;
use super::listing::{HEAD_BYTES, ObjectVersion};
use super::objects::VersionedObjects;
use super::{OBJECT, STATE};

#[async_trait]
impl ResourceExporter for VersionedObjects {
    fn info(&self) -> &ExporterInfo {
        &self.info
    }

    async fn export(&self, _request: &ExportRequest, out: &dyn ItemSink) -> Result<ExportReport> {
        let mut report = ExportReport::default();
        report.identity = Some(self.store.to_string());
        let (mut choice, mut keys, mut taken) = (Choice::new(self.chosen), BTreeSet::new(), 0_u64);
        let (mut list, mut left_out) = (self.lines(), BTreeSet::new());
        while let Some(found) = list.try_next().await? {
            if let Err(error) = Key::new(found.key.as_str()) {
                if choice.takes(&found) && !is_folder(&found) && left_out.insert(found.key.clone()) {
                    report.problems.push(Problem::new(found.key, error));
                }
                continue;
            }
            if found.deleted && found.latest {
                report.notes.push(format!("{} is deleted, since {}", found.key, found.modified));
            }
            if choice.takes(&found) && self.version_into(&found, out, &mut report).await? {
                taken += 1;
                keys.insert(found.key);
            }
        }
        report.facts = Facts::new().with("objects", keys.len()).with("versions", taken);
        Ok(report)
    }
}

impl VersionedObjects {
    /// Whether it is in an item now.
    async fn version_into(&self, found: &ObjectVersion, out: &dyn ItemSink, report: &mut ExportReport) -> Result<bool> {
        let mut options = GetOptions::default();
        options.version = Some(VersionId(found.version.clone()));
        let got = match self.store.get(&Key::new(found.key.as_str())?, &options).await {
            Ok(got) => got,
            // A rule of the bucket ends earlier versions when it likes.
            Err(error) if error.kind() == ErrorKind::NotFound && !found.latest => {
                report.notes.push(format!("{} went while it was listed", item_name(&found.key, &found.version)));
                return Ok(false);
            }
            Err(error) if error.kind() == ErrorKind::Archived => {
                let error = self.unread(error, &found.key, Some(&found.version));
                report.problems.push(Problem::new(item_name(&found.key, &found.version), error));
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let format = if self.are_states() { STATE } else { OBJECT };
        let name = item_name(&found.key, &found.version);
        let mut item = out.item(ItemSpec::new(name, format).size_hint(found.size)).await?;
        let (mut start, mut body) = (Vec::new(), got.body);
        while let Some(chunk) = body.try_next().await? {
            let rest = (HEAD_BYTES as usize).saturating_sub(start.len()).min(chunk.len());
            start.extend_from_slice(&chunk[..rest]);
            item.write(chunk).await?;
        }
        let head = StateHead::of(&start);
        if self.are_states() && !head.is_state() {
            report.notes.push(format!("{} does not begin as a Terraform state", item_name(&found.key, &found.version)));
        }
        item.finish(facts(found, self.are_states().then_some(head).filter(StateHead::is_state))).await?;
        Ok(true)
    }
}

/// What consoles make to show a folder: there is nothing in it to be lost.
fn is_folder(found: &ObjectVersion) -> bool {
    found.size == 0 && found.key.ends_with('/')
}

/// As S3 names the source of a copy.
fn item_name(key: &str, version: &str) -> String {
    format!("{key}?versionId={version}")
}

fn facts(found: &ObjectVersion, head: Option<StateHead>) -> Facts {
    let facts = Facts::new()
        .with("key", &found.key)
        .with("version", &found.version)
        .with("modified", found.modified)
        .with("current", found.latest)
        .with("etag", &found.etag)
        .with("owner", &found.owner);
    match head {
        Some(head) => facts
            .with("serial", head.serial)
            .with("lineage", head.lineage)
            .with("terraform_version", head.terraform_version),
        None => facts,
    }
}
