//! A program drawn from a seed, and what must be true after each of its acts.

mod act;
mod fault;
mod truth;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use backstay::store::layer::{Observe, StoreCall};
use backstay::{Backstay, Clock, Keep, Tier, Vault};
use backstay_testkit::fault::FaultyStore;
use backstay_testkit::mock::{ExportScript, MockExporter};
use backstay_testkit::{ManualClock, SeededRandom};
use jiff::{SignedDuration, Timestamp};

use crate::support::{World, inline_budget};
use act::Act;
use truth::Truth;

const HOUR: Duration = Duration::from_secs(3600);

/// Hosts that take turns on one vault, the dice that decide, and what is known to be true.
pub(crate) struct Chaos {
    world: World,
    dice: SeededRandom,
    truth: Truth,
    calls: Arc<Mutex<Vec<String>>>,
    /// So many programs were started.
    started: u64,
}

/// The true clock, off by a fixed time.
#[derive(Clone, Debug)]
struct Skewed {
    clock: ManualClock,
    by: SignedDuration,
}

#[async_trait]
impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        self.clock.now() + self.by
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }
}

impl Chaos {
    /// A vault with one whole point in it.
    pub(crate) async fn new(seed: u64) -> Self {
        let world = World::new(seed).await;
        let dice = SeededRandom::new(seed ^ 0x5eed);
        let mut chaos = Self { world, dice, truth: Truth::default(), calls: Arc::default(), started: 0 };
        let first = chaos.act_of(0);
        chaos.without_faults(&first).await;
        chaos
    }

    /// One host acts, or two side by side, with faults; then the first does the same again without any.
    pub(crate) async fn turn(&mut self) {
        self.world.clock.advance(HOUR * [0, 1, 5, 13, 26][self.below(5) as usize]);
        let kind = self.below(Act::KINDS);
        let act = self.act_of(kind);
        let skew = self.skew();
        let (first, second) = (self.faults(), self.faults());
        if self.below(4) == 0 {
            let kind = self.below(Act::KINDS);
            let other = self.act_of(kind);
            let (one, two) = (self.host(skew, &first), self.host(SignedDuration::ZERO, &second));
            tokio::join!(act.under_faults(&one, &self.truth), other.under_faults(&two, &self.truth));
        } else {
            act.under_faults(&self.host(skew, &first), &self.truth).await;
        }
        self.check(&format!("{act:?} under {first:?}"), false).await;
        self.world.clock.advance(Duration::from_secs(1));
        self.without_faults(&act).await;
    }

    /// Everything works on a well store, and everything that stands restores.
    pub(crate) async fn finish(&mut self) {
        for kind in [0, 5, 3] {
            self.world.clock.advance(HOUR * 26);
            let act = self.act_of(kind);
            self.without_faults(&act).await;
        }
        let vault = self.reader().await;
        self.truth.restore_all(&vault).await;
    }

    /// Everything that is stored, and every call.
    pub(crate) async fn trace(&self) -> (Vec<(String, Vec<u8>)>, Vec<String>) {
        let mut stored = Vec::new();
        for key in self.world.keys("").await {
            let content = self.world.read(&key).await;
            stored.push((key, content));
        }
        (stored, self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn below(&self, end: u64) -> u64 {
        self.dice.next_u64() % end
    }

    /// Most clocks are right, some are minutes off, a few a year.
    fn skew(&self) -> SignedDuration {
        match self.below(16) {
            0 => SignedDuration::from_hours(24 * 365),
            1 => SignedDuration::from_hours(-24 * 365),
            2 => SignedDuration::from_mins(20),
            3 | 4 => SignedDuration::from_secs(self.below(480) as i64 - 240),
            _ => SignedDuration::ZERO,
        }
    }

    async fn without_faults(&mut self, act: &Act) {
        let host = self.host(SignedDuration::ZERO, &fault::Faults::default());
        act.on_a_well_store(&host, &self.truth).await;
        self.check(&format!("{act:?} on a well store"), true).await;
    }

    async fn check(&mut self, place: &str, well: bool) {
        let vault = self.reader().await;
        self.truth.check(&self.world, &vault, place, well).await;
    }

    async fn reader(&self) -> Vault {
        let vault = Vault::open_read_only(self.world.store.clone()).keyring(&self.world.keyring);
        let vault = vault.clock(self.world.clock.clone()).random(SeededRandom::new(1)).budget(inline_budget());
        vault.build().await.expect("it opens to be read")
    }

    fn host(&mut self, by: SignedDuration, faults: &fault::Faults) -> Host {
        self.started += 1;
        let calls = self.calls.clone();
        let faulty = FaultyStore::new(Arc::new(self.world.store.clone()));
        faults.rules.iter().cloned().for_each(|rule| faulty.add(rule));
        let note = move |call: &StoreCall| {
            let line = format!("{} {} {:?}", call.operation, call.key, call.error);
            calls.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        };
        Host {
            store: Observe::new(Arc::new(faulty), note),
            clock: Skewed { clock: self.world.clock.clone(), by },
            world: self.world.clone(),
            number: self.started,
            dropped_after: faults.dropped_after,
        }
    }
}

/// One process on one machine.
struct Host {
    store: Observe,
    clock: Skewed,
    world: World,
    number: u64,
    /// In milliseconds; every call takes one at least.
    dropped_after: Option<u64>,
}

impl Host {
    /// Opens the vault and configures the program: `db` and `files`, the latter as the script says.
    async fn start(&self, db: ExportScript, files: ExportScript) -> backstay::Result<Backstay> {
        let vault = Vault::open(self.store.clone())
            .keyring(&self.world.keyring)
            .clock(self.clock.clone())
            .random(SeededRandom::new(self.world.seed.wrapping_mul(1000) + 100 + self.number))
            .budget(inline_budget())
            .build()
            .await?;
        Backstay::builder("prod-eu", vault)
            .export("db", MockExporter::scripted(db))
            .export("files", MockExporter::scripted(files))
            .tier(Tier::new("daily").keep(Keep::last(3)))
            .build()
    }

    fn clock_is_right(&self) -> bool {
        self.clock.by.abs() <= SignedDuration::from_mins(5)
    }
}
