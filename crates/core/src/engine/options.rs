//! Three in the morning: what could bring a component back, what would be lost, and how long it takes.

use std::collections::HashMap;
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp, Unit};
use serde::{Deserialize, Serialize};

use crate::engine::builder::Inner;
use crate::engine::prune_facts::{hold_now, may_go_from};
use crate::engine::prune_proof::flood;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Name, PointId};
use crate::store::{ListEntry, ListOptions};
use crate::vault::history::Act;
use crate::vault::layout::{self, MarkName};
use crate::vault::lookback::Lookback;
use crate::vault::manifest::{Component, Outcome};
use crate::vault::points::{Point, list_tier};
use crate::vault::wary::Wary;
use crate::vault::{Epoch, Vault};

/// So many options are told if nothing else is said.
const TOLD: usize = 20;
/// So many points are read in vain before the search ends.
const SEARCHED: usize = 64;
/// Restores of the component from whose records the speed is taken, and how many records are read to find them.
const RATES: usize = 3;
const RECORDS: usize = 12;

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
    /// The state of then or earlier is wanted.
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
    /// What was done between that moment and the one asked for is lost.
    pub loss: SignedDuration,
    /// Good, or incomplete: its items can be restored, but something is missing.
    pub outcome: Outcome,
    /// Why the point is in doubt, if it is.
    pub doubt: Option<String>,
    /// Who holds it and why, if somebody does.
    pub held: Option<String>,
    /// It is being deleted: its bytes go from then on.
    pub goes: Option<Timestamp>,
    /// Whether an identity given opens it; true where nothing is sealed.
    pub key: bool,
    /// Whether its objects lie in an archive class and must be thawed first, as far as the listing tells classes.
    pub thaw: bool,
    /// Plain bytes.
    pub bytes: u64,
    /// Stored bytes.
    pub stored: u64,
    /// How long a restore would take, at the slowest of the last three from that place; none if there was none.
    pub takes: Option<Duration>,
}

/// A point to look at: in which tier's [`Lookback`], at which place in it.
struct Candidate {
    id: PointId,
    tier: usize,
    i: usize,
}

struct Place<'a> {
    name: &'a str,
    vault: &'a Vault,
    tiers: Vec<Lookback<'a>>,
    /// Bytes a second.
    rate: Option<f64>,
    keys: HashMap<Option<Name>, bool>,
}

impl OptionsRequest {
    pub(crate) fn new(backstay: Arc<Inner>, component: String) -> Self {
        Self { backstay, component, before: None, places: Vec::new(), told: TOLD }
    }

    /// The state of this moment or earlier; of now if not said.
    pub fn before(mut self, time: Timestamp) -> Self {
        self.before = Some(time);
        self
    }

    /// Looks into this vault too: a replica that the builder was not told of.
    pub fn place(mut self, name: impl Into<String>, vault: Vault) -> Self {
        self.places.push((name.into(), vault));
        self
    }

    /// How many options are told; 20 if not said.
    pub fn newest(mut self, count: usize) -> Self {
        self.told = count;
        self
    }

    async fn run(self) -> Result<RecoveryOptions> {
        let (source, own) = (&self.backstay.source, &self.backstay.vault);
        let declared =
            self.backstay.everywhere().replicas().iter().map(|replica| (replica.name.as_str(), &replica.vault));
        let before = self.before.unwrap_or_else(|| own.store_time());
        let component: Name = self.component.parse()?;
        let mut found = RecoveryOptions {
            source: source.clone(),
            component,
            before,
            options: Vec::new(),
            older: 0,
            problems: Vec::new(),
        };
        let named = self.places.iter().map(|(name, vault)| (&**name, vault));
        let places = std::iter::once(("vault", own)).chain(declared).chain(named);
        let (mut there, mut failed) = (0, None);
        for (name, vault) in places {
            there += 1;
            // A place that is down must not hide the others; that is what they are for.
            if let Err(error) = look_into(name, vault, self.told, &mut found).await {
                found.problems.push(format!("{name}: {error}"));
                failed.get_or_insert(error);
            }
        }
        if let Some(error) = failed.filter(|_| found.problems.len() == there && found.options.is_empty()) {
            return Err(error);
        }
        found.options.sort_by(|a, b| (b.shows, &b.point.run).cmp(&(a.shows, &a.point.run)));
        found.older += found.options.len().saturating_sub(self.told) as u64;
        found.options.truncate(self.told);
        Ok(found)
    }
}

