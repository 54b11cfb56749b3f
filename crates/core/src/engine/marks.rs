//! What a person says of a point: hold it, release it, take a deletion back, accept it, retire a component.

use jiff::SignedDuration;

use crate::error::{Error, ErrorKind, Result};
use crate::name::{Name, PointId};
use crate::store::ObjectRef;
use crate::vault::Vault;
use crate::vault::layout::{self, MarkName, PointFile};
use crate::vault::mark::{Mark, MarkKind, Retirement};

/// So long before a grace ends an undelete comes too late: the deletion may be about to begin.
const UNDELETE_UNTIL: SignedDuration = SignedDuration::from_hours(1);

impl Vault {
    /// Keeps a point from being deleted until this hold is [released](Self::release). A point may have several holds; each
    /// name can be used once.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for the point, [`AlreadyExists`](ErrorKind::AlreadyExists) for a name that was used.
    pub async fn hold(&self, point: &PointId, name: &Name, reason: &str) -> Result<()> {
        self.mark(point, MarkKind::Hold { name: name.clone() }, reason).await
    }

    /// Ends a hold.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if the point has no such hold.
    pub async fn release(&self, point: &PointId, name: &Name, reason: &str) -> Result<()> {
        self.get_mark(point, &MarkName::Hold(name.clone())).await?;
        self.mark(point, MarkKind::Release { name: name.clone() }, reason).await
    }

    /// Takes a doubtful point for good: from now on it fills slots and may be the newest.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for the point.
    pub async fn accept(&self, point: &PointId, reason: &str) -> Result<()> {
        self.mark(point, MarkKind::Acceptance, reason).await
    }

    async fn mark(&self, point: &PointId, says: MarkKind, reason: &str) -> Result<()> {
        let manifest = self.points().get(point).await?.sha256;
        let mark = Mark {
            vault: self.id().clone(),
            point: point.clone(),
            manifest,
            says,
            at: self.clock().now(),
            reason: reason.to_owned(),
        };
        self.put_mark(&mark).await.map(drop).map_err(|error| error.operation("mark").with("point", point))
    }

    /// Takes a deletion back while its grace lasts.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if the point is not being deleted; [`Refused`](ErrorKind::Refused) in the last hour
    /// of the grace, by the store's time, because the deletion may be about to begin.
    pub async fn undelete(&self, point: &PointId) -> Result<()> {
        let verified = self.get_mark(point, &MarkName::Deleted).await?;
        let MarkKind::Deletion(work) = &verified.mark.says else {
            return Err(Error::new(ErrorKind::Corrupt, "the tombstone is none").with("point", point));
        };
        let now = self.store().now().await?;
        if work.not_before.duration_since(now) < UNDELETE_UNTIL {
            return Err(Error::new(
                ErrorKind::Refused,
                format!("the grace ends at {}; it is too late", work.not_before),
            )
            .operation("undelete")
            .with("point", point)
            .advise("restore from the point at once, or from a replica"));
        }
        let key = layout::point_file(point, &PointFile::Mark(MarkName::Deleted))?;
        self.delete_all(vec![key.into()]).await
    }

    /// Declares that a component will not come back: its newest good item may expire like any other.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn retire(&self, source: &Name, component: &Name, reason: &str) -> Result<()> {
        let retirement = Retirement {
            vault: self.id().clone(),
            source: source.clone(),
            component: component.clone(),
            at: self.clock().now(),
            reason: reason.to_owned(),
        };
        self.put_retirement(&retirement)
            .await
            .map(drop)
            .map_err(|error| error.operation("retire").with("component", component))
    }

    /// Deletes objects; the first that stays is the error.
    pub(crate) async fn delete_all(&self, what: Vec<ObjectRef>) -> Result<()> {
        self.check_writable()?;
        for outcome in self.store().delete(&what).await? {
            outcome.result.map_err(|error| error.with("key", &outcome.object.key))?;
        }
        Ok(())
    }
}
