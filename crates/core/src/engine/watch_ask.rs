//! Asking a platform what it has of a watched component: its resources once, of each one listing and one window.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use jiff::Timestamp;

use crate::engine::watch::Watched;
use crate::engine::watch_heard::HeardResource;
use crate::error::Error;
use crate::source::snapshot::{ResourceId, SnapshotFilter};

/// So many resources are asked about side by side.
const AT_A_TIME: usize = 8;

/// What is asked of a platform.
pub(crate) struct Wanted {
    /// So many snapshots of each resource, the newest.
    pub(crate) most: usize,
    /// Only what shows this moment or an earlier one.
    pub(crate) before: Option<Timestamp>,
    /// What is later than this cannot be.
    pub(crate) now: Timestamp,
}

impl Wanted {
    /// The latest moment that is of use: the one that is asked for, if it is not still to come.
    pub(crate) fn until(&self) -> Timestamp {
        self.before.map_or(self.now, |before| before.min(self.now))
    }
}

/// What a platform has of a component.
#[derive(Default)]
pub(crate) struct Heard {
    /// By their names; also those that are gone and that the selector names.
    pub(crate) resources: Vec<HeardResource>,
    /// Whether these are all that the component consists of.
    pub(crate) all_known: bool,
    /// What could not be asked, or is not as it should be.
    pub(crate) problems: Vec<String>,
    /// Whether anything was answered that helps.
    answered: bool,
    /// The first failure.
    failed: Option<Error>,
}

impl Watched {
    /// What the platform has. What it does not answer is a problem, and hides nothing of what it does.
    pub(crate) async fn ask(&self, wanted: &Wanted) -> Heard {
        let mut heard = Heard { all_known: true, ..Heard::default() };
        let mut ids = BTreeSet::new();
        let mut targets = self.provider.targets(&self.selector);
        while let Some(found) = targets.next().await {
            match found {
                Ok(resource) => drop(ids.insert(resource.id)),
                Err(error) => {
                    heard.all_known = false;
                    heard.fail(format!("what {} means could not be asked", self.selector), error);
                    break;
                }
            }
        }
        let gone = if heard.all_known { self.gone(&ids) } else { Vec::new() };
        heard.problems.extend(gone.iter().map(|id| format!("there is no resource {}, or no more", id.0)));
        if ids.is_empty() && gone.is_empty() && heard.all_known {
            heard.answered = true;
            heard.problems.push(format!("{} means no resource: nothing backs it up there", self.selector));
        }
        let mut asked = stream::iter(ids.into_iter().chain(gone)).map(|id| self.ask_of(id, wanted)).buffered(AT_A_TIME);
        while let Some(mut resource) = asked.next().await {
            heard.answered |= resource.answered;
            for (what, error) in resource.errors.drain(..) {
                heard.fail(format!("{}: {what} could not be asked", resource.id.0), error);
            }
            heard.problems.extend(resource.problems(wanted));
            heard.resources.push(resource);
        }
        heard
    }

    /// What the selector names and the platform has no more. What is left of it may be all there is.
    fn gone(&self, found: &BTreeSet<ResourceId>) -> Vec<ResourceId> {
        // With tags as well, what is missing may be there and not be meant.
        if !self.selector.tags.is_empty() {
            return Vec::new();
        }
        let named: BTreeSet<_> = self.selector.ids.iter().cloned().map(ResourceId).collect();
        named.difference(found).cloned().collect()
    }

    async fn ask_of(&self, id: ResourceId, wanted: &Wanted) -> HeardResource {
        let filter = SnapshotFilter { resource: Some(id.clone()), ..SnapshotFilter::default() };
        let mut resource = HeardResource::new(id, wanted.most);
        let mut listing = self.provider.list(&filter);
        loop {
            match listing.next().await {
                Some(Ok(snapshot)) => {
                    resource.answered = true;
                    resource.take(snapshot, wanted);
                }
                Some(Err(error)) => {
                    resource.errors.push(("its snapshots", error));
                    break;
                }
                None => {
                    resource.answered = true;
                    break;
                }
            }
        }
        match self.provider.window(&resource.id).await {
            Ok(window) => {
                resource.window = window;
                resource.answered = true;
            }
            Err(error) => resource.errors.push(("its window", error)),
        }
        resource
    }
}

impl Heard {
    /// The first failure, if that is all there is.
    pub(crate) fn nothing(&mut self) -> Option<Error> {
        self.failed.take().filter(|_| !self.answered)
    }

    fn fail(&mut self, what: String, error: Error) {
        self.problems.push(format!("{what}: {error}"));
        self.failed.get_or_insert(error);
    }
}
