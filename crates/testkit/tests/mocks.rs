//! The mocks keep the contracts of the traits that they stand for, and fail as scripted.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use backstay_core::clock::{Clock, SystemClock};
use backstay_core::source::snapshot::{
    Consistency, CopyTarget, CreateSnapshot, ProviderInfo, Resource, ResourceId, RestoreFrom, RestoreRequest,
    SnapshotFilter, SnapshotProvider, SnapshotState, TimeWindow,
};
use backstay_core::source::{
    ExportReport, ExportRequest, Facts, Hook, HookContext, ImportAction, ImportOptions, ItemInfo, ItemSink, ItemSource,
    ItemSpec, ItemWriter, Problem, ResourceExporter, ResourceImporter, Selector,
};
use backstay_core::store::{BoxStream, ByteStream};
use backstay_core::{Error, ErrorKind, PointId, Result};
use backstay_testkit::ManualClock;
use backstay_testkit::mock::{Calls, ExportFault, ExportScript, MockExporter, MockHook, MockImporter, MockSnapshots};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};

/// The pieces of an item, and whether it was finished.
type Written = (Vec<Bytes>, bool);

#[derive(Clone, Debug, Default)]
struct Sink(Arc<Mutex<BTreeMap<String, Written>>>);

struct Writer(Sink, String);

#[async_trait]
impl ItemSink for Sink {
    async fn item(&self, spec: ItemSpec) -> Result<Box<dyn ItemWriter>> {
        self.0.lock().unwrap().insert(spec.name.clone(), (Vec::new(), false));
        Ok(Box::new(Writer(self.clone(), spec.name)))
    }
}

#[async_trait]
impl ItemWriter for Writer {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        self.0.0.lock().unwrap().get_mut(&self.1).unwrap().0.push(data);
        Ok(())
    }

    async fn finish(self: Box<Self>, _: Facts) -> Result<()> {
        self.0.0.lock().unwrap().get_mut(&self.1).unwrap().1 = true;
        Ok(())
    }

    async fn restart(&mut self) -> Result<()> {
        self.0.0.lock().unwrap().get_mut(&self.1).unwrap().0.clear();
        Ok(())
    }

    async fn abandon(self: Box<Self>, _: Problem) {
        self.0.0.lock().unwrap().remove(&self.1);
    }
}

fn point() -> PointId {
    "prod/daily/20261120t064200z-abcdefgh".parse().unwrap()
}

async fn export(exporter: &MockExporter) -> (Result<ExportReport>, Vec<(String, Vec<Bytes>, bool)>) {
    let sink = Sink::default();
    let request = ExportRequest::new("db".parse().unwrap(), point(), point().run.time());
    let result = exporter.export(&request, &sink).await;
    let items = sink.0.lock().unwrap().clone();
    (result, items.into_iter().map(|(name, (pieces, finished))| (name, pieces, finished)).collect())
}

