//! Tiers: what is backed up together, how long it stays, how old and how slow it may be.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::name::Name;
use crate::retention::{AnyOf, KeepRules, RetentionPolicy};
use crate::store::Lock;
use crate::tier_lock::{LockMode, TierLock};

/// Scope, retention and objectives of the points that are made under one name. When they are made is up to whoever
/// calls.
///
/// ```
/// use backstay_core::{LockMode, Tier};
/// use backstay_core::retention::Keep;
/// use jiff::ToSpan;
///
/// let tier = Tier::new("daily")
///     .covers(["orders-db"])
///     .keep(Keep::daily(30).weekly(8))
///     .rpo(25.hours())
///     .rto(1.hour())
///     .drill_every(7.days())
///     .lock(LockMode::Governance, 30.days())
///     .time_zone("Europe/Berlin");
/// assert!(tier.problems().is_empty());
///
/// let same: Tier = serde_json::from_str(
///     r#"{
///         "name": "daily",
///         "covers": ["orders-db"],
///         "keep": { "daily": 30, "weekly": 8 },
///         "rpo": "25h",
///         "rto": "1h",
///         "drill_every": "7d",
///         "lock": { "mode": "governance", "time": "30d" },
///         "time_zone": "Europe/Berlin"
///     }"#,
/// )?;
/// assert_eq!(format!("{same:?}"), format!("{tier:?}"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Tier {
    /// Its name: 1 to 63 of `a-z`, `0-9`, `-`.
    #[serde(deserialize_with = "field::name")]
    pub name: String,
    /// The components in its points; all if none is named.
    #[serde(default, deserialize_with = "field::covers")]
    pub covers: Vec<String>,
    /// What stays.
    #[serde(default, deserialize_with = "field::keep")]
    pub keep: KeepRules,
    /// Policies of the application's own, which keep what they keep besides.
    #[serde(skip)]
    pub policies: Vec<Arc<dyn RetentionPolicy>>,
    /// Replicas that its points are copied to, each with what stays there. See [`Replicator`](crate::engine::Replicator).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "field::replicate_to")]
    pub replicate_to: BTreeMap<String, KeepRules>,
    /// Recovery point objective: the newest good item of each component is not older than this.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "field::rpo",
        serialize_with = "jiff::fmt::serde::span::friendly::compact::optional"
    )]
    pub rpo: Option<Span>,
    /// Recovery time objective: a restore takes no longer than this. What a [drill](crate::engine::Backstay::drill) takes from
    /// an empty place to the end of its validation is compared with it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "field::rto",
        serialize_with = "jiff::fmt::serde::span::friendly::compact::optional"
    )]
    pub rto: Option<Span>,
    /// The newest drill of each component is not older than this: else status takes it for late.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "field::drill_every",
        serialize_with = "jiff::fmt::serde::span::friendly::compact::optional"
    )]
    pub drill_every: Option<Span>,
    /// The lock on every object of its points.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "field::lock")]
    pub lock: Option<TierLock>,
    /// The time zone whose calendar retention goes by, by its IANA name. Default: UTC.
    #[serde(default = "utc", deserialize_with = "field::time_zone")]
    pub time_zone: String,
}

