//! Terraform's states: brought back so that the next plan of the real program works.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use backstay::aws::VersionedObjects;
use backstay::aws::s3_versions::{Chosen, ObjectVersion};
use backstay::source::{ImportAction, ImportOptions};
use backstay::store::Key;
use backstay::{Backstay, ErrorKind, Keep, Keyring, MemoryStore, Tier, Vault};
use futures_util::TryStreamExt;
use support::terraform::{BUCKET, Backend, KEY};

async fn versions(states: &VersionedObjects, key: &Key) -> Vec<ObjectVersion> {
    let all: Vec<_> = states.versions().try_collect().await.expect("it lists");
    all.into_iter().filter(|found| found.key == key.as_str()).collect()
}

/// The newest version with so many names in it.
async fn with_names(states: &VersionedObjects, key: &Key, names: usize) -> ObjectVersion {
    for found in versions(states, key).await {
        if !found.deleted {
            let state = states.pull(key, Some(&found.version)).await.expect("a state");
            let state = backstay::aws::s3_versions::State::parse(state.expose()).expect("a state");
            if state.addresses().filter(|address| address.starts_with("terraform_data.named[")).count() == names {
                return found;
            }
        }
    }
    panic!("no version of {key} has {names} names")
}

const TWO: &str = "[\"a\", \"b\"]";
const THREE: &str = "[\"a\", \"b\", \"c\"]";

#[tokio::test]
async fn a_state_comes_back_and_the_next_plan_works() {
    let backend = Backend::with_table();
    backend.apply(TWO);
    backend.apply(THREE);
    backend.runs(&["workspace", "new", "staging"]);
    backend.apply("[\"s\"]");
    let states = backend.states().await;
    assert_eq!(states.workspaces().await.unwrap(), ["default", "staging"]);
    let (key, staging) = (states.state_key("default").unwrap(), states.state_key("staging").unwrap());
    assert_eq!(staging.as_str(), format!("env:/staging/{KEY}"));
    backend.runs(&["workspace", "select", "default"]);
    // The accident.
    backend.runs(&["state", "rm", "terraform_data.named"]);
    let found = versions(&states, &key).await;
    let serials: Vec<_> = found.iter().map(|found| found.state.as_ref().unwrap().serial.unwrap()).collect();
    assert!(serials.len() == 3 && serials.is_sorted_by(|a, b| a > b), "{serials:?}");
    let lineages: std::collections::BTreeSet<_> =
        found.iter().map(|found| &found.state.as_ref().unwrap().lineage).collect();
    assert_eq!(lineages.len(), 1);
    let good = with_names(&states, &key, 3).await;

    // By hand: the digest is the other state's.
    backend.copy_naively(&good.version);
    let (code, told) = backend.plan(THREE);
    assert!(code == 1 && told.contains("Digest value"), "{code} {told}");
    let pulled = states.pull(&key, None).await.unwrap_err();
    assert_eq!(pulled.kind(), ErrorKind::Corrupt, "{pulled}");

    // The plan says that only the digest is wrong now, and mends it.
    let plan = states.plan_bring_back(&key, &good.version).await.unwrap();
    assert!(!plan.writes && plan.digest.is_some(), "{plan}");
    let report = states.bring_back(plan).await.unwrap();
    assert!(!report.written && report.digest);
    assert_eq!(backend.plan(THREE).0, 0);

    // And from the accident in one go.
    backend.runs(&["state", "rm", "terraform_data.named"]);
    let plan = states.plan_bring_back(&key, &good.version).await.unwrap();
    let diff = plan.diff.clone().unwrap();
    assert_eq!(diff.added.len(), 3, "{diff}");
    assert!(plan.writes && plan.to_string().contains("+ terraform_data.named[\"a\"]"), "{plan}");
    let again = plan.clone();
    assert!(states.bring_back(plan).await.unwrap().written);
    assert_eq!(backend.plan(THREE).0, 0);
    assert_eq!(backend.plan(TWO).0, 2);
    assert!(states.plan_bring_back(&key, &good.version).await.unwrap().is_empty());
    // The same plan again finds its work done.
    assert!(!states.bring_back(again).await.unwrap().written);
    // It left no lock, and Terraform goes on from there.
    backend.apply(TWO);

    backend.runs(&["workspace", "select", "staging"]);
    assert_eq!(backend.plan("[\"s\"]").0, 0, "another workspace was not touched");
    backend.runs(&["apply", "-destroy", "-auto-approve"]);
    let good = with_names(&states, &staging, 1).await;
    let plan = states.plan_bring_back(&staging, &good.version).await.unwrap();
    states.bring_back(plan).await.unwrap();
    assert_eq!(backend.plan("[\"s\"]").0, 0);
}

