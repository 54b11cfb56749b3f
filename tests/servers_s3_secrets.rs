//! Credentials of a bucket are in no log, event or error, however much is logged. Alone in its file: what is logged is the
//! whole process's.

mod support;

use backstay::{Backstay, Keep, Keyring, Secret, Tier, Vault};
use backstay_test_servers::s3::Versitygw;
use backstay_testkit::EventLog;
use backstay_testkit::mock::MockExporter;
use support::lines::Lines;
use support::s3::{Kind, builder, builder_of, make};

const TOKEN: &str = "planted-session-token";
const WRONG: &str = "planted-wrong-secret";

#[test]
fn credentials_are_in_no_log_event_debug_or_error() {
    let server = Versitygw::with_versions_and_users();
    make(&server, &[("acme", Kind::Versioned)]);
    let (lines, events) = (Lines::default(), EventLog::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let told = tracing::subscriber::with_default(lines.subscriber(), || {
        runtime.block_on(async {
            let good = builder(&server, "acme");
            let store = good.clone().build().await.expect("it opens");
            let keyring = Keyring::generate().expect("fresh keys");
            let vault = Vault::create(store.clone()).keyring(&keyring).build().await.expect("a vault");
            let backstay = Backstay::builder("prod-eu", vault)
                .export("db", MockExporter::new([("rows", b"a row".to_vec())]))
                .observe(events.clone())
                .tier(Tier::new("daily").keep(Keep::last(2)))
                .build()
                .expect("well formed");
            backstay.backup("daily").await.expect("a backup");
            let with_token = good.clone().session_token(Secret::new(TOKEN.to_owned()));
            let with_token = (format!("{with_token:?}"), with_token.build().await);
            let wrong =
                builder_of(&server, "acme", server.access_key(), WRONG).build().await.expect_err("not its secret");
            let nowhere = builder(&server, "acme").endpoint("http://127.0.0.1:9").attempts(1).build().await;
            let nowhere = nowhere.expect_err("nobody listens");
            format!("{good:?} {store:?} {store} {backstay:?} {with_token:?} {wrong:?} {nowhere:?} {:?}", events.all())
        })
    });
    let logged = lines.text();
    assert!(logged.contains("transmitting request"), "the SDK logged nothing: {}", logged.len());
    for secret in [server.secret_key(), TOKEN, WRONG] {
        assert!(!told.contains(secret), "a secret shows in Debug, an error or an event");
        let line = logged.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "a secret shows in the log: {line:?}");
    }
}
