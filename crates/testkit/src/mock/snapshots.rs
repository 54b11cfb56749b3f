//! A platform that takes snapshots in memory.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use backstay_core::clock::Clock;
use backstay_core::source::Selector;
use backstay_core::source::snapshot::{
    Consistency, CopyTarget, CreateSnapshot, Origin, ProviderInfo, Resource, ResourceId, RestoreFrom, RestoreJob,
    RestoreJobId, RestoreRequest, Snapshot, SnapshotFilter, SnapshotProvider, SnapshotRef, SnapshotState, TimeWindow,
};
use backstay_core::store::BoxStream;
use backstay_core::{Error, ErrorKind, Result};
use futures_util::stream;

use crate::mock::{Calls, scripted};

/// Snapshots resources that exist in memory only, under the provider's contract. Each look at a snapshot takes it one
/// step on through the scripted states.
///
/// ```
/// use std::sync::Arc;
///
/// use backstay_core::ErrorKind;
/// use backstay_core::source::snapshot::{Resource, SnapshotState};
/// use backstay_testkit::ManualClock;
/// use backstay_testkit::mock::MockSnapshots;
///
/// let platform = MockSnapshots::new(Arc::new(ManualClock::at("2026-11-20T06:42:00Z")))
///     .resource(Resource::new("vol-1"))
///     .resource(Resource::new("vol-2"))
///     .states([SnapshotState::Pending, SnapshotState::Ready])
///     .fail_create("vol-2", ErrorKind::Throttled)
///     .native("vol-1")
///     .native_as("vol-1", |snapshot| snapshot.state = SnapshotState::Failed)
///     .fail_list_after("vol-1", 1, ErrorKind::Unavailable);
/// ```
#[derive(Clone, Debug)]
pub struct MockSnapshots {
    info: ProviderInfo,
    clock: Arc<dyn Clock>,
    resources: Vec<Resource>,
    states: Vec<SnapshotState>,
    create_errors: BTreeMap<ResourceId, ErrorKind>,
    /// After how many answers a listing breaks off: of targets, and of the snapshots of a resource.
    targets_error: Option<(usize, ErrorKind)>,
    list_errors: BTreeMap<ResourceId, (usize, ErrorKind)>,
    window_errors: BTreeMap<ResourceId, ErrorKind>,
    windows: BTreeMap<ResourceId, TimeWindow>,
    calls: Calls,
    platform: Arc<Mutex<Platform>>,
}

#[derive(Debug, Default)]
struct Platform {
    snapshots: Vec<Taken>,
    jobs: BTreeMap<String, RestoreJob>,
    /// The last number given to a snapshot. Numbers are never used twice.
    last: u32,
}

#[derive(Debug)]
struct Taken {
    snapshot: Snapshot,
    /// None where we did not ask for it by one.
    token: Option<String>,
    tags: BTreeMap<String, String>,
    ahead: VecDeque<SnapshotState>,
}

