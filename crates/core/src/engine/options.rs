//! Three in the morning: what could bring a component back, what would be lost, and how long it takes.

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp, Unit};
use serde::{Deserialize, Serialize};

use crate::engine::builder::Inner;
use crate::engine::options_place::{At, Found, look_into};
use crate::error::{Error, Result};
use crate::name::{Name, PointId};
use crate::vault::Vault;
use crate::vault::manifest::Outcome;

/// So many options are told if nothing else is said.
const TOLD: usize = 20;

/// The options of a recovery that are asked for; await it.
#[must_use = "nothing is looked at before this is awaited"]
pub struct OptionsRequest {
    backstay: Arc<Inner>,
    component: String,
    before: Option<Timestamp>,
    places: Vec<(String, Vault)>,
    told: usize,
}

/// What could bring a component back, newest first. `Display` is a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RecoveryOptions {
    /// Of which source.
    pub source: Name,
    /// Which component.
    pub component: Name,
    /// The state of then or earlier is wanted; of the newest if it was not said, and this is the vault's time.
    pub before: Timestamp,
    /// What could serve, newest first. The first that is [good](RecoveryOption::is_good) loses least.
    pub options: Vec<RecoveryOption>,
    /// Older points that were not looked at.
    pub older: u64,
    /// Places that could not be looked into, and points that cannot be trusted, each with the reason.
    pub problems: Vec<String>,
}

/// One point in one place that could serve.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RecoveryOption {
    /// Where: "vault", or the name that the other place was given.
    pub place: String,
    /// The point.
    pub point: PointId,
    /// The moment that it shows: that of the cut where the exporter told it, else when the run began.
    pub shows: Timestamp,
    /// What was done between that moment and the one asked for is lost. Zero where a host's clock is ahead of it.
    pub loss: SignedDuration,
    /// Good, or incomplete: its items can be restored, but something is missing.
    pub outcome: Outcome,
    /// What of its bytes the listing of that place lacks, or tells at another length; a restore may still find it in another.
    pub missing: Option<String>,
    /// Why the point is in doubt, if it is.
    pub doubt: Option<String>,
    /// Who holds it and why, if somebody does.
    pub held: Option<String>,
    /// It is being deleted: its bytes go from then on.
    pub goes: Option<Timestamp>,
    /// Whether an identity given opens it, as a restore would: in the vault and its replicas those that the vault was opened
    /// with, or the place's own. True where nothing is sealed.
    pub key: bool,
    /// Whether its objects lie in an archive class and must be thawed first, as far as the listing tells classes.
    pub thaw: bool,
    /// Plain bytes.
    pub bytes: u64,
    /// Stored bytes.
    pub stored: u64,
    /// How long a restore would take, at the slowest of the last three from that place. None if that place's history tells of
    /// none, as where no restore was done by who may write history.
    pub takes: Option<Duration>,
}

impl OptionsRequest {
    pub(crate) fn new(backstay: Arc<Inner>, component: String) -> Self {
        Self { backstay, component, before: None, places: Vec::new(), told: TOLD }
    }

    /// The state of this moment or earlier, by the clocks of the hosts that made the points. If not said, the newest: also
    /// what a host made whose clock is ahead; [doubtful](RecoveryOption::doubt), if it is far ahead.
    pub fn before(mut self, time: Timestamp) -> Self {
        self.before = Some(time);
        self
    }

    /// Looks into this vault too: a replica that the builder was not told of.
    pub fn place(mut self, name: impl Into<String>, vault: Vault) -> Self {
        self.places.push((name.into(), vault));
        self
    }

    /// How many options are told; 20 if not said. As many points of a wrong time may be told besides: they take no other's
    /// place.
    pub fn newest(mut self, count: usize) -> Self {
        self.told = count;
        self
    }

