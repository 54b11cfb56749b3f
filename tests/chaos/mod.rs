//! A program drawn from a seed, and what must be true after each of its acts.

mod act;
mod copies;
mod fault;
mod hook;
mod truth;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backstay::store::layer::{Observe, StoreCall};
use backstay::vault::VaultBuilder;
use backstay::{Backstay, Keep, Keyring, MemoryStore, Result, Tier, Vault};
use backstay_testkit::fault::{FaultyStore, Rule};
use backstay_testkit::mock::{ExportScript, MockExporter};
use backstay_testkit::{ManualClock, SeededRandom};
use jiff::SignedDuration;

use crate::support::pair::Pair;
use crate::support::skewed::Skewed;
use crate::support::{World, inline_budget, world_on};
use act::Act;
use copies::Copies;
use fault::Faults;
use hook::{Freeze, Freezes};
use truth::Truth;

const HOUR: Duration = Duration::from_secs(3600);

/// Hosts that take turns on a vault and its replica, the dice that decide, and what is known to be true.
pub(crate) struct Chaos {
    pair: Pair,
    /// Whether the vault's store keeps versions.
    versioned: bool,
    dice: SeededRandom,
    truth: Truth,
    copies: Arc<Copies>,
    freezes: Freezes,
    calls: Arc<Mutex<Vec<String>>>,
    /// So many programs were started.
    started: u64,
}

impl Chaos {
    /// A vault with one whole point in it, and an empty replica.
    pub(crate) async fn new(seed: u64) -> Self {
        let versioned = seed % 4 == 1;
        let store = if versioned { MemoryStore::versioned() } else { MemoryStore::new() };
        let pair = Pair::beside(world_on(store, seed).await, MemoryStore::new()).await;
        let mut chaos = Self {
            pair,
            versioned,
            dice: SeededRandom::new(seed ^ 0x5eed),
            truth: Truth::default(),
            copies: Arc::default(),
            freezes: Freezes::default(),
            calls: Arc::default(),
            started: 0,
        };
        let first = chaos.act_of(0);
        chaos.without_faults(&first).await;
        chaos
    }

    /// One host acts, or two side by side, with faults; then the first does the same again without any.
    pub(crate) async fn turn(&mut self) {
        self.clock().advance(HOUR * [0, 1, 5, 13, 26][self.below(5) as usize]);
        let kind = self.below(Act::KINDS);
        let mut act = self.act_of(kind);
        if matches!(act, Act::Sweep | Act::Adopt) {
            self.leave_something_dead().await;
        }
        if let Act::BringBack(point) = &act {
            for key in self.truth.is_lost(point) {
                self.pair.world.remove(&key).await;
            }
        }
        let skew = self.skew();
        let (first, second) = (self.faults(), self.faults());
        if self.below(4) == 0 {
            let kind = self.below(Act::KINDS - 1);
            let other = self.act_of(kind);
            let (one, two) = (self.host(skew, &first), self.host(SignedDuration::ZERO, &second));
            tokio::join!(act.under_faults(&one, &self.truth), other.under_faults(&two, &self.truth));
        } else {
            act.under_faults(&self.host(skew, &first), &self.truth).await;
        }
        self.check(&format!("{act:?} under {first:?}"), false).await;
        if let Act::Rotate(name) = &mut act {
            *name = format!("{name}-b").parse().expect("a name");
        }
        self.clock().advance(Duration::from_secs(1));
        self.without_faults(&act).await;
    }

    /// A run whose process is killed; mostly so long ago that it counts as dead.
    async fn leave_something_dead(&mut self) {
        if self.below(4) > 0 {
            let run = self.act_of(0);
            let killed = self.kill();
            run.under_faults(&self.host(SignedDuration::ZERO, &killed), &self.truth).await;
            self.check(&format!("{run:?} under {killed:?}"), false).await;
        }
        self.clock().advance(HOUR * 24 * [0, 6, 8, 9, 17][self.below(5) as usize]);
    }

    /// Everything works on a well store, and everything that stands restores, here and there.
    pub(crate) async fn finish(&mut self) {
        for kind in [0, 6, 13, 4] {
            self.clock().advance(HOUR * 26);
            let act = self.act_of(kind);
            self.without_faults(&act).await;
        }
        let vault = self.reader().await;
        self.truth.restore_all(&vault).await;
        self.copies.restore_all(&self.pair, &self.truth).await;
        // Longer than the longest run after every record and every ID that a wrong clock made.
        self.clock().advance(HOUR * 24 * 400);
        self.without_faults(&Act::Adopt).await;
        let owed = self.freezes.owed();
        assert!(owed.is_empty(), "frozen for ever by {owed:?}");
    }

