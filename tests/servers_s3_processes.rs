//! Processes of their own on an S3 server: how much memory a long listing takes, and what one leaves that is killed.
//!
//! This program runs again as the child, for one test.

mod support;

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use backstay::aws::S3Store;
use backstay::engine::{SweepAction, SweepPlan};
use backstay::source::{ExportReport, ExportRequest, ExporterInfo, Facts, ItemSink, ItemSpec, ResourceExporter};
use backstay::store::{ListOptions, ObjectStore, Prefix};
use backstay::{Backstay, Depth, Keep, Keyring, Random as _, Result, SystemRandom, Tier, Vault};
use backstay_test_s3::{Bucket, Keys, Op, Server};
use backstay_test_servers::until;
use backstay_testkit::ManualClock;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use support::own_s3::{at, open};
use support::restored;
use tokio::runtime::Runtime;

const BUCKET: &str = "acme";
/// The server's address, for a child.
const ENDPOINT: &str = "BACKSTAY_TEST_S3";
/// The folder of the keys, for a child.
const KEYS: &str = "BACKSTAY_TEST_KEYS";

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// This program again, for one test of it, as a client of this server.
fn child(test: &str, server: &Server) -> Command {
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    let Keys { access_key, secret_key } = server.keys();
    child.args(["--exact", test, "--nocapture"]).env(ENDPOINT, server.endpoint());
    child.env("AWS_ACCESS_KEY_ID", access_key).env("AWS_SECRET_ACCESS_KEY", secret_key);
    child
}

/// The store of a child; none in the parent.
async fn store_of_child() -> Option<S3Store> {
    let variable = |name| std::env::var(name).expect("the parent says it");
    let endpoint = std::env::var(ENDPOINT).ok()?;
    let keys = Keys { access_key: variable("AWS_ACCESS_KEY_ID"), secret_key: variable("AWS_SECRET_ACCESS_KEY") };
    Some(at(&endpoint, BUCKET, &keys).build().await.expect("the bucket was made"))
}

/// A line of what the kernel knows of this process, in bytes.
fn memory(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let found = status.lines().find_map(|found| found.strip_prefix(line)).expect("it knows the line");
    found.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

#[test]
fn a_listing_of_a_hundred_thousand_keys_takes_a_hundred_calls_and_little_memory() {
    const OBJECTS: usize = 100_000;
    let count = async |store: &S3Store, prefix: &str| {
        let listed = store.list(&Prefix::new(prefix).expect("a prefix"), &ListOptions::default());
        listed.try_fold(0, async |count, _| Ok(count + 1)).await.expect("a listing")
    };
    runtime().block_on(async {
        if let Some(store) = store_of_child().await {
            assert_eq!(count(&store, "few/").await, 2_000);
            // What the process has by now is its own, not the listing's.
            let before = memory("VmRSS:");
            assert_eq!(count(&store, "many/").await, OBJECTS);
            let taken = memory("VmHWM:").saturating_sub(before);
            assert!(taken < 16 << 20, "{} KiB for {OBJECTS} keys", taken >> 10);
            return;
        }
        let server = Server::start();
        server.create_bucket(BUCKET, Bucket::versioned());
        server.put_empty(BUCKET, (0..2_000).map(|n| format!("few/{n:06}")));
        // As long as the keys of items are.
        let folder = "items/prod-eu/daily/20261120t064200z-abcdefgh/abcdefgh";
        server.put_empty(BUCKET, (0..OBJECTS).map(|n| format!("many/{folder}/{n:06}-db.zst.age")));
        let test = "a_listing_of_a_hundred_thousand_keys_takes_a_hundred_calls_and_little_memory";
        let child = child(test, &server).output().expect("it runs again");
        let told = [child.stdout, child.stderr].map(|told| String::from_utf8_lossy(&told).into_owned());
        assert!(child.status.success(), "{}", told.concat());
        assert_eq!(server.calls(Op::ListObjectsV2), 2 + 100, "a call for each thousand");
    });
}

/// One small item, and one of a gigabyte that nothing compresses.
#[derive(Debug)]
struct Gigabyte(ExporterInfo);

impl fmt::Display for Gigabyte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a gigabyte")
    }
}

#[async_trait]
impl ResourceExporter for Gigabyte {
    fn info(&self) -> &ExporterInfo {
        &self.0
    }

    async fn export(&self, _: &ExportRequest, out: &dyn ItemSink) -> Result<ExportReport> {
        let mut small = out.item(ItemSpec::new("small", "mock")).await?;
        small.write(Bytes::from_static(b"a row")).await?;
        small.finish(Facts::new()).await?;
        let mut large = out.item(ItemSpec::new("large", "mock")).await?;
        for _ in 0..1024 {
            let mut chunk = vec![0; 1 << 20];
            SystemRandom.fill(&mut chunk);
            large.write(chunk.into()).await?;
        }
        large.finish(Facts::new()).await?;
        Ok(ExportReport::default())
    }
}