/// Adds what one place has: lists all its points, and reads the newest ones before the moment asked for.
async fn look_into(name: &str, vault: &Vault, told: usize, found: &mut RecoveryOptions) -> Result<()> {
    let source = found.source.clone();
    let rate = rate(vault, &source, &found.component).await?;
    let mut place = Place { name, vault, tiers: Vec::new(), rate, keys: HashMap::new() };
    let mut candidates = Vec::new();
    for (tier, folder) in vault.points().tiers(&source).await?.iter().enumerate() {
        let lookback = Lookback::new(vault, list_tier(vault, &source, folder, None, None).await?, Wary::default());
        let ids = (0..lookback.len()).map(|i| Candidate { id: lookback.run(i).id.clone(), tier, i });
        candidates.extend(ids.filter(|candidate| candidate.id.run.time() <= found.before));
        place.tiers.push(lookback);
    }
    candidates.sort_unstable_by(|a, b| b.id.run.cmp(&a.id.run));
    // All are read before the first is judged: most are compared with each other.
    let (mut serve, mut plants, mut in_vain) = (Vec::new(), Vec::new(), 0);
    let mut rest = candidates.into_iter();
    while serve.len() < told && in_vain < SEARCHED {
        let Some(candidate) = rest.next() else { break };
        let tier = &mut place.tiers[candidate.tier];
        match tier.get(&candidate.id).await {
            Ok(point) => {
                tier.learn(candidate.i, &point).await?;
                match point.serves(&found.component, found.before) {
                    true => serve.push((candidate, point)),
                    false => in_vain += 1,
                }
            }
            Err(error) => match error.kind() {
                // Void, or deleted meanwhile.
                ErrorKind::NotFound => in_vain += 1,
                ErrorKind::Untrusted | ErrorKind::Corrupt | ErrorKind::Unsupported => {
                    tier.pass_over(candidate.i);
                    // What costs nothing does not count, or a flood of plants would hide all that serves.
                    if tier.is_plant(candidate.i) {
                        plants.push(candidate.id);
                        continue;
                    }
                    found.problems.push(format!("{name}: {}: {error}", candidate.id));
                    in_vain += 1;
                }
                _ => return Err(error),
            },
        }
    }
    found.older += rest.len() as u64;
    plants.reverse();
    found.problems.extend(flood(&plants.iter().collect::<Vec<_>>()).map(|flood| format!("{name}: {flood}")));
    for (candidate, point) in serve {
        let option = place.option(&candidate, &point, found).await?;
        found.options.extend(option);
    }
    Ok(())
}

impl Point {
    /// Whether it has something of the component, as of then or before.
    fn serves(&self, component: &Name, before: Timestamp) -> bool {
        let found = self.manifest.component(component).filter(|found| found.outcome != Outcome::Failed);
        found.is_some_and(|found| self.shows(found) <= before)
    }

    /// The moment that a component of it shows.
    fn shows(&self, component: &Component) -> Timestamp {
        component.cut_at.unwrap_or_else(|| self.id.run.time())
    }
}

