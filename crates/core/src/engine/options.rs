//! Three in the morning: what could bring a component back, what would be lost, and how long it takes.

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::engine::builder::Inner;
use crate::engine::options_place::{At, Found, look_into};
use crate::engine::options_watch;
use crate::engine::recovery_option::{PLACE, RecoveryOption};
use crate::engine::watch_ask::Wanted;
use crate::error::{Error, Result};
use crate::name::Name;
use crate::vault::Vault;

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
    /// Older points that were not looked at, and older snapshots that are not told.
    pub older: u64,
    /// Places that could not be looked into, points that cannot be trusted, and what is wrong on a platform, each with the
    /// reason.
    pub problems: Vec<String>,
}

impl OptionsRequest {
    pub(crate) fn new(backstay: Arc<Inner>, component: String) -> Self {
        Self { backstay, component, before: None, places: Vec::new(), told: TOLD }
    }

    /// The state of this moment or earlier, by the clocks of the hosts that made the points and of the platforms. If not
    /// said, the newest: also what a host made whose clock is ahead; [doubtful](RecoveryOption::doubt), if it is far ahead.
    pub fn before(mut self, time: Timestamp) -> Self {
        self.before = Some(time);
        self
    }

    /// Looks into this vault too: a replica that the builder was not told of.
    pub fn place(mut self, name: impl Into<String>, vault: Vault) -> Self {
        self.places.push((name.into(), vault));
        self
    }

    /// How many points are told; 20 if not said. As many points of a wrong time may be told besides, and as many snapshots of
    /// each resource that is [watched](crate::engine::BackstayBuilder::watch): they take no point's place.
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
        let wanted = Wanted { most: self.told, before: self.before, now: own.store_time() };
        let mut native = Vec::new();
        for watched in self.backstay.watched.iter().filter(|watched| watched.name.as_str() == self.component) {
            match options_watch::ask(watched, &wanted, &mut found).await {
                Ok(more) => {
                    answered = true;
                    native.extend(more);
                }
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        if let Some(error) = failed.filter(|_| !answered) {
            return Err(error);
        }
        options.sort_by_cached_key(|found| newest_first(&found.option));
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
        found.options.extend(native);
        found.options.sort_by_cached_key(newest_first);
        Ok(found)
    }
}

/// What loses least comes first; of what loses the same, the points, the newest run first.
fn newest_first(option: &RecoveryOption) -> impl Ord + use<> {
    std::cmp::Reverse((option.shows, option.point().map(|point| point.run.clone())))
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
        let width = self.options.iter().map(|option| option.place.chars().count()).fold(PLACE, usize::max);
        write!(f, "{} of {} as of {} or before:", self.component, self.source, self.before)?;
        if self.options.is_empty() {
            f.write_str("\n  nothing can serve")?;
        } else {
            let (loss, place, bytes, takes) = ("loss", "place", "bytes", "restore");
            write!(f, "\n  {loss:12} {place:width$} {bytes:>12} {takes:>10}  from what, and its state")?;
        }
        self.options.iter().try_for_each(|option| write!(f, "\n  {option:width$}"))?;
        if self.older > 0 {
            write!(f, "\n  and {} more that were not looked at, or are not shown", self.older)?;
        }
        self.problems.iter().try_for_each(|problem| write!(f, "\n  look at: {problem}"))
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
