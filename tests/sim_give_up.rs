//! One commit key, and who may have it: the attempts at a run and the sweeps that take it for dead, in every order.

mod support;

use std::sync::Arc;
use std::time::Duration;

use backstay::store::Operation;
use backstay::{Backstay, ErrorKind, Event, PointId, Result};
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use bytes::Bytes;
use support::dead::sweep_as_a_person;
use support::gate::Gates;
use support::{World, exporter, program, restored};
use tokio::task::JoinHandle;

const DAY: Duration = Duration::from_secs(24 * 3600);
const DEAD: Duration = Duration::from_secs(9 * 24 * 3600);
const TEXT: &[u8] = b"content";

/// A program whose every store call passes a gate; opening it is no part of the race.
async fn gated(world: &World, gates: &Gates, number: usize) -> Backstay {
    let opening = tokio::spawn({
        let (world, store) = (world.clone(), gates.store(&world.store, number));
        async move { world.open(store, 50 + number as u64).await }
    });
    while !opening.is_finished() {
        gates.settled().await.into_iter().filter(|who| *who == number).for_each(|who| gates.step(who));
    }
    program(opening.await.expect("no panic").expect("it opens"), exporter(&[("rows", TEXT)]))
}

/// Lets one program take steps, as many as it can of `steps`; how many it took.
async fn step(gates: &Gates, number: usize, steps: usize) -> usize {
    for taken in 0..steps {
        if !gates.settled().await.contains(&number) {
            return taken;
        }
        gates.step(number);
    }
    gates.settled().await;
    steps
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Backup,
    Sweep,
    Prune,
}

fn start(act: Act, backstay: Backstay) -> JoinHandle<Result<()>> {
    tokio::spawn(async move {
        match act {
            Act::Backup => backstay.backup("daily").await.map(drop),
            Act::Sweep => sweep_as_a_person(&backstay).await.map(drop),
            Act::Prune => backstay.prune("daily").plan().await?.apply().await.map(drop),
        }
    })
}

/// Every point that shows is whole.
async fn whole(world: &World, place: &str) -> Vec<PointId> {
    let vault = world.vault().await;
    let (source, tier) = ("prod-eu".parse().expect("a name"), "daily".parse().expect("a name"));
    let listed = vault.points().list(&source, &tier).await.unwrap_or_else(|error| panic!("{place}: {error}"));
    for id in &listed {
        let content = restored(&vault, id).await.unwrap_or_else(|error| panic!("{place}: {id}: {error}"));
        assert_eq!(content[0].1, TEXT, "{place}");
    }
    listed
}

/// Sweeps until nothing is left to do; nothing of a run that made no point is left then.
async fn sweep_to_the_end(world: &World, place: &str) {
    let listed = whole(world, place).await;
    for _ in 0..3 {
        world.clock.advance(DEAD);
        let backstay = world.backstay(&[("rows", TEXT)]).await;
        backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("what was due to be deleted");
        sweep_as_a_person(&backstay).await.unwrap_or_else(|error| panic!("{place}: {error}"));
    }
    assert_eq!(whole(world, place).await, listed, "{place}");
    let of_point = |key: &String| listed.iter().any(|id| key.contains(&id.run.to_string()));
    let keys = world.keys("").await;
    let run =
        |key: &&String| ["points/", "items/", "details/", "sigs/prod", "runs/"].iter().any(|p| key.starts_with(p));
    let left = keys.iter().filter(run).filter(|key| !of_point(key) && !key.contains("/history/"));
    let left: Vec<&String> = left.collect();
    assert_eq!(left, [""; 0], "{place}");
    assert_eq!(world.keys("runs/").await, [""; 0], "{place}");
}

