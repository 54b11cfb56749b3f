//! What the questions of a night cost in requests, where a tier has a hundred thousand points.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backstay::store::layer::StoreCall;
use backstay::store::{ObjectStoreExt, Operation};
use backstay::vault::Purpose;
use backstay::{Backstay, Clock, Keep, Keyring, MemoryStore, RunId, Sha256, Tier, Vault};
use backstay_testkit::mock::MockExporter;
use backstay_testkit::{ManualClock, SeededRandom};

use crate::Result;

const POINTS: usize = 100_000;
const MINUTE: Duration = Duration::from_secs(60);
/// Object stores list so many keys a request.
const PAGE: u64 = 1000;

pub(crate) fn hundred_thousand(_: &[String]) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (clock, keys, requests) =
            (ManualClock::at("2026-09-01T06:42:00Z"), Keyring::generate()?, Arc::new(AtomicU64::new(0)));
        let store = MemoryStore::new().with_clock(Arc::new(clock.clone()));
        let counter = requests.clone();
        let counted = store.clone().observed(move |call| {
            counter.fetch_add(requests_of(call), Ordering::Relaxed);
        });
        let vault = Vault::create(counted).keyring(&keys).clock(clock.clone()).build().await?;
        let backstay = Backstay::builder("prod", vault)
            .export("db", MockExporter::new([("rows", "content")]))
            .tier(Tier::new("hourly").keep(Keep::last(9)))
            .build()?;
        let first = backstay.backup("hourly").await?.id;
        let key = format!("points/{first}.json").parse()?;
        let manifest = String::from_utf8(store.get_bytes(&key, 1 << 20).await?.to_vec())?;
        let random = SeededRandom::new(1);
        for _ in 1..POINTS {
            clock.advance(MINUTE);
            let run = RunId::new(clock.now(), &random).to_string();
            let manifest = manifest.replace(&first.run.to_string(), &run).into_bytes();
            put_point(&store, &keys, &format!("prod/hourly/{run}"), manifest).await?;
        }
        clock.advance(MINUTE);
        requests.store(0, Ordering::Relaxed);
        let status = backstay.status().await?;
        if !status.is_good() {
            return Err(status.to_string().into());
        }
        println!("points={}\nstatus={}", status.tiers[0].points, requests.swap(0, Ordering::Relaxed));
        let options = backstay.options("db").await?;
        println!("told={}\noptions={}", options.options.len(), requests.load(Ordering::Relaxed));
        Ok(())
    })
}

fn requests_of(call: &StoreCall) -> u64 {
    match call.operation {
        Operation::List | Operation::Uploads => call.lines.div_ceil(PAGE).max(1),
        _ => 1,
    }
}

/// As FORMAT.md says: the signature, then the manifest.
async fn put_point(store: &MemoryStore, keys: &Keyring, id: &str, manifest: Vec<u8>) -> Result<()> {
    let signer = keys.signing_key();
    let signature = format!("sigs/{id}.point.{}.{}.sig", short(Sha256::of(&manifest)), signer.public().id());
    store.put_new(&signature.parse()?, signer.sign(Purpose::Point.namespace(), &manifest)).await?;
    store.put_new(&format!("points/{id}.json").parse()?, manifest.to_vec()).await?;
    Ok(())
}

/// The first 26 characters of its base32.
fn short(Sha256(digest): Sha256) -> String {
    let bit = |index: usize| usize::from(digest[index / 8] >> (7 - index % 8) & 1);
    let letter = |start: usize| b"abcdefghijklmnopqrstuvwxyz234567"[(start..start + 5).fold(0, |n, i| n << 1 | bit(i))];
    (0..26).map(|index| char::from(letter(index * 5))).collect()
}
