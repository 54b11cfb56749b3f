//! All that the server knows, behind one lock.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::http::Extensions;

use crate::bucket::Stored;
use crate::clock::Clock;
use crate::error::{Result, denied, no_such_bucket};
use crate::fault::{Script, What};
use crate::op::Op;
use crate::policy::{Facts, Policy};

#[derive(Debug, Default)]
pub(crate) struct Shared(Mutex<World>);

#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) buckets: BTreeMap<String, Stored>,
    /// By access key.
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) script: Script,
    pub(crate) calls: BTreeMap<Op, u64>,
    pub(crate) sequence: u64,
}

pub(crate) struct User {
    pub(crate) secret: String,
    /// What it may do; everything if there is none.
    pub(crate) policy: Option<Policy>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// One call: who makes it, what a policy sees of it, and what it is to meet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Current {
    pub(crate) access_key: String,
    pub(crate) facts: Facts,
    pub(crate) fault: Option<What>,
}

/// Where the layers of the server tell each other of a call. It goes with the request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot(std::sync::Arc<Mutex<Current>>);

impl Shared {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Current> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get::<Slot>().map(|slot| slot.lock().clone()).unwrap_or_default()
    }

    /// The most that a page of a listing may have, if it is asked for `wanted`.
    pub(crate) fn page(&self, wanted: Option<i32>) -> usize {
        let wanted = wanted.map_or(1000, |wanted| usize::try_from(wanted).unwrap_or(0).min(1000));
        match self.fault {
            Some(What::ShortPages(entries)) => wanted.min(entries),
            _ => wanted,
        }
    }
}

impl World {
    pub(crate) fn bucket(&self, name: &str) -> Result<&Stored> {
        self.buckets.get(name).ok_or_else(no_such_bucket)
    }

    pub(crate) fn bucket_mut(&mut self, name: &str) -> Result<&mut Stored> {
        self.buckets.get_mut(name).ok_or_else(no_such_bucket)
    }

    /// A number that was not given out yet.
    pub(crate) fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// A version id that says nothing of its order.
    pub(crate) fn version_id(&mut self) -> String {
        let mixed = self.next().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{mixed:016x}{:016x}", mixed.rotate_left(29) ^ 0x5bd1_e995_a5a5_c3c3)
    }

    pub(crate) fn may(&self, access_key: &str, action: &str, bucket: &str, key: Option<&str>, facts: &Facts) -> bool {
        let resource = match key {
            Some(key) => format!("arn:aws:s3:::{bucket}/{key}"),
            None => format!("arn:aws:s3:::{bucket}"),
        };
        self.users.get(access_key).is_some_and(|user| match &user.policy {
            Some(policy) => policy.allows(action, &resource, facts),
            None => true,
        })
    }

    /// Refuses what the caller's policy does not allow with an object.
    pub(crate) fn authorize(&self, call: &Current, action: &str, bucket: &str, key: &str) -> Result<()> {
        match self.may(&call.access_key, action, bucket, Some(key), &call.facts) {
            true => Ok(()),
            false => Err(denied(action)),
        }
    }
}