/// A writer is held up at each of its steps for longer than any run takes, and a sweep begins: at each of the sweep's steps
/// the writer wakes up and goes on to its end.
#[tokio::test(start_paused = true)]
async fn a_late_writer_makes_a_whole_point_or_hears_that_there_is_none() {
    let (mut told, mut committed) = (0, 0);
    for before in 0.. {
        let mut writer_done = false;
        for between in 0.. {
            let place = format!("writer held up after {before} steps, sweep after {between}");
            let world = World::new(1).await;
            world.backstay(&[("rows", TEXT)]).await.backup("daily").await.expect("a well world");
            world.clock.advance(DAY);
            let gates = Gates::default();
            let writer = gated(&world, &gates, 0).await;
            let sweeper = gated(&world, &gates, 1).await;
            let writer = start(Act::Backup, writer);
            writer_done = step(&gates, 0, before).await < before;
            world.clock.advance(DEAD);
            let sweeping = start(Act::Sweep, sweeper);
            let taken = step(&gates, 1, between).await;
            step(&gates, 0, 1000).await;
            let answer = writer.await.expect("no panic");
            step(&gates, 1, 1000).await;
            sweeping.await.expect("no panic").unwrap_or_else(|error| panic!("{place}: {error}"));
            let points = whole(&world, &place).await.len();
            match answer {
                Ok(()) => {
                    assert_eq!(points, 2, "{place}");
                    committed += 1;
                }
                // It was held up at its very commit: too late to be sure of, and said so.
                Err(error) if error.kind() == ErrorKind::Partial => assert_eq!(points, 2, "{place}: {error}"),
                Err(error) => {
                    assert_eq!(points, 1, "{place}: {error}");
                    // It took too long, or, if it is at its very commit, finds the key taken.
                    let text = error.to_string();
                    assert!(text.contains("longer than any run") || text.contains("does not exist"), "{place}: {text}");
                    told += u64::from(text.contains("does not exist"));
                }
            }
            if between % 5 == 0 {
                sweep_to_the_end(&world, &place).await;
            }
            if taken < between {
                assert!(between > 10, "{place}: the sweep has few steps");
                break;
            }
        }
        if writer_done {
            assert!(before > 6, "the writer has few steps");
            break;
        }
    }
    assert!(told > 3 && committed > 50, "{told} told, {committed} committed");
}

/// A writer that sleeps until sweeps have forgotten its run finds nobody to tell it so; only the time does.
#[tokio::test(start_paused = true)]
async fn a_writer_that_wakes_up_when_all_is_forgotten_hears_that_it_is_too_late() {
    for before in 0.. {
        let place = format!("writer asleep after {before} steps");
        let world = World::new(1).await;
        let good = world.backstay(&[("rows", TEXT)]).await.backup("daily").await.expect("a well world").id;
        world.clock.advance(DAY);
        let gates = Gates::default();
        let writer = start(Act::Backup, gated(&world, &gates, 0).await);
        let awake = step(&gates, 0, before).await < before;
        let committed = world.keys("points/").await.len() > 1;
        let began = world.keys("runs/").await.len() > 1;
        world.clock.advance(DEAD);
        sweep_to_the_end_of_dead(&world).await;
        step(&gates, 0, 1000).await;
        let vault = world.vault().await;
        match writer.await.expect("no panic") {
            Ok(()) => {
                assert!(awake || !began || committed, "{place}: it was taken for dead");
                assert_eq!(whole(&world, &place).await.len(), 2, "{place}");
            }
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("longer than any run") || text.contains("later than any run"), "{place}: {text}");
                // Even what was committed in its sleep is doubtful to everybody.
                assert_eq!(vault.points().latest("db").await.expect("the good one").id, good, "{place}");
            }
        }
        if awake {
            assert!(before > 6, "the writer has few steps");
            break;
        }
    }
}

/// A world with a dead run, and with a point whose deletion is due: the last two stay.
async fn prepared() -> World {
    let world = World::new(1).await;
    let backstay = world.backstay(&[("rows", TEXT)]).await;
    for _ in 0..3 {
        backstay.backup("daily").await.expect("a well world");
        world.clock.advance(DAY);
    }
    let store = FaultyStore::new(Arc::new(world.store.clone()));
    let dying = program(world.open(store.clone(), 5).await.expect("it opens"), exporter(&[("rows", TEXT)]));
    store.reset_calls();
    store.add(Rule::new(Fault::FailBefore(ErrorKind::Unavailable)).from(5));
    dying.backup("daily").await.expect_err("it dies");
    world.clock.advance(DEAD - 2 * DAY);
    backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
    world.clock.advance(2 * DAY);
    world
}

/// One stops after each of its steps while the other runs through; the first may then be told, but never fails.
#[tokio::test(start_paused = true)]
async fn sweeps_and_prunes_overtake_each_other_at_every_step() {
    for (first, second) in [(Act::Sweep, Act::Sweep), (Act::Sweep, Act::Prune), (Act::Prune, Act::Sweep)] {
        for k in 0.. {
            let place = format!("{first:?} stopped after {k} for {second:?}");
            let world = prepared().await;
            let gates = Gates::default();
            let (one, two) = (gated(&world, &gates, 0).await, gated(&world, &gates, 1).await);
            let stopped = start(first, one);
            let taken = step(&gates, 0, k).await;
            let through = start(second, two);
            step(&gates, 1, 1000).await;
            step(&gates, 0, 1000).await;
            for done in [stopped, through] {
                done.await.expect("no panic").unwrap_or_else(|error| panic!("{place}: {error}"));
            }
            assert_eq!(whole(&world, &place).await.len(), 2, "{place}");
            sweep_to_the_end(&world, &place).await;
            if taken < k {
                assert!(k > 10, "{place}: few steps");
                break;
            }
        }
    }
}

