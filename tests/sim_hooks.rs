//! Thaw always runs, to its end and once; and a run says truly whether its point exists.

mod support;

use std::fmt;
use std::panic::panic_any;
use std::time::Duration;

use async_trait::async_trait;
use backstay::source::{Hook, HookContext};
use backstay::vault::Outcome;
use backstay::{Backstay, BackupReport, Clock, ErrorKind, Event, Keep, Result, SystemClock, Tier};
use backstay_testkit::mock::{Calls, ExportFault, ExportScript, MockExporter, MockHook};
use support::gate::Gates;
use support::{World, exporter, program};

const TEXT: &[u8] = b"content";

/// A hook whose `after` takes a second, or that panics.
#[derive(Clone, Debug)]
struct Freeze {
    calls: Calls,
    panics: &'static str,
}

impl Freeze {
    fn call(&self, phase: &'static str) {
        self.calls.add(phase);
        if self.panics == phase {
            panic_any(phase);
        }
    }
}

#[async_trait]
impl Hook for Freeze {
    async fn before(&self, _: &HookContext) -> Result<()> {
        self.call("before");
        Ok(())
    }

    async fn after(&self, _: &HookContext) -> Result<()> {
        self.call("after");
        SystemClock.sleep(Duration::from_secs(1)).await;
        self.call("thawed");
        Ok(())
    }
}

impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("freeze")
    }
}

async fn frozen(panics: &'static str) -> (World, Calls, backstay::engine::BackstayBuilder) {
    let (world, calls) = (World::new(3).await, Calls::default());
    let backstay = Backstay::builder("prod-eu", world.vault().await)
        .export("db", exporter(&[("rows", TEXT)]))
        .hook(["db"], MockHook::new("outer").record(&calls))
        .hook(["db"], Freeze { calls: calls.clone(), panics })
        .tier(Tier::new("daily").keep(Keep::last(2)));
    (world, calls, backstay)
}

const ALL: [&str; 5] = ["outer.before", "before", "after", "thawed", "outer.after"];

