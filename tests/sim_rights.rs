//! What replication, sweeps, adoption, locks and failures need: exactly the rights of their role, each by itself. The acts
//! upon points and keys are in `sim_roles`.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use backstay::engine::Replicator;
use backstay::store::ObjectStore;
use backstay::vault::{Grant, Right, Role, RoleKeys};
use backstay::{Backstay, ErrorKind, Keep, Keyring, LockMode, Result, Tier, Vault};
use backstay_testkit::mock::{ExportFault, ExportScript, MockExporter, MockHook};
use backstay_testkit::{RightsStore, SeededRandom};
use jiff::ToSpan;
use support::dead::{DEAD, TEXT, begin, died_at};
use support::pair::Pair;
use support::{World, exporter, inline_budget, world_on};

/// Keys of a role that the vault's trusted signers know.
fn issue(keyring: &Keyring, role: Role) -> RoleKeys {
    let name = "somebody".parse().expect("a name");
    keyring.clone().issue_from(role, &name, &SeededRandom::new(9)).expect("issued")
}

async fn open(world: &World, keyring: &Keyring, role: Role, store: RightsStore) -> Result<Vault> {
    let builder = Vault::open_as(role, store).keys(&issue(keyring, role)).clock(world.clock.clone());
    builder.random(SeededRandom::new(11)).budget(inline_budget()).build().await
}

/// Does an act with all rights of its role, then once without each that it needed, which the error must name. Those that
/// it needed are the answer; `spared` are such that it can do without.
async fn needs_exactly(
    role: Role,
    spared: &[&str],
    act: impl AsyncFn(&dyn Fn(Arc<dyn ObjectStore>) -> RightsStore) -> (RightsStore, Result<()>),
) -> BTreeSet<Grant> {
    let (store, result) = act(&|inner| RightsStore::new(inner, role)).await;
    result.unwrap_or_else(|error| panic!("{role}: {error:?}"));
    assert_eq!(store.denied(), [""; 0], "{role} asked for more than it has");
    for grant in store.used() {
        let (store, result) = act(&|inner| RightsStore::new(inner, role).without(&grant)).await;
        if spared.contains(&grant.under) {
            result.unwrap_or_else(|error| panic!("{role} without {grant}: {error:?}"));
            continue;
        }
        let error = result.map(|()| format!("{role} does without {grant}")).expect_err("one right less");
        assert!(matches!(error.kind(), ErrorKind::Denied | ErrorKind::Partial), "{role} without {grant}: {error:?}");
        let text = format!("{error:?}");
        assert!(text.contains(&format!("lacks the right \"{}", grant.right)), "{role} without {grant}: {text}");
        assert!(text.contains(grant.under) && text.contains(role.name()), "{role} without {grant}: {text}");
        assert!(!store.denied().is_empty());
    }
    store.used()
}

#[tokio::test(start_paused = true)]
async fn a_replicator_needs_all_its_rights_here_and_to_read_there() {
    let used = needs_exactly(Role::Replicator, &[], async |limited| {
        let (pair, points) = Pair::with_points(1, 1, TEXT).await;
        let store = limited(Arc::new(pair.store.clone()));
        let there = RightsStore::new(Arc::new(pair.world.store.clone()), Role::Restorer);
        assert_eq!(Role::Restorer.grants(), Role::Replicator.grants_elsewhere());
        let replicate = async {
            let here = Vault::open_as(Role::Replicator, store.clone()).keys(&issue(&pair.keyring, Role::Replicator));
            let here = here.origin(pair.world.keyring.vault_id().clone(), pair.world.keyring.allowed_signers());
            let here = here.clock(pair.world.clock.clone()).budget(inline_budget()).build().await?;
            let origin = pair.origin(there.clone()).await?;
            let report = Replicator::new(origin, here).plan().await?.apply().await?;
            assert_eq!(report.copied, points);
            Ok(())
        };
        let result = replicate.await;
        assert_eq!(there.denied(), [""; 0]);
        (store, result)
    });
    assert_eq!(used.await, Role::Replicator.grants().iter().copied().collect());
}