#[tokio::test]
async fn a_new_serial_keeps_saved_plans_stale() {
    let backend = Backend::with_table();
    backend.apply(TWO);
    backend.runs(&["plan", "-out=saved", &format!("-var=names={THREE}")]);
    backend.apply("[\"x\"]");
    let states = backend.states().await;
    let key = states.state_key("default").unwrap();
    let good = with_names(&states, &key, 2).await;
    let bumping = states.clone().bump_serial();
    let plan = bumping.plan_bring_back(&key, &good.version).await.unwrap();
    let current = plan.current.as_ref().unwrap().state.as_ref().unwrap().serial.unwrap();
    assert_eq!(plan.serial, Some(current + 1));
    bumping.bring_back(plan).await.unwrap();
    assert_eq!(backend.plan(TWO).0, 0);
    let (code, told) = backend.ends(&["apply", "saved"]);
    assert!(code == 1 && told.contains("stale"), "{told}");
    assert!(bumping.plan_bring_back(&key, &good.version).await.unwrap().is_empty(), "it is there but for its serial");
    // Byte for byte it counts as fresh again, as the documentation warns.
    let plan = states.plan_bring_back(&key, &good.version).await.unwrap();
    states.bring_back(plan).await.unwrap();
    backend.runs(&["apply", "saved"]);
}

