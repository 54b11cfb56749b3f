//! Real processes on two real folders, a vault and its replica, killed by SIGKILL at any moment: what is committed in either
//! is whole, and the next run works.
//!
//! `BACKSTAY_ROUNDS` says how many times processes are killed.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use backstay::engine::{ReplicationReport, Replicator};
use backstay::{Backstay, Depth, ErrorKind, Keep, Keyring, LocalStore, PointId, Result, Tier, Vault};
use backstay_testkit::SeededRandom;
use backstay_testkit::mock::{ExportScript, MockExporter, MockImporter};

/// The folder that makes this program a worker.
const FOLDER: &str = "BACKSTAY_REAL_PROCESSES_FOLDER";
/// Which worker it is: its content tells.
const WORKER: &str = "BACKSTAY_REAL_PROCESSES_WORKER";
const ROUNDS: u64 = 12;
const WORKERS: u64 = 2;

async fn program(folder: &Path, content: &[u8]) -> Result<Backstay> {
    let keyring = Keyring::open(folder.join("keys"))?;
    let vault = Vault::open(LocalStore::open(folder.join("vault"))?).keyring(&keyring).build().await?;
    Backstay::builder("prod-eu", vault)
        .export("db", MockExporter::scripted(ExportScript::new([("rows", content.to_vec())]).chunk(64 << 10)))
        .tier(Tier::new("daily").keep(Keep::last(4)))
        .build()
}

/// Where a replica lies, and its keys.
const REPLICA: [&str; 2] = ["replica", "replica-keys"];

/// The replica's own program, open to write.
async fn at_the_replica(folder: &Path) -> Result<Backstay> {
    let (origin, own) = (Keyring::open(folder.join("keys"))?, Keyring::open(folder.join(REPLICA[1]))?);
    let vault = Vault::open(LocalStore::open(folder.join(REPLICA[0]))?).keyring(&own);
    let vault = vault.origin(origin.vault_id().clone(), origin.allowed_signers()).build().await?;
    Backstay::builder("prod-eu", vault).tier(Tier::new("daily").keep(Keep::last(6))).build()
}

/// Copies what is not in the replica yet, and says how many points that were.
async fn replicate(folder: &Path) -> Result<usize> {
    let keyring = Keyring::open(folder.join("keys"))?;
    let origin = Vault::open_read_only(LocalStore::open(folder.join("vault"))?).id(keyring.vault_id().clone());
    let origin = origin.trust(keyring.allowed_signers().clone()).build().await?;
    let here = at_the_replica(folder).await?.vault().clone();
    match Replicator::new(origin, here).keep("daily", Keep::last(6)).plan().await?.apply().await {
        // The others prune what is on its way, here or there.
        Err(error) if error.kind() == ErrorKind::Partial => {
            let report: &ReplicationReport = error.payload().expect("a report");
            Ok(report.copied.len())
        }
        other => other.map(|report| report.copied.len()),
    }
}

/// What a worker backs up: its length and every byte of it follow from the first line.
fn content(worker: &str, round: u64) -> Vec<u8> {
    let line = format!("worker {worker} round {round}\n");
    line.repeat(20_000 + 97 * (round as usize % 50)).into_bytes()
}