#[tokio::test(start_paused = true)]
async fn a_pruner_sweeps_aborts_uploads_and_takes_copy_records_with_the_point() {
    let swept = needs_exactly(Role::Pruner, &[], async |limited| {
        let (world, _, dead) = died_at(5).await;
        world.clock.advance(DEAD);
        let store = limited(Arc::new(world.store.clone()));
        let sweep = async {
            let backstay = without_exporters(open(&world, &world.keyring, Role::Pruner, store.clone()).await?);
            let report = backstay.sweep().plan().await?.apply().await?;
            assert_eq!(report.voided, [dead]);
            Ok(())
        };
        let result = sweep.await;
        (store, result)
    });
    let aborted = needs_exactly(Role::Pruner, &[], async |limited| {
        let world = World::new(3).await;
        let point = world.backstay(&[("rows", TEXT)]).await.backup("daily").await.expect("a backup").id;
        let keys = ["probe".to_owned(), "keys/epoch-9.ann.age".to_owned(), format!("items/{point}/aaaaaaaa/0-db")];
        begin(&world.store, &keys).await;
        world.clock.advance(DEAD);
        let store = limited(Arc::new(world.store.clone()));
        let sweep = async {
            let backstay = without_exporters(open(&world, &world.keyring, Role::Pruner, store.clone()).await?);
            assert_eq!(backstay.sweep().plan().await?.apply().await?.uploads, 3);
            Ok(())
        };
        let result = sweep.await;
        (store, result)
    });
    let pruned = needs_exactly(Role::Pruner, &["history/"], async |limited| {
        let (pair, points) = Pair::with_points(1, 3, TEXT).await;
        pair.replicate().await;
        let store = limited(Arc::new(pair.store.clone()));
        let prune = async {
            let here = Vault::open_as(Role::Pruner, store.clone()).keys(&issue(&pair.keyring, Role::Pruner));
            let here = here.origin(pair.world.keyring.vault_id().clone(), pair.world.keyring.allowed_signers());
            let backstay =
                without_exporters(here.clock(pair.world.clock.clone()).budget(inline_budget()).build().await?);
            let prune = async || backstay.prune("daily").danger_no_grace().plan().await?.apply().await;
            prune().await?;
            assert_eq!(prune().await?.deleted, points[..1]);
            Ok(())
        };
        let result = prune.await;
        (store, result)
    });
    assert!(aborted.await.iter().any(|grant| (grant.right, grant.under) == (Right::Abort, "")));
    let used: BTreeSet<Grant> = swept.await.into_iter().chain(pruned.await).collect();
    for under in ["runs/", "copies/"] {
        assert!(used.iter().any(|grant| (grant.right, grant.under) == (Right::Delete, under)), "{under}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_adopts_and_records_its_failures() {
    needs_exactly(Role::Writer, &[], async |limited| {
        let (world, _, dead) = died_at(5).await;
        world.clock.advance(DEAD);
        let store = limited(Arc::new(world.store.clone()));
        let adopt = async {
            let vault = open(&world, &world.keyring, Role::Writer, store.clone()).await?;
            let report = program(vault, exporter(&[("rows", TEXT)])).adopt().await?;
            assert_eq!(report.adopted, [dead]);
            Ok(())
        };
        let result = adopt.await;
        (store, result)
    })
    .await;
    let world = World::new(3).await;
    let store = RightsStore::new(Arc::new(world.store.clone()), Role::Writer);
    let vault = open(&world, &world.keyring, Role::Writer, store.clone()).await.expect("it opens");
    let failing =
        MockExporter::scripted(ExportScript::new([("rows", TEXT)]).fault(ExportFault::AtStart(ErrorKind::Unavailable)));
    program(vault, failing).backup("daily").await.expect_err("nothing was exported");
    assert_eq!(store.denied(), [""; 0]);
    assert!(store.used().iter().any(|grant| (grant.right, grant.under) == (Right::Create, "history/")));
}

#[tokio::test(start_paused = true)]
async fn a_keeper_needs_the_right_to_lock_over_all_of_a_point() {
    let used = needs_exactly(Role::Keeper, &[], async |limited| {
        let world = world_on(backstay::MemoryStore::versioned(), 3).await;
        let tier = Tier::new("daily").keep(Keep::last(2)).lock(LockMode::Compliance, 10.days());
        let locking = |vault, exporters: bool| {
            let builder = Backstay::builder("prod-eu", vault).tier(tier.clone());
            if exporters { builder.export("db", exporter(&[("rows", TEXT)])) } else { builder }
        };
        let writing = locking(world.vault().await, true).build().expect("well formed");
        let point = writing.backup("daily").await.expect("a backup").id;
        world.clock.advance(std::time::Duration::from_secs(6 * 24 * 3600));
        let store = limited(Arc::new(world.store.clone()));
        let roll = async {
            let vault = open(&world, &world.keyring, Role::Keeper, store.clone()).await?;
            let keeping = locking(vault, false).build().expect("well formed");
            let plan = keeping.roll_locks_forward().plan().await?;
            assert_eq!(plan.apply().await?.extended, [point]);
            Ok(())
        };
        let result = roll.await;
        (store, result)
    });
    let locks = |used: BTreeSet<Grant>| used.into_iter().filter(|grant| grant.right == Right::Lock).collect::<Vec<_>>();
    let all: BTreeSet<Grant> = Role::Keeper.grants().iter().copied().collect();
    assert_eq!(locks(used.await), locks(all));
}

/// A hook makes the runs of this program worth adopting.
fn program(vault: Vault, exporter: MockExporter) -> Backstay {
    let builder = Backstay::builder("prod-eu", vault).export("db", exporter).hook(["db"], MockHook::new("freeze"));
    builder.tier(Tier::new("daily").keep(Keep::last(2))).build().expect("well formed")
}

fn without_exporters(vault: Vault) -> Backstay {
    let tier = Tier::new("daily").covers(["db"]).keep(Keep::last(2));
    Backstay::builder("prod-eu", vault).tier(tier).build().expect("well formed")
}
