//! Copying points: bytes first, each proved, the commit last.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::engine::replicate::{ReplicationPlan, ReplicationStep, Replicator};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::name::{Name, PointId, base32};
use crate::source::Problem;
use crate::store::{Key, PutOptions};
use crate::vault::Vault;
use crate::vault::copy::{CopyRecord, copy_object};
use crate::vault::custodians::MAX_KEY_FILE_BYTES;
use crate::vault::layout::{self, KeyFile, MarkName, PointFile};
use crate::vault::list::objects;
use crate::vault::manifest::{MAX_MANIFEST_BYTES, Manifest, ObjectEntry, Status};
use crate::vault::points::list_run;
use crate::vault::prove::{not_listed, prove_object};
use crate::vault::settle::put_new;
use crate::vault::signed::{MAX_SIGNATURE_BYTES, Purpose, Verified};

/// So many sealed keys of an epoch are copied, the oldest: nobody has more custodians, and anybody can plant such files.
const MOST_CUSTODIANS: usize = 64;

/// What a replication did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReplicationReport {
    /// Points that are here now.
    pub copied: Vec<PointId>,
    /// Stored bytes that were sent, or copied by the replica's store itself.
    pub bytes: u64,
    /// Sealed epoch keys that were copied.
    pub keys: u64,
    /// Points that were to be copied and were not, each with the reason.
    pub left: Vec<Problem>,
}

pub(crate) async fn apply(replicator: &Replicator, plan: ReplicationPlan) -> Result<ReplicationReport> {
    let mut report = ReplicationReport::default();
    // Those that are here too: a custodian who was added later opens what was copied before.
    let here = list_keys(&replicator.here).await?;
    let epochs = here.iter().filter_map(epoch_of).chain(plan.steps.iter().filter_map(|step| step.epoch.clone()));
    replicator.copy_keys(&epochs.collect(), here.into_iter().collect(), &mut report).await?;
    for step in &plan.steps {
        if let Err(error) = replicator.copy(step, &mut report).await {
            // One point that cannot be copied must not keep the others; but a store that fails altogether ends it.
            if error.kind().ends_all() || error.kind() == ErrorKind::Exhausted {
                return Err(error.with("point", &step.id).with_payload(report));
            }
            let place = step.id.to_string();
            replicator.observers.emit(&Event::Warning { place: place.clone(), message: error.to_string() });
            report.left.push(Problem::new(place, &error));
        }
    }
    let Some(first) = report.left.first() else { return Ok(report) };
    let text = format!("{} points could not be copied, the first: {}: {}", report.left.len(), first.what, first.why);
    Err(Error::new(ErrorKind::Partial, text).with_payload(report))
}

impl Replicator {
    async fn copy(&self, step: &ReplicationStep, report: &mut ReplicationReport) -> Result<()> {
        let id = &step.id;
        let (found, manifest) = self.origin.read_manifest(id).await?;
        if found.sha256 != step.manifest {
            return Err(Error::new(ErrorKind::Conflict, "another manifest stands there than was planned with")
                .with("point", id)
                .advise("make a new plan, and find out who exchanged it"));
        }
        let committed = match self.origin.copied(id, found.meta.last_modified).await? {
            Some(record) => record.last_modified,
            None => found.meta.last_modified,
        };
        let signature = self.signature(id, &found, committed).await?;
        self.refuse_dying(id).await?;
        self.copy_objects(&manifest, step.bytes, report).await?;
        self.commit(id, &found, &manifest, signature, committed).await?;
        self.observers.emit(&Event::Copied { point: id.clone(), bytes: step.bytes });
        report.copied.push(id.clone());
        Ok(())
    }

    /// The signature that makes the point count, here too.
    async fn signature(&self, id: &PointId, found: &Verified, committed: Timestamp) -> Result<(Key, Bytes)> {
        let prefix = layout::signatures(id, layout::SIGNED_POINT, &found.sha256)?;
        let key = layout::signature(&prefix, &found.signer.key_id)?;
        let (_, text) = self.origin.get_small(&key, MAX_SIGNATURE_BYTES).await?;
        let namespace = Purpose::Point.namespace();
        self.here.trust().verify(&String::from_utf8_lossy(&text), namespace, &found.bytes, committed).map_err(
            |error| error.with("point", id).advise("open the replica with the signers whom the origin trusts"),
        )?;
        Ok((key, text))
    }

    /// Several objects at once. What is here at its size is proved here instead of sent again.
    async fn copy_objects(&self, manifest: &Manifest, all: u64, report: &mut ReplicationReport) -> Result<()> {
        let id = manifest.point();
        let absent = not_listed(self.here.store(), manifest).await?;
        let absent: BTreeSet<Key> = absent.into_iter().map(|(key, _)| key).collect();
        let (origin, store, budget) = (self.origin.shared_store(), self.here.shared_store(), self.here.budget());
        let copy = |object: ObjectEntry| {
            let (origin, store, absent) = (&origin, &store, &absent);
            let parts = manifest.details.as_ref().filter(|details| details.key == object.key).map(|d| &*d.parts);
            async move {
                if !absent.contains(&object.key) {
                    prove_object(&**store, &object, budget)
                        .await
                        .map_err(|error| error.advise("somebody else put it into the replica; remove it there"))?;
                    return Ok((object.bytes, 0));
                }
                copy_object(origin, store, &object, parts, budget).await?;
                Ok::<_, Error>((object.bytes, object.bytes))
            }
        };
        let at_once = budget.limits().open_items.get();
        let mut copying = stream::iter(manifest.objects().map(copy)).buffer_unordered(at_once);
        let mut bytes = 0;
        while let Some((done, sent)) = copying.try_next().await? {
            bytes += done;
            report.bytes += sent;
            self.observers.emit(&Event::CopyProgress { point: id.clone(), bytes, of: all });
        }
        Ok(())
    }