impl MockSnapshots {
    /// A platform without resources, where a snapshot is ready at the first look.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let mut info = ProviderInfo::new("mock", "here");
        info.sets = true;
        Self {
            info,
            clock,
            resources: Vec::new(),
            states: vec![SnapshotState::Ready],
            create_errors: BTreeMap::new(),
            targets_error: None,
            list_errors: BTreeMap::new(),
            window_errors: BTreeMap::new(),
            windows: BTreeMap::new(),
            calls: Calls::default(),
            platform: Arc::default(),
        }
    }

    /// What it says about itself.
    #[must_use]
    pub fn info(mut self, info: ProviderInfo) -> Self {
        self.info = info;
        self
    }

    /// Adds a resource.
    #[must_use]
    pub fn resource(mut self, resource: Resource) -> Self {
        self.resources.push(resource);
        self
    }

    /// The states that a new snapshot goes through, one per look, and stays in the last. It is pending before.
    #[must_use]
    pub fn states(mut self, states: impl IntoIterator<Item = SnapshotState>) -> Self {
        self.states = states.into_iter().collect();
        self
    }

    /// Snapshots of this resource are refused.
    #[must_use]
    pub fn fail_create(mut self, resource: impl Into<String>, kind: ErrorKind) -> Self {
        self.create_errors.insert(ResourceId(resource.into()), kind);
        self
    }

    /// The listing of resources breaks off after so many of them.
    #[must_use]
    pub fn fail_targets_after(mut self, count: usize, kind: ErrorKind) -> Self {
        self.targets_error = Some((count, kind));
        self
    }

    /// The listing of this resource's snapshots breaks off after so many of them.
    #[must_use]
    pub fn fail_list_after(mut self, resource: impl Into<String>, count: usize, kind: ErrorKind) -> Self {
        self.list_errors.insert(ResourceId(resource.into()), (count, kind));
        self
    }

    /// Asking for the window of this resource fails.
    #[must_use]
    pub fn fail_window(mut self, resource: impl Into<String>, kind: ErrorKind) -> Self {
        self.window_errors.insert(ResourceId(resource.into()), kind);
        self
    }

    /// The resource can be restored to any second of this window.
    #[must_use]
    pub fn restorable(mut self, resource: impl Into<String>, window: TimeWindow) -> Self {
        self.windows.insert(ResourceId(resource.into()), window);
        self
    }

    /// Has a snapshot that the platform made itself, ready and of now.
    #[must_use]
    pub fn native(self, resource: impl Into<String>) -> Self {
        self.native_as(resource, |_| ())
    }

    /// The same, changed by `change`: another cut, state, end or origin.
    #[must_use]
    pub fn native_as(self, resource: impl Into<String>, change: impl FnOnce(&mut Snapshot)) -> Self {
        let mut taken = self.take(&mut self.platform(), ResourceId(resource.into()), None);
        taken.snapshot.origin = Origin::Native;
        taken.snapshot.state = SnapshotState::Ready;
        taken.ahead.clear();
        change(&mut taken.snapshot);
        self.platform().snapshots.push(taken);
        self
    }

    /// Notes its calls, such as `targets`, `list vol-1`, `create vol-1` and `delete snap-1`, in this list.
    #[must_use]
    pub fn record(mut self, calls: &Calls) -> Self {
        self.calls = calls.clone();
        self
    }

    /// Everything that lies on the platform, as it is, without taking it a step on.
    #[must_use]
    pub fn all(&self) -> Vec<Snapshot> {
        self.platform().snapshots.iter().map(|taken| taken.snapshot.clone()).collect()
    }

    fn platform(&self) -> MutexGuard<'_, Platform> {
        self.platform.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new snapshot, not yet on the platform.
    fn take(&self, platform: &mut Platform, resource: ResourceId, token: Option<&str>) -> Taken {
        platform.last += 1;
        let id = format!("snap-{}", platform.last);
        let reference = SnapshotRef::new(&self.info.name, &self.info.location, id);
        let mut snapshot = Snapshot::new(reference, resource, SnapshotState::Pending);
        snapshot.cut_at = Some(self.clock.now());
        Taken {
            snapshot,
            token: token.map(str::to_owned),
            tags: BTreeMap::new(),
            ahead: self.states.iter().copied().collect(),
        }
    }

    fn refusal(&self, request: &CreateSnapshot) -> Option<Error> {
        if let Some(kind) = self.create_errors.get(&request.resource) {
            return Some(scripted(*kind).with("resource", &request.resource.0));
        }
        let known = self.resources.iter().any(|resource| resource.id == request.resource);
        (!known).then(|| Error::new(ErrorKind::NotFound, "no such resource").with("resource", &request.resource.0))
    }

    fn create_one(&self, request: &CreateSnapshot, set: Option<&str>) -> Result<Snapshot> {
        self.calls.add(format_args!("create {}", request.resource.0));
        let mut platform = self.platform();
        if let Some(taken) = platform.snapshots.iter().find(|taken| taken.token.as_ref() == Some(&request.token)) {
            return Ok(taken.snapshot.clone());
        }
        if let Some(error) = self.refusal(request) {
            return Err(error);
        }
        let mut taken = self.take(&mut platform, request.resource.clone(), Some(&request.token));
        taken.snapshot.set = set.map(str::to_owned);
        taken.tags.clone_from(&request.tags);
        let snapshot = taken.snapshot.clone();
        platform.snapshots.push(taken);
        Ok(snapshot)
    }
}

