//! What a platform offers of a watched component: snapshots, and any second of a window.

use jiff::{SignedDuration, Timestamp};

use crate::engine::options::RecoveryOptions;
use crate::engine::recovery_option::{RecoveryOption, RecoverySource};
use crate::engine::watch::Watched;
use crate::engine::watch_ask::{Heard, Wanted};
use crate::engine::watch_heard::HeardResource;
use crate::error::Result;
use crate::source::snapshot::{Snapshot, SnapshotState};
use crate::vault::manifest::Outcome;

/// What a platform has that could serve. What else is to be told goes into `report`.
///
/// # Errors
/// The first failure, if nothing was answered.
pub(super) async fn ask(
    watched: &Watched,
    wanted: &Wanted,
    report: &mut RecoveryOptions,
) -> Result<Vec<RecoveryOption>> {
    let place = watched.place();
    let mut heard = watched.ask(wanted).await;
    report.problems.extend(heard.problems.iter().map(|problem| format!("{place}: {problem}")));
    if let Some(error) = heard.nothing() {
        return Err(error);
    }
    let mut options = Vec::new();
    for resource in &heard.resources {
        let offer = Offer { place: &place, heard: &heard, asked: report.before, now: wanted.now };
        options.extend(
            resource.moment(wanted.until().min(report.before)).and_then(|moment| offer.moment(resource, moment)),
        );
        options.extend(resource.snapshots.iter().map(|(shows, snapshot)| offer.snapshot(shows, snapshot)));
        report.older += resource.snapshots.older;
        if resource.undated > 0 {
            let (id, undated) = (&resource.id.0, resource.undated);
            report.problems.push(format!("{place}: {id}: {undated} snapshots tell no time, and are not shown"));
        }
    }
    Ok(options)
}

struct Offer<'a> {
    place: &'a str,
    heard: &'a Heard,
    asked: Timestamp,
    now: Timestamp,
}

impl Offer<'_> {
    fn moment(&self, resource: &HeardResource, moment: Timestamp) -> Option<RecoveryOption> {
        let from = RecoverySource::Moment { resource: resource.id.clone(), window: resource.window? };
        Some(self.option(from, moment))
    }

    fn snapshot(&self, shows: Timestamp, snapshot: &Snapshot) -> RecoveryOption {
        let from = RecoverySource::Snapshot {
            snapshot: snapshot.reference.clone(),
            resource: snapshot.resource.clone(),
            origin: snapshot.origin,
            expires_at: snapshot.expires_at,
        };
        let whole = snapshot.state == SnapshotState::Ready;
        RecoveryOption {
            outcome: if whole { Outcome::Good } else { Outcome::Incomplete },
            goes: snapshot.expires_at.filter(|_| snapshot.is_expired(self.now)),
            bytes: snapshot.bytes,
            ..self.option(from, shows)
        }
    }

    fn option(&self, from: RecoverySource, shows: Timestamp) -> RecoveryOption {
        let unsure = || "it is not known what else the component consists of".to_owned();
        RecoveryOption {
            place: self.place.to_owned(),
            from,
            shows,
            loss: self.asked.duration_since(shows).max(SignedDuration::ZERO),
            outcome: Outcome::Good,
            one_of: self.heard.resources.len() as u64,
            missing: None,
            doubt: (!self.heard.all_known).then(unsure),
            held: None,
            goes: None,
            key: None,
            thaw: false,
            bytes: None,
            stored: None,
            takes: None,
        }
    }
}
