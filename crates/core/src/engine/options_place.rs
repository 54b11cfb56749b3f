//! One place of the options: which of its points could serve, and what speaks against each.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::engine::options::RecoveryOptions;
use crate::engine::prune_facts::{hold_now, is_tampering, may_go_from};
use crate::engine::prune_proof::flood;
use crate::engine::recovery_option::{RecoveryOption, RecoverySource};
use crate::error::{ErrorKind, Result};
use crate::name::{Name, PointId};
use crate::vault::history::Act;
use crate::vault::layout::MarkName;
use crate::vault::lookback::Lookback;
use crate::vault::manifest::{Component, Manifest, Outcome};
use crate::vault::points::{Point, list_tier};
use crate::vault::prove::{listed_objects, unlike};
use crate::vault::wary::Wary;
use crate::vault::{Epoch, Vault};

/// So many points are read in vain before the search ends.
const SEARCHED: usize = 64;
/// Restores and drills of the component from whose records the speed is taken, and how many records are read to find them.
const RATES: usize = 3;
const RECORDS: usize = 12;

/// A point to look at: in which tier's [`Lookback`], at which place in it.
struct Candidate {
    id: PointId,
    tier: usize,
    i: usize,
}

struct Place<'a> {
    at: At<'a>,
    tiers: Vec<Lookback<'a>>,
    /// Bytes a second.
    rate: Option<f64>,
    keys: HashMap<Option<Name>, bool>,
}

/// Where to look.
pub(super) struct At<'a> {
    /// "vault", or the name that the other place was given.
    pub(super) name: &'a str,
    pub(super) vault: &'a Vault,
    /// Through which a restore reads this place and opens what it reads, if not by itself: the vault with its replicas.
    pub(super) through: Option<&'a Vault>,
}

/// What a point offers.
pub(super) struct Found {
    pub(super) option: RecoveryOption,
    /// Its clocks contradict each other. Of such somebody may make any number, so they take no other's place.
    pub(super) astray: bool,
}

/// What one place has: lists all its points, and reads the newest ones; if `before` is given, of those that show that
/// moment or an earlier one. What else is to be told goes into `report`.
pub(super) async fn look_into(
    at: At<'_>,
    before: Option<Timestamp>,
    told: usize,
    report: &mut RecoveryOptions,
) -> Result<Vec<Found>> {
    let (name, vault, source) = (at.name, at.vault, report.source.clone());
    let rate = rate(vault, &source, &report.component).await?;
    let mut place = Place { at, tiers: Vec::new(), rate, keys: HashMap::new() };
    let mut candidates = Vec::new();
    for (tier, folder) in vault.points().tiers(&source).await?.iter().enumerate() {
        let lookback = Lookback::new(vault, list_tier(vault, &source, folder, None, None).await?, Wary::default());
        let ids = (0..lookback.len()).map(|i| Candidate { id: lookback.run(i).id.clone(), tier, i });
        candidates.extend(ids.filter(|candidate| before.is_none_or(|before| candidate.id.run.time() <= before)));
        place.tiers.push(lookback);
    }
    candidates.sort_unstable_by(|a, b| b.id.run.cmp(&a.id.run));
    // All are read before the first is judged: most are compared with each other.
    let (mut serve, mut astray, mut plants) = (Vec::new(), Vec::new(), Vec::new());
    let (mut misdated_read, mut in_vain) = (0, 0);
    let mut rest = candidates.into_iter();
    while serve.len() < told && in_vain < SEARCHED {
        let Some(candidate) = rest.next() else { break };
        let tier = &mut place.tiers[candidate.tier];
        let misdated = tier.is_misdated(candidate.i);
        if misdated && misdated_read == told {
            report.older += 1;
            continue;
        }
        misdated_read += usize::from(misdated);
        let vain = usize::from(!misdated);
        match tier.get(&candidate.id).await {
            Ok(point) => {
                tier.learn(candidate.i, &point).await?;
                let serves = point.serves(&report.component, before);
                match serves && tier.is_proved_misdated(candidate.i) {
                    true => {
                        astray.push((candidate, point));
                        in_vain += vain;
                    }
                    false if serves => serve.push((candidate, point)),
                    false => in_vain += vain,
                }
            }
            // Void, or deleted meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => in_vain += vain,
            Err(error) if is_tampering(error.kind()) => {
                tier.pass_over(candidate.i);
                // What costs nothing does not count, or a flood of plants would hide all that serves.
                if tier.is_plant(candidate.i) {
                    plants.push(candidate.id);
                    continue;
                }
                report.problems.push(format!("{name}: {}: {error}", candidate.id));
                in_vain += vain;
            }
            Err(error) => return Err(error),
        }
    }
    report.older += rest.len() as u64;
    plants.reverse();
    report.problems.extend(flood(&plants.iter().collect::<Vec<_>>()).map(|flood| format!("{name}: {flood}")));
    let mut found = Vec::new();
    for (points, astray) in [(serve, false), (astray, true)] {
        for (candidate, point) in points {
            let option = place.option(&candidate, &point, report).await?;
            found.extend(option.map(|option| Found { option, astray }));
        }
    }
    Ok(found)
}