#[tokio::test(start_paused = true)]
async fn a_thaw_that_was_begun_goes_through_though_the_run_is_cancelled_in_it() {
    let (world, calls, backstay) = frozen("").await;
    let backstay = backstay.build().expect("well formed");
    let handle = backstay.backup("daily").start();
    // The export takes no time, so half a second later the thaw is under way.
    SystemClock.sleep(Duration::from_millis(500)).await;
    assert_eq!(calls.all().last().map(String::as_str), Some("after"));
    drop(handle);
    backstay.shutdown().await;
    assert_eq!(calls.all(), ALL);
    assert_eq!(world.keys("points/").await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn panics_of_hooks_and_observers_leave_no_hook_undone() {
    let cases: [(&str, &[&str]); 3] = [
        ("before", &["outer.before", "before", "after", "thawed", "outer.after"]),
        ("after", &["outer.before", "before", "after", "outer.after"]),
        ("thawed", &ALL),
    ];
    for (panics, expected) in cases {
        let (_world, calls, backstay) = frozen(panics).await;
        let backstay = backstay.build().expect("well formed");
        let error = backstay.backup("daily").await.expect_err(panics);
        assert_eq!(calls.all(), expected, "{panics}");
        if panics != "before" {
            let report: &BackupReport = error.payload().expect("partial");
            assert_eq!(report.components[0].outcome, Outcome::Incomplete);
        }
        backstay.shutdown().await;
    }

    let (_world, calls, backstay) = frozen("").await;
    let backstay = backstay.observe(|event: &Event| panic_any(event.name())).build().expect("well formed");
    backstay.backup("daily").await.expect("who only listens breaks nothing");
    assert_eq!(calls.all(), ALL);
}

#[tokio::test(start_paused = true)]
async fn an_after_that_fails_or_hangs_makes_its_components_incomplete() {
    for hook in [MockHook::new("freeze").fail_after(ErrorKind::Denied), MockHook::new("freeze").hang_after()] {
        let world = World::new(3).await;
        let backstay = Backstay::builder("prod-eu", world.vault().await)
            .export("db", exporter(&[("rows", TEXT)]))
            .export("other", exporter(&[("rows", TEXT)]))
            .hook(["db"], hook)
            .tier(Tier::new("daily").keep(Keep::last(2)))
            .build()
            .expect("well formed");
        let error = backstay.backup("daily").await.expect_err("db is not surely clean");
        let report: &BackupReport = error.payload().expect("partial");
        let outcomes: Vec<Outcome> = report.components.iter().map(|component| component.outcome).collect();
        assert_eq!(outcomes, [Outcome::Incomplete, Outcome::Good]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_says_truly_whether_its_point_exists() {
    let (mut committed, mut cancelled) = (0, 0);
    for n in 0..24 {
        let world = World::new(3).await;
        let gates = Gates::default();
        gates.hold_answers();
        let opening = gates.store(&world.store, 0);
        let opened = tokio::spawn({
            let world = world.clone();
            async move { world.open(opening, 5).await }
        });
        while !opened.is_finished() {
            gates.step_all().await;
        }
        let vault = opened.await.expect("no panic").expect("it opens");
        let backstay = program(vault, exporter(&[("rows", TEXT)]));
        let handle = backstay.backup("daily").start();
        for _ in 0..n {
            gates.step_all().await;
        }
        gates.settled().await;
        handle.cancel();
        gates.settled().await;
        gates.open();
        let said = handle.await.map_err(|error| error.kind());
        let exists = world.keys("points/").await.iter().any(|key| key.ends_with(".json"));
        match said {
            Ok(_) => assert!(exists, "cancelled after {n} steps: success without a point"),
            Err(kind) => assert!(!exists && kind == ErrorKind::Cancelled, "cancelled after {n} steps: {kind}"),
        }
        let ended = world.keys("runs/").await.iter().any(|key| key.ends_with(".end.json"));
        assert_eq!(ended, !exists, "cancelled after {n} steps");
        (committed, cancelled) = (committed + u64::from(exists), cancelled + u64::from(!exists));
    }
    assert!(committed > 1 && cancelled > 1, "{committed} committed, {cancelled} cancelled");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_what_runs_and_lets_nothing_begin() {
    let world = World::new(3).await;
    let script = ExportScript::new([("rows", TEXT)]).fault(ExportFault::Hang);
    let backstay = program(world.vault().await, MockExporter::scripted(script));
    let mut handle = backstay.backup("daily").start();
    let hangs = tokio::time::timeout(Duration::from_secs(3600), &mut handle).await;
    assert!(hangs.is_err(), "it waits for its exporter");
    let down = tokio::time::timeout(Duration::from_secs(60), backstay.shutdown()).await;
    down.expect("a shutdown ends it");
    assert_eq!(handle.await.expect_err("it was ended").kind(), ErrorKind::Cancelled);
    let before = world.keys("").await;
    assert_eq!(backstay.backup("daily").await.expect_err("too late").kind(), ErrorKind::Cancelled);
    assert_eq!(world.keys("").await, before, "a run that may not begin leaves no trace");
}

#[tokio::test(start_paused = true)]
async fn an_exporter_that_calls_its_failure_partial_makes_no_partial_point() {
    let world = World::new(3).await;
    let script = ExportScript::new([("rows", TEXT)]).fault(ExportFault::AtEnd(ErrorKind::Partial));
    let backstay = program(world.vault().await, MockExporter::scripted(script));
    let error = backstay.backup("daily").await.expect_err("nothing was committed");
    assert_eq!(error.kind(), ErrorKind::Other, "{error}");
    assert_eq!(world.keys("points/").await, [""; 0]);
    assert_eq!(world.keys("runs/").await.iter().filter(|key| key.ends_with(".end.json")).count(), 1);
}