impl Place<'_> {
    /// What a point offers; none if it does not have the component.
    async fn option(
        &mut self,
        candidate: &Candidate,
        point: &Point,
        asked: &RecoveryOptions,
    ) -> Result<Option<RecoveryOption>> {
        let Some(component) = point.manifest.component(&asked.component) else { return Ok(None) };
        let shows = point.shows(component);
        let lookback = &mut self.tiers[candidate.tier];
        let doubt = lookback.judge(candidate.i).await?;
        let tombstone = lookback.mark(candidate.i, &MarkName::Deleted).await?;
        let listed = lookback.run(candidate.i);
        Ok(Some(RecoveryOption {
            place: self.name.to_owned(),
            point: point.id.clone(),
            shows,
            loss: asked.before.duration_since(shows),
            outcome: component.outcome,
            doubt,
            held: hold_now(self.vault, listed).await?,
            goes: tombstone.as_ref().and_then(may_go_from),
            key: self.key(point.manifest.epoch.as_ref()).await?,
            thaw: self.archived(&point.id, component).await?,
            bytes: component.bytes,
            stored: component.objects.iter().map(|object| object.bytes).sum(),
            takes: self.rate.and_then(|rate| Duration::try_from_secs_f64(component.bytes as f64 / rate).ok()),
        }))
    }

    async fn key(&mut self, epoch: Option<&Epoch>) -> Result<bool> {
        let name = epoch.map(|epoch| epoch.name.clone());
        if let Some(known) = self.keys.get(&name) {
            return Ok(*known);
        }
        let opens = match self.vault.unlock(epoch).await {
            Ok(_) => true,
            Err(error) if matches!(error.kind(), ErrorKind::Denied | ErrorKind::NotFound) => false,
            Err(error) => return Err(error),
        };
        self.keys.insert(name, opens);
        Ok(opens)
    }

    /// Whether one of the component's objects must be thawed.
    async fn archived(&self, id: &PointId, component: &Component) -> Result<bool> {
        let mut listing = self.vault.store().list(&layout::items_of(id)?, &ListOptions::default());
        while let Some(entry) = listing.next().await {
            let ListEntry::Object(meta) = entry? else { continue };
            let own = component.objects.iter().any(|object| object.key == meta.key);
            if own && meta.class.as_deref().is_some_and(is_archive) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The classes of S3 and of Azure that cannot be read at once.
fn is_archive(class: &str) -> bool {
    ["GLACIER", "DEEP_ARCHIVE", "Archive"].iter().any(|archive| archive.eq_ignore_ascii_case(class))
}

/// The slowest of the last restores of a component that went well, in bytes a second.
async fn rate(vault: &Vault, source: &Name, component: &Name) -> Result<Option<f64>> {
    let history = vault.history(source.clone());
    let entries = history.list().await?;
    let mut rates: Vec<f64> = Vec::new();
    for entry in entries.iter().rev().filter(|entry| entry.act == Act::Restore).take(RECORDS) {
        match history.get(entry).await {
            Ok(record) if record.component.as_ref() == Some(component) && record.error.is_none() => {
                let rate = record.bytes as f64 / record.took.as_secs_f64();
                rates.extend(Some(rate).filter(|rate| rate.is_normal()));
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::Untrusted | ErrorKind::Corrupt | ErrorKind::NotFound) => {
                tracing::warn!(id = %entry.id, %error, "passed over a record that cannot be trusted");
            }
            Err(error) => return Err(error),
        }
        if rates.len() == RATES {
            break;
        }
    }
    Ok(rates.into_iter().reduce(f64::min))
}

impl RecoveryOption {
    /// Whether it can be restored now and as a whole, and nothing speaks against it.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.outcome == Outcome::Good && self.doubt.is_none() && self.goes.is_none() && self.key && !self.thaw
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
        f.write_str(if self.outcome == Outcome::Good { ", good" } else { ", incomplete" })?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_classes_that_cannot_be_read_at_once_are_archives() {
        for (class, archive) in [
            ("GLACIER", true),
            ("DEEP_ARCHIVE", true),
            ("Archive", true),
            ("GLACIER_IR", false),
            ("STANDARD_IA", false),
            ("Cold", false),
        ] {
            assert_eq!(is_archive(class), archive, "{class}");
        }
    }
}
