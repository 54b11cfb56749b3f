//! Secrets of AWS Secrets Manager on moto: out into a vault, lost, back again. boto3 makes and reads what is there.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;

use backstay::aws::secrets::{ReplicaRegion, SecretChoice};
use backstay::aws::{Secrets, SecretsManager, SecretsRestore};
use backstay::source::{
    ExportReport, ExportRequest, ImportAction, ImportOptions, ImportPlan, ImportReport, ResourceExporter,
    ResourceImporter,
};
use backstay::{Backstay, Clock, ErrorKind, Keep, Keyring, LocalStore, Secret, SystemClock, Tier, Vault};
use backstay_test_servers::moto::Moto;
use backstay_test_servers::python::python;
use backstay_testkit::EventLog;
use backstay_testkit::conformance::source::{self, ImporterSetup};
use backstay_testkit::items::Items;
use jiff::ToSpan;
use support::lines::Lines;

const HOME: &str = "us-east-1";
const AWAY: &str = "eu-west-1";

async fn open(moto: &Moto, region: &str) -> SecretsManager {
    SecretsManager::builder()
        .endpoint(moto.endpoint())
        .region(region)
        .credentials(moto.access_key(), Secret::new(moto.secret_key().to_owned()))
        // Tests do not wait for better times.
        .attempts(1)
        .build()
        .await
        .expect("moto knows everybody")
}

/// Runs lines of Python in which `sm` is boto3's client of this region, and returns what they print.
fn boto(moto: &Moto, region: &str, lines: &str) -> String {
    let script = format!("import boto3, json\nsm = boto3.client('secretsmanager', region_name='{region}')\n{lines}\n");
    let output = python().arg("-c").arg(script).envs(moto.env()).output().expect("python runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{lines}: {told}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

async fn export(secrets: &Secrets) -> (Items, ExportReport) {
    let items = Items::new("secrets", "aws.secrets");
    let request = ExportRequest::new(
        "secrets".parse().expect("a name"),
        "test/manual/20261120t064200z-abcdefgh".parse().expect("an id"),
        jiff::Timestamp::UNIX_EPOCH,
    );
    let report = secrets.export(&request, &items).await.expect("an export");
    (items, report)
}

async fn import(to: &SecretsRestore, items: &Items, options: &ImportOptions) -> (ImportPlan, ImportReport) {
    let plan = to.plan(items, options).await.expect("a plan");
    let report = to.apply(items, plan.clone()).await.expect("it applies");
    (plan, report)
}

fn plain() -> ImportOptions {
    ImportOptions::default()
}

fn overwriting() -> ImportOptions {
    ImportOptions::default().danger_overwrite()
}

/// By its stage: without one, moto gives the version that was put last, wherever the stage was moved since.
fn value(moto: &Moto, region: &str, name: &str) -> String {
    let call = format!("sm.get_secret_value(SecretId='{name}', VersionStage='AWSCURRENT')");
    boto(moto, region, &format!("print({call}['SecretString'])"))
}

/// Secrets with all that one can have: `prod/db` and `prod/cert`, and one that is not production's.
const SEED: &str = "
sm.create_secret(Name='prod/db', SecretString='planted-previous', Description='the database',
                 Tags=[{'Key': 'team', 'Value': 'orders'}], AddReplicaRegions=[{'Region': 'eu-central-1'}])
sm.put_secret_value(SecretId='prod/db', SecretString='planted-blue', VersionStages=['blue'])
sm.put_secret_value(SecretId='prod/db', SecretString='planted-current')
sm.put_resource_policy(SecretId='prod/db', ResourcePolicy=json.dumps({'Version': '2012-10-17', 'Statement': []}))
sm.create_secret(Name='prod/cert', SecretBinary=b'\\x00\\xffplanted-binary')
sm.create_secret(Name='stage/db', SecretString='planted-stage')";

/// What boto3 sees of them, without what names a region.
const SEE: &str = "
for name in ['prod/db', 'prod/cert']:
    about = sm.describe_secret(SecretId=name)
    print(name, about.get('Description'), about.get('Tags', []), sm.get_resource_policy(SecretId=name).get('ResourcePolicy'),
          [r['Region'] for r in about.get('ReplicationStatus', [])])
    for id, stages in sorted(about['VersionIdsToStages'].items(), key=lambda v: sorted(v[1])):
        if stages:
            v = sm.get_secret_value(SecretId=name, VersionId=id)
            print(sorted(stages), id, v.get('SecretString'), v.get('SecretBinary'))";

/// Every file below a folder.
fn stored(folder: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => found.extend(stored(&path)),
            false => found.push(fs::read(&path).expect("a file")),
        }
    }
    found
}

