//! Whether the platforms' own backups of watched components are recent.

use std::fmt;

use jiff::{SignedDuration, Timestamp, Unit};
use serde::{Deserialize, Serialize};

use crate::engine::builder::Inner;
use crate::engine::watch_ask::Wanted;
use crate::name::Name;

/// What a platform says of a watched component.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WatchStatus {
    /// Which component.
    pub component: Name,
    /// Where: the provider and its location.
    pub place: String,
    /// Of how many resources it consists there.
    pub resources: u64,
    /// The newest moment at which the platform's own backups bring all of these back: of each resource the newest whole
    /// snapshot or the end of its window, and of these the oldest. None if a resource has none, or not all are known.
    pub newest: Option<Timestamp>,
    /// What could not be asked, or is not as it should be.
    pub problems: Vec<String>,
}

/// The newest of the platform's own backups of a component, in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NativeBackup {
    /// Where: the provider and its location.
    pub place: String,
    /// The moment that it shows.
    pub shows: Timestamp,
    /// How long ago that was.
    pub age: SignedDuration,
}

/// Asks each platform once. One that does not answer is told as such.
pub(super) async fn watched(backstay: &Inner, now: Timestamp) -> Vec<WatchStatus> {
    let mut all = Vec::new();
    for watched in &backstay.watched {
        let heard = watched.ask(&Wanted { most: 0, before: None, now }).await;
        let mut status = WatchStatus {
            component: watched.name.clone(),
            place: watched.place(),
            resources: heard.resources.len() as u64,
            newest: None,
            problems: heard.problems,
        };
        let newest = heard.resources.iter().map(|resource| (&resource.id, resource.counts(now)));
        let bare = newest.clone().filter(|(_, newest)| newest.is_none());
        status.problems.extend(bare.map(|(id, _)| format!("{}: no whole backup is known", id.0)));
        // None is less than any moment.
        status.newest = newest.map(|(_, newest)| newest).min().flatten().filter(|_| heard.all_known);
        all.push(status);
    }
    all
}

impl NativeBackup {
    /// The newest of a component; each watch of it is a way to all of it.
    pub(super) fn newest(component: &Name, watched: &[WatchStatus], now: Timestamp) -> Option<Self> {
        let of_it = watched.iter().filter(|watched| watched.component == *component);
        let (shows, place) = of_it.filter_map(|watched| Some((watched.newest?, &watched.place))).max()?;
        Some(Self { place: place.clone(), shows, age: now.duration_since(shows).max(SignedDuration::ZERO) })
    }
}

impl fmt::Display for NativeBackup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, shows, age } = self;
        write!(f, "{place} has it as of {shows}, {:#} old", age.round(Unit::Second).unwrap_or(*age))
    }
}
