//! Writes what was planned, under Terraform's own lock.

use std::panic::AssertUnwindSafe;

use backstay_core::store::{Key, ObjectMeta, VersionId};
use backstay_core::{Error, ErrorKind, Result, Sha256};
use bytes::Bytes;
use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};

use super::objects::VersionedObjects;
use super::plan::{RestoreVersionPlan, current_of};
use super::state::with_serial;
use crate::s3::Over;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RestoreVersionReport {
    /// Whether the object was written.
    pub written: bool,
    /// Whether the digest was.
    pub digest: bool,
}

impl VersionedObjects {
    /// Brings an earlier version back, as planned: takes the state's lock, writes, keeps the digest, and gives the lock back
    /// whatever happened. It goes on in a task of its own when it is dropped.
    ///
    /// Interrupted between state and digest, it leaves a state that Terraform refuses; the same plan again, or a new one, finishes the
    /// work.
    ///
    /// # Errors
    /// [`Busy`](ErrorKind::Busy) while somebody holds the lock; [`Conflict`](ErrorKind::Conflict) if the object is not the
    /// one that the plan saw; [`Invalid`](ErrorKind::Invalid) for a plan of a push or of another bucket; what the servers
    /// answer.
    pub async fn bring_back(&self, plan: RestoreVersionPlan) -> Result<RestoreVersionReport> {
        if plan.version.is_none() {
            return Err(Error::new(ErrorKind::Invalid, "the plan is one of a push, whose content is given with it"));
        }
        self.write(plan, None).await
    }

    /// Does a plan; `content` is what it writes unless that is a version.
    pub(super) async fn write(&self, plan: RestoreVersionPlan, content: Option<Bytes>) -> Result<RestoreVersionReport> {
        if plan.target != self.store.to_string() {
            return Err(Error::new(ErrorKind::Invalid, "the plan was made for another bucket")
                .with("planned", &plan.target)
                .with("bucket", &self.store));
        }
        let key = Key::new(plan.key.as_str())?;
        self.meant(&key)?;
        let this = self.clone();
        let task = tokio::spawn(async move { this.under_lock(&key, &plan, content).await });
        task.await.map_err(|error| Error::new(ErrorKind::Other, "the task that writes died").because(error))?
    }

    async fn under_lock(
        &self,
        key: &Key,
        plan: &RestoreVersionPlan,
        content: Option<Bytes>,
    ) -> Result<RestoreVersionReport> {
        if !self.are_states() {
            return self.copy(key, plan).await;
        }
        let lock = self.locks.take(&self.store, key, "backstay restore").await?;
        let done = AssertUnwindSafe(self.write_state(key, plan, content)).catch_unwind().await;
        let released = lock.release().await;
        let died = |_| Err(Error::new(ErrorKind::Other, "what writes the state panicked").with("key", key));
        let done = done.unwrap_or_else(died);
        match (done, released) {
            (Ok(report), Ok(())) => Ok(report),
            (Ok(report), Err(left)) => Err(left.with_payload(report)),
            (Err(error), Ok(())) => Err(error),
            (Err(error), Err(left)) => {
                tracing::warn!(error = %left, "the lock of a state could not be given back");
                Err(error)
            }
        }
    }

    async fn write_state(
        &self,
        key: &Key,
        plan: &RestoreVersionPlan,
        content: Option<Bytes>,
    ) -> Result<RestoreVersionReport> {
        let content = match (content, &plan.version) {
            (Some(content), _) => content,
            (None, version) => {
                let found = self.read(key, version.as_deref()).await?;
                let (_, content) = found.ok_or_else(|| moved(key, "the version is gone"))?;
                match plan.serial {
                    Some(serial) => with_serial(&content, serial)?.into(),
                    None => content,
                }
            }
        };
        if plan.sha256 != Some(Sha256::of(&content)) {
            return Err(moved(key, "the content is not the one that was planned"));
        }
        let found = self.read(key, None).await?;
        let there = found.as_ref().is_some_and(|(_, there)| *there == content);
        let mut report = RestoreVersionReport { written: false, digest: false };
        if !there {
            let now = found.as_ref().map(|(meta, _)| current_of(meta, None));
            let planned = plan.current.clone().map(|mut current| {
                current.state = None;
                current
            });
            if now != planned {
                return Err(moved(key, "the state is not the one that was there when the plan was made"));
            }
            self.put(key, &content, over(found.as_ref().map(|(meta, _)| meta))).await?;
            report.written = true;
        }
        if let (Some(table), Some(digest)) = (&self.locks.table, &plan.digest) {
            table.put_digest(&digest.item, &digest.new, digest.old.as_deref()).await.map_err(|error| {
                let advice = "until the digest is kept Terraform refuses the state: apply the same plan again";
                error.with("key", key).advise(advice)
            })?;
            report.digest = true;
        }
        Ok(report)
    }

    async fn put(&self, key: &Key, content: &Bytes, over: Over<'_>) -> Result<()> {
        let Err(error) = self.store.put_json(key, content.clone(), over).await else { return Ok(()) };
        let unmet = error.kind() == ErrorKind::Conflict;
        if !unmet && !error.kind().is_unsure() {
            return Err(error);
        }
        match self.read(key, None).await? {
            // The answer was lost.
            Some((_, there)) if there == *content => Ok(()),
            // A delete marker is something to versitygw, and nothing to Amazon.
            None if unmet && over.is_nothing() => self.store.put_json(key, content.clone(), Over::Anything).await,
            _ => Err(error),
        }
    }

    /// Objects that are no states are copied at the server.
    async fn copy(&self, key: &Key, plan: &RestoreVersionPlan) -> Result<RestoreVersionReport> {
        let version = plan.version.as_deref().unwrap_or_default();
        let (meta, found) = (self.version_meta(key, version).await?, self.head(key).await?);
        let now = found.as_ref().map(|meta| current_of(meta, None));
        if now != plan.current {
            return Err(moved(key, "the object is not the one that was there when the plan was made"));
        }
        if plan.writes {
            let (version, over) = (VersionId(version.to_owned()), over(found.as_ref()));
            if let Err(error) = self.store.copy_version(&meta, &version, over).await {
                let seen = found.and_then(|found| found.version);
                match self.head(key).await {
                    // The answer was lost. Where an etag does not follow from the content, a new plan settles it.
                    Ok(Some(there)) if there.version != seen && there.etag == meta.etag && there.size == meta.size => {}
                    // As above: a delete marker.
                    Ok(None) if error.kind() == ErrorKind::Conflict && seen.is_none() => {
                        self.store.copy_version(&meta, &version, Over::Anything).await?;
                    }
                    _ => return Err(self.unread(error, key.as_str(), plan.version.as_deref())),
                }
            }
        }
        Ok(RestoreVersionReport { written: plan.writes, digest: false })
    }
}

/// What the key must still hold, by what was found there.
fn over(found: Option<&ObjectMeta>) -> Over<'_> {
    match found.map(|meta| meta.etag.as_deref()) {
        None => Over::Nothing,
        Some(Some(etag)) => Over::Etag(etag),
        Some(None) => Over::Anything,
    }
}

fn moved(key: &Key, what: &'static str) -> Error {
    Error::new(ErrorKind::Conflict, what).with("key", key).advise("look at it, and make a new plan")
}