impl Point {
    /// Whether it has something of the component, as of then or before.
    fn serves(&self, component: &Name, before: Option<Timestamp>) -> bool {
        let found = self.manifest.component(component).filter(|found| found.outcome != Outcome::Failed);
        found.is_some_and(|found| before.is_none_or(|before| self.shows(found) <= before))
    }

    /// The moment that a component of it shows.
    pub(super) fn shows(&self, component: &Component) -> Timestamp {
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
        let held = hold_now(self.at.vault, listed).await?;
        let (missing, thaw) = self.objects(&point.manifest, component).await?;
        Ok(Some(RecoveryOption {
            place: self.at.name.to_owned(),
            from: RecoverySource::Point(point.id.clone()),
            shows,
            loss: asked.before.duration_since(shows).max(SignedDuration::ZERO),
            outcome: component.outcome,
            one_of: 1,
            missing,
            doubt,
            held,
            goes: tombstone.as_ref().and_then(may_go_from),
            key: Some(self.key(point.manifest.epoch.as_ref()).await?),
            thaw,
            bytes: Some(component.bytes),
            stored: Some(component.objects.iter().map(|object| object.bytes).sum()),
            takes: self.rate.and_then(|rate| Duration::try_from_secs_f64(component.bytes as f64 / rate).ok()),
        }))
    }

    /// Whether a restore of what is sealed to this epoch finds its key.
    async fn key(&mut self, epoch: Option<&Epoch>) -> Result<bool> {
        let name = epoch.map(|epoch| epoch.name.clone());
        if let Some(known) = self.keys.get(&name) {
            return Ok(*known);
        }
        // That another place is down must not hide this one.
        let opens_through = match self.at.through {
            Some(through) => through.unlock(epoch).await.is_ok(),
            None => false,
        };
        let opens = opens_through
            || match self.at.vault.unlock(epoch).await {
                Ok(_) => true,
                Err(error) if matches!(error.kind(), ErrorKind::Denied | ErrorKind::NotFound) => false,
                Err(error) => return Err(error),
            };
        self.keys.insert(name, opens);
        Ok(opens)
    }

    /// What the listing lacks of the objects that a restore of the component reads, and whether one must be thawed.
    async fn objects(&self, manifest: &Manifest, component: &Component) -> Result<(Option<String>, bool)> {
        let there = listed_objects(self.at.vault.store(), &manifest.point()).await?;
        let (mut wrong, mut thaw) = (Vec::new(), false);
        for object in component.objects.iter().cloned().chain(manifest.details_object()) {
            wrong.extend(unlike(&there, &object).map(|what| format!("{what}: {}", object.key)));
            let class = there.get(&object.key).and_then(|meta| meta.class.as_deref());
            thaw |= class.is_some_and(is_archive);
        }
        let others = wrong.len().saturating_sub(1);
        let missing = wrong.into_iter().next().map(|first| match others {
            0 => first,
            others => format!("{first}, and {others} more"),
        });
        Ok((missing, thaw))
    }
}

/// The classes of S3 and of Azure that cannot be read at once.
fn is_archive(class: &str) -> bool {
    ["GLACIER", "DEEP_ARCHIVE", "Archive"].iter().any(|archive| archive.eq_ignore_ascii_case(class))
}

/// The slowest of the last restores and drills of a component that went well, in bytes a second.
async fn rate(vault: &Vault, source: &Name, component: &Name) -> Result<Option<f64>> {
    let history = vault.history(source.clone());
    let entries = history.list().await?;
    let mut rates: Vec<f64> = Vec::new();
    let restores = entries.iter().rev().filter(|entry| matches!(entry.act, Act::Restore | Act::Drill));
    for entry in restores.take(RECORDS) {
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
