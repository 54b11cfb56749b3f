//! Every act on a vault and its replica, from the same beginnings: interrupted and interleaved by the tests.

use std::pin::Pin;
use std::time::Duration;

use backstay::engine::Replicator;
use backstay::store::ObjectStore;
use backstay::{Backstay, ErrorKind, Keep, MemoryStore, PointId, Result, Tier};
use backstay_testkit::mock::{Calls, MockHook};

use super::dead::{DEAD, TEXT, crash};
use super::pair::Pair;
use super::saved::SavedPair;
use super::whole::Whole;
use super::{exporter, restored};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Backup,
    /// Of the point in question, from the origin.
    Restore,
    Prune,
    PruneReplica,
    /// Of the point in question.
    Undelete,
    UndeleteReplica,
    Replicate,
    Sweep,
    SweepReplica,
    Adopt,
}

/// In which state the point in question is when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The oldest, on its way out in both vaults, in its grace.
    Marked,
    /// The same, and the grace is over.
    Over,
    /// One that stays, under delete markers in the origin.
    Hidden,
    /// The same in the replica.
    HiddenReplica,
}

/// What is done, opened and ready to go.
pub type Work = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Five points, of which the replica lacks the newest, and a run that died with its hook begun. The origin keeps two points
/// and waits for the replica, which keeps three.
pub struct Beginning {
    pub start: Start,
    pub points: Vec<PointId>,
    saved: SavedPair,
}

/// One round from a beginning.
#[derive(Clone)]
pub struct Round {
    pub start: Start,
    pub points: Vec<PointId>,
    pub pair: Pair,
    pub calls: Calls,
}

impl Beginning {
    pub async fn new(start: Start) -> Self {
        let versioned = matches!(start, Start::Hidden | Start::HiddenReplica);
        let pair = Pair::on(1, if versioned { MemoryStore::versioned } else { MemoryStore::new }).await;
        let backstay = pair.world.backstay(&[("rows", TEXT)]).await;
        let mut points = Vec::new();
        for _ in 0..4 {
            points.push(backstay.backup("daily").await.expect("a well world").id);
            pair.world.clock.advance(DAY);
        }
        crash(&pair.world, 5, 5).await;
        pair.replicate().await;
        pair.world.clock.advance(DEAD);
        let mut round = Round { start, points, pair, calls: Calls::default() };
        match start {
            Start::Marked | Start::Over => {
                for act in [Act::Prune, Act::PruneReplica] {
                    round.act(act).await.expect("tombstones");
                }
                round.pair.world.clock.advance(if start == Start::Over { 2 * DAY } else { HOUR });
            }
            Start::Hidden => {
                for key in keys_of(round.pair.world.keys("").await, round.target()) {
                    round.pair.world.remove(&key).await;
                }
            }
            Start::HiddenReplica => {
                for key in keys_of(round.pair.keys("").await, round.target()) {
                    round.pair.remove(&key).await;
                }
            }
        }
        round.pair.world.clock.advance(HOUR);
        // By a program without hooks, so that the dead run is still there to be adopted.
        round.points.push(backstay.backup("daily").await.expect("a well world").id);
        round.pair.world.clock.advance(HOUR);
        Self { start, points: round.points, saved: SavedPair::of(round.pair).await }
    }

    pub async fn round(&self) -> Round {
        let (start, points, calls) = (self.start, self.points.clone(), Calls::default());
        Round { start, points, pair: self.saved.load().await, calls }
    }
}

/// All keys of a point but its run record: whoever deletes by prefix takes those.
fn keys_of(keys: Vec<String>, id: &PointId) -> Vec<String> {
    keys.into_iter().filter(|key| key.contains(&id.run.to_string()) && !key.starts_with("runs/")).collect()
}

impl Round {
    /// The point in question.
    pub fn target(&self) -> &PointId {
        &self.points[if matches!(self.start, Start::Marked | Start::Over) { 0 } else { 2 }]
    }

    /// Opens what the act needs, through these stores.
    pub async fn open(&self, act: Act, origin: impl ObjectStore, here: impl ObjectStore, seed: u64) -> Result<Work> {
        let target = self.target().clone();
        let world = &self.pair.world;
        Ok(match act {
            Act::Backup | Act::Adopt => {
                let backstay = Backstay::builder("prod-eu", world.open(origin, seed).await?)
                    .export("db", exporter(&[("rows", TEXT)]).record(&self.calls))
                    .hook(["db"], MockHook::new("freeze").record(&self.calls))
                    .tier(Tier::new("daily").keep(Keep::last(2)))
                    .build()?;
                match act {
                    Act::Backup => Box::pin(async move { backstay.backup("daily").await.map(drop) }),
                    _ => Box::pin(async move { backstay.adopt().await.map(drop) }),
                }
            }
            Act::Restore => {
                let vault = world.open(origin, seed).await?;
                Box::pin(async move {
                    let content = restored(&vault, &target).await?;
                    assert_eq!(content[0].1, TEXT, "what a restore gives is right");
                    Ok(())
                })
            }
            Act::Prune => {
                let backstay = Backstay::builder("prod-eu", world.open(origin, seed).await?)
                    .export("db", exporter(&[]))
                    .tier(Tier::new("daily").keep(Keep::last(2)).replicate_to("dr", Keep::last(3)))
                    .replica("dr", self.pair.replica(here).await?)
                    .build()?;
                Box::pin(async move { backstay.prune("daily").plan().await?.apply().await.map(drop) })
            }
            Act::PruneReplica | Act::SweepReplica => {
                let vault = self.pair.replica(here).await?;
                let backstay =
                    Backstay::builder("prod-eu", vault).tier(Tier::new("daily").keep(Keep::last(3))).build()?;
                match act {
                    Act::PruneReplica => {
                        Box::pin(async move { backstay.prune("daily").plan().await?.apply().await.map(drop) })
                    }
                    _ => Box::pin(async move { backstay.sweep().plan().await?.apply().await.map(drop) }),
                }
            }
            Act::Undelete => {
                let vault = world.open(origin, seed).await?;
                Box::pin(async move { vault.undelete(&target).await })
            }
            Act::UndeleteReplica => {
                let vault = self.pair.replica(here).await?;
                Box::pin(async move { vault.undelete(&target).await })
            }
            Act::Replicate => {
                let replicator = Replicator::new(self.pair.origin(origin).await?, self.pair.replica(here).await?);
                let replicator = replicator.keep("daily", Keep::last(3));
                Box::pin(async move { replicator.plan().await?.apply().await.map(drop) })
            }
            Act::Sweep => {
                let backstay = super::program(world.open(origin, seed).await?, exporter(&[]));
                Box::pin(async move { backstay.sweep().plan().await?.apply().await.map(drop) })
            }
        })
    }

