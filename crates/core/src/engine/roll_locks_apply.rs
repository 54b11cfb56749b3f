//! Extending locks, on just those versions that belong to a point.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::engine::builder::Inner;
use crate::engine::roll_locks::{RollPlan, RollStep};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::name::PointId;
use crate::source::Problem;
use crate::store::layer::AsOf;
use crate::store::{HeadOptions, Key, ListEntry, ListOptions, Lock, ObjectMeta, ObjectRef, ObjectStore};
use crate::vault::Vault;
use crate::vault::layout::{self, MarkName, SIGNED_POINT};
use crate::vault::points::{Point, list_run};
use crate::vault::wary::Wary;

/// Objects that are looked at, or locked, at a time.
const AT_A_TIME: usize = 16;
/// Some answers tell a time to the second only.
const ROUNDED: SignedDuration = SignedDuration::from_secs(1);

/// What a roll of locks did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RollReport {
    /// Points that are locked longer now.
    pub extended: Vec<PointId>,
    /// Points that were to be locked and were left, or not locked whole, each with the reason.
    pub left: Vec<Problem>,
}

pub(crate) async fn apply(backstay: &Arc<Inner>, plan: RollPlan) -> Result<RollReport> {
    let mut report = RollReport::default();
    for RollStep { id, extend_to, .. } in plan.steps {
        let Some(until) = extend_to else { continue };
        let lock = backstay.tier(id.tier.as_str())?.1.lock_from(plan.made_at)?;
        let Some(lock) = lock else { continue };
        let problems = extend(&backstay.vault, &id, &Lock { until: Some(until), ..lock }).await;
        let problems = problems.map_err(|error| error.with("point", &id))?;
        if problems.is_empty() {
            backstay.observers.emit(&Event::LockExtended { point: id.clone(), until });
            report.extended.push(id);
        } else {
            report.left.extend(problems.into_iter().map(|problem| Problem::new(id.to_string(), problem)));
        }
    }
    let Some(first) = report.left.first() else { return Ok(report) };
    let text = format!("not everything could be locked, the first: {}: {}", first.what, first.why);
    Err(Error::new(ErrorKind::Partial, text).with_payload(report))
}

/// Locks a point for at least as long; what was in the way.
async fn extend(vault: &Vault, id: &PointId, lock: &Lock) -> Result<Vec<String>> {
    let point = match vault.read_point(id).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(vec!["it was deleted meanwhile".to_owned()]),
        other => other?,
    };
    if let Some(run) = list_run(vault, id).await?
        && Wary::default().mark_that_counts(vault, &run, &MarkName::Deleted).await?.is_some()
    {
        return Ok(vec!["it is being deleted".to_owned()]);
    }
    let Stored { objects, problems } = Stored::of(vault, &point).await?;
    let mut shorter = objects.into_iter().filter(|meta| meta.lock.is_none_or(|old| old.until < lock.until));
    // Prune goes by the manifest's lock, so it alone comes first.
    if let Some(manifest) = shorter.next() {
        protect(vault, manifest, lock).await?;
    }
    let others = shorter.map(|meta| protect(vault, meta, lock));
    stream::iter(others).buffered(AT_A_TIME).try_collect::<()>().await?;
    Ok(problems)
}

async fn protect(vault: &Vault, meta: ObjectMeta, lock: &Lock) -> Result<()> {
    // A lock that nobody may lift cannot become one that somebody may.
    let lock = meta.lock.map_or(*lock, |old| Lock { hold: false, ..old.extended_by(lock) });
    let what = ObjectRef { key: meta.key, version: meta.version };
    vault.store().protect(&what, &lock).await.map_err(|error| error.with("key", &what.key))
}

/// What of a point lies in the store: of each object the version that its run put, whatever came over it.
pub(crate) struct Stored {
    /// The manifest first.
    objects: Vec<ObjectMeta>,
    /// What is missing or not as long as signed.
    pub(crate) problems: Vec<String>,
}

impl Stored {
    pub(crate) async fn of(vault: &Vault, point: &Point) -> Result<Self> {
        let mut store = vault.shared_store();
        if store.capabilities().versions {
            let committed = point.committed.saturating_add(ROUNDED).unwrap_or(point.committed);
            store = Arc::new(AsOf::new(store, committed)?);
        }
        let beside = std::iter::once(layout::manifest(&point.id)?).chain(signatures(vault, &*store, point).await?);
        let signed = point.manifest.objects().map(|object| (object.key, Some(object.bytes)));
        let heads = beside.map(|key| (key, None)).chain(signed).map(|(key, bytes)| head(&*store, key, bytes));
        let found: Vec<_> = stream::iter(heads).buffered(AT_A_TIME).try_collect().await?;
        let (mut objects, mut problems) = (Vec::new(), Vec::new());
        for outcome in found {
            match outcome {
                Ok(meta) => objects.push(meta),
                Err(problem) => problems.push(problem),
            }
        }
        Ok(Self { objects, problems })
    }

    /// When the first lock ends; none if an object has none.
    pub(crate) fn locked_until(&self) -> Option<Timestamp> {
        self.objects.iter().map(|meta| meta.lock.and_then(|lock| lock.until)).min().flatten()
    }
}

/// The signatures that make the point count.
async fn signatures(vault: &Vault, store: &dyn ObjectStore, point: &Point) -> Result<Vec<Key>> {
    let prefix = layout::signatures(&point.id, SIGNED_POINT, &point.sha256)?;
    let trusted = vault.trust().key_ids();
    let keys = store.list(&prefix, &ListOptions::default()).try_filter_map(|line| {
        let key = match line {
            ListEntry::Object(meta) => Some(meta.key),
            ListEntry::Folder(_) => None,
        };
        let by_trusted = |key: &Key| layout::signature_key_id(&prefix, key).is_some_and(|id| trusted.contains(id));
        std::future::ready(Ok(key.filter(by_trusted)))
    });
    keys.try_collect().await
}

/// What the store knows of an object, its lock with it; or, as a problem, that it is not what was signed.
async fn head(store: &dyn ObjectStore, key: Key, bytes: Option<u64>) -> Result<Result<ObjectMeta, String>> {
    match store.head(&key, &HeadOptions::default()).await {
        Ok(meta) if bytes.is_none_or(|bytes| bytes == meta.size) => Ok(Ok(meta)),
        Ok(meta) => Ok(Err(format!("{key} has {} bytes, which is not what was signed", meta.size))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Err(format!("{key} is missing"))),
        Err(error) => Err(error.with("key", key)),
    }
}