fn program(vault: Vault, secrets: Secrets, log: EventLog) -> backstay::Result<Backstay> {
    Backstay::builder("prod", vault)
        .export("secrets", secrets)
        .tier(Tier::new("daily").keep(Keep::last(9)))
        .observe(log)
        .build()
}

#[test]
fn secrets_come_back_in_another_region_and_show_nowhere() {
    let moto = Moto::start();
    boto(&moto, HOME, SEED);
    let before = boto(&moto, HOME, SEE);
    let (lines, log) = (Lines::default(), EventLog::default());
    let place = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let told = tracing::subscriber::with_default(lines.subscriber(), || {
        runtime.block_on(async {
            let (home, away) = (open(&moto, HOME).await, open(&moto, AWAY).await);
            let store = LocalStore::create(place.path().join("vault")).expect("a store");
            let vault = Vault::create(store).keyring(&Keyring::generate().expect("keys")).build().await.expect("a vault");
            let secrets = Secrets::new(&home).choose(SecretChoice::prefix("prod/")).all_versions();
            let backstay = program(vault, secrets.clone(), log.clone()).expect("well formed");
            let point = backstay.backup("daily").await.expect("a backup");

            boto(
                &moto,
                HOME,
                "sm.remove_regions_from_replication(SecretId='prod/db', RemoveReplicaRegions=['eu-central-1'])\n\
                 for name in ['prod/db', 'prod/cert']: sm.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)",
            );
            let restore = SecretsRestore::new(&away);
            let plan = backstay.restore(&point.id).into(restore.clone()).plan().await.expect("a plan");
            assert_eq!(plan.import.count(ImportAction::Create), 2, "{}", plan.import);
            let shown = format!("{plan} {:?}", plan.import);
            let done = plan.apply().await.expect("a restore");
            assert!(done.import.problems.is_empty() && done.import.bytes > 50, "{done:?}");
            assert_eq!(boto(&moto, AWAY, SEE), before);

            let again = backstay.restore(&point.id).into(restore.clone()).plan().await.expect("a plan");
            assert_eq!(again.import.count(ImportAction::Unchanged), 2, "{}", again.import);
            let replicas = away.check_replicas(&SecretChoice::all(), &[]).await.expect("a report");
            assert!(replicas.is_good() && replicas.replicas.len() == 1, "{replicas}");
            let absent = away.rotate("prod/absent").await.expect_err("there is none");
            format!(
                "{point:?} {shown} {done:?} {replicas:?} {secrets:?} {restore:?} {away:?} {absent:?} {:?} {}",
                log.all(),
                backstay.explain(&point.id).await.expect("a point")
            )
        })
    });
    assert!(before.contains("['blue']") && before.contains("planted-binary"), "{before}");
    let logged = lines.text();
    assert!(logged.contains("component_done"), "nothing was logged: {logged}");
    for secret in ["planted", "AP9wbGFudGVk", moto.secret_key()] {
        for file in stored(place.path()) {
            assert!(!file.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} is in the vault");
        }
        assert!(!told.contains(secret), "{secret} shows in Debug, an error or an event: {told}");
        let line = logged.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret} shows in the log: {line:?}");
    }
}

#[tokio::test]
async fn a_vault_that_is_not_encrypted_takes_no_secrets() {
    let moto = Moto::start();
    let home = open(&moto, HOME).await;
    let place = tempfile::tempdir().expect("a folder");
    let store = LocalStore::create(place.path()).expect("a store");
    let keys = Keyring::generate().expect("keys");
    let vault = Vault::create(store).keyring(&keys).danger_unencrypted().build().await.expect("a vault");
    let refused = program(vault, Secrets::new(&home), EventLog::default()).expect_err("it holds secrets");
    assert!(refused.to_string().contains("not encrypted"), "{refused}");
}

#[tokio::test]
async fn the_exporter_keeps_its_contract() {
    let moto = Moto::start();
    boto(&moto, HOME, SEED);
    let home = open(&moto, HOME).await;
    source::exporter(|_| Ok(Arc::new(Secrets::new(&home)))).await.assert();
}