    /// Everything that is stored, and every call.
    pub(crate) async fn trace(&self) -> (Vec<(String, Vec<u8>)>, Vec<String>) {
        let mut stored = Vec::new();
        for key in self.pair.world.keys("").await {
            let content = self.pair.world.read(&key).await;
            stored.push((key, content));
        }
        for key in self.pair.keys("").await {
            let content = self.pair.read(&key).await;
            stored.push((format!("replica/{key}"), content));
        }
        (stored, self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn clock(&self) -> &ManualClock {
        &self.pair.world.clock
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
        let mut host = self.host(SignedDuration::ZERO, &Faults::default());
        host.is_alone = true;
        act.on_a_well_store(&host, &self.truth).await;
        self.check(&format!("{act:?} on a well store"), true).await;
    }

    async fn check(&mut self, place: &str, well: bool) {
        for rotation in self.truth.rotations() {
            Arc::make_mut(&mut self.pair.world.keyring).take_epoch(&rotation).expect("it is sealed to the keyring");
        }
        let vault = self.reader().await;
        self.truth.check(&self.pair.world, &vault, place, well).await;
        self.copies.check(&self.pair, &self.truth, place).await;
    }

    async fn reader(&self) -> Vault {
        let world = &self.pair.world;
        let vault = Vault::open_read_only(world.store.clone()).keyring(&world.keyring);
        let vault = vault.clock(world.clock.clone()).random(SeededRandom::new(1)).budget(inline_budget());
        vault.build().await.expect("it opens to be read")
    }

    fn host(&mut self, by: SignedDuration, faults: &Faults) -> Host {
        self.started += 1;
        let observed = |name: &'static str, faulty: &FaultyStore| {
            let calls = self.calls.clone();
            let note = move |call: &StoreCall| {
                let line = format!("{name} {} {} {:?}", call.operation, call.key, call.error);
                calls.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            };
            Observe::new(Arc::new(faulty.clone()), note)
        };
        let faulty = |store: &MemoryStore, rules: &[Rule]| {
            let faulty = FaultyStore::new(Arc::new(store.clone()));
            rules.iter().cloned().for_each(|rule| faulty.add(rule));
            faulty
        };
        let (here, there) = (faulty(&self.pair.world.store, &faults.rules), faulty(&self.pair.store, &faults.there));
        Host {
            store: observed("here", &here),
            there: observed("there", &there),
            clock: Skewed { clock: self.clock().clone(), by },
            world: self.pair.world.clone(),
            replica_keyring: self.pair.keyring.clone(),
            copies: self.copies.clone(),
            hook: Freeze {
                freezes: self.freezes.clone(),
                clock: self.clock().clone(),
                host: self.started,
                store: here,
                stops_at: faults.stops_at,
            },
            number: self.started,
            is_alone: false,
            dropped_after: faults.dropped_after,
        }
    }
}

/// One process on one machine.
struct Host {
    store: Observe,
    /// The replica.
    there: Observe,
    clock: Skewed,
    world: World,
    replica_keyring: Arc<Keyring>,
    copies: Arc<Copies>,
    hook: Freeze,
    number: u64,
    /// Nothing else happens beside it.
    is_alone: bool,
    /// In milliseconds; every call takes one at least.
    dropped_after: Option<u64>,
}

impl Host {
    /// Opens the vault and configures the program: `db` and `files`, the latter as the script says.
    async fn start(&self, db: ExportScript, files: ExportScript) -> Result<Backstay> {
        let vault = self.open(self.store.clone()).keyring(&self.world.keyring).build().await?;
        Backstay::builder("prod-eu", vault)
            .export("db", MockExporter::scripted(db))
            .export("files", MockExporter::scripted(files))
            .hook(["db"], self.hook.clone())
            .tier(Tier::new("daily").keep(Keep::last(3)))
            .build()
    }

    /// The replica's own program.
    async fn start_there(&self) -> Result<Backstay> {
        let (keyring, origin) = (&self.replica_keyring, &self.world.keyring);
        let vault = self.open(self.there.clone()).keyring(keyring);
        let vault = vault.origin(origin.vault_id().clone(), origin.allowed_signers()).build().await?;
        Backstay::builder("prod-eu", vault).tier(Tier::new("daily").keep(Keep::last(2))).build()
    }

    /// The origin as a replicator sees it: no key that opens anything.
    async fn origin(&self) -> Result<Vault> {
        let vault = Vault::open_read_only(self.store.clone()).id(self.world.keyring.vault_id().clone());
        let vault = vault.trust(self.world.keyring.allowed_signers().clone());
        vault.clock(self.clock.clone()).budget(inline_budget()).build().await
    }

    fn open(&self, store: Observe) -> VaultBuilder {
        let random = SeededRandom::new(self.world.seed.wrapping_mul(1000) + 100 + self.number);
        Vault::open(store).clock(self.clock.clone()).random(random).budget(inline_budget())
    }

    fn clock_is_right(&self) -> bool {
        self.clock.by.abs() <= SignedDuration::from_mins(5)
    }
}
