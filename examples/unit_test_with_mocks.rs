//! Testing a backup program without a server, a disk or a clock: the testkit's mocks stand in for all of them.
//!
//! ```text
//! cargo run --example unit_test_with_mocks
//! ```
//!
//! In a program of yours the functions below `main` would be `#[tokio::test]`s.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use backstay::source::{Hook, ResourceExporter};
use backstay::{Backstay, ErrorKind, Keep, Keyring, MemoryStore, Result, Tier, Vault};
use backstay_testkit::mock::{ExportFault, ExportScript, MockExporter, MockHook, MockImporter};
use backstay_testkit::{EventLog, ManualClock};
use jiff::ToSpan;

/// The program under test: what it composes, and what it tells the person on call.
struct Nightly(Backstay);

impl Nightly {
    fn new(vault: Vault, database: impl ResourceExporter, freeze: impl Hook, events: EventLog) -> Result<Self> {
        let backstay = Backstay::builder("shop", vault)
            .export("orders", database)
            .hook(["orders"], freeze)
            .tier(Tier::new("nightly").keep(Keep::daily(7)).rpo(25.hours()))
            .observe(events)
            .build()?;
        Ok(Self(backstay))
    }

    /// One line for the pager; none if all is well.
    async fn run(&self) -> Option<String> {
        match self.0.backup("nightly").await {
            Ok(_) => None,
            Err(error) if error.kind() == ErrorKind::Partial => Some(format!("incomplete: {error}")),
            Err(error) => Some(format!("no backup tonight: {error}")),
        }
    }

    async fn is_late(&self) -> Result<bool> {
        Ok(self.0.status().await?.tiers[0].components[0].late)
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    a_good_night_is_silent_and_restores().await?;
    println!("a good night is silent, and what it made restores");
    a_dump_that_dies_late_pages_and_leaves_the_last_point_alone().await?;
    println!("a dump that dies late pages, is thawed, and leaves the last point alone");
    silence_is_noticed().await?;
    println!("a program that stopped running is noticed by the age of its points");
    Ok(())
}

async fn a_good_night_is_silent_and_restores() -> Result<()> {
    let events = EventLog::default();
    let database = MockExporter::new([("dump", "1 order")]);
    let nightly = Nightly::new(vault(&clock()).await?, database, MockHook::new("freeze"), events.clone())?;
    assert_eq!(nightly.run().await, None);
    events.assert_order(["backup_started", "hook_done", "item_done", "hook_done", "committed"]);

    let point = nightly.0.vault().points().latest("orders").await?;
    let scratch = MockImporter::default();
    nightly.0.restore(&point.id).into(scratch.clone()).plan().await?.apply().await?;
    assert_eq!(scratch.content("dump").as_deref(), Some(b"1 order".as_slice()));
    Ok(())
}

async fn a_dump_that_dies_late_pages_and_leaves_the_last_point_alone() -> Result<()> {
    let clock = clock();
    let freeze = MockHook::new("freeze");
    let dies =
        ExportScript::new([("dump", vec![b'x'; 40_000])]).fault(ExportFault::After(39_999, ErrorKind::Unavailable));
    let database = MockExporter::new([("dump", "1 order")]).then(dies);
    let nightly = Nightly::new(vault(&clock).await?, database, freeze.clone(), EventLog::default())?;
    assert_eq!(nightly.run().await, None);
    clock.advance(Duration::from_secs(24 * 3600));
    let page = nightly.run().await.expect("a dying dump must page");
    assert!(page.starts_with("no backup tonight"), "{page}");
    freeze.calls().assert_order(["freeze.before", "freeze.after", "freeze.before", "freeze.after"]);

    let points = nightly.0.vault().points();
    let newest = points.latest("orders").await?;
    assert_eq!(points.list(&newest.id.source, &newest.id.tier).await?, [newest.id]);
    Ok(())
}

async fn silence_is_noticed() -> Result<()> {
    let clock = clock();
    let database = MockExporter::new([("dump", "1 order")]);
    let nightly = Nightly::new(vault(&clock).await?, database, MockHook::new("freeze"), EventLog::default())?;
    assert!(nightly.is_late().await?, "never backed up is late");
    nightly.run().await;
    assert!(!nightly.is_late().await?);
    clock.advance(Duration::from_secs(26 * 3600));
    assert!(nightly.is_late().await?);
    Ok(())
}

async fn vault(clock: &ManualClock) -> Result<Vault> {
    let store = MemoryStore::new().with_clock(Arc::new(clock.clone()));
    Vault::create(store).keyring(&Keyring::generate()?).clock(clock.clone()).build().await
}

fn clock() -> ManualClock {
    ManualClock::at("2026-11-20T03:00:00Z")
}