#[tokio::test]
async fn the_importer_keeps_its_contract() {
    let moto = Moto::start();
    let put = |text: &str| {
        format!(
            "for name in ['a', 'b']:\n sm.put_secret_value(SecretId=name, SecretString=name + '{text}' * 500)\n \
             sm.update_secret(SecretId=name, Description='{text}')"
        )
    };
    boto(&moto, HOME, "for name in ['a', 'b']: sm.create_secret(Name=name, SecretString='first')");
    boto(&moto, HOME, &put("state 1"));
    let home = open(&moto, HOME).await;
    let (items, _) = export(&Secrets::new(&home)).await;
    boto(&moto, HOME, &put("state 2"));
    let (other, _) = export(&Secrets::new(&home)).await;
    // An empty target of its own for each case is a region of its own.
    let regions = std::sync::Mutex::new(vec![
        "us-east-2",
        "us-west-1",
        "us-west-2",
        "eu-west-1",
        "eu-west-2",
        "eu-west-3",
        "eu-north-1",
        "eu-central-1",
        "ap-south-1",
        "sa-east-1",
        "ca-central-1",
        "ap-northeast-1",
    ]);
    let report = source::importer(|_| {
        let region = regions.lock().expect("no panic").pop().expect("enough regions");
        let importer = Arc::new(SecretsRestore::new(&home.in_region(region)));
        Ok(ImporterSetup { importer, items: items.clone(), other: other.clone() })
    });
    report.await.assert();
}