    async fn run(self) -> Result<RecoveryOptions> {
        let Inner { source, vault: own, .. } = &*self.backstay;
        let everywhere = self.backstay.everywhere();
        let mut found = RecoveryOptions {
            source: source.clone(),
            component: self.component.parse()?,
            before: self.before.unwrap_or_else(|| own.store_time()),
            options: Vec::new(),
            older: 0,
            problems: Vec::new(),
        };
        let declared = everywhere.replicas().iter().map(|replica| (replica.name.as_str(), &replica.vault));
        let restored_through = |(name, vault)| At { name, vault, through: Some(everywhere) };
        let named = self.places.iter().map(|(name, vault)| At { name, vault, through: None });
        let places = std::iter::once(("vault", own)).chain(declared).map(restored_through).chain(named);
        let (mut options, mut answered, mut failed) = (Vec::new(), false, None);
        for place in places {
            let name = place.name;
            match look_into(place, self.before, self.told, &mut found).await {
                Ok(more) => {
                    answered = true;
                    options.extend(more);
                }
                // A place that is down must not hide the others; that is what they are for.
                Err(error) => {
                    found.problems.push(format!("{name}: {error}"));
                    failed.get_or_insert(error);
                }
            }
        }
        if let Some(error) = failed.filter(|_| !answered) {
            return Err(error);
        }
        let newest_first = |of: &Found| std::cmp::Reverse((of.option.shows, of.option.point.run.clone()));
        options.sort_by_cached_key(newest_first);
        let mut left = [self.told; 2];
        for Found { option, astray } in options {
            let left = &mut left[usize::from(astray)];
            if *left == 0 {
                found.older += 1;
                continue;
            }
            *left -= 1;
            found.options.push(option);
        }
        Ok(found)
    }
}

impl RecoveryOption {
    /// Whether it can be restored now and as a whole, and nothing speaks against it.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let nothing_against = self.missing.is_none() && self.doubt.is_none() && self.goes.is_none();
        self.outcome == Outcome::Good && nothing_against && self.key && !self.thaw
    }
}

impl RecoveryOptions {
    /// The option that loses least and that nothing speaks against.
    #[must_use]
    pub fn best(&self) -> Option<&RecoveryOption> {
        self.options.iter().find(|option| option.is_good())
    }
}

impl IntoFuture for OptionsRequest {
    type Output = Result<RecoveryOptions>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let component = self.component.clone();
        let named = move |error: Error| error.operation("options").with("component", &component);
        Box::pin(async move { self.run().await.map_err(named) })
    }
}

impl fmt::Display for RecoveryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} as of {} or before:", self.component, self.source, self.before)?;
        if self.options.is_empty() {
            f.write_str("\n  nothing can serve")?;
        } else {
            write!(f, "\n  {:12} {:10} {:>12} {:>10}  point and state", "loss", "place", "bytes", "restore")?;
        }
        self.options.iter().try_for_each(|option| write!(f, "\n  {option}"))?;
        if self.older > 0 {
            write!(f, "\n  and {} more points that were not looked at, or are not shown", self.older)?;
        }
        self.problems.iter().try_for_each(|problem| write!(f, "\n  look at: {problem}"))
    }
}

impl fmt::Display for RecoveryOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let loss = self.loss.round(Unit::Second).unwrap_or(self.loss);
        let takes = self.takes.map_or_else(|| "unknown".to_owned(), |takes| format!("{takes:.0?}"));
        write!(f, "{:12} {:10} {:>12} {takes:>10}  {}", format!("{loss:#}"), self.place, self.bytes, self.point)?;
        match &self.missing {
            Some(missing) => write!(f, ", BYTES MISSING: {missing}")?,
            None => f.write_str(if self.outcome == Outcome::Good { ", good" } else { ", incomplete" })?,
        }
        if !self.key {
            f.write_str(", NO KEY")?;
        }
        if self.thaw {
            f.write_str(", must be thawed")?;
        }
        self.goes.iter().try_for_each(|goes| write!(f, ", being deleted from {goes} on"))?;
        self.doubt.iter().try_for_each(|doubt| write!(f, ", DOUBTFUL: {doubt}"))?;
        self.held.iter().try_for_each(|held| write!(f, ", {held}"))
    }
}

impl fmt::Debug for OptionsRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OptionsRequest")
            .field("component", &self.component)
            .field("before", &self.before)
            .finish_non_exhaustive()
    }
}
