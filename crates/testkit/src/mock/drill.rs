//! A target of drills that restores into memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use backstay_core::clock::{Clock, SystemClock};
use backstay_core::source::{Check, DrillPlace, DrillTarget, ItemSource, ResourceImporter, Scratch, Validation};
use backstay_core::{ErrorKind, Result};
use jiff::Timestamp;

use crate::mock::{Calls, MockImporter, scripted};

/// Makes scratch places in memory, under the target's contract, and fails as told. Clones have the same places.
///
/// It checks that every item is there that its importer restores, and what [`check`](Self::check) adds.
///
/// ```
/// use backstay_testkit::mock::{DrillFault, MockDrillTarget};
///
/// let target = MockDrillTarget::default().fault(DrillFault::Remove);
/// assert!(target.standing().is_empty());
/// ```
#[derive(Clone, Debug, Default)]
pub struct MockDrillTarget {
    places: Arc<Mutex<BTreeMap<String, MockImporter>>>,
    importer: MockImporter,
    fault: Option<DrillFault>,
    checks: Vec<(String, Result<String, String>)>,
    nothing_checked: bool,
    takes: Duration,
    calls: Calls,
}

/// How a drill goes wrong in its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrillFault {
    /// `sweep` fails.
    Sweep,
    /// `prepare` fails.
    Prepare,
    /// `validate` fails.
    Validate,
    /// `remove` fails, and the place stays.
    Remove,
    /// This call panics: `sweep`, `prepare`, `importer`, `validate` or `remove`.
    Panic(&'static str),
    /// This call never comes back.
    Hang(&'static str),
}

impl MockDrillTarget {
    /// Goes wrong in this way.
    #[must_use]
    pub fn fault(mut self, fault: DrillFault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// Restores by an importer like this one, which may fail as told.
    #[must_use]
    pub fn importer(mut self, importer: MockImporter) -> Self {
        self.importer = importer;
        self
    }

    /// Makes one more check, and finds this: `Ok` if it is as it should be.
    #[must_use]
    pub fn check(mut self, name: &str, found: Result<&str, &str>) -> Self {
        self.checks.push((name.to_owned(), found.map(str::to_owned).map_err(str::to_owned)));
        self
    }

    /// Checks nothing.
    #[must_use]
    pub fn check_nothing(mut self) -> Self {
        self.nothing_checked = true;
        self
    }

    /// Each call takes so long, by tokio's clock.
    #[must_use]
    pub fn takes(mut self, time: Duration) -> Self {
        self.takes = time;
        self
    }

    /// Notes its calls, as `sweep`, `prepare`, `importer`, `validate` and `remove`, in this list.
    #[must_use]
    pub fn record(mut self, calls: &Calls) -> Self {
        self.calls = calls.clone();
        self
    }

    /// The names of the places that stand.
    #[must_use]
    pub fn standing(&self) -> Vec<String> {
        self.places().keys().cloned().collect()
    }

    /// A place of this name, whoever made it.
    #[must_use]
    pub fn holding(self, name: &str) -> Self {
        self.places().insert(name.to_owned(), MockImporter::default());
        self
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<String, MockImporter>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(&self, call: &'static str) {
        self.calls.add(call);
        self.misbehave(call);
        if self.fault == Some(DrillFault::Hang(call)) {
            std::future::pending::<()>().await;
        }
        if !self.takes.is_zero() {
            SystemClock.sleep(self.takes).await;
        }
    }

    fn misbehave(&self, call: &'static str) {
        assert!(self.fault != Some(DrillFault::Panic(call)), "the mock was told to panic");
    }

    fn fail(&self, fault: DrillFault) -> Result<()> {
        if self.fault == Some(fault) { Err(scripted(ErrorKind::Unavailable)) } else { Ok(()) }
    }
}

#[async_trait]
impl DrillTarget for MockDrillTarget {
    async fn prepare(&self, place: &DrillPlace) -> Result<Box<dyn Scratch>> {
        let name = place.scratch_name();
        self.fail(DrillFault::Prepare)?;
        let importer = self.importer.emptied();
        self.places().insert(name.clone(), importer.clone());
        self.call("prepare").await;
        Ok(Box::new(MockScratch { target: self.clone(), name, importer }))
    }

    async fn sweep(&self, now: Timestamp) -> Result<Vec<String>> {
        self.call("sweep").await;
        self.fail(DrillFault::Sweep)?;
        let mut places = self.places();
        let over = |name: &&String| DrillPlace::until_of(name).is_some_and(|until| until < now);
        let over: Vec<String> = places.keys().filter(over).cloned().collect();
        over.iter().for_each(|name| drop(places.remove(name)));
        Ok(over)
    }
}

#[derive(Debug)]
struct MockScratch {
    target: MockDrillTarget,
    name: String,
    importer: MockImporter,
}

#[async_trait]
impl Scratch for MockScratch {
    fn importer(&self) -> Arc<dyn ResourceImporter> {
        self.target.calls.add("importer");
        self.target.misbehave("importer");
        Arc::new(self.importer.clone())
    }

    async fn validate(&self, items: &dyn ItemSource) -> Result<Validation> {
        self.target.call("validate").await;
        self.target.fail(DrillFault::Validate)?;
        let mut validation = Validation::default();
        if self.target.nothing_checked {
            return Ok(validation);
        }
        let told = self.importer.chosen(items).await?;
        let there = told.iter().filter(|item| self.importer.content(&item.name).is_some()).count();
        let found = if there == told.len() { Ok(there.to_string()) } else { Err(there.to_string()) };
        validation.add(Check::new("items", told.len().to_string(), found, Duration::ZERO));
        for (name, found) in &self.target.checks {
            validation.add(Check::new(name, "as it should be", found.clone(), Duration::ZERO));
        }
        Ok(validation)
    }

    async fn remove(&self) -> Result<()> {
        self.target.call("remove").await;
        self.target.fail(DrillFault::Remove)?;
        self.target.places().remove(&self.name);
        Ok(())
    }
}

impl fmt::Display for MockDrillTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MockDrillTarget")
    }
}

impl fmt::Display for MockScratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