/// Two sweeps, and the first wakes up when the other has long forgotten the run.
#[tokio::test(start_paused = true)]
async fn a_sweep_that_wakes_up_late_leaves_nothing_for_good() {
    for k in 0.. {
        let place = format!("asleep after {k} steps");
        let world = prepared().await;
        let gates = Gates::default();
        let one = gated(&world, &gates, 0).await;
        let asleep = start(Act::Sweep, one);
        let taken = step(&gates, 0, k).await;
        sweep_to_the_end_of_dead(&world).await;
        step(&gates, 0, 1000).await;
        // What it had planned is gone: that may be told, and is no harm.
        drop(asleep.await.expect("no panic"));
        whole(&world, &place).await;
        world.backstay(&[]).await.prune("daily").plan().await.expect("a plan").apply().await.expect("a prune");
        sweep_to_the_end(&world, &place).await;
        if taken < k {
            break;
        }
    }
}

async fn sweep_to_the_end_of_dead(world: &World) {
    for _ in 0..2 {
        let backstay = world.backstay(&[]).await;
        backstay.sweep().plan().await.expect("a plan").apply().await.expect("a sweep");
        world.clock.advance(DEAD);
    }
}

/// A backup whose answer to the commit is lost. `rival` is what somebody else puts at the key before. Whether the report is
/// certain; and how long the manifest is that stands there.
async fn lost_answer(proved: bool, hinted: bool, rival: Option<usize>) -> (Result<bool>, usize) {
    let world = World::new(1).await;
    let gates = Gates::default();
    if !proved {
        gates.etags_prove_nothing();
    }
    let log = backstay_testkit::EventLog::default();
    let lossy = FaultyStore::new(Arc::new(gates.store(&world.store, 0)));
    lossy.add(Rule::new(Fault::FailAfter(ErrorKind::Timeout)).on([Operation::Put]).under("points/").first(1));
    let opening = tokio::spawn({
        let (world, lossy) = (world.clone(), lossy.clone());
        async move { world.open(lossy, 5).await }
    });
    while !opening.is_finished() {
        gates.settled().await.into_iter().for_each(|who| gates.step(who));
    }
    let backstay = Backstay::builder("prod-eu", opening.await.expect("no panic").expect("it opens"))
        .export("db", exporter(&[("rows", TEXT)]))
        .tier(backstay::Tier::new("daily").keep(backstay::Keep::last(2)))
        .observe(log.clone())
        .build()
        .expect("well formed");
    let writing = tokio::spawn(async move { backstay.backup("daily").await });
    // Up to the commit.
    while world.keys("sigs/prod-eu/").await.is_empty() {
        step(&gates, 0, 1).await;
    }
    let signature = world.keys("sigs/prod-eu/").await.remove(0);
    let id = signature.trim_start_matches("sigs/").split('.').next().expect("an ID").to_owned();
    if hinted {
        world.overwrite(&format!("points/{id}.void"), "").await;
    }
    if let Some(length) = rival {
        world.overwrite(&format!("points/{id}.json"), Bytes::from(vec![b' '; length])).await;
    }
    gates.open();
    let answer = writing.await.expect("no panic").map(|report| report.certain);
    let warned = log.all().iter().any(|event| matches!(event, Event::Warning { .. }));
    assert_eq!(warned, matches!(answer, Ok(false)), "who cannot be certain says so");
    assert_eq!(lossy.calls(Operation::Get) + lossy.calls(Operation::Delete), 0, "a writer may not");
    (answer, world.read(&format!("points/{id}.json")).await.len())
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_the_commit_is_told_as_what_it_is() {
    let length = lost_answer(true, false, None).await.1;
    let (ours, longer) = (Some(length), Some(length + 1));
    // Whether etags prove content, whether there is the hint of a void, who was first; and what the writer says: that its
    // point exists for certain, that it or another's does, or an error.
    for (proved, hinted, rival, expected) in [
        (true, false, None, Ok(true)),
        (true, true, None, Ok(true)),
        (false, false, None, Ok(false)),
        (false, true, None, Err("for a reader to tell")),
        (true, false, ours, Err("this attempt made no point")),
        (true, true, ours, Err("its point does not exist")),
        (false, false, ours, Ok(false)),
        (false, true, ours, Err("for a reader to tell")),
        (true, false, longer, Err("this attempt made no point")),
        (false, false, longer, Err("this attempt made no point")),
        (false, true, longer, Err("its point does not exist")),
    ] {
        let place = format!("proved: {proved}, hinted: {hinted}, rival: {rival:?}");
        match (lost_answer(proved, hinted, rival).await.0, expected) {
            (Ok(certain), Ok(expected)) => assert_eq!(certain, expected, "{place}"),
            (Err(error), Err(text)) => {
                assert!(
                    error.kind() == ErrorKind::AlreadyExists && error.to_string().contains(text),
                    "{place}: {error}"
                );
            }
            (got, expected) => panic!("{place}: {got:?} instead of {expected:?}"),
        }
    }
}