    /// Does it on stores that are well.
    pub async fn act(&self, act: Act) -> Result<()> {
        let (origin, here) = (self.pair.world.store.clone(), self.pair.store.clone());
        self.open(act, origin, here, 90).await?.await
    }

    /// Whether this error of an act that was not interrupted only says that somebody else was first.
    pub fn is_fair(&self, act: Act, kind: ErrorKind) -> bool {
        match act {
            // Too late, or nothing of it is deleted any more.
            Act::Undelete | Act::UndeleteReplica => matches!(kind, ErrorKind::Refused | ErrorKind::NotFound),
            // The point went while it was read.
            Act::Restore => kind == ErrorKind::NotFound,
            _ => false,
        }
    }

    /// The promises, at any moment: what either vault shows is whole, and nothing is gone that was to stay.
    pub async fn check(&self, whole: &mut Whole, place: &str) {
        let text = |_: &PointId| TEXT.to_vec();
        let pair = &self.pair;
        let vaults = [
            (pair.world.vault().await, &pair.world.store, Start::Hidden),
            (pair.left().await, &pair.store, Start::HiddenReplica),
        ];
        for (vault, store, hidden) in vaults {
            let shown = whole.shown(&vault, store, text, place).await;
            // What came later may have marked them, and nothing more.
            let stays = self.points[2..4].iter().filter(|id| self.start != hidden || *id != self.target());
            for id in stays.filter(|id| !shown.contains(id)) {
                whole.point(&vault, store, id, TEXT.to_vec(), place).await;
            }
            let newest = shown.contains(&self.points[4]) || hidden == Start::HiddenReplica;
            assert!(newest, "{place}: the newest point is gone");
        }
        let (frozen, thawed) = (self.calls.count("freeze.before"), self.calls.count("freeze.after"));
        assert!(frozen <= thawed, "{place}: {:?}", self.calls.all());
    }

    /// Whoever comes next finds nothing that he cannot finish.
    pub async fn finish(&self, whole: &mut Whole, place: &str) {
        let fails = |act| move |error| panic!("{place}: then {act:?} fails: {error:?}");
        let undelete = match self.start {
            Start::Hidden => Some(Act::Undelete),
            Start::HiddenReplica => Some(Act::UndeleteReplica),
            Start::Marked | Start::Over => None,
        };
        if let Some(act) = undelete
            && let Err(error) = self.act(act).await
        {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{place}: neither back nor done already: {error:?}");
        }
        for act in [Act::Adopt, Act::Replicate, Act::Prune, Act::PruneReplica, Act::Sweep, Act::SweepReplica] {
            self.act(act).await.unwrap_or_else(fails(act));
        }
        self.check(whole, place).await;
        self.pair.world.clock.advance(2 * DEAD);
        // What was cleaned by one sweep is forgotten by the next.
        let all = [Act::Replicate, Act::Prune, Act::PruneReplica, Act::Sweep, Act::SweepReplica, Act::Sweep];
        for act in all {
            self.act(act).await.unwrap_or_else(fails(act));
        }
        let whole_there = whole.shown(&self.pair.left().await, &self.pair.store, |_| TEXT.to_vec(), place).await;
        let here = whole.shown(&self.pair.world.vault().await, &self.pair.world.store, |_| TEXT.to_vec(), place).await;
        assert!(here.len() == 2 && whole_there.ends_with(&here), "{place}: {here:?} and {whole_there:?}");
        // Of what went, nothing is left in either vault.
        for (keys, shown) in [(self.pair.world.keys("").await, &here), (self.pair.keys("").await, &whole_there)] {
            let of_run = ["points/", "items/", "details/", "sigs/prod-eu/daily", "copies/"];
            let left: Vec<&String> = keys
                .iter()
                .filter(|key| of_run.iter().any(|place| key.starts_with(place)))
                .filter(|key| !shown.iter().any(|id| key.contains(&id.run.to_string())))
                .collect();
            assert_eq!(left, [""; 0], "{place}");
        }
        let thawed = self.calls.count("freeze.after") - self.calls.count("freeze.before");
        assert!((1..=2).contains(&thawed), "{place}: {:?}", self.calls.all());
    }

    /// So that two programs do not draw the same names.
    pub fn seed(program: usize) -> u64 {
        70 + program as u64
    }
}