impl Tier {
    /// A tier that covers every component, has no objectives, and must still be told what to keep.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            covers: Vec::new(),
            keep: KeepRules::default(),
            policies: Vec::new(),
            replicate_to: BTreeMap::new(),
            rpo: None,
            rto: None,
            drill_every: None,
            lock: None,
            time_zone: utc(),
        }
    }

    /// Adds components to its scope.
    #[must_use]
    pub fn covers<S: Into<String>>(mut self, components: impl IntoIterator<Item = S>) -> Self {
        self.covers.extend(components.into_iter().map(Into::into));
        self
    }

    /// Sets the rules for what stays.
    #[must_use]
    pub fn keep(mut self, rules: KeepRules) -> Self {
        self.keep = rules;
        self
    }

    /// Keeps also what this policy keeps.
    #[must_use]
    pub fn keep_also(mut self, policy: impl RetentionPolicy) -> Self {
        self.policies.push(Arc::new(policy));
        self
    }

    /// Declares that its points are copied to this replica, and what stays there. A point that the replica would keep is not
    /// deleted before it is whole there.
    #[must_use]
    pub fn replicate_to(mut self, replica: impl Into<String>, rules: KeepRules) -> Self {
        self.replicate_to.insert(replica.into(), rules);
        self
    }

    /// Sets the recovery point objective.
    #[must_use]
    pub fn rpo(mut self, span: Span) -> Self {
        self.rpo = Some(span);
        self
    }

    /// Sets the recovery time objective.
    #[must_use]
    pub fn rto(mut self, span: Span) -> Self {
        self.rto = Some(span);
        self
    }

    /// Sets how old the newest drill of each component may be. When drills are done is up to whoever calls.
    #[must_use]
    pub fn drill_every(mut self, span: Span) -> Self {
        self.drill_every = Some(span);
        self
    }

    /// Locks items, details, signature and manifest of its points, each from the moment it is put and for this time.
    /// Retention leaves what is locked; [`roll_locks_forward`](crate::engine::Backstay::roll_locks_forward) keeps the
    /// newest good points locked while newer runs fail. The store must have locks.
    #[must_use]
    pub fn lock(mut self, mode: LockMode, time: Span) -> Self {
        self.lock = Some(TierLock::new(mode, time));
        self
    }

    /// Sets the time zone by its IANA name.
    #[must_use]
    pub fn time_zone(mut self, name: impl Into<String>) -> Self {
        self.time_zone = name.into();
        self
    }

    /// Whether the component belongs into its points.
    #[must_use]
    pub fn covers_component(&self, component: &Name) -> bool {
        self.covers.is_empty() || self.covers.iter().any(|name| name == component.as_str())
    }

    /// The rules and the application's own policies as one.
    #[must_use]
    pub fn policy(&self) -> AnyOf {
        // Empty rules would keep everything.
        let rules = (!self.keep.is_empty()).then(|| Arc::new(self.keep.clone()) as Arc<dyn RetentionPolicy>);
        rules.into_iter().chain(self.policies.iter().cloned()).collect()
    }

    /// The time zone itself.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a name that the machine's time zone database does not have.
    pub fn zone(&self) -> Result<TimeZone> {
        TimeZone::get(&self.time_zone).map_err(|error| {
            Error::new(ErrorKind::Invalid, "no such time zone")
                .with("field", "time_zone")
                .with("got", &self.time_zone)
                .advise("use an IANA name such as Europe/Berlin or UTC")
                .because(error)
        })
    }

    /// The lock of what is put for it at `now`.
    pub(crate) fn lock_from(&self, now: Timestamp) -> Result<Option<Lock>> {
        self.lock.as_ref().map(|lock| lock.beginning(now, self.zone()?)).transpose()
    }

    /// Everything that is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<Error> {
        let names = std::iter::once(("name", &self.name)).chain(self.covers.iter().map(|name| ("covers", name)));
        let names = names.filter_map(|(field, name)| Some(Name::new(name).err()?.with("field", field)));
        let objectives = [("rpo", self.rpo), ("rto", self.rto), ("drill_every", self.drill_every)].into_iter();
        let objectives =
            objectives.filter(|(_, span)| span.is_some_and(|span| !span.is_positive())).map(|(field, _)| {
                Error::new(ErrorKind::Invalid, "an objective is not positive")
                    .with("field", field)
                    .advise("set a span such as 1h, or leave it out")
            });
        let lock = self.lock.as_ref().filter(|lock| !lock.time.is_positive()).map(|_| {
            Error::new(ErrorKind::Invalid, "a lock's time is not positive")
                .with("field", "lock")
                .advise("set a span such as 30d, or leave the lock out")
        });
        // An application's own policy may say all that there is to say.
        let keep = if self.keep.is_empty() && !self.policies.is_empty() { Vec::new() } else { self.keep.problems() };
        let replicas = self.replicate_to.iter().flat_map(|(replica, rules)| {
            let name = Name::new(replica).err().map(|problem| problem.with("field", "replicate_to"));
            name.into_iter().chain(rules.problems()).map(move |problem| problem.with("replica", replica))
        });
        let problems = names.chain(keep).chain(replicas).chain(objectives).chain(lock).chain(self.zone().err());
        problems.map(|problem| problem.with("tier", &self.name)).collect()
    }
}

fn utc() -> String {
    "UTC".to_owned()
}

mod field {
    use std::collections::BTreeMap;

    use jiff::Span;

    use crate::retention::KeepRules;
    use crate::tier_lock::TierLock;

    crate::field::named_fields! {
        name: String, "a tier's name";
        covers: Vec<String>, "a list of components";
        replicate_to: BTreeMap<String, KeepRules>, "a table such as { dr = { daily = 90 } }";
        keep: KeepRules, "a table such as { daily = 30, within = \"14d\" }";
        rpo: Option<Span>, "a span such as \"1h\" or \"PT1H\"";
        rto: Option<Span>, "a span such as \"1h\" or \"PT1H\"";
        drill_every: Option<Span>, "a span such as \"30d\" or \"P30D\"";
        lock: Option<TierLock>, "a table such as { mode = \"compliance\", time = \"30d\" }";
        time_zone: String, "an IANA name such as \"Europe/Berlin\"";
    }
}
