//! Real processes on one real folder, killed by SIGKILL at any moment: what is committed is whole, and the next run works.
//!
//! `BACKSTAY_ROUNDS` says how many times processes are killed.

use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

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

/// What a worker backs up: its length and every byte of it follow from the first line.
fn content(worker: &str, round: u64) -> Vec<u8> {
    let line = format!("worker {worker} round {round}\n");
    line.repeat(20_000 + 97 * (round as usize % 50)).into_bytes()
}

/// Backs up, proves and prunes until it is killed.
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
        prune(&backstay).await?;
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
    let mut most = 0;
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
    }
    // The next run works, and so do those after it: what was left half deleted goes.
    for round in 0..3 {
        let backstay = program(folder, &content("last", round)).await.expect("it opens");
        let id = backstay.backup("daily").await.expect("the next run succeeds").id;
        prune(&backstay).await.expect("the next prune succeeds");
        assert!(check(folder, "at the end").await.contains(&id));
        assert_eq!(backstay.vault().points().latest("db").await.expect("the newest").id, id);
    }
    let left = check(folder, "at the end").await.len();
    assert!(left <= 5, "{left} points are left of a tier that keeps 4");
    println!("{rounds} rounds, at most {most} points at once");
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
        let first = program(place.path(), &content("first", 0)).await.expect("it opens");
        first.backup("daily").await.expect("a first point");
        rounds(place.path()).await;
    });
    // What a test harness would say; this one has its own `main`, to be parent and workers.
    println!("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
    ExitCode::SUCCESS
}