#[async_trait]
impl SnapshotProvider for MockSnapshots {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn targets(&self, selector: &Selector) -> BoxStream<'static, Result<Resource>> {
        let meant = |resource: &&Resource| {
            let tags: Vec<_> = resource.tags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            selector.matches(&resource.id.0, &tags)
        };
        self.calls.add("targets");
        breaking_off(self.resources.iter().filter(meant).cloned().collect(), self.targets_error)
    }

    async fn create(&self, requests: &[CreateSnapshot], consistency: Consistency) -> Result<Vec<Result<Snapshot>>> {
        let set = match consistency {
            Consistency::Set if !self.info.sets => {
                return Err(Error::new(ErrorKind::Unsupported, "this platform cannot cut several resources at once"));
            }
            Consistency::Set => requests.first().map(|first| format!("set of {}", first.token)),
            _ => None,
        };
        if let Some(error) = requests.iter().find_map(|request| self.refusal(request)).filter(|_| set.is_some()) {
            return Err(error);
        }
        Ok(requests.iter().map(|request| self.create_one(request, set.as_deref())).collect())
    }

    async fn describe(&self, refs: &[SnapshotRef]) -> Result<Vec<Snapshot>> {
        let mut platform = self.platform();
        let meant = platform.snapshots.iter_mut().filter(|taken| refs.contains(&taken.snapshot.reference));
        let look = |taken: &mut Taken| {
            if let Some(state) = taken.ahead.pop_front() {
                taken.snapshot.state = state;
            }
            taken.snapshot.clone()
        };
        Ok(meant.map(look).collect())
    }

    fn list(&self, filter: &SnapshotFilter) -> BoxStream<'static, Result<Snapshot>> {
        let resource = filter.resource.as_ref();
        self.calls.add(format_args!("list {}", resource.map_or("all", |resource| &resource.0)));
        let platform = self.platform();
        let meant = |taken: &&Taken| {
            resource.is_none_or(|resource| *resource == taken.snapshot.resource)
                && filter.tags.iter().all(|(name, value)| taken.tags.get(name) == Some(value))
        };
        let listed = platform.snapshots.iter().filter(meant).map(|taken| taken.snapshot.clone()).collect();
        breaking_off(listed, resource.and_then(|resource| self.list_errors.get(resource)).copied())
    }

    async fn copy(&self, from: &SnapshotRef, to: &CopyTarget) -> Result<Snapshot> {
        self.calls.add(format_args!("copy {}", from.id));
        let mut platform = self.platform();
        let original = platform.snapshots.iter().find(|taken| taken.snapshot.reference == *from);
        let Some(original) = original.map(|taken| taken.snapshot.clone()) else {
            return Err(Error::new(ErrorKind::NotFound, "no such snapshot").with("snapshot", &from.id));
        };
        let mut copy = self.take(&mut platform, original.resource, None);
        copy.snapshot.reference.location.clone_from(&to.location);
        copy.snapshot.cut_at = original.cut_at;
        let snapshot = copy.snapshot.clone();
        platform.snapshots.push(copy);
        Ok(snapshot)
    }

    async fn delete(&self, refs: &[SnapshotRef]) -> Result<Vec<Result<()>>> {
        let mut platform = self.platform();
        let mut delete = |reference: &SnapshotRef| {
            self.calls.add(format_args!("delete {}", reference.id));
            let at = platform.snapshots.iter().position(|taken| taken.snapshot.reference == *reference);
            match at.map(|at| (at, platform.snapshots[at].snapshot.origin)) {
                Some((_, Origin::Native)) => {
                    let refused = Error::new(ErrorKind::Refused, "the platform made this snapshot itself");
                    Err(refused.with("snapshot", &reference.id))
                }
                Some((at, _)) => {
                    platform.snapshots.remove(at);
                    Ok(())
                }
                None => Ok(()),
            }
        };
        Ok(refs.iter().map(&mut delete).collect())
    }

    async fn window(&self, resource: &ResourceId) -> Result<Option<TimeWindow>> {
        self.calls.add(format_args!("window {}", resource.0));
        match self.window_errors.get(resource) {
            Some(kind) => Err(scripted(*kind).with("resource", &resource.0)),
            None => Ok(self.windows.get(resource).copied()),
        }
    }

    async fn restore(&self, request: &RestoreRequest) -> Result<RestoreJob> {
        let mut platform = self.platform();
        if let Some(job) = platform.jobs.get(&request.token) {
            return Ok(job.clone());
        }
        let restorable = match &request.from {
            RestoreFrom::Snapshot(reference) => platform
                .snapshots
                .iter()
                .any(|taken| taken.snapshot.reference == *reference && taken.snapshot.state == SnapshotState::Ready),
            RestoreFrom::Moment(resource, moment) => {
                self.windows.get(resource).is_some_and(|window| (window.earliest..=window.latest).contains(moment))
            }
            _ => false,
        };
        if !restorable {
            return Err(Error::new(ErrorKind::NotFound, "there is nothing to restore from"));
        }
        let id = RestoreJobId(format!("job-{}", platform.jobs.len() + 1));
        let job = RestoreJob::new(id, SnapshotState::Pending);
        platform.jobs.insert(request.token.clone(), job.clone());
        Ok(job)
    }

    async fn describe_restore(&self, id: &RestoreJobId) -> Result<RestoreJob> {
        let mut platform = self.platform();
        let resource = ResourceId(format!("restored-by-{}", id.0));
        let Some(job) = platform.jobs.values_mut().find(|job| job.id == *id) else {
            return Err(Error::new(ErrorKind::NotFound, "no such restore").with("job", &id.0));
        };
        job.state = SnapshotState::Ready;
        job.resource = Some(resource);
        Ok(job.clone())
    }
}

/// All of these, or so many and then the failure.
fn breaking_off<T: Send + 'static>(all: Vec<T>, error: Option<(usize, ErrorKind)>) -> BoxStream<'static, Result<T>> {
    let whole = error.map_or(usize::MAX, |(count, _)| count);
    let end = error.map(|(_, kind)| Err(scripted(kind)));
    Box::pin(stream::iter(all.into_iter().map(Ok).take(whole).chain(end)))
}

impl fmt::Display for MockSnapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MockSnapshots({})", self.info.location)
    }
}