#[tokio::test]
async fn what_is_there_stays_unless_told_and_a_plan_is_decided_again() {
    let moto = Moto::start();
    boto(&moto, HOME, SEED);
    let home = open(&moto, HOME).await;
    let (items, _) = export(&Secrets::new(&home).choose(SecretChoice::names(["prod/db"]))).await;
    let restore = SecretsRestore::new(&home);
    boto(&moto, HOME, "sm.put_secret_value(SecretId='prod/db', SecretString='newer')");

    let (plan, report) = import(&restore, &items, &plain()).await;
    assert_eq!((plan.count(ImportAction::Conflict), report.problems.len()), (1, 1), "{plan} {report:?}");
    assert!(plan.entries[0].why.contains("AWSCURRENT"), "{plan}");
    assert_eq!(value(&moto, HOME, "prod/db"), "newer");

    // Planned, and meanwhile somebody put another value: that one was never seen.
    let stale = restore.plan(&items, &overwriting()).await.expect("a plan");
    assert_eq!(stale.count(ImportAction::Overwrite), 1, "{stale}");
    boto(&moto, HOME, "sm.put_secret_value(SecretId='prod/db', SecretString='newest')");
    let report = restore.apply(&items, stale).await.expect("it applies");
    assert!(!report.counts.contains_key(&ImportAction::Overwrite), "{report:?}");
    assert!(report.problems[0].why.contains("not as it was planned"), "{report:?}");
    assert_eq!(value(&moto, HOME, "prod/db"), "newest");

    // Tags too are what was seen: it differs in the same as before, and otherwise.
    let tag = |value| format!("sm.tag_resource(SecretId='prod/db', Tags=[{{'Key': 'new', 'Value': '{value}'}}])");
    boto(&moto, HOME, &tag("seen"));
    let stale = restore.plan(&items, &overwriting()).await.expect("a plan");
    boto(&moto, HOME, &tag("unseen"));
    let report = restore.apply(&items, stale).await.expect("it applies");
    assert!(!report.counts.contains_key(&ImportAction::Overwrite), "{report:?}");

    let (_, report) = import(&restore, &items, &overwriting()).await;
    assert!(report.problems.is_empty() && report.counts[&ImportAction::Overwrite] == 1, "{report:?}");
    assert_eq!(value(&moto, HOME, "prod/db"), "planted-current");
    let previous = "print(sm.get_secret_value(SecretId='prod/db', VersionStage='AWSPREVIOUS')['SecretString'])\n\
                    print([tag['Key'] for tag in sm.describe_secret(SecretId='prod/db')['Tags']])";
    assert_eq!(boto(&moto, HOME, previous), "planted-previous\n['team']");

    // A plan is for the target that it was made for.
    let plan = restore.plan(&items, &plain()).await.expect("a plan");
    let error = SecretsRestore::new(&open(&moto, AWAY).await).apply(&items, plan).await.expect_err("another target");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// A restore that is dropped somewhere in its middle. Whether a secret was begun by it then, boto3 sees by its mark.
#[tokio::test]
async fn what_was_interrupted_is_gone_on_with_and_nothing_else() {
    let moto = Moto::start();
    boto(&moto, HOME, SEED);
    let home = open(&moto, HOME).await;
    let (items, _) = export(&Secrets::new(&home).choose(SecretChoice::names(["prod/db"])).all_versions()).await;
    let restore = |n: usize| SecretsRestore::new(&home).prefix(format!("{n}/")).without_replicas();
    for n in 1..40 {
        let plan = restore(n).plan(&items, &plain()).await.expect("a plan");
        let restore = restore(n);
        let mut work = Box::pin(restore.apply(&items, plan));
        let mut left = n;
        std::future::poll_fn(|context| {
            left -= 1;
            let done = work.as_mut().poll(context).is_ready() || left == 0;
            if done { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
    let begun = "print(','.join(s['Name'].split('/')[0] for s in sm.list_secrets()['SecretList']\n\
                 if any(t['Key'] == 'backstay:unfinished' for t in s.get('Tags', []))))";
    let unfinished: Vec<usize> = boto(&moto, HOME, begun).split(',').filter_map(|n| n.parse().ok()).collect();
    assert!(unfinished.len() > 3, "no restore was interrupted in the middle of a secret: {unfinished:?}");

    // Somebody has put a value of his own into one.
    let foreign = unfinished[0];
    boto(&moto, HOME, &format!("sm.put_secret_value(SecretId='{foreign}/prod/db', SecretString='foreign')"));
    let (plan, report) = import(&restore(foreign), &items, &plain()).await;
    assert_eq!((plan.count(ImportAction::Conflict), report.problems.len()), (1, 1), "{plan}");
    assert_eq!(value(&moto, HOME, &format!("{foreign}/prod/db")), "foreign");

    for n in (1..40).filter(|n| *n != foreign) {
        let (_, report) = import(&restore(n), &items, &plain()).await;
        assert!(report.problems.is_empty(), "{n}: {report:?}");
        let plan = restore(n).plan(&items, &plain()).await.expect("a plan");
        assert_eq!(plan.count(ImportAction::Unchanged), 1, "{n}: {plan}");
    }
    assert_eq!(boto(&moto, HOME, begun), foreign.to_string(), "a mark stays");
    let stages = "print(len({v['SecretString'] for n in range(1, 40) for v in [sm.get_secret_value(\n\
                  SecretId=f'{n}/prod/db', VersionStage='AWSCURRENT')]}))";
    assert_eq!(boto(&moto, HOME, stages), "2");
}

#[tokio::test]
async fn beside_what_is_there_and_only_what_is_asked_for() {
    let moto = Moto::start();
    boto(&moto, HOME, SEED);
    let home = open(&moto, HOME).await;
    let (items, _) = export(&Secrets::new(&home)).await;
    let beside = SecretsRestore::new(&home).prefix("restored/").rename("stage/db", "elsewhere").without_replicas();
    let (_, report) = import(&beside, &items, &plain().only(["prod/db", "stage/*"])).await;
    assert!(report.problems.is_empty() && report.counts[&ImportAction::Create] == 2, "{report:?}");
    let names = boto(&moto, HOME, "print(sorted(s['Name'] for s in sm.list_secrets()['SecretList']))");
    assert_eq!(names, "['elsewhere', 'prod/cert', 'prod/db', 'restored/prod/db', 'stage/db']");
    assert_eq!(value(&moto, HOME, "elsewhere"), "planted-stage");
    let error = beside.plan(&items, &plain().only(["prod/*", "absent/*"])).await.expect_err("no such");
    assert_eq!((error.kind(), error.context("got")), (ErrorKind::Invalid, Some("absent/*")));
    // A name that is mistyped would be restored over the live one instead of beside it.
    let mistyped = SecretsRestore::new(&home).rename("prod/bd", "beside").without_replicas();
    let error = mistyped.plan(&items, &overwriting()).await.expect_err("no such");
    assert_eq!((error.kind(), error.context("got")), (ErrorKind::Invalid, Some("prod/bd")));
    // Two that would go under one name.
    let twice = SecretsRestore::new(&home).rename("prod/db", "one").rename("stage/db", "one").without_replicas();
    let plan = twice.plan(&items, &plain().only(["*/db"])).await.expect("a plan");
    assert_eq!((plan.count(ImportAction::Create), plan.count(ImportAction::Impossible)), (1, 1), "{plan}");
}

#[tokio::test]
async fn what_is_deleted_comes_back_within_its_window() {
    let moto = Moto::start();
    boto(&moto, HOME, "sm.create_secret(Name='db', SecretString='planted')");
    let home = open(&moto, HOME).await;
    let (items, _) = export(&Secrets::new(&home)).await;
    let restore = SecretsRestore::new(&home);
    let unaware = restore.plan(&items, &plain()).await.expect("a plan");
    boto(&moto, HOME, "sm.delete_secret(SecretId='db', RecoveryWindowInDays=7)");

    // Deleted by somebody since: no plan says that this is undone.
    let report = restore.apply(&items, unaware).await.expect("it applies");
    assert!(report.problems[0].why.contains("not as it was planned"), "{report:?}");
    let (plan, report) = import(&restore, &items, &plain()).await;
    assert!(plan.notes.iter().any(|note| note.contains("deleted and is brought back")), "{plan}");
    assert!(report.problems.is_empty() && report.counts[&ImportAction::Create] == 1, "{report:?}");
    assert_eq!(value(&moto, HOME, "db"), "planted");

    // With another value since the backup: as for any that differs.
    boto(
        &moto,
        HOME,
        "sm.put_secret_value(SecretId='db', SecretString='newer')\n\
         sm.delete_secret(SecretId='db', RecoveryWindowInDays=7)",
    );
    let (plan, report) = import(&restore, &items, &plain()).await;
    assert_eq!((plan.count(ImportAction::Conflict), report.problems.len()), (1, 1), "{plan}");
    let (_, report) = import(&restore, &items, &overwriting()).await;
    assert!(report.problems.is_empty() && report.counts[&ImportAction::Overwrite] == 1, "{report:?}");
    assert_eq!(value(&moto, HOME, "db"), "planted");

    // Its export says that it is not there.
    boto(&moto, HOME, "sm.delete_secret(SecretId='db', RecoveryWindowInDays=7)");
    let (items, report) = export(&Secrets::new(&home).choose(SecretChoice::names(["db", "absent"]))).await;
    let problems: BTreeMap<_, _> = report.problems.iter().map(|p| (p.what.as_str(), p.why.as_str())).collect();
    assert!(items.infos().is_empty() && problems.len() == 2, "{report:?}");
    assert!(problems["db"].contains("deleted") && problems["absent"].contains("no such secret"), "{problems:?}");
}

#[tokio::test]
async fn pages_are_read_one_after_the_other() {
    let moto = Moto::start();
    let make = "for i in range(230):\n sm.create_secret(Name=f'many/{i}', SecretString=f'value {i}',\n  \
                Tags=[{'Key': 'even', 'Value': str(i % 2 == 0)}])";
    boto(&moto, HOME, make);
    let home = open(&moto, HOME).await;
    let (items, report) = export(&Secrets::new(&home)).await;
    assert_eq!((items.infos().len(), report.facts.get::<u64>("versions").expect("a number")), (230, Some(230)));
    assert_eq!(report.identity.as_deref(), Some("account 123456789012 in us-east-1"));
    let (even, _) = export(&Secrets::new(&home).choose(SecretChoice::prefix("many/1").tag("even", "True"))).await;
    assert!(even.infos().len() > 50 && even.content("many/10").is_some() && even.content("many/11").is_none());
    let none = export(&Secrets::new(&home).choose(SecretChoice::prefix("few/"))).await;
    assert!(none.0.infos().is_empty());
}

/// What moto does not have: promoting a replica (it answers 500), and any state of a replica but `InSync` and `Failed`.
#[tokio::test]
async fn replicas_are_made_and_looked_at() {
    let moto = Moto::start();
    boto(&moto, HOME, "for name in ['a', 'b']: sm.create_secret(Name=name, SecretString='planted')");
    boto(&moto, AWAY, "sm.create_secret(Name='b', SecretString='another')");
    let home = open(&moto, HOME).await;
    let all = SecretChoice::all();
    let none = home.check_replicas(&all, &[AWAY]).await.expect("a report");
    assert!(!none.is_good() && none.problems.len() == 2, "{none}");

    let to = [ReplicaRegion::new(AWAY), ReplicaRegion::new("ap-south-1")];
    let done = home.replicate(&all, &to).await.expect("a report");
    assert!(done.problems.is_empty() && done.added.len() == 2, "{done}");
    assert_eq!(home.replicate(&all, &to).await.expect("a report").unchanged, 2);
    let report = home.check_replicas(&all, &[AWAY, "ap-south-1"]).await.expect("a report");
    let bad: Vec<_> = report.replicas.iter().filter(|one| one.problem.is_some()).collect();
    assert!(report.replicas.len() == 4 && bad.len() == 1, "{report}");
    assert_eq!((bad[0].secret.as_str(), bad[0].region.as_str(), bad[0].in_step), ("b", AWAY, false), "{report}");
    assert_eq!(value(&moto, AWAY, "b"), "another", "it is not replaced");
    let kept: backstay::aws::secrets::ReplicaReport =
        serde_json::from_str(&serde_json::to_string(&report).expect("JSON")).expect("JSON");
    assert_eq!(kept.to_string(), report.to_string());

    // A replica is no secret of its own: the export of its region leaves it out, a restore does not write to it.
    let (_, there) = export(&Secrets::new(&open(&moto, AWAY).await)).await;
    assert!(there.notes.iter().any(|note| note.contains("1 secrets are left out")), "{there:?}");
    let (items, _) = export(&Secrets::new(&home).choose(SecretChoice::names(["a"]))).await;
    let away = SecretsRestore::new(&open(&moto, AWAY).await);
    assert_eq!(away.plan(&items, &overwriting()).await.expect("a plan").count(ImportAction::Unchanged), 1);
    boto(&moto, HOME, "sm.put_secret_value(SecretId='a', SecretString='newer')");
    let plan = away.plan(&items, &overwriting()).await.expect("a plan");
    assert!(plan.count(ImportAction::Impossible) == 1 && plan.entries[0].why.contains("promote"), "{plan}");

    let error = open(&moto, AWAY).await.promote("a").await.expect_err("moto has no such operation");
    assert_eq!((error.kind(), error.context("status")), (ErrorKind::Unavailable, Some("500")), "{error:?}");
}

/// What moto does not have: a rotation needs no function there.
#[tokio::test]
async fn rotation_is_told_and_started() {
    let moto = Moto::start();
    boto(
        &moto,
        HOME,
        "for name in ['a', 'b']: sm.create_secret(Name=name, SecretString='planted')\n\
         sm.rotate_secret(SecretId='a', RotationRules={'AutomaticallyAfterDays': 30}, RotateImmediately=False)",
    );
    let home = open(&moto, HOME).await;
    let now = SystemClock.now();
    let report = home.rotation(&SecretChoice::all(), now).await.expect("a report");
    let [a, b] = &report.secrets[..] else { panic!("{report}") };
    assert!(a.enabled && a.due.is_some() && !a.overdue && !b.enabled, "{report}");
    assert_eq!(a.schedule.as_deref(), Some("30 days"));
    let later = now.checked_add((24 * 40).hours()).expect("a time");
    let report = home.rotation(&SecretChoice::names(["a", "absent"]), later).await.expect("a report");
    assert_eq!((report.overdue().count(), report.problems.len()), (1, 1), "{report}");
    assert!(report.to_string().contains("OVERDUE"), "{report}");
    let version = home.rotate("b").await.expect("moto rotates all");
    let current = boto(&moto, HOME, "print(sm.describe_secret(SecretId='b')['VersionIdsToStages'])");
    assert!(version.is_some_and(|version| current.contains(&version)), "{current}");
}

#[tokio::test]
async fn what_cannot_be_restored_is_planned_so() {
    let moto = Moto::start();
    let key = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555";
    boto(&moto, HOME, &format!("sm.create_secret(Name='keyed', SecretString='planted', KmsKeyId='{key}')"));
    let (items, _) = export(&Secrets::new(&open(&moto, HOME).await)).await;
    let away = SecretsRestore::new(&open(&moto, AWAY).await);
    let (plan, report) = import(&away, &items, &plain()).await;
    assert_eq!((plan.count(ImportAction::Impossible), report.problems.len()), (1, 1), "{plan}");
    assert!(plan.entries[0].why.contains("us-east-1"), "{plan}");
    let (_, report) = import(&away.kms_key("alias/away"), &items, &plain()).await;
    assert!(report.problems.is_empty(), "{report:?}");
    assert_eq!(boto(&moto, AWAY, "print(sm.describe_secret(SecretId='keyed')['KmsKeyId'])"), "alias/away");

    // An item that is none, or breaks off, or says another thing than its name.
    let checked = SecretsRestore::new(&open(&moto, AWAY).await);
    for text in ["{\"string\": \"planted\"}", "planted", ""] {
        let items = Items::new("secrets", "aws.secrets");
        items.add("x", "aws.secret json", text);
        let error = checked.check(&items).await.expect_err("it is none");
        assert!(error.kind() == ErrorKind::Corrupt && !format!("{error:?}").contains("planted"), "{error:?}");
    }
}