    /// Makes the point exist here. Until the last put nothing shows of it.
    async fn commit(
        &self,
        id: &PointId,
        found: &Verified,
        manifest: &Manifest,
        (signature, text): (Key, Bytes),
        committed: Timestamp,
    ) -> Result<()> {
        let store = self.here.store();
        let record = CopyRecord {
            vault: self.here.id().clone(),
            point: id.clone(),
            origin: self.origin.id().clone(),
            manifest: found.sha256,
            last_modified: committed,
            complete: true,
        };
        match self.here.put_copy(&record).await {
            // Of another replicator with a key of its own; or a plant, which must not keep the point away.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if self.here.copied(id, self.here.store_time()).await?.is_none_or(|other| other != record) {
                    let message = format!("its copy record is not ours, so its age may be doubted: {error}");
                    self.observers.emit(&Event::Warning { place: id.to_string(), message });
                }
            }
            other => other?,
        }
        put_new(store, &signature, text, &PutOptions::default()).await?;
        if manifest.status == Status::Partial {
            let hint = layout::point_file(id, &PointFile::PartialHint)?;
            put_new(store, &hint, Bytes::new(), &PutOptions::default()).await?;
        }
        // Somebody may have deleted the point here while this was on its way.
        self.refuse_dying(id).await?;
        if let Some((key, what)) = not_listed(store, manifest).await?.into_iter().next() {
            return Err(Error::new(ErrorKind::Conflict, what).with("key", key).advise("replicate again"));
        }
        let key = layout::manifest(id)?;
        let (options, other) =
            (PutOptions::default().with_sha256(found.sha256), "the replica has another manifest of this name");
        self.here.put_known(&key, &found.bytes, MAX_MANIFEST_BYTES, &options, other).await.map(drop)
    }

    async fn refuse_dying(&self, id: &PointId) -> Result<()> {
        match list_run(&self.here, id).await? {
            Some(run) if run.marks.contains(&MarkName::Deleted) => {
                // Also by a mark that does not count here: the pruner may know more signers than this program.
                let mark = layout::point_file(id, &PointFile::Mark(MarkName::Deleted))?;
                Err(Error::new(ErrorKind::Refused, "the point is being deleted in the replica")
                    .with("point", id)
                    .with("mark", mark)
                    .advise("if nobody you know marked it, remove the mark there"))
            }
            _ => Ok(()),
        }
    }

    /// Copies the sealed keys of these epochs. Where another key of this name is here, of an epoch of the replica's own or a
    /// plant, the custodian's name gets a tail: a key file counts by what it opens, not by its name.
    async fn copy_keys(
        &self,
        epochs: &BTreeSet<Name>,
        here: BTreeSet<Key>,
        report: &mut ReplicationReport,
    ) -> Result<()> {
        let mut count: BTreeMap<Name, usize> = BTreeMap::new();
        for key in list_keys(&self.origin).await? {
            let Some(KeyFile::Sealed { epoch, custodian }) = layout::key_file(&key) else { continue };
            if !epochs.contains(&epoch) {
                continue;
            }
            let of_epoch = count.entry(epoch.clone()).or_default();
            *of_epoch += 1;
            if *of_epoch > MOST_CUSTODIANS {
                let message =
                    format!("more than {MOST_CUSTODIANS} key files of one epoch: the later ones are not copied");
                self.observers.emit(&Event::Warning { place: key.to_string(), message });
                continue;
            }
            let sealed = match self.origin.get_small(&key, MAX_KEY_FILE_BYTES).await {
                Ok((_, sealed)) => sealed,
                // A plant, or removed meanwhile.
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => {
                    let (place, message) = (key.to_string(), error.to_string());
                    self.observers.emit(&Event::Warning { place, message });
                    continue;
                }
                Err(error) => return Err(error),
            };
            let other = layout::epoch_key(&epoch, &with_tail(&custodian, &sealed)?)?;
            let key = match here.contains(&key) {
                true if self.is_same(&key, &sealed).await? => continue,
                true if here.contains(&other) => continue,
                true => other,
                false => key,
            };
            put_new(self.here.store(), &key, sealed, &PutOptions::default()).await?;
            report.keys += 1;
        }
        Ok(())
    }

    async fn is_same(&self, key: &Key, sealed: &Bytes) -> Result<bool> {
        match self.here.get_small(key, MAX_KEY_FILE_BYTES).await {
            Ok((_, there)) => Ok(there == *sealed),
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The custodian's name with a tail that tells this sealed key from others.
fn with_tail(custodian: &Name, sealed: &Bytes) -> Result<Name> {
    let tail = base32(&Sha256::of(sealed).0[..5]);
    Name::new(format!("{:.54}-{tail}", custodian.as_str()))
}

/// What lies under `keys/`, the oldest first.
async fn list_keys(vault: &Vault) -> Result<Vec<Key>> {
    let mut files = objects(vault.store(), &layout::epoch_keys()?).await?;
    files.sort_by_key(|meta| (meta.last_modified, meta.key.clone()));
    Ok(files.into_iter().map(|meta| meta.key).collect())
}

fn epoch_of(key: &Key) -> Option<Name> {
    match layout::key_file(key)? {
        KeyFile::Sealed { epoch, .. } => Some(epoch),
        KeyFile::Canary { .. } => None,
    }
}
