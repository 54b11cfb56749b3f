//! What lies in a tier that is no point: run records, and what attempts left.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;

use crate::engine::builder::Inner;
use crate::error::Result;
use crate::name::{Name, PointId, Tag};
use crate::store::{ListEntry, ListOptions, ObjectMeta, Prefix, UploadRef};
use crate::vault::Vault;
use crate::vault::layout::{self, MarkName};
use crate::vault::points::{Listed, list_tier_and_strangers};
use crate::vault::prove::stored_objects;
use crate::vault::runs::{RecordedRun, list_attempts};

/// So many odd things are told one by one, the others only counted: they can be planted.
const TOLD: usize = 100;

/// A tier as the sweep sees it: listed only, nothing is read.
#[derive(Debug, Default)]
pub(crate) struct SweepFacts {
    /// What stands at the runs' commit keys, and beside them.
    pub(crate) listed: BTreeMap<PointId, Listed>,
    /// Keys among them that are nobody's.
    pub(crate) strangers: Vec<String>,
    /// Every run that has a record, every void, and every tombstone of which only the signature is left.
    pub(crate) runs: BTreeMap<PointId, RecordedRun>,
    /// Runs with stored objects under `items/` or `details/`.
    pub(crate) stored: BTreeSet<PointId>,
    /// Unfinished uploads.
    pub(crate) uploads: Uploads,
    /// Runs for whose commit somebody stored a signature.
    pub(crate) signed: BTreeSet<PointId>,
    /// Runs for whose tombstone somebody stored a signature.
    tombstones: BTreeSet<PointId>,
    /// Other keys that are nobody's and runs that nothing names, in words.
    pub(crate) strange: Vec<String>,
}

/// Unfinished uploads by attempt.
pub(crate) type Uploads = BTreeMap<(PointId, Tag), Vec<UploadRef>>;

impl SweepFacts {
    pub(crate) async fn gather(backstay: &Inner, tier: &Name) -> Result<Self> {
        let (vault, source) = (&backstay.vault, &backstay.source);
        let (mut facts, mut odd) = (Self::default(), Vec::new());
        // In this order a run that begins or commits meanwhile is never seen without its record or its point.
        facts.list_stored(vault, source, tier, &mut odd).await?;
        facts.uploads =
            uploads_of(vault, [layout::items_of_tier(source, tier)?, layout::details_of_tier(source, tier)?]).await?;
        let (runs, strangers) = list_attempts(vault, &layout::runs_of_tier(source, tier)?).await?;
        odd.extend(strangers.into_iter().map(|key| format!("{key}: no record of a run")));
        facts.runs = runs;
        let (listed, strangers) = list_tier_and_strangers(vault, source, tier).await?;
        facts.strangers = strangers;
        facts.listed = listed.into_iter().map(|listed| (listed.id.clone(), listed)).collect();

        let longest_run = vault.budget().limits().longest_run;
        odd.extend(facts.runs.values().flat_map(|run| run.absurd(longest_run)));
        let with_uploads = facts.uploads.keys().map(|(id, _)| id);
        let leavings: BTreeSet<&PointId> = facts.stored.iter().chain(&facts.signed).chain(with_uploads).collect();
        let unnamed = |id: &&PointId| {
            let stands = facts.listed.get(id).is_some_and(|listed| {
                // What is being deleted is the prune's until the tombstone is gone.
                listed.manifest.is_some() || listed.marks.contains(&MarkName::Deleted)
            });
            !stands && !facts.runs.contains_key(*id)
        };
        let left_by = match vault.origin() {
            None => "a run that no record names",
            // A replicator that goes on with it leaves no trace here before it is done, so no sweep may take it.
            Some(_) => "a replication that did not finish: replicate again, or remove it by hand",
        };
        odd.extend(leavings.into_iter().filter(unnamed).map(|id| format!("{id}: left by {left_by}")));
        // A void without a record: two sweeps met. It is treated as if its record were there.
        for listed in facts.listed.values().filter(|listed| listed.manifest.is_some() && listed.void_hint) {
            let run = || RecordedRun::unrecorded(listed.id.clone());
            facts.runs.entry(listed.id.clone()).or_insert_with(run);
        }
        // A prune takes the signature of its tombstone last: of one that stopped just before, nothing else is left.
        let anything_else = |id: &PointId| facts.listed.contains_key(id) || facts.stored.contains(id);
        for id in facts.tombstones.iter().filter(|id| !anything_else(id)) {
            facts.runs.entry(id.clone()).or_insert_with(|| RecordedRun::unrecorded(id.clone()));
        }
        let more = odd.len().saturating_sub(TOLD);
        odd.truncate(TOLD);
        if more > 0 {
            odd.push(format!("and {more} more such things in tier {tier}"));
        }
        facts.strange = odd;
        Ok(facts)
    }

    /// Every attempt that has a record.
    pub(crate) fn recorded_attempts(&self) -> impl Iterator<Item = (PointId, Tag)> {
        self.runs.values().flat_map(|run| run.attempts.keys().map(|attempt| (run.id.clone(), attempt.clone())))
    }

    async fn list_stored(&mut self, vault: &Vault, source: &Name, tier: &Name, odd: &mut Vec<String>) -> Result<()> {
        let mut items = vault.store().list(&layout::items_of_tier(source, tier)?, &ListOptions::folders());
        while let Some(entry) = items.next().await {
            let (id, place) = match entry? {
                ListEntry::Folder(folder) => (layout::run_of_folder(&folder), folder.to_string()),
                ListEntry::Object(meta) => (None, meta.key.to_string()),
            };
            match id {
                Some(id) => drop(self.stored.insert(id)),
                None => odd.push(format!("{place}: no run's items")),
            }
        }
        for key in vault.keys(&layout::details_of_tier(source, tier)?).await? {
            match layout::parse_stored(&key) {
                Some((id, _)) => drop(self.stored.insert(id)),
                None => odd.push(format!("{key}: no run's details")),
            }
        }
        let tombstone = MarkName::Deleted.to_string();
        for key in vault.keys(&layout::signatures_of_tier(source, tier)?).await? {
            match layout::parse_signature(&key) {
                Some((id, layout::SIGNED_POINT)) => drop(self.signed.insert(id)),
                Some((id, what)) if what == tombstone => drop(self.tombstones.insert(id)),
                Some(_) => {}
                None => odd.push(format!("{key}: no signature of a run")),
            }
        }
        Ok(())
    }
}

/// The objects that some attempts at a run left.
pub(crate) async fn objects_of(vault: &Vault, id: &PointId, by: impl Fn(&Tag) -> bool) -> Result<Vec<ObjectMeta>> {
    let mut found = stored_objects(vault.store(), id).await?;
    found.retain(|meta| layout::parse_stored(&meta.key).is_some_and(|(_, attempt)| by(&attempt)));
    Ok(found)
}

/// The unfinished uploads under prefixes of `items/` and `details/`.
pub(crate) async fn uploads_of(vault: &Vault, under: [Prefix; 2]) -> Result<Uploads> {
    let mut found = Uploads::new();
    for prefix in under {
        let mut listing = vault.store().uploads(&prefix);
        while let Some(upload) = listing.next().await {
            let upload = upload?;
            if let Some(attempt) = layout::parse_stored(&upload.key) {
                found.entry(attempt).or_default().push(upload);
            }
        }
    }
    Ok(found)
}
