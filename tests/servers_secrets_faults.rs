//! Secrets while the service goes wrong: what was done is told, what cannot be done is planned so, and nobody walks on through
//! a service that is down.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use backstay::aws::secrets::SecretChoice;
use backstay::aws::{Secrets, SecretsManager, SecretsRestore};
use backstay::engine::RestoreReport;
use backstay::source::{
    ExportReport, ExportRequest, ImportAction, ImportOptions, ResourceExporter as _, ResourceImporter as _,
};
use backstay::{Backstay, Clock as _, ErrorKind, Keep, Keyring, MemoryStore, Result, Secret, SystemClock, Tier, Vault};
use backstay_testkit::items::Items;
use serde_json::{Value, json};
use support::scripted::{ACCOUNT, Answer, Scripted};

const REGION: &str = "us-east-1";

/// Secrets of these names, each with one value, until they are lost.
struct Service {
    server: Scripted,
    lost: Arc<AtomicBool>,
}

/// What a test has go wrong: none where nothing does.
type Wrong = fn(&str, &Value) -> Option<Answer>;

impl Service {
    fn new(names: &[&str], wrong: Wrong) -> Self {
        let lost = Arc::new(AtomicBool::new(false));
        let (names, gone) = (names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>(), Arc::clone(&lost));
        let made = Mutex::new(Vec::new());
        let server = Scripted::start(move |operation, asked| {
            if let Some(answer) = wrong(operation, asked) {
                return answer;
            }
            let mut made = made.lock().expect("no panic");
            let id = asked["SecretId"].as_str().unwrap_or_default();
            let name = id.rsplit(':').next().unwrap_or_default().to_owned();
            match operation {
                "ListSecrets" => Ok(json!({ "SecretList": names.iter().map(|name| about(name)).collect::<Vec<_>>() })),
                "DescribeSecret" if gone.load(Ordering::SeqCst) && !made.contains(&name) => {
                    Err("ResourceNotFoundException")
                }
                "DescribeSecret" => Ok(about(&name)),
                "GetSecretValue" => Ok(json!({ "Name": name, "ARN": arn(&name), "SecretString": "planted" })),
                "CreateSecret" => {
                    let name = asked["Name"].as_str().expect("a name").to_owned();
                    made.push(name.clone());
                    Ok(json!({ "ARN": arn(&name), "Name": name }))
                }
                "GetResourcePolicy" | "TagResource" | "UntagResource" => Ok(json!({})),
                other => panic!("an operation that is not played here: {other}"),
            }
        });
        Self { server, lost }
    }

    async fn open(&self) -> SecretsManager {
        SecretsManager::builder()
            .endpoint(self.server.endpoint())
            .region(REGION)
            .credentials("any", Secret::new("any".to_owned()))
            // Tests do not wait for better times.
            .attempts(1)
            .build()
            .await
            .expect("everybody has an account")
    }

    fn calls(&self, operation: &str) -> usize {
        self.server.calls(operation).len()
    }
}

fn arn(name: &str) -> String {
    format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}")
}

fn about(name: &str) -> Value {
    json!({ "Name": name, "ARN": arn(name), "VersionIdsToStages": { (id("1")): ["AWSCURRENT"] } })
}

fn id(letter: &str) -> String {
    letter.repeat(32)
}

async fn export(secrets: &Secrets) -> Result<(Items, ExportReport)> {
    let items = Items::new("secrets", "aws.secrets");
    let request = ExportRequest::new(
        "secrets".parse()?,
        "test/manual/20261120t064200z-abcdefgh".parse()?,
        jiff::Timestamp::UNIX_EPOCH,
    );
    let report = secrets.export(&request, &items).await?;
    Ok((items, report))
}