#[tokio::test]
async fn a_digest_that_somebody_changed_meanwhile_is_not_put_over() {
    let backend = Backend::with_table();
    backend.apply(TWO);
    backend.apply(THREE);
    let states = backend.states().await;
    let key = states.state_key("default").unwrap();
    let good = with_names(&states, &key, 2).await;
    let plan = states.plan_bring_back(&key, &good.version).await.unwrap();
    let item = format!("'LockID': '{BUCKET}/{KEY}-md5'");
    backend.python(&format!("table.put_item(Item={{{item}, 'Digest': 'of somebody else'}})"));
    let error = states.bring_back(plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    let kept = backend.python(&format!("print(table.get_item(Key={{{item}}})['Item']['Digest'])"));
    assert_eq!(kept, "of somebody else");
    // The state came first, so that a plan made now has only the digest to mend.
    let again = states.plan_bring_back(&key, &good.version).await.unwrap();
    let report = states.bring_back(again).await.unwrap();
    assert!(report.digest && !report.written, "{report:?}");
    assert_eq!(backend.plan(TWO).0, 0);
}

#[tokio::test]
async fn nothing_is_written_while_terraform_holds_the_table_s_lock() {
    held(&Backend::with_table()).await;
}

#[tokio::test]
async fn nothing_is_written_while_terraform_holds_the_lock_file() {
    let backend = Backend::with_lock_file();
    held(&backend).await;
    // A lock file counts for those who do not use it themselves, too.
    let store = support::s3::open(backend.server(), BUCKET).await;
    let others = VersionedObjects::terraform(store, KEY.parse().unwrap());
    let key = others.state_key("default").unwrap();
    let version = versions(&others, &key).await.pop().unwrap().version;
    backend.python(&format!("s3.put_object(Bucket='{BUCKET}', Key='{KEY}.tflock', Body=b'whatever')"));
    let error = others.plan_bring_back(&key, &version).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
}

async fn held<S: std::ops::Deref<Target = backstay_test_servers::s3::Server>>(backend: &Backend<S>) {
    backend.apply(TWO);
    backend.apply("[]");
    let states = backend.states().await;
    let key = states.state_key("default").unwrap();
    let good = with_names(&states, &key, 2).await;
    let plan = states.plan_bring_back(&key, &good.version).await.unwrap();
    let before = versions(&states, &key).await;
    let holding = backend.holding();
    for error in [
        states.plan_bring_back(&key, &good.version).await.unwrap_err(),
        states.bring_back(plan.clone()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
        assert!(error.context("who").is_some() && error.context("lock").is_some(), "{error}");
    }
    assert_eq!(versions(&states, &key).await, before);
    holding.let_go();
    // What it wrote is not what the plan saw, and the lock that was taken to see so is free again.
    assert_eq!(states.bring_back(plan).await.unwrap_err().kind(), ErrorKind::Conflict);
    let plan = states.plan_bring_back(&key, &good.version).await.unwrap();
    states.bring_back(plan).await.unwrap();
    assert_eq!(backend.plan(TWO).0, 0);
    backend.apply(TWO);
}

/// Changes the state that Terraform pulls.
fn changed(state: &[u8], serial: u64, lineage: Option<&str>, name: &str) -> Vec<u8> {
    let mut state: serde_json::Value = serde_json::from_slice(state).unwrap();
    state["serial"] = serial.into();
    if let Some(lineage) = lineage {
        state["lineage"] = lineage.into();
    }
    state["outputs"]["pushed"] = serde_json::json!({"value": name, "type": "string"});
    serde_json::to_vec_pretty(&state).unwrap()
}

#[tokio::test]
async fn a_push_is_refused_where_terraform_s_is() {
    let backend = Backend::with_table();
    backend.apply(TWO);
    backend.apply(THREE);
    let states = backend.states().await;
    let key = states.state_key("default").unwrap();
    let pulled = states.pull(&key, None).await.unwrap();
    let serial = backstay::aws::s3_versions::State::parse(pulled.expose()).unwrap().serial();
    let other = "11111111-2222-3333-4444-555555555555";
    for (pushed, taken) in [
        (changed(pulled.expose(), serial, Some(other), "a"), false),
        (changed(pulled.expose(), serial + 9, Some(other), "a"), false),
        (changed(pulled.expose(), serial - 1, None, "a"), false),
        (changed(pulled.expose(), serial, None, "a"), false),
        (pulled.expose().clone(), true),
        (changed(pulled.expose(), serial + 1, None, "a"), true),
    ] {
        let file = backend.path("pushed.json");
        std::fs::write(&file, &pushed).unwrap();
        let planned = states.plan_push(&key, &pushed).await;
        let told = backend.ends(&["state", "push", "pushed.json"]);
        assert_eq!((planned.is_ok(), told.0 == 0), (taken, taken), "{planned:?} {told:?}");
        if let Err(error) = planned {
            assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
        }
    }
    let pulled = states.pull(&key, None).await.unwrap();
    let serial = backstay::aws::s3_versions::State::parse(pulled.expose()).unwrap().serial();
    let next = changed(pulled.expose(), serial + 1, None, "b");
    let plan = states.plan_push(&key, &next).await.unwrap();
    assert_eq!(states.push(plan.clone(), &pulled.expose()[1..]).await.unwrap_err().kind(), ErrorKind::Conflict);
    states.push(plan, &next).await.unwrap();
    assert_eq!(states.pull(&key, None).await.unwrap().expose(), &next);
    assert!(backend.runs(&["output", "-json", "pushed"]).contains("\"b\""));
    // Forced.
    let forced = states.clone().danger_any_serial().danger_any_lineage();
    let old = changed(pulled.expose(), 1, Some(other), "c");
    let plan = forced.plan_push(&key, &old).await.unwrap();
    assert!(plan.notes.iter().any(|note| note.contains("lineage")), "{plan}");
    forced.push(plan, &old).await.unwrap();
    assert!(backend.runs(&["output", "-json", "pushed"]).contains("\"c\""));
}

#[tokio::test]
async fn a_version_of_another_lineage_stays_where_it_is() {
    let backend = Backend::with_table();
    backend.apply(TWO);
    let states = backend.states().await;
    let key = states.state_key("default").unwrap();
    let theirs = versions(&states, &key).await.remove(0).version;
    // The key is used again for something else.
    backend.python(&format!(
        "s3.delete_object(Bucket='{BUCKET}', Key='{KEY}')\ntable.delete_item(Key={{'LockID': '{BUCKET}/{KEY}-md5'}})"
    ));
    backend.apply("[\"new\"]");
    let error = states.plan_bring_back(&key, &theirs).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(error.to_string().contains("danger_any_lineage"), "{error}");
    assert_eq!(backend.plan("[\"new\"]").0, 0);
    // Over an empty state it may come, as Terraform allows.
    backend.runs(&["apply", "-destroy", "-auto-approve"]);
    let plan = states.plan_bring_back(&key, &theirs).await.unwrap();
    states.bring_back(plan).await.unwrap();
    assert_eq!(backend.plan(TWO).0, 0);
}

#[tokio::test]
async fn a_state_comes_back_from_a_vault() {
    let backend = Backend::with_table();
    backend.apply(TWO);
    backend.apply(THREE);
    let states = backend.states().await;
    let key = states.state_key("default").unwrap();
    let keyring = Keyring::generate().unwrap();
    let vault = Vault::create(MemoryStore::new()).keyring(&keyring).build().await.unwrap();
    let backstay = Backstay::builder("prod-eu", vault)
        .export("states", states.clone().choose(Chosen::All))
        .tier(Tier::new("daily").keep(Keep::last(2)))
        .build()
        .unwrap();
    let point = backstay.backup("daily").await.unwrap().id;
    backstay.verify(&point).check("states", states.clone()).await.unwrap();
    let restore = |options| backstay.restore(&point).component("states").into(states.clone()).options(options);

    // Every version is gone, and its digest tells of it.
    backend.python(&format!(
        "for found in s3.list_object_versions(Bucket='{BUCKET}', Prefix='{KEY}')['Versions']:
    s3.delete_object(Bucket='{BUCKET}', Key='{KEY}', VersionId=found['VersionId'])"
    ));
    assert!(versions(&states, &key).await.is_empty());
    let plan = restore(ImportOptions::default()).plan().await.unwrap();
    assert_eq!(plan.import.count(ImportAction::Create), 1, "{plan}");
    plan.apply().await.unwrap();
    assert_eq!(backend.plan(THREE).0, 0);

    // Something else is there: it stays unless told otherwise.
    backend.apply("[\"else\"]");
    let plan = restore(ImportOptions::default()).plan().await.unwrap();
    assert_eq!(plan.import.count(ImportAction::Conflict), 1, "{plan}");
    let plan = restore(ImportOptions::default().danger_overwrite()).plan().await.unwrap();
    assert_eq!(plan.import.count(ImportAction::Overwrite), 1, "{plan}");
    assert!(plan.to_string().contains("terraform_data.named[\"c\"]"), "{plan}");
    plan.apply().await.unwrap();
    assert_eq!(backend.plan(THREE).0, 0);
}
