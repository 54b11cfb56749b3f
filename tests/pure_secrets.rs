//! Secrets and content are in no log, event, error or `Debug`. Alone in its file: what is logged is the whole process's.

mod support;

use backstay::{Backstay, BackupReport, Depth, Keep, Tier};
use backstay_testkit::EventLog;
use backstay_testkit::mock::{ExportFault, ExportScript, MockExporter};
use support::World;
use support::lines::Lines;

const CONTENT: &str = "canary-content";

async fn with_canaries() -> (World, Backstay, EventLog) {
    let world = World::new(13).await;
    let log = EventLog::default();
    let torn = ExportScript::new([("rows", CONTENT)]).problem("a row", "it was locked");
    let panics = ExportScript::new([("rows", CONTENT)]).fault(ExportFault::DropWriter);
    let backstay = Backstay::builder("prod-eu", world.vault().await)
        .export("db", MockExporter::scripted(torn))
        .export("dies", MockExporter::scripted(panics))
        .tier(Tier::new("daily").keep(Keep::last(1)))
        .observe(log.clone())
        .build()
        .expect("well formed");
    (world, backstay, log)
}

#[test]
fn secrets_and_content_are_in_no_log_event_error_or_debug() {
    let lines = Lines::default();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    let (world, told) = tracing::subscriber::with_default(lines.subscriber(), || {
        runtime.block_on(async {
            let (world, backstay, log) = with_canaries().await;
            let error = backstay.backup("daily").await.expect_err("partial");
            let report: &BackupReport = error.payload().expect("partial");
            let item = world.keys("items/").await.remove(0);
            let mut damaged = world.read(&item).await;
            damaged[0] ^= 1;
            world.overwrite(&item, damaged).await;
            let damage = backstay.verify(&report.id).depth(Depth::Decoded).await.expect_err("damaged");
            let told =
                format!("{error:?} {damage:?} {backstay:?} {:?} {:?} {:?}", backstay.vault(), world.keyring, log.all());
            (world, told)
        })
    });
    let logged = lines.text();
    assert!(logged.contains("backup_started") && logged.contains("component_done"), "nothing was logged: {logged}");

    let custodian = world.keyring.custodian().to_text();
    let signing = world.keyring.signing_key().to_openssh("", &backstay::SystemRandom);
    let epoch = world.keyring.unlock().expect("it opens").to_text();
    let secret = |text: &str| {
        text.lines().filter(|line| line.len() > 40 && !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    let canaries =
        [secret(custodian.expose()), secret(signing.expose()), secret(epoch.expose()), vec![CONTENT.to_owned()]]
            .concat();
    assert!(canaries.len() >= 5, "{}", canaries.len());
    for canary in canaries {
        // The first half of a line may be a header that is public.
        let tail = if canary.len() > 40 { &canary[canary.len() / 2..] } else { &canary };
        assert!(!told.contains(tail), "a secret shows in Debug, an error or an event");
        assert!(!logged.contains(tail), "a secret shows in the log");
    }
}
