//! What a state holds is in no log, plan, event or error, however much is logged. Alone in its file: what is logged is the
//! whole process's.

mod support;

use backstay::aws::s3_versions::{Chosen, State};
use backstay::source::ImportOptions;
use backstay::{Backstay, Keep, Keyring, MemoryStore, Tier, Vault};
use backstay_testkit::EventLog;
use futures_util::TryStreamExt;
use support::lines::Lines;
use support::terraform::{BUCKET, Backend, KEY};

const PLANTED: &str = "planted-in-the-state";

#[test]
fn what_a_state_holds_is_in_no_log_plan_event_debug_or_error() {
    let backend = Backend::with_table();
    for password in ["one", "two"] {
        backend.runs(&["apply", "-auto-approve", &format!("-var=password={PLANTED}-{password}")]);
    }
    let (lines, events) = (Lines::default(), EventLog::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let told = tracing::subscriber::with_default(lines.subscriber(), || {
        runtime.block_on(async {
            let states = backend.states().await;
            let key = states.state_key("default").expect("a key");
            let found: Vec<_> = states.versions().try_collect().await.expect("it lists");
            let old = states.pull(&key, Some(&found[1].version)).await.expect("a state");
            let new = states.pull(&key, None).await.expect("a state");
            assert!(String::from_utf8_lossy(new.expose()).contains(PLANTED), "it was planted");
            let parsed = [&old, &new].map(|text| State::parse(text.expose()).expect("a state"));
            let diff = parsed[0].diff(&parsed[1]);
            assert!(diff.changed.iter().any(|change| change.address == "terraform_data.secret"), "{diff}");
            // It marks the input, and not the output, which is the same.
            let mut attributes = diff.changed.iter().flat_map(|change| &change.attributes);
            assert!(attributes.any(|changed| changed.name == "input" && changed.sensitive), "{diff:?}");
            assert!(diff.outputs.iter().any(|output| output.name == "password" && output.sensitive), "{diff}");
            let plan = states.plan_bring_back(&key, &found[1].version).await.expect("a plan");
            let shown = format!("{found:?} {old:?} {parsed:?} {diff} {diff:?} {plan} {plan:?} {}", json(&plan));
            let report = states.bring_back(plan.clone()).await.expect("it comes back");
            // A push of it, planned, done and refused.
            let pushed = states.plan_push(&key, new.expose()).await.expect("it is newer");
            let cut = states.push(pushed.clone(), &new.expose()[1..]).await.expect_err("not what was planned");
            states.push(pushed.clone(), new.expose()).await.expect("it goes");
            let older = states.plan_push(&key, old.expose()).await.expect_err("it is older");
            // Through a vault.
            let keyring = Keyring::generate().expect("fresh keys");
            let vault = Vault::create(MemoryStore::new()).keyring(&keyring).build().await.expect("a vault");
            let backstay = Backstay::builder("prod-eu", vault)
                .export("states", states.clone().choose(Chosen::All))
                .observe(events.clone())
                .tier(Tier::new("daily").keep(Keep::last(2)))
                .build()
                .expect("well formed");
            let point = backstay.backup("daily").await.expect("a backup").id;
            let restore = |options| backstay.restore(&point).component("states").into(states.clone()).options(options);
            // What is there is spoiled, in ways at which a parser quotes what it finds.
            let mut errors = String::new();
            for spoiled in ["{\"version\": 4, \"serial\": \"SECRET\"}", "{\"version\": 4, \"serial\": 1, \"outputs\": \"SECRET\"}"] {
                let body = spoiled.replace("SECRET", PLANTED);
                backend.python(&format!("s3.put_object(Bucket='{BUCKET}', Key='{KEY}', Body=b'{body}')"));
                let error = states.pull(&key, None).await.expect_err("no state");
                errors.push_str(&format!("{error} {error:?} {}", error.with_causes()));
            }
            let plan = restore(ImportOptions::default().danger_overwrite()).plan().await.expect("a plan");
            let import = format!("{plan} {plan:?} {}", json(&plan.import));
            let restored = plan.apply().await.expect("it comes back");
            format!(
                "{states:?} {shown} {report:?} {pushed} {pushed:?} {cut:?} {older:?} {errors} {import} {restored:?} {:?} {}",
                events.all(),
                backstay.explain(&point).await.expect("it explains")
            )
        })
    });
    assert!(!told.contains(PLANTED), "what a state holds is told: {told}");
    let logged = lines.text();
    assert!(logged.contains("transmitting request"), "the SDK logged nothing: {}", logged.len());
    let line = logged.lines().find(|line| line.contains(PLANTED));
    assert!(line.is_none(), "what a state holds is logged: {line:?}");
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("JSON")
}
