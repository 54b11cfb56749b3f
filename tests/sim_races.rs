//! Two programs on one store, interleaved at every store call: whoever comes first, the promises hold.

mod support;

use std::pin::Pin;
use std::time::Duration;

use backstay::{Backstay, ErrorKind, PointId, Result};
use support::gate::Gates;
use support::saved::SavedWorld;
use support::whole::Whole;
use support::{World, exporter, program};

const DAY: Duration = Duration::from_secs(24 * 3600);
const TEXT: &[u8] = b"content";

/// What one of the two programs does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Backup,
    Prune,
    Undelete,
    Hold,
    Release,
}

/// In which state the oldest point is when they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Oldest {
    /// Nothing was done to it yet; the next prune marks it.
    Whole,
    /// Marked, in its grace.
    Marked,
    /// Marked, and its grace is over.
    Over,
    /// As `Over`, and held.
    Held,
}

const RACES: [(Oldest, Act, Act); 13] = [
    (Oldest::Whole, Act::Backup, Act::Backup),
    (Oldest::Whole, Act::Backup, Act::Prune),
    (Oldest::Over, Act::Backup, Act::Prune),
    (Oldest::Whole, Act::Prune, Act::Prune),
    (Oldest::Over, Act::Prune, Act::Prune),
    (Oldest::Held, Act::Prune, Act::Prune),
    (Oldest::Marked, Act::Prune, Act::Undelete),
    (Oldest::Over, Act::Prune, Act::Undelete),
    (Oldest::Whole, Act::Prune, Act::Hold),
    (Oldest::Marked, Act::Prune, Act::Hold),
    (Oldest::Over, Act::Prune, Act::Hold),
    (Oldest::Held, Act::Prune, Act::Release),
    (Oldest::Marked, Act::Undelete, Act::Hold),
];

async fn prepared(oldest: Oldest) -> (World, Vec<PointId>) {
    let world = World::new(1).await;
    let backstay = world.backstay(&[("rows", TEXT)]).await;
    let mut points = Vec::new();
    for _ in 0..3 {
        points.push(backstay.backup("daily").await.expect("a well world").id);
        world.clock.advance(DAY);
    }
    if oldest != Oldest::Whole {
        backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
    }
    if oldest == Oldest::Held {
        perform(Act::Hold, &backstay, &points).await.expect("held in the grace");
    }
    if matches!(oldest, Oldest::Over | Oldest::Held) {
        world.clock.advance(2 * DAY);
    }
    (world, points)
}

async fn perform(act: Act, backstay: &Backstay, points: &[PointId]) -> Result<()> {
    let (vault, audit) = (backstay.vault(), "audit".parse()?);
    match act {
        Act::Backup => backstay.backup("daily").await.map(drop),
        Act::Prune => backstay.prune("daily").plan().await?.apply().await.map(drop),
        Act::Undelete => vault.undelete(&points[0]).await,
        Act::Hold => vault.hold(&points[0], &audit, "the auditors want it").await,
        Act::Release => vault.release(&points[0], &audit, "they have seen it").await,
    }
}

/// Runs both, each step of which `choose` picks among the programs that wait. What they answered, and how many steps
/// were taken.
async fn interleaved(
    world: &World,
    points: &[PointId],
    acts: [Act; 2],
    mut choose: impl FnMut(&[usize]) -> usize,
) -> ([Result<()>; 2], usize) {
    let gates = Gates::default();
    let mut running: Vec<Pin<Box<dyn Future<Output = Result<()>> + Send>>> = Vec::new();
    for (number, act) in acts.into_iter().enumerate() {
        let (points, opening) = (points.to_vec(), world.clone());
        let store = gates.store(&world.store, number);
        let opening = async move { opening.open(store, 50 + number as u64).await.expect("it opens") };
        let backstay = program(gates.pass(number, opening).await, exporter(&[("rows", TEXT)]));
        running.push(Box::pin(async move { perform(act, &backstay, &points).await }));
    }
    let mut tasks: Vec<_> = running.into_iter().map(tokio::spawn).collect();
    let mut steps = 0;
    loop {
        let waiting = gates.settled().await;
        if waiting.is_empty() {
            break;
        }
        gates.step(choose(&waiting));
        steps += 1;
    }
    let second = tasks.remove(1).await.expect("no panic");
    let first = tasks.remove(0).await.expect("no panic");
    ([first, second], steps)
}