#[tokio::test]
async fn a_restore_that_ends_in_the_middle_tells_what_it_did() {
    let service = Service::new(&["a", "b", "c"], |operation, asked| {
        (operation == "CreateSecret" && asked["Name"] == "b").then_some(Err("InternalServiceError"))
    });
    let manager = service.open().await;
    let keys = Keyring::generate().expect("keys");
    let vault = Vault::create(MemoryStore::new()).keyring(&keys).build().await.expect("a vault");
    let backstay = Backstay::builder("prod", vault)
        .export("secrets", Secrets::new(&manager))
        .tier(Tier::new("daily").keep(Keep::last(2)))
        .build()
        .expect("well formed");
    let point = backstay.backup("daily").await.expect("a backup").id;
    service.lost.store(true, Ordering::SeqCst);
    let plan = backstay.restore(&point).into(SecretsRestore::new(&manager)).plan().await.expect("a plan");
    assert_eq!(plan.import.count(ImportAction::Create), 3, "{plan}");
    let error = plan.apply().await.expect_err("it fails at the second");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    let done = error.payload::<RestoreReport>().expect("a report");
    assert_eq!(done.import.counts.get(&ImportAction::Create), Some(&1), "{done:?}");
    assert_eq!(service.calls("CreateSecret"), 2, "it went on though the service failed");
}

