//! What a platform backs up by itself: which component it is, and whom to ask.

use std::fmt;
use std::sync::Arc;

use crate::engine::builder::named;
use crate::name::Name;
use crate::source::Selector;
use crate::source::snapshot::SnapshotProvider;

/// A component that a platform backs up by itself, and what of that platform it is.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) name: Name,
    pub(crate) provider: Arc<dyn SnapshotProvider>,
    pub(crate) selector: Selector,
}

/// The same as the application gave it.
pub(crate) type AskedWatch = (String, Arc<dyn SnapshotProvider>, Selector);

impl Watched {
    /// Checks what the application asked to watch. Several watches of one component are several ways back to it.
    pub(crate) fn all(asked: Vec<AskedWatch>, problems: &mut Vec<String>) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for (name, provider, selector) in asked {
            if selector == Selector::default() {
                problems.push(format!(
                    "the watch of {name:?} by {provider} has an empty selector, which means nothing: give it an id or a tag"
                ));
            }
            let Some(name) = named(&name, "component", problems) else { continue };
            let watched = Self { name, provider, selector };
            if all.iter().any(|other| other.is_the_same(&watched)) {
                let Self { name, selector, .. } = &watched;
                let place = watched.place();
                problems.push(format!("{name} is watched twice on {place} by {selector}: leave one of them out"));
            }
            all.push(watched);
        }
        all
    }

    /// Where the backups lie, for people.
    pub(crate) fn place(&self) -> String {
        let info = self.provider.info();
        format!("{} in {}", info.name, info.location)
    }

    fn is_the_same(&self, other: &Self) -> bool {
        (&self.name, &self.selector, self.place()) == (&other.name, &other.selector, other.place())
    }
}

impl fmt::Debug for Watched {
    // A provider's own `Debug` may be long, or show more than it should.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} on {}", self.name, self.selector, self.provider)
    }
}
