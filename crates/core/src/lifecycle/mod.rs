//! Lifecycle rules for the platform: cheaper classes for old items, an end for what nobody sees any more.
//!
//! They are rendered, never set: whoever owns the bucket looks at them and puts them in place.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, SpanRelativeTo};
use serde_json::Value;

use crate::digest::Blake3;
use crate::engine::Backstay;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Limits;
use crate::name::Name;
use crate::store::Prefix;
use crate::tier::Tier;

mod azure;
mod class;
mod s3;
mod warn;

pub use class::StorageClass;

/// The most days that the platforms count.
const MOST_DAYS: u32 = i32::MAX.unsigned_abs();

/// Where the items lie, a folder for each tier below.
const ITEMS: &str = "items/";

/// All folders with a folder for each tier.
const OF_TIERS: [&str; 7] = [ITEMS, "details/", "points/", "sigs/", "copies/", "proofs/", "runs/"];

/// What the platform may do by itself with the objects of a source's tiers.
///
/// Only items change their class: whoever lists, decides or opens a vault reads the other folders, and their objects are
/// few and small. Nothing that is the newest content of its key ever expires, and earlier contents only of items: those
/// of points, signatures and keys are what [`as_of`](crate::vault::Vault) goes back to.
///
/// ```
/// use backstay_core::lifecycle::{Lifecycle, StorageClass};
/// use backstay_core::retention::Keep;
/// use backstay_core::Tier;
/// use jiff::ToSpan;
///
/// let tier = Tier::new("daily").keep(Keep::daily(30).monthly(12)).rto(1.hour());
/// let rules = Lifecycle::new("prod-eu".parse()?).tier(&tier).s3()?;
/// assert_eq!(rules.json["Rules"][0]["Filter"]["And"]["Prefix"], "items/prod-eu/daily/");
/// // What lies in an archive cannot be restored within the hour.
/// assert!(rules.warnings[0].contains("GLACIER"));
/// println!("{rules}");
/// # Ok::<(), backstay_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Lifecycle {
    source: Name,
    tiers: Vec<TierFacts>,
    prefix: String,
    moves: Vec<(StorageClass, u32)>,
    earlier_days: u32,
    expire_days: Option<u32>,
    longest_run: Duration,
}

/// What the rules need to know of a tier.
#[derive(Clone, Debug)]
struct TierFacts {
    name: String,
    /// After so many days a rule lets go what it kept, with the rule's words.
    lifetimes: Vec<(String, f64)>,
    /// Something keeps points that no time is told of.
    ageless: bool,
    rto: Option<SignedDuration>,
}

/// Rules in the platform's own words.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RenderedLifecycle {
    /// As the platform's tools take it.
    pub json: Value,
    /// Where a rule costs more than it saves, breaks an objective or endangers points. Read them before you set it.
    pub warnings: Vec<String>,
}

impl Lifecycle {
    /// Infrequent access after 30 days, archive after 90; earlier contents of items end after 30 days, and uploads that
    /// nobody completed a day after the [longest run](Self::longest_run) could have.
    #[must_use]
    pub fn new(source: Name) -> Self {
        let moves = vec![(StorageClass::Infrequent, 30), (StorageClass::Archive, 90)];
        let longest_run = Limits::default().longest_run;
        Self {
            source,
            tiers: Vec::new(),
            prefix: String::new(),
            moves,
            earlier_days: 30,
            expire_days: None,
            longest_run,
        }
    }