/// Their retries are spent: what is down is not asked for every secret that there is.
#[tokio::test]
async fn a_service_that_is_down_is_not_walked_through_to_the_end() {
    let names: Vec<String> = (0..40).map(|n| format!("s{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let service =
        Service::new(&names, |operation, _| (operation == "GetSecretValue").then_some(Err("InternalFailure")));
    let manager = service.open().await;
    let error = export(&Secrets::new(&manager)).await.map(drop).expect_err("it is down");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(service.calls("GetSecretValue") < 20, "{}", service.calls("GetSecretValue"));
    // What is one secret's own is its own.
    let service = Service::new(&["a", "b"], |operation, asked| {
        let id = asked["SecretId"].as_str().unwrap_or_default();
        (operation == "GetSecretValue" && id.ends_with("a")).then_some(Err("DecryptionFailure"))
    });
    let (items, report) = export(&Secrets::new(&service.open().await)).await.expect("an export");
    assert_eq!((items.infos().len(), report.problems.len()), (1, 1), "{report:?}");
}

#[tokio::test]
async fn a_rotation_under_way_is_told() {
    let service = Service::new(&["db"], |operation, asked| match operation {
        "DescribeSecret" => {
            let versions = json!({ (id("1")): ["AWSCURRENT"], (id("2")): ["AWSPENDING"] });
            Some(Ok(json!({ "Name": "db", "ARN": arn("db"), "VersionIdsToStages": versions, "RotationEnabled": true })))
        }
        // The function has not put it yet.
        "GetSecretValue" if asked["VersionId"] == id("2").as_str() => Some(Err("ResourceNotFoundException")),
        _ => None,
    });
    let manager = service.open().await;
    for secrets in [Secrets::new(&manager), Secrets::new(&manager).all_versions()] {
        let (items, report) = export(&secrets).await.expect("an export");
        assert!(items.content("db").is_some() && report.problems.is_empty(), "{report:?}");
        let [note] = &report.notes[..] else { panic!("{report:?}") };
        assert!(note.starts_with("db: ") && note.contains(&id("2")), "{note}");
    }
    let report = manager.rotation(&SecretChoice::all(), SystemClock.now()).await.expect("a report");
    assert_eq!(report.secrets[0].pending, Some(id("2")), "{report}");
    assert!(report.to_string().contains("under way"), "{report}");
    let ended = Service::new(&["db"], |operation, _| {
        let versions = json!({ (id("2")): ["AWSCURRENT", "AWSPENDING"] });
        let about = json!({ "Name": "db", "ARN": arn("db"), "VersionIdsToStages": versions });
        (operation == "DescribeSecret").then_some(Ok(about))
    });
    let (_, report) = export(&Secrets::new(&ended.open().await)).await.expect("an export");
    assert!(report.notes.is_empty(), "{report:?}");
}

/// One secret that cannot be looked at is a line of the plan, and does not keep the others; one without a value comes back so.
#[tokio::test]
async fn what_cannot_be_done_for_one_secret_is_planned_so() {
    let service = Service::new(&["a", "b", "c"], |operation, asked| {
        (operation == "DescribeSecret" && asked["SecretId"] == "b").then_some(Err("AccessDeniedException"))
    });
    service.lost.store(true, Ordering::SeqCst);
    let restore = SecretsRestore::new(&service.open().await);
    let items = Items::new("secrets", "aws.secrets");
    for (name, versions) in [("a", 1), ("b", 1), ("c", 1), ("d", 0)] {
        let version = json!({ "id": id("1"), "stages": ["AWSCURRENT"], "string": "planted" });
        let versions: Vec<&Value> = std::iter::repeat_n(&version, versions).collect();
        let item = json!({ "backstay_secret": 1, "name": name, "arn": arn(name), "versions": versions });
        items.add(name, "aws.secret json", item.to_string());
    }
    let plan = restore.plan(&items, &ImportOptions::default()).await.expect("a plan");
    assert_eq!((plan.count(ImportAction::Create), plan.count(ImportAction::Impossible)), (3, 1), "{plan}");
    let why = |name: &str| plan.entries.iter().find(|entry| entry.what == name).map(|entry| entry.why.clone());
    assert!(why("b").is_some_and(|why| why.contains("secretsmanager:DescribeSecret")), "{plan}");
    assert!(plan.notes.iter().any(|note| note.starts_with("d: the backup has no value")), "{plan}");
    let again = restore.plan(&items, &ImportOptions::default()).await.expect("a plan");
    assert_eq!(again.fingerprint, plan.fingerprint);
    let report = restore.apply(&items, plan).await.expect("it applies");
    assert_eq!((report.counts.get(&ImportAction::Create), report.problems.len()), (Some(&3), 1), "{report:?}");
    let made = service.server.calls("CreateSecret");
    let without = made.iter().filter(|asked| asked.get("SecretString").is_none());
    assert_eq!(without.map(|asked| &asked["Name"]).collect::<Vec<_>>(), ["d"]);
}

/// What would open a secret to everybody, or put over one of the same name elsewhere, is not asked for.
#[tokio::test]
async fn what_comes_back_is_closed_to_the_public_and_puts_over_nothing_elsewhere() {
    let service = Service::new(&[], |operation, asked| match operation {
        "DescribeSecret" if asked["SecretId"] == "a" => Some(Err("ResourceNotFoundException")),
        "PutResourcePolicy" | "ReplicateSecretToRegions" => Some(Ok(json!({}))),
        _ => None,
    });
    let manager = service.open().await;
    let items = Items::new("secrets", "aws.secrets");
    let version = json!({ "id": id("1"), "stages": ["AWSCURRENT"], "string": "planted" });
    let item = json!({
        "backstay_secret": 1,
        "name": "a",
        "arn": arn("a"),
        "policy": r#"{"Version":"2012-10-17","Statement":[]}"#,
        "replicas": [{ "region": "eu-west-1" }],
        "versions": [version],
    });
    items.add("a", "aws.secret json", item.to_string());
    let restore = SecretsRestore::new(&manager);
    let plan = restore.plan(&items, &ImportOptions::default()).await.expect("a plan");
    let report = restore.apply(&items, plan).await.expect("it applies");
    assert!(report.problems.is_empty(), "{report:?}");
    let asked = |operation: &str, what: &str| {
        let calls = service.server.calls(operation);
        calls.into_iter().map(|call| call[what].clone()).collect::<Vec<_>>()
    };
    assert_eq!(asked("PutResourcePolicy", "BlockPublicPolicy"), [true]);
    assert_eq!(asked("CreateSecret", "ForceOverwriteReplicaSecret"), [false]);
    assert_eq!(asked("CreateSecret", "AddReplicaRegions"), [json!([{ "Region": "eu-west-1" }])]);
}