/// Backs up, proves, copies and prunes until it is killed; sweeps sometimes.
async fn work(folder: &Path, worker: &str) -> Result<()> {
    for round in 0.. {
        let backstay = program(folder, &content(worker, round)).await?;
        let point = backstay.backup("daily").await?.id;
        match backstay.verify(&point).depth(Depth::Decoded).await {
            Ok(_) => {}
            // The other one has pruned it.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        replicate(folder).await?;
        prune(&backstay).await?;
        prune(&at_the_replica(folder).await?).await?;
        if round % 3 == 0 {
            // Nothing here is as old as the longest run: a sweep takes nothing.
            let report = backstay.sweep().grace(Duration::ZERO).plan().await?.apply().await?;
            assert_eq!(report.objects, 0, "{report:?}");
        }
    }
    Ok(())
}

/// Two pruners at once find that the other was first; a point that is gone is no failure of either.
async fn prune(backstay: &Backstay) -> Result<()> {
    let plan = backstay.prune("daily").danger_no_grace().danger_allow_mass_expiry().plan().await?;
    match plan.apply().await {
        Err(error) if error.kind() == ErrorKind::Partial => Ok(()),
        other => other.map(drop),
    }
}

/// Every point that shows is whole, and its content is what one run of one worker was given.
async fn check(folder: &Path, place: &str) -> Vec<PointId> {
    let keyring = Keyring::open(folder.join("keys")).expect("the keys are there");
    let store = LocalStore::open(folder.join("vault")).expect("the vault is there");
    let vault = Vault::open_read_only(store).keyring(&keyring).build().await.expect("it opens");
    check_points(&vault, place).await
}

/// The same of the replica, from it and a custodian's key alone.
async fn check_replica(folder: &Path, place: &str) -> Vec<PointId> {
    let keyring = |name: &str| Keyring::open(folder.join(name)).expect("the keys are there");
    let (origin, own) = (keyring("keys"), keyring(REPLICA[1]));
    let store = LocalStore::open(folder.join(REPLICA[0])).expect("the replica is there");
    let vault = Vault::open_read_only(store).trust(own.allowed_signers().clone());
    let vault = vault.origin(origin.vault_id().clone(), origin.allowed_signers());
    let vault = vault.unlock_with(origin.custodian().clone()).build().await.expect("it opens");
    check_points(&vault, &format!("{place}, the replica")).await
}

async fn check_points(vault: &Vault, place: &str) -> Vec<PointId> {
    let (source, tier) = ("prod-eu".parse().expect("a name"), "daily".parse().expect("a name"));
    let listed = vault.points().list(&source, &tier).await.unwrap_or_else(|error| panic!("{place}: {error}"));
    for id in &listed {
        vault.verify(id).depth(Depth::Decoded).await.unwrap_or_else(|error| panic!("{place}: {id}: {error}"));
        let target = MockImporter::default();
        let plan = vault.restore(id).component("db").into(target.clone()).plan().await.expect("a plan");
        plan.apply().await.unwrap_or_else(|error| panic!("{place}: {id}: {error}"));
        let restored = target.content("rows").expect("its only item");
        let line = String::from_utf8_lossy(&restored).lines().next().expect("a line").to_owned();
        let mut words = line.split(' ');
        let (worker, round) = (words.nth(1).expect("a worker"), words.nth(1).expect("a round"));
        let whole = restored == content(worker, round.parse().expect("a number"));
        assert!(whole, "{place}: {id} is not what {line:?} began");
    }
    listed
}

fn start(program: &Path, folder: &Path, worker: u64, round: u64) -> Child {
    Command::new(program)
        .env(FOLDER, folder)
        .env(WORKER, format!("{worker}-{round}"))
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the worker starts")
}

/// Kills the workers at moments that the seed draws; none of them may have ended by itself.
async fn rounds(folder: &Path) {
    let program_file = std::env::current_exe().expect("this program");
    let rounds = std::env::var("BACKSTAY_ROUNDS").map_or(ROUNDS, |text| text.parse().expect("a number"));
    let dice = SeededRandom::new(rounds);
    let (mut most, mut copied) = (0, BTreeSet::new());
    for round in 0..rounds {
        let mut workers: Vec<Child> = (0..WORKERS).map(|worker| start(&program_file, folder, worker, round)).collect();
        for worker in &mut workers {
            wait(Duration::from_millis(40 + dice.next_u64() % 400)).await;
            let ended = worker.try_wait().expect("its state can be asked");
            assert!(ended.is_none(), "round {round}: a worker failed: {ended:?}");
            worker.kill().expect("it is killed");
            worker.wait().expect("it ends");
        }
        most = most.max(check(folder, &format!("round {round}")).await.len());
        copied.extend(check_replica(folder, &format!("round {round}")).await);
    }
    // The next run works, and so do those after it: what was left half deleted goes.
    for round in 0..3 {
        let backstay = program(folder, &content("last", round)).await.expect("it opens");
        let id = backstay.backup("daily").await.expect("the next run succeeds").id;
        replicate(folder).await.expect("the next replication succeeds");
        prune(&backstay).await.expect("the next prune succeeds");
        prune(&at_the_replica(folder).await.expect("it opens")).await.expect("the replica's too");
        assert!(check(folder, "at the end").await.contains(&id));
        assert!(check_replica(folder, "at the end").await.contains(&id));
        assert_eq!(backstay.vault().points().latest("db").await.expect("the newest").id, id);
    }
    let left = check(folder, "at the end").await.len();
    assert!(left <= 5, "{left} points are left of a tier that keeps 4");
    let left = check_replica(folder, "at the end").await.len();
    assert!(left <= 7, "{left} points are left of a replica that keeps 6");
    assert!(copied.len() as u64 >= rounds / 3, "only {} points were copied while processes were killed", copied.len());
    println!("{rounds} rounds, at most {most} points at once, {} seen in the replica", copied.len());
}

#[expect(clippy::disallowed_methods, reason = "it waits for other processes, whose time is the machine's")]
async fn wait(time: Duration) {
    tokio::time::sleep(time).await;
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if let (Some(folder), Ok(worker)) = (std::env::var_os(FOLDER), std::env::var(WORKER)) {
        runtime.block_on(work(folder.as_ref(), &worker)).expect("the worker works until it is killed");
        return ExitCode::FAILURE;
    }
    let place = tempfile::tempdir().expect("a folder");
    runtime.block_on(async {
        let keyring = Keyring::create(place.path().join("keys")).expect("keys");
        let store = LocalStore::create(place.path().join("vault")).expect("a folder");
        Vault::create(store).keyring(&keyring).build().await.expect("a vault");
        let replica_keys = Keyring::create(place.path().join(REPLICA[1])).expect("keys");
        let store = LocalStore::create(place.path().join(REPLICA[0])).expect("a folder");
        Vault::create(store).keyring(&replica_keys).build().await.expect("a replica");
        let first = program(place.path(), &content("first", 0)).await.expect("it opens");
        first.backup("daily").await.expect("a first point");
        assert_eq!(replicate(place.path()).await.expect("it is copied"), 1);
        rounds(place.path()).await;
    });
    // What a test harness would say; this one has its own `main`, to be parent and workers.
    println!("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
    ExitCode::SUCCESS
}