    /// Adds the rules of a tier.
    #[must_use]
    pub fn tier(mut self, tier: &Tier) -> Self {
        let rto = tier.rto.and_then(|rto| rto.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
        self.tiers.push(TierFacts {
            name: tier.name.clone(),
            lifetimes: tier.keep.lifetimes_in_days(),
            ageless: tier.keep.is_ageless() || !tier.policies.is_empty(),
            rto,
        });
        self
    }

    /// Where the vault lies in its bucket: the key's beginning, or on Azure the container and the key's beginning.
    #[must_use]
    pub fn under(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Moves items to these classes, each at this age in days, instead of the usual ones. Nothing is moved if there are none.
    #[must_use]
    pub fn moves(mut self, moves: impl IntoIterator<Item = (StorageClass, u32)>) -> Self {
        self.moves = moves.into_iter().collect();
        self.moves.sort_by_key(|(_, days)| *days);
        self
    }

    /// How long a run may take, as [`Limits::longest_run`] has it; that default if not said. No upload is ended that a run
    /// may still complete, and what was thawed is not archived again while a restore may read it.
    #[must_use]
    pub fn longest_run(mut self, time: Duration) -> Self {
        self.longest_run = time;
        self
    }

    /// Ends earlier contents of items, which a deletion or an attacker's overwrite leaves, after so many days. On Azure, which
    /// counts from when they were written, so many days after the tier's rules have let the item go.
    #[must_use]
    pub fn earlier_contents(mut self, days: u32) -> Self {
        self.earlier_days = days;
        self
    }

    /// Lets the platform delete everything of these tiers at this age, points and signatures too. No guard of prune stands
    /// before it: a month of failed runs, and the only good point is gone.
    #[must_use]
    pub fn expire_without_guards(mut self, days: u32) -> Self {
        self.expire_days = Some(days);
        self
    }

    /// For `aws s3api put-bucket-lifecycle-configuration --lifecycle-configuration file://...`, which replaces all rules
    /// that the bucket has: put these beside others that are to stay.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) with every mistake: no tier, a class that is named twice, is reached before the one
    /// above it or sooner than the platform allows, a time of no days.
    pub fn s3(&self) -> Result<RenderedLifecycle> {
        self.check(&s3::PLATFORM)?;
        Ok(RenderedLifecycle { json: s3::render(self), warnings: warn::warnings(self, &s3::PLATFORM) })
    }

    /// For `az storage account management-policy create --account-name ... --resource-group ... --policy @...`.
    ///
    /// An account has one policy for all its containers, and this command replaces it with every rule that is in it, those
    /// of other vaults and programs too. Where one is there, look at it by `az storage account management-policy show
    /// --query policy`, put the rules of this one into its `rules`, in place of those of the same names, and create the whole.
    /// A name tells the place of its rule; that of a tier which is no more is taken out by hand.
    ///
    /// What was thawed stays out of the archive for the [longest run](Self::longest_run) and a day, so that a restore can
    /// read it. An item that came to a warmer class goes on to the archive after as long at the earliest. Blocks that nobody
    /// committed need no rule: the platform drops them a week after the last of them came.
    ///
    /// # Errors
    /// As [`s3`](Self::s3), and for a place that does not begin with the container. Both archives are one class there.
    pub fn azure(&self) -> Result<RenderedLifecycle> {
        self.check(&azure::PLATFORM)?;
        if self.prefix.split('/').next().is_none_or(str::is_empty) {
            return Err(Error::new(ErrorKind::Invalid, "it does not say in which container the vault lies")
                .advise("name it by `under(\"CONTAINER\")` or `under(\"CONTAINER/PREFIX\")`"));
        }
        Ok(RenderedLifecycle { json: azure::render(self), warnings: warn::warnings(self, &azure::PLATFORM) })
    }

    fn check(&self, platform: &class::Platform) -> Result<()> {
        let mut problems = Vec::new();
        if self.tiers.is_empty() {
            problems.push("it has no tier".to_owned());
        }
        let mut names = BTreeSet::new();
        for TierFacts { name, .. } in &self.tiers {
            if !names.insert(name) {
                problems.push(format!("the tier {name} is there twice: platforms want a rule's name once"));
            }
        }
        if let Err(flaw) = Prefix::new(self.prefix.as_str()) {
            problems.push(format!("no vault lies under {:?}: {}", self.prefix, flaw.message()));
        }
        if self.earlier_days == 0 || self.expire_days == Some(0) {
            problems.push("a time of no days ends things at once".to_owned());
        }
        for (at, (class, days)) in self.moves.iter().enumerate() {
            let facts = platform.facts(*class);
            let same = self.moves[..at].iter().find(|(above, _)| platform.facts(*above).name == facts.name);
            if let Some((_, before)) = same {
                let name = facts.name;
                problems.push(format!("items move to {name} twice, at {before} and at {days} days: leave one out"));
                continue;
            }
            let (earliest, why) = match self.moves[..at].last() {
                Some((above, _)) if above >= class => {
                    problems.push(format!("{} comes after a class that is as cold", facts.name));
                    continue;
                }
                Some((_, before)) => (before + facts.days_after_warmer, "after the class above it"),
                None => (facts.earliest_days, "of age"),
            };
            if *days < earliest.max(1) {
                let earliest = earliest.max(1);
                problems.push(format!("{} at {days} days: the platform moves at {earliest} days {why}", facts.name));
            }
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Invalid, format!("the lifecycle cannot be rendered: {}", problems.join("; ")))
            .advise("name tiers by `tier`, classes and days by `moves`"))
    }

    /// Of tiers and sources whose names join alike, and of the same ones elsewhere, it is told by its end.
    fn rule_name(&self, tier: &TierFacts, what: &str) -> String {
        let place = Blake3::of(self.items(tier).as_bytes()).to_string();
        format!("backstay-{}-{}-{what}-{}", self.source, tier.name, place.get(..8).unwrap_or(&place))
    }

    /// Days after which no run is alive any more, and one more, as a sweep gives.
    fn days_of_a_run(&self) -> u32 {
        let seconds = self.longest_run.as_secs().saturating_add(u64::from(self.longest_run.subsec_nanos() > 0));
        u32::try_from(seconds.div_ceil(24 * 3600) + 1).unwrap_or(MOST_DAYS).min(MOST_DAYS)
    }

    /// Where the objects of a tier lie, under one folder of the vault.
    fn place(&self, folder: &str, tier: &TierFacts) -> String {
        let prefix = self.prefix.trim_end_matches('/');
        let separator = if prefix.is_empty() { "" } else { "/" };
        format!("{prefix}{separator}{folder}{}/{}/", self.source, tier.name)
    }

    fn items(&self, tier: &TierFacts) -> String {
        self.place(ITEMS, tier)
    }
}

impl Backstay {
    /// Lifecycle rules for the tiers of this program, to be rendered for the platform that keeps its vault.
    #[must_use]
    pub fn lifecycle(&self) -> Lifecycle {
        let lifecycle = Lifecycle::new(self.0.source.clone()).longest_run(self.0.vault.budget().limits().longest_run);
        self.0.tiers.iter().fold(lifecycle, Lifecycle::tier)
    }
}

impl fmt::Display for RenderedLifecycle {
    /// The JSON. Warnings are apart, so that this can go into a file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.json)
    }
}

#[cfg(test)]
mod tests;
