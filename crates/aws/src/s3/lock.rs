//! Locks: set in the put itself, and later only extended.

use aws_sdk_s3::types::{
    ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockMode, ObjectLockRetention, ObjectLockRetentionMode,
};
use aws_smithy_types::DateTime;
use backstay_core::store::{Lock, ObjectRef};
use backstay_core::{Error, ErrorKind, Result};
use jiff::Timestamp;

use super::answer::time;
use super::store::{S3Store, to};
use crate::error::{Call, Told};

const RETENTION: Call = Call { name: "protect", api: "PutObjectRetention", right: "s3:PutObjectRetention" };
const HOLD: Call = Call { name: "protect", api: "PutObjectLegalHold", right: "s3:PutObjectLegalHold" };

/// A lock as the headers of a put have it.
#[derive(Clone, Debug, Default)]
pub(super) struct LockHeaders {
    pub(super) mode: Option<ObjectLockMode>,
    pub(super) until: Option<DateTime>,
    pub(super) hold: Option<ObjectLockLegalHoldStatus>,
}

impl LockHeaders {
    pub(super) fn of(lock: Option<&Lock>) -> Self {
        let Some(lock) = lock else { return Self::default() };
        let mode = if lock.bypassable { ObjectLockMode::Governance } else { ObjectLockMode::Compliance };
        Self {
            mode: lock.until.map(|_| mode),
            until: lock.until.map(whole_seconds),
            hold: lock.hold.then_some(ObjectLockLegalHoldStatus::On),
        }
    }
}

/// The lock that an answer tells; none if it tells of none.
pub(super) fn told(
    mode: Option<&ObjectLockMode>,
    until: Option<&DateTime>,
    hold: Option<&ObjectLockLegalHoldStatus>,
) -> Option<Lock> {
    let mut lock = Lock::default();
    lock.until = until.copied().and_then(time);
    lock.bypassable = lock.until.is_some() && mode == Some(&ObjectLockMode::Governance);
    lock.hold = hold == Some(&ObjectLockLegalHoldStatus::On);
    (lock != Lock::default()).then_some(lock)
}

/// Not a moment shorter: servers keep seconds.
fn whole_seconds(until: Timestamp) -> DateTime {
    let part = i64::from(until.subsec_nanosecond() > 0);
    DateTime::from_secs(until.as_second().saturating_add(part))
}

impl S3Store {
    pub(super) async fn lock_object(&self, what: &ObjectRef, lock: &Lock) -> Result<()> {
        if !self.0.capabilities.locks {
            return Err(self.without_locks(RETENTION, what.key.as_str()));
        }
        // What holds is only extended, also by a server that would let it be shortened.
        let found = self.head_object(&what.key, what.version.as_ref()).await;
        let found = found.map_err(|error| error.advise("a lock is looked at before it is extended"))?;
        let holds = found.lock.unwrap_or_default();
        let wanted = holds.extended_by(lock);
        let version = what.version.clone().or(found.version).map(|version| version.0);
        if wanted.until.is_some() && (wanted.until, wanted.bypassable) != (holds.until, holds.bypassable) {
            self.retain(what, version.clone(), &wanted).await?;
        }
        if wanted.hold && !holds.hold {
            let hold = ObjectLockLegalHold::builder().status(ObjectLockLegalHoldStatus::On).build();
            let call = to!(self, put_object_legal_hold).key(what.key.as_str()).set_version_id(version).legal_hold(hold);
            let told = call.send().await.map_err(Told::of);
            told.map_err(|told| self.error(told, HOLD, what.key.as_str()))?;
        }
        Ok(())
    }

    async fn retain(&self, what: &ObjectRef, version: Option<String>, lock: &Lock) -> Result<()> {
        let mode =
            if lock.bypassable { ObjectLockRetentionMode::Governance } else { ObjectLockRetentionMode::Compliance };
        let until = lock.until.map(whole_seconds);
        let retention = ObjectLockRetention::builder().mode(mode).set_retain_until_date(until).build();
        let call = to!(self, put_object_retention).key(what.key.as_str()).set_version_id(version).retention(retention);
        let told = call.send().await.map_err(Told::of);
        told.map(drop).map_err(|told| self.error(told, RETENTION, what.key.as_str()))
    }

    pub(super) fn without_locks(&self, call: Call, key: &str) -> Error {
        self.fault(call, ErrorKind::Unsupported, "the bucket has no object lock", key).advise(
            "it is chosen when a bucket is made; where the credential may not look, the builder's `locks` declares it",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_told_as_it_was_set_and_never_shorter() {
        let until: Timestamp = "2026-11-20T06:42:00.5Z".parse().unwrap();
        for bypassable in [false, true] {
            let mut lock = Lock::until(until);
            lock.bypassable = bypassable;
            let LockHeaders { mode, until: sent, hold } = LockHeaders::of(Some(&lock));
            let told = told(mode.as_ref(), sent.as_ref(), hold.as_ref()).unwrap();
            assert_eq!((told.until, told.bypassable), ("2026-11-20T06:42:01Z".parse().ok(), bypassable));
        }
        let mut hold = Lock::default();
        hold.hold = true;
        let headers = LockHeaders::of(Some(&hold));
        assert!(headers.mode.is_none() && headers.until.is_none());
        assert_eq!(told(None, None, headers.hold.as_ref()), Some(hold));
        assert_eq!(told(None, None, Some(&ObjectLockLegalHoldStatus::Off)), None);
    }
}