fn program(vault: Vault, exporter: impl ResourceExporter) -> Backstay {
    let tier = Tier::new("daily").keep(Keep::last(9));
    Backstay::builder("prod-eu", vault).export("db", exporter).tier(tier).build().expect("well formed")
}

async fn vault(store: S3Store, keys: &Path, clock: ManualClock) -> Vault {
    let keyring = Keyring::open(keys).expect("the keys are there");
    Vault::open(store).keyring(&keyring).clock(clock).build().await.expect("it opens")
}

/// Starts the child and kills it in the middle of its upload.
fn killed(mut child: Child, server: &Server) {
    until("an upload that is under way", || {
        assert_eq!(child.try_wait().expect("it can be asked"), None, "the child ended by itself");
        (server.parts_in(BUCKET) >= 12).then_some(())
    });
    child.kill().expect("it is killed");
    child.wait().expect("it ends");
}

fn of_run(plan: &SweepPlan, action: SweepAction) -> Vec<(String, u64, u64)> {
    let steps = plan.steps.iter().filter(|step| step.action == action);
    steps.map(|step| (step.id.to_string(), step.objects, step.uploads)).collect()
}

#[test]
fn what_a_killed_backup_had_begun_of_a_gigabyte_is_named_and_freed() {
    runtime().block_on(async {
        if let Some(store) = store_of_child().await {
            let keys = std::env::var_os(KEYS).expect("the parent says it");
            let clock = ManualClock::new(store.now().await.expect("the store's time"));
            let backstay = program(vault(store, keys.as_ref(), clock).await, Gigabyte(ExporterInfo::new("mock")));
            backstay.backup("daily").await.expect("it is killed before it ends");
            return;
        }
        let (server, place) = (Server::start(), tempfile::tempdir().expect("a folder"));
        server.create_bucket(BUCKET, Bucket::versioned());
        let (store, keys) = (open(&server, BUCKET).await, place.path().join("keys"));
        let keyring = Keyring::create(&keys).expect("fresh keys");
        Vault::create(store.clone()).keyring(&keyring).build().await.expect("a vault");
        let clock = ManualClock::new(server.now());
        let backstay = program(vault(store, &keys, clock.clone()).await, support::exporter(&[("rows", b"a row")]));
        let first = backstay.backup("daily").await.expect("a good point").id;

        let mut child = child("what_a_killed_backup_had_begun_of_a_gigabyte_is_named_and_freed", &server);
        killed(child.env(KEYS, &keys).stdout(Stdio::null()).spawn().expect("it runs again"), &server);
        let left = server.uploads_in(BUCKET);
        let [(large, _)] = &left[..] else { panic!("an upload of the large item: {left:?}") };
        assert!(!server.keys_in(BUCKET).contains(large), "half an item is visible");

        let next = backstay.backup("daily").await.expect("the next run is good").id;
        for id in [&first, &next] {
            backstay.verify(id).depth(Depth::Decoded).await.expect("whole");
        }
        let source = "prod-eu".parse().expect("a name");
        let shown = backstay.vault().points().list(&source, &"daily".parse().expect("a name")).await;
        assert_eq!(shown.expect("a listing"), [first.clone(), next.clone()]);

        // It may be alive, for all that a sweep knows.
        let (plan, report) = support::dead::sweep(&backstay).await;
        assert_eq!((of_run(&plan, SweepAction::Void).len(), report.uploads, report.objects), (0, 0, 0), "{plan}");
        let days = Duration::from_secs(9 * 24 * 3600);
        server.advance(days);
        clock.advance(days);
        let (plan, report) = support::dead::sweep(&backstay).await;
        let gone = of_run(&plan, SweepAction::Void);
        let [(dead, objects, 1)] = &gone[..] else { panic!("one run with one upload: {plan}") };
        assert!(large.contains(dead.as_str()) && *objects > 0 && plan.to_string().contains("1 uploads"), "{plan}");
        assert_eq!((report.uploads, report.objects, report.left.len()), (1, *objects, 0), "{report:?}");
        assert_eq!(server.uploads_in(BUCKET), []);
        let items = server.keys_in(BUCKET).into_iter().filter(|key| key.starts_with("items/") && key.contains(dead));
        assert_eq!(items.collect::<Vec<_>>(), [""; 0]);
        for id in [&first, &next] {
            let back = restored(backstay.vault(), id).await.expect("it restores");
            assert_eq!(back, [("rows".to_owned(), b"a row".to_vec())]);
        }
    });
}