async fn check(
    world: &World,
    points: &[PointId],
    race: (Oldest, Act, Act),
    answers: &[Result<()>; 2],
    whole: &mut Whole,
    place: &str,
) {
    let (oldest, first, second) = race;
    let vault = world.vault().await;
    // An error is only ever that somebody else was first.
    for (act, answer) in [(first, &answers[0]), (second, &answers[1])] {
        let fine = match answer.as_ref().map_err(backstay::Error::kind) {
            Ok(()) => true,
            Err(ErrorKind::Refused) => match act {
                Act::Undelete | Act::Hold => oldest == Oldest::Over || first == Act::Prune,
                _ => false,
            },
            Err(ErrorKind::NotFound) => matches!(act, Act::Undelete | Act::Hold | Act::Release),
            Err(_) => false,
        };
        assert!(fine, "{place}: {act:?}: {answer:?}");
    }
    // Every point that shows is whole, and none that was to stay is gone.
    let listed = whole.shown(&vault, &world.store, |_| TEXT.to_vec(), place).await;
    let backups = [first, second].iter().filter(|act| **act == Act::Backup).count();
    // The tier keeps two: every new point lets one more go.
    let kept = &points[points.len().min(1 + backups)..];
    assert!(kept.iter().all(|id| listed.contains(id)), "{place}: a point is gone");
    assert_eq!(listed.iter().filter(|id| !points.contains(id)).count(), backups, "{place}: a backup is gone");
    // Who heard that it is held or taken back can rely on it.
    let promised = [first, second]
        .iter()
        .zip(answers)
        .any(|(act, answer)| matches!(act, Act::Hold | Act::Undelete) && answer.is_ok());
    if promised {
        whole.point(&vault, &world.store, &points[0], TEXT.to_vec(), place).await;
    }

    // Later runs finish what was begun: the point stands whole and held, or nothing of it is left.
    let backstay = world.backstay(&[("rows", TEXT)]).await;
    for _ in 0..3 {
        world.clock.advance(2 * DAY);
        let plan = backstay.prune("daily").plan().await.unwrap_or_else(|error| panic!("{place}: {error}"));
        plan.apply().await.unwrap_or_else(|error| panic!("{place}: {error}"));
    }
    let left = world.keys("").await;
    let left: Vec<&String> = left
        .iter()
        .filter(|key| key.contains(&points[0].run.to_string()) && !key.starts_with("runs/"))
        .filter(|key| !key.contains("hold-audit"))
        .collect();
    let held = [first, second].contains(&Act::Hold) || oldest == Oldest::Held && second != Act::Release;
    if held && world.keys("points/").await.contains(&format!("points/{}.json", points[0])) {
        whole.point(backstay.vault(), &world.store, &points[0], TEXT.to_vec(), place).await;
    } else {
        assert!(!promised || first == Act::Prune && second == Act::Undelete, "{place}: a hold did not hold");
        assert_eq!(left, [""; 0], "{place}");
    }
}

/// One program stops after each of its steps while the other runs through: every place where it can be overtaken.
#[tokio::test(start_paused = true)]
async fn one_program_overtakes_the_other_at_every_step() {
    let mut whole = Whole::default();
    for race in RACES {
        let (oldest, first, second) = race;
        let (world, points) = prepared(oldest).await;
        let saved = SavedWorld::of(world).await;
        // Of two that do the same it does not matter which one is stopped.
        for [stopped, through] in [[0, 1], [1, 0]].into_iter().take(if first == second { 1 } else { 2 }) {
            for k in 0.. {
                let world = saved.load().await;
                let (mut taken, mut overtaken) = (0, false);
                let choose = |waiting: &[usize]| {
                    let wanted = if taken < k { stopped } else { through };
                    overtaken |= taken == k && waiting.contains(&stopped);
                    let chosen = if waiting.contains(&wanted) { wanted } else { waiting[0] };
                    taken += usize::from(chosen == stopped);
                    chosen
                };
                let (answers, _) = interleaved(&world, &points, [first, second], choose).await;
                let place = format!("{race:?}, {stopped} stopped after {k}");
                check(&world, &points, race, &answers, &mut whole, &place).await;
                if !overtaken {
                    assert!(k > 2, "{race:?} met only {k} steps");
                    break;
                }
            }
        }
    }
}

/// Any order at all, drawn from a seed.
#[tokio::test(start_paused = true)]
async fn programs_take_turns_at_random() {
    let mut whole = Whole::default();
    for race in RACES {
        let (oldest, first, second) = race;
        let (world, points) = prepared(oldest).await;
        let saved = SavedWorld::of(world).await;
        for seed in 0..8_u64 {
            let world = saved.load().await;
            let mut state = seed;
            let choose = |waiting: &[usize]| {
                // Knuth's MMIX generator; its upper bits are good enough to choose by.
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                waiting[(state >> 33) as usize % waiting.len()]
            };
            let (answers, steps) = interleaved(&world, &points, [first, second], choose).await;
            assert!(steps > 6, "{race:?}: only {steps} steps");
            check(&world, &points, race, &answers, &mut whole, &format!("{race:?}, seed {seed}")).await;
        }
    }
}

/// Whoever held a point before it was marked does not find it marked afterwards.
#[tokio::test(start_paused = true)]
async fn a_hold_that_comes_before_the_tombstone_leaves_none() {
    let (mut before, mut after) = (0, 0);
    for k in 0..40 {
        let (world, points) = prepared(Oldest::Whole).await;
        let gates = Gates::default();
        let opening = tokio::spawn({
            let (world, store) = (world.clone(), gates.store(&world.store, 0));
            async move { world.open(store, 50).await }
        });
        while !opening.is_finished() {
            gates.step_all().await;
        }
        let backstay = program(opening.await.expect("no panic").expect("it opens"), exporter(&[]));
        let pruning = tokio::spawn(async move { backstay.prune("daily").plan().await?.apply().await });
        for _ in 0..k {
            gates.step_all().await;
        }
        gates.settled().await;
        let tombstone = format!("points/{}.deleted", points[0]);
        let was_marked = world.keys("points/").await.contains(&tombstone);
        perform(Act::Hold, &world.backstay(&[]).await, &points).await.expect("there is time");
        gates.open();
        pruning.await.expect("no panic").expect("the hold is no failure");
        let is_marked = world.keys("points/").await.contains(&tombstone);
        assert!(was_marked || !is_marked, "held after {k} steps, and marked afterwards");
        (before, after) = (before + u64::from(!was_marked), after + u64::from(was_marked));
    }
    assert!(before > 5 && after > 1, "{before} before, {after} after");
}