fn item(name: &str, pieces: &[&'static str], finished: bool) -> (String, Vec<Bytes>, bool) {
    (name.to_owned(), pieces.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect(), finished)
}

#[tokio::test]
async fn an_exporter_writes_its_items_and_changes_from_run_to_run() {
    let calls = Calls::default();
    let exporter = MockExporter::new([("a", "one"), ("b", "")])
        .then(ExportScript::new([("a", "seven")]).chunk(3).problem("table t", "locked").identity("cluster 1"))
        .record(&calls);
    let (report, items) = export(&exporter).await;
    assert!(report.unwrap().problems.is_empty());
    assert_eq!(items, [item("a", &["one"], true), item("b", &[], true)]);
    for _ in 0..2 {
        let (report, items) = export(&exporter).await;
        let report = report.unwrap();
        assert_eq!((report.problems[0].what.as_str(), report.identity.as_deref()), ("table t", Some("cluster 1")));
        assert_eq!(items, [item("a", &["sev", "en"], true)]);
    }
    assert_eq!((exporter.runs(), calls.count("export db")), (3, 3));
}

#[tokio::test]
async fn an_exporter_fails_where_it_is_told_to() {
    let faulty = |fault| MockExporter::scripted(ExportScript::new([("a", "12345"), ("b", "678")]).fault(fault));
    let kind = ErrorKind::Unavailable;
    let a = || item("a", &["12345"], true);
    let table = [
        (ExportFault::AtStart(kind), Some(kind), vec![]),
        (ExportFault::After(0, kind), Some(kind), vec![item("a", &[], false)]),
        (ExportFault::After(2, kind), Some(kind), vec![item("a", &["12"], false)]),
        (ExportFault::After(5, kind), Some(kind), vec![item("a", &["12345"], false)]),
        (ExportFault::After(7, kind), Some(kind), vec![a(), item("b", &["67"], false)]),
        (ExportFault::AtEnd(kind), Some(kind), vec![a(), item("b", &["678"], true)]),
        (ExportFault::DropWriter, None, vec![a(), item("b", &["678"], false)]),
        (ExportFault::Abandon, None, vec![a()]),
        (ExportFault::Restart, None, vec![a(), item("b", &["678"], true)]),
    ];
    for (fault, error, expected) in table {
        let (result, items) = export(&faulty(fault)).await;
        assert_eq!(result.err().map(|error| error.kind()), error, "{fault:?}");
        assert_eq!(items, expected, "{fault:?}");
    }
    assert!(AssertUnwindSafe(export(&faulty(ExportFault::Panic))).catch_unwind().await.is_err());
    assert!(export(&faulty(ExportFault::Hang)).now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_slow_exporter_takes_its_time_and_the_test_none() {
    let begun = SystemClock.monotonic();
    let clock = ManualClock::at("2026-11-20T06:42:00Z");
    let script = ExportScript::new([("a", "123456")]).chunk(2).pause(Duration::from_secs(600));
    export(&MockExporter::scripted(script)).await.0.unwrap();
    assert_eq!(clock.monotonic(), Duration::from_secs(1800));
    assert!(SystemClock.monotonic() - begun < Duration::from_secs(600));
}

/// Items in memory.
struct Items(Vec<(ItemInfo, Bytes)>);

fn items(contents: &[(&str, &'static str)]) -> Items {
    let item = |(name, content): &(&str, &'static str)| {
        (ItemInfo::new("db", "mock", name, "mock", content.len() as u64), Bytes::from_static(content.as_bytes()))
    };
    Items(contents.iter().map(item).collect())
}

#[async_trait]
impl ItemSource for Items {
    fn list(&self) -> BoxStream<'_, Result<ItemInfo>> {
        Box::pin(stream::iter(self.0.iter().map(|(info, _)| Ok(info.clone()))))
    }

    async fn open(&self, item: &ItemInfo) -> Result<ByteStream> {
        let found = self.0.iter().find(|(info, _)| info == item);
        let (_, content) = found.ok_or_else(|| Error::new(ErrorKind::NotFound, "no such item"))?;
        Ok(Box::pin(stream::iter([Ok(content.clone())])))
    }

    async fn open_range(&self, item: &ItemInfo, range: Range<u64>) -> Result<ByteStream> {
        let content: Vec<Bytes> = self.open(item).await?.try_collect().await?;
        let content = content.concat()[range.start as usize..range.end as usize].to_vec();
        Ok(Box::pin(stream::iter([Ok(content.into())])))
    }
}

#[tokio::test]
async fn an_importer_overwrites_nothing_unless_told_to() {
    let source = items(&[("new", "1"), ("same", "2"), ("other", "3")]);
    let importer = MockImporter::default().holding("same", "2").holding("other", "old");
    let plan = importer.plan(&source, &ImportOptions::default()).await.unwrap();
    let counts = [ImportAction::Create, ImportAction::Unchanged, ImportAction::Conflict, ImportAction::Overwrite];
    assert_eq!(counts.map(|action| plan.count(action)), [1, 1, 1, 0]);
    assert_eq!(importer.names(), ["other", "same"], "a plan changes nothing");
    let report = importer.apply(&source, plan).await.unwrap();
    assert_eq!((report.bytes, importer.content("other").unwrap()), (1, Bytes::from("old")));

    let overwrite = ImportOptions::default().danger_overwrite();
    let plan = importer.plan(&source, &overwrite).await.unwrap();
    // What turns up between plan and apply was not planned to be overwritten.
    let importer = importer.holding("same", "turned up");
    let report = importer.apply(&source, plan).await.unwrap();
    assert_eq!(importer.content("other").unwrap(), "3");
    assert_eq!(importer.content("same").unwrap(), "turned up");
    assert_eq!(report.counts[&ImportAction::Conflict], 1);
}

#[tokio::test]
async fn an_importer_goes_on_where_it_failed() {
    let source = items(&[("a", "1"), ("b", "2"), ("c", "3")]);
    let importer = MockImporter::default().fail_apply_after(2, ErrorKind::Unavailable);
    let plan = importer.plan(&source, &ImportOptions::default()).await.unwrap();
    assert_eq!(importer.apply(&source, plan.clone()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(importer.names(), ["a", "b"]);
    let report = importer.healed().apply(&source, plan).await.unwrap();
    assert_eq!((report.counts[&ImportAction::Unchanged], report.counts[&ImportAction::Create]), (2, 1));
    assert_eq!(importer.names(), ["a", "b", "c"]);
}

#[tokio::test]
async fn an_importer_checks_what_it_accepts() {
    let calls = Calls::default();
    let source = items(&[("a", "1"), ("b", "2")]);
    let importer = MockImporter::default().check_problem("a", "odd").record(&calls);
    let report = importer.check(&source).await.unwrap();
    assert_eq!((report.entries, report.problems.len()), (2, 1));
    let error = importer.clone().fail_check(ErrorKind::Corrupt).check(&source).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(importer.kind("directory").check(&source).await.unwrap().entries, 0);
    assert_eq!(calls.all(), ["check", "check", "check"]);
}

#[tokio::test]
async fn a_hook_notes_its_calls_and_fails_or_hangs_as_told() {
    let context = HookContext::new(point(), Vec::new());
    let calls = Calls::default();
    let good = MockHook::new("fs").record(&calls);
    good.before(&context).await.unwrap();
    good.after(&context).await.unwrap();
    calls.assert_order(["fs.before", "fs.after"]);

    let bad = MockHook::new("fs").fail_before(ErrorKind::Denied).fail_after(ErrorKind::Timeout);
    assert_eq!(bad.before(&context).await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(bad.after(&context).await.unwrap_err().kind(), ErrorKind::Timeout);
    let stuck = MockHook::new("fs").hang_before().hang_after();
    assert!(stuck.before(&context).now_or_never().is_none());
    assert!(stuck.after(&context).now_or_never().is_none());
    assert_eq!(stuck.calls().all(), ["fs.before", "fs.after"]);
}

fn platform() -> MockSnapshots {
    let mut tagged = Resource::new("vol-1");
    tagged.tags.insert("backup".to_owned(), "true".to_owned());
    MockSnapshots::new(Arc::new(ManualClock::at("2026-11-20T06:42:00Z")))
        .resource(tagged)
        .resource(Resource::new("vol-2"))
}

fn request(resource: &str, token: &str) -> CreateSnapshot {
    let mut request = CreateSnapshot::new(ResourceId(resource.to_owned()), token);
    request.tags.insert("run".to_owned(), token.to_owned());
    request
}

#[tokio::test]
async fn a_snapshot_goes_through_its_states_and_a_token_makes_only_one() {
    let platform = platform().states([SnapshotState::Pending, SnapshotState::Partial, SnapshotState::Ready]);
    let targets: Vec<_> = platform.targets(&Selector::tag("backup", "true")).try_collect().await.unwrap();
    assert_eq!(targets.len(), 1);
    let requests = [request("vol-1", "t1"), request("vol-9", "t9")];
    let mut taken = platform.create(&requests, Consistency::Each).await.unwrap();
    assert_eq!(taken.pop().unwrap().unwrap_err().kind(), ErrorKind::NotFound);
    let snapshot = taken.pop().unwrap().unwrap();
    let again = platform.create(&requests[..1], Consistency::Each).await.unwrap().remove(0).unwrap();
    assert_eq!((again.reference, platform.all().len()), (snapshot.reference.clone(), 1));

    let mut states = Vec::new();
    for _ in 0..4 {
        states.push(platform.describe(std::slice::from_ref(&snapshot.reference)).await.unwrap()[0].state);
    }
    use SnapshotState::{Partial, Pending, Ready};
    assert_eq!(states, [Pending, Partial, Ready, Ready]);

    let mut filter = SnapshotFilter::default();
    filter.tags.insert("run".to_owned(), "t1".to_owned());
    assert_eq!(platform.list(&filter).count().await, 1);
    filter.resource = Some(ResourceId("vol-2".to_owned()));
    assert_eq!(platform.list(&filter).count().await, 0);
}

#[tokio::test]
async fn a_set_is_taken_whole_or_not_at_all() {
    let requests = [request("vol-1", "t1"), request("vol-2", "t2")];
    let failing = platform().fail_create("vol-2", ErrorKind::Throttled);
    assert_eq!(failing.create(&requests, Consistency::Set).await.unwrap_err().kind(), ErrorKind::Throttled);
    assert!(failing.all().is_empty());
    let taken = platform().create(&requests, Consistency::Set).await.unwrap();
    let sets: Vec<_> = taken.into_iter().map(|snapshot| snapshot.unwrap().set.unwrap()).collect();
    assert_eq!(sets[0], sets[1]);
    let single = platform().info(ProviderInfo::new("mock", "here"));
    assert_eq!(single.create(&requests, Consistency::Set).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_delete_is_idempotent_and_spares_what_the_platform_made() {
    let platform = platform().native("vol-1");
    let ours = platform.create(&[request("vol-2", "t")], Consistency::Each).await.unwrap().remove(0).unwrap();
    let native = platform.all()[0].reference.clone();
    for _ in 0..2 {
        let results = platform.delete(&[native.clone(), ours.reference.clone()]).await.unwrap();
        assert_eq!(results[0].as_ref().unwrap_err().kind(), ErrorKind::Refused);
        assert!(results[1].is_ok());
        assert_eq!(platform.all().len(), 1);
    }
}

#[tokio::test]
async fn a_restore_needs_something_ready_and_a_token_starts_only_one() {
    let clock = ManualClock::at("2026-11-20T06:42:00Z");
    let window = TimeWindow::new(clock.now() - Duration::from_secs(60), clock.now());
    let platform = platform().restorable("vol-2", window);
    let snapshot = platform.create(&[request("vol-1", "t")], Consistency::Each).await.unwrap().remove(0).unwrap();
    let wanted = RestoreRequest::new(RestoreFrom::Snapshot(snapshot.reference.clone()), "r1");
    assert_eq!(platform.restore(&wanted).await.unwrap_err().kind(), ErrorKind::NotFound, "it is not ready");
    platform.describe(std::slice::from_ref(&snapshot.reference)).await.unwrap();
    let job = platform.restore(&wanted).await.unwrap();
    assert_eq!(platform.restore(&wanted).await.unwrap().id, job.id);
    assert!(platform.describe_restore(&job.id).await.unwrap().resource.is_some());

    let vol = ResourceId("vol-2".to_owned());
    assert_eq!(platform.window(&vol).await.unwrap(), Some(window));
    let moment = |time| RestoreRequest::new(RestoreFrom::Moment(vol.clone(), time), format!("at {time}"));
    assert_ne!(platform.restore(&moment(window.earliest)).await.unwrap().id, job.id);
    assert!(platform.restore(&moment(window.latest + Duration::from_secs(1))).await.is_err());

    let mut target = CopyTarget::default();
    target.location = "there".to_owned();
    let copy = platform.copy(&snapshot.reference, &target).await.unwrap();
    assert_eq!((copy.reference.location.as_str(), copy.cut_at), ("there", snapshot.cut_at));
}
