//! What the doctor sees of a bucket, and what the set-up makes right.

mod support;

use backstay::ErrorKind;
use backstay::aws::{Encryption, RolePolicy, S3Store, SetupStep};
use backstay::doctor::Health;
use backstay::store::{ListOptions, ObjectStore as _, Prefix};
use backstay::vault::Role;
use backstay_test_s3::{Bucket, Fault, Op, Server};
use backstay_test_servers::moto::Moto;
use backstay_test_servers::s3::Versitygw;
use futures_util::TryStreamExt as _;
use support::own_s3;
use support::s3::{Kind, boto, boto_by, builder, make};

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_bucket_is_made_right_by_a_plan() {
    let server = Server::start();
    server.create_bucket("acme", Bucket::unversioned());
    let store = own_s3::open(&server, "acme").await;
    let report = store.doctor().await.expect("it can be asked");
    // As on AWS a new bucket is encrypted, and closed to the public.
    for subject in ["encryption", "public access"] {
        assert_eq!(report.of(subject).map(|found| found.health), Some(Health::Fine), "{report}");
    }
    for subject in ["versions", "object lock", "lifecycle", "policy"] {
        let found = report.of(subject).unwrap_or_else(|| panic!("{subject} is not told: {report}"));
        assert!(found.health == Health::Missing && found.fix.is_some(), "{report}");
    }

    let plan = store.setup().await.expect("a plan");
    assert_eq!(plan.steps, [SetupStep::KeepVersions, SetupStep::AllowLocks], "{plan}");
    assert_eq!(store.doctor().await.expect("it can be asked"), report, "a plan has changed something");
    let after = plan.without(SetupStep::AllowLocks).apply().await.expect("it is the administrator's");
    assert_eq!(after.of("versions").map(|found| found.health), Some(Health::Fine), "{after}");
    assert_eq!(after.of("object lock").map(|found| found.health), Some(Health::Missing), "{after}");
    let rest = store.setup().await.expect("a plan");
    assert_eq!(rest.steps, [SetupStep::AllowLocks]);
    rest.apply().await.expect("it is the administrator's");
    assert!(store.setup().await.expect("a plan").steps.is_empty(), "done twice it does something");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_deletes_what_is_in_use_is_a_risk() {
    let server = Moto::start();
    make(&server, &[("acme", Kind::Versioned)]);
    let rule = |prefix: &str, action: &str| {
        format!(
            "s3.put_bucket_lifecycle_configuration(Bucket='acme', LifecycleConfiguration={{'Rules': [\
             {{'ID': 'r', 'Status': 'Enabled', 'Filter': {{'Prefix': '{prefix}'}}, {action},\
             'AbortIncompleteMultipartUpload': {{'DaysAfterInitiation': 8}}}}]}})"
        )
    };
    let store = builder(&server, "acme").build().await.expect("the bucket is there");
    boto(&server, &rule("", "'Expiration': {'Days': 30}"));
    let report = store.doctor().await.expect("it can be asked");
    assert!(report.of("lifecycle").is_some_and(|found| found.health == Health::Risky), "{report}");
    boto(&server, &rule("items/", "'NoncurrentVersionExpiration': {'NoncurrentDays': 30}"));
    let report = store.doctor().await.expect("it can be asked");
    assert!(report.of("lifecycle").is_some_and(|found| found.health == Health::Fine), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_ends_earlier_contents_within_days_is_a_risk() {
    let server = Moto::start();
    make(&server, &[("acme", Kind::Versioned)]);
    let store = builder(&server, "acme").build().await.expect("the bucket is there");
    for (days, expected) in [(1, Health::Risky), (6, Health::Risky), (7, Health::Fine), (30, Health::Fine)] {
        let rules = format!(
            "{{'Rules': [{{'ID': 'r', 'Status': 'Enabled', 'Filter': {{'Prefix': ''}}, 'NoncurrentVersionExpiration': \
             {{'NoncurrentDays': {days}}}, 'AbortIncompleteMultipartUpload': {{'DaysAfterInitiation': 8}}}}]}}"
        );
        boto(&server, &format!("s3.put_bucket_lifecycle_configuration(Bucket='acme', LifecycleConfiguration={rules})"));
        let report = store.doctor().await.expect("it can be asked");
        assert!(report.of("lifecycle").is_some_and(|found| found.health == expected), "{days}: {report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_archives_what_opens_a_vault_is_critical() {
    let server = Moto::start();
    make(&server, &[("acme", Kind::Versioned)]);
    let store = builder(&server, "acme").build().await.expect("the bucket is there");
    for (prefix, class, expected) in [
        ("'Filter': {'Prefix': ''}", "GLACIER", Health::Critical),
        ("'Filter': {'Prefix': 'prod/'}", "DEEP_ARCHIVE", Health::Critical),
        ("'Prefix': 'points/'", "GLACIER", Health::Critical),
        ("'Filter': {'Prefix': ''}", "STANDARD_IA", Health::Fine),
        ("'Filter': {'Prefix': 'items/prod/'}", "GLACIER", Health::Fine),
        ("'Prefix': 'eu/items/prod/'", "GLACIER", Health::Fine),
    ] {
        let rules = format!(
            "{{'Rules': [{{'ID': 'r', 'Status': 'Enabled', {prefix}, 'Transitions': [{{'Days': 90, 'StorageClass': \
             '{class}'}}], 'AbortIncompleteMultipartUpload': {{'DaysAfterInitiation': 8}}}}]}}"
        );
        boto(&server, &format!("s3.put_bucket_lifecycle_configuration(Bucket='acme', LifecycleConfiguration={rules})"));
        let report = store.doctor().await.expect("it can be asked");
        assert!(report.of("lifecycle").is_some_and(|found| found.health == expected), "{prefix} {class}: {report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_protects_in_part_is_not_called_fine() {
    let server = Moto::start();
    make(&server, &[("acme", Kind::Versioned), ("copy", Kind::Versioned)]);
    let store = builder(&server, "acme").build().await.expect("the bucket is there");
    let health = async |subject: &str| {
        let report = store.doctor().await.expect("it can be asked");
        report.of(subject).map(|found| found.health)
    };
    assert_eq!(health("public access").await, Some(Health::Missing));
    let block = "print(list(s3.get_public_access_block(Bucket='acme')['PublicAccessBlockConfiguration'].values()))";
    boto(
        &server,
        "s3.put_public_access_block(Bucket='acme', PublicAccessBlockConfiguration={'BlockPublicAcls': True, \
         'IgnorePublicAcls': True, 'BlockPublicPolicy': True, 'RestrictPublicBuckets': False})",
    );
    assert_eq!(health("public access").await, Some(Health::Risky));
    let plan = store.setup().await.expect("a plan");
    assert!(plan.steps.contains(&SetupStep::BlockPublicAccess), "{plan}");
    plan.without(SetupStep::AllowLocks).apply().await.expect("it is the administrator's");
    assert_eq!(boto(&server, block), "[True, True, True, True]");

    let rule = |status: &str, end: &str| {
        let rule = format!("{{'ID': 'r', 'Status': '{status}', 'Filter': {{'Prefix': ''}}, 'Expiration': {end}}}");
        format!("s3.put_bucket_lifecycle_configuration(Bucket='acme', LifecycleConfiguration={{'Rules': [{rule}]}})")
    };
    for (status, end, expected) in [
        ("Enabled", "{'Date': '2030-01-01T00:00:00Z'}", Health::Risky),
        ("Disabled", "{'Days': 30}", Health::Missing),
        ("Enabled", "{'ExpiredObjectDeleteMarker': True}", Health::Missing),
    ] {
        boto(&server, &rule(status, end));
        assert_eq!(health("lifecycle").await, Some(expected), "{status} {end}");
    }
    for (role, expected) in [(Role::Restorer, Health::Missing), (Role::Writer, Health::Fine)] {
        let policy = RolePolicy::new(role, "acme").bucket("arn:aws:iam::123456789012:role/vault");
        boto(&server, &format!("s3.put_bucket_policy(Bucket='acme', Policy='{policy}')"));
        assert_eq!(health("policy").await, Some(expected), "{role}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replication_by_which_deletions_travel_is_a_risk() {
    let server = Server::start();
    server.create_bucket("acme", Bucket::versioned());
    server.create_bucket("copy", Bucket::versioned());
    let store = own_s3::open(&server, "acme").await;
    for (status, markers, expected) in [
        ("Enabled", "Enabled", Health::Risky),
        ("Enabled", "Disabled", Health::Fine),
        ("Disabled", "Enabled", Health::Fine),
    ] {
        let rule = format!(
            "{{'ID': 'r', 'Status': '{status}', 'Priority': 1, 'Filter': {{'Prefix': ''}}, 'Destination': {{'Bucket': \
             'arn:aws:s3:::copy'}}, 'DeleteMarkerReplication': {{'Status': '{markers}'}}}}"
        );
        let role = "arn:aws:iam::123456789012:role/copies";
        boto_by(
            server.env(),
            &format!(
                "s3.put_bucket_replication(Bucket='acme', ReplicationConfiguration={{'Role': '{role}', 'Rules': [{rule}]}})"
            ),
        );
        let report = store.doctor().await.expect("it can be asked");
        assert_eq!(report.of("replication").map(|found| found.health), Some(expected), "{report}");
    }
}

/// moto goes on using a key that is disabled; its state it tells as AWS does.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_disabled_or_goes_is_critical() {
    let server = Moto::start();
    make(&server, &[("acme", Kind::Versioned)]);
    let kms = "kms = boto3.client('kms')\n";
    let key = boto(&server, &format!("{kms}print(kms.create_key()['KeyMetadata']['KeyId'])"));
    let store = builder(&server, "acme").encryption(Encryption::kms(&key)).build().await.expect("the bucket is there");
    let health = |report: &backstay::doctor::DoctorReport| report.of("key").map(|found| found.health);
    let report = store.doctor().await.expect("it can be asked");
    assert_eq!(health(&report), Some(Health::Fine), "{report}");
    for (call, words) in
        [("disable_key(", "Disabled"), ("schedule_key_deletion(PendingWindowInDays=7, ", "being deleted")]
    {
        boto(&server, &format!("{kms}kms.{call}KeyId='{key}')"));
        let report = store.doctor().await.expect("it can be asked");
        assert!(health(&report) == Some(Health::Critical) && report.to_string().contains(words), "{report}");
    }
    let gone = Encryption::kms("11111111-2222-3333-4444-555555555555");
    let store = builder(&server, "acme").encryption(gone).build().await.expect("the bucket is there");
    let report = store.doctor().await.expect("it can be asked");
    assert_eq!(health(&report), Some(Health::Critical), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_or_an_encryption_that_is_dropped_in_silence_is_a_risk() {
    let server = Server::start();
    server.create_bucket("honest", Bucket::versioned());
    server.create_bucket("drops", Bucket::versioned().drops_class().drops_encryption());
    let asks = |bucket: &str| {
        let builder = own_s3::builder(&server, bucket, server.keys()).classes(["STANDARD_IA"]);
        builder.storage_class("STANDARD_IA").encryption(Encryption::s3()).build()
    };
    let report = asks("honest").await.expect("it opens").doctor().await.expect("it can be asked");
    assert_eq!(report.of("what is asked for").map(|found| found.health), Some(Health::Fine), "{report}");
    let report = asks("drops").await.expect("it opens").doctor().await.expect("it can be asked");
    let found = report.of("what is asked for").expect("it is told");
    assert!(found.health == Health::Risky && found.found.contains("class and the encryption"), "{report}");
    assert!(server.keys_in("drops").is_empty(), "the probe is left");
    assert_eq!(
        versions(&own_s3::open(&server, "honest").await).await,
        0,
        "a version of the probe is left, or its marker"
    );

    // Neither does versitygw keep a class.
    let gateway = Versitygw::start();
    make(&gateway, &[("acme", Kind::Plain)]);
    let store = builder(&gateway, "acme").classes(["STANDARD_IA"]).storage_class("STANDARD_IA").build().await;
    let report = store.expect("it opens").doctor().await.expect("it can be asked");
    assert!(report.of("what is asked for").is_some_and(|found| found.health == Health::Risky), "{report}");
    // It has no default encryption of buckets either: that is told as unknown, not as fine.
    assert!(report.of("encryption").is_some_and(|found| found.health == Health::Unknown), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_may_not_look_is_told_the_right_that_it_takes() {
    let server = Server::start();
    server.create_bucket("acme", Bucket::versioned());
    let keys = server.user("writer");
    server.allow(&keys, &RolePolicy::new(Role::Writer, "acme").identity().to_string());
    let store: S3Store = own_s3::builder(&server, "acme", &keys).build().await.expect("versions it may see");
    let report = store.doctor().await.expect("it can be asked");
    for (subject, right) in [("encryption", "s3:GetEncryptionConfiguration"), ("policy", "s3:GetBucketPolicy")] {
        let found = report.of(subject).expect("it is told");
        assert!(
            found.health == Health::Unknown && found.fix.as_deref().is_some_and(|fix| fix.contains(right)),
            "{report}"
        );
    }
    // Whose credential has expired does not lack a right.
    server.fault(Fault::expired_token());
    let error = store.doctor().await.expect_err("nothing can be seen");
    assert!(error.kind() == ErrorKind::Denied && error.to_string().contains("expired"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encryption_that_is_refused_is_critical_and_no_error() {
    let server = Server::start();
    server.create_bucket("acme", Bucket::versioned());
    let store = own_s3::builder(&server, "acme", server.keys()).encryption(Encryption::s3());
    let store = store.build().await.expect("it opens");
    for code in ["KMS.DisabledException", "KMS.KMSInvalidStateException"] {
        server.fault(Fault::error(400, code).on([Op::PutObject]));
        let report = store.doctor().await.expect("it can be asked");
        server.heal();
        let found = report.of("what is asked for").unwrap_or_else(|| panic!("it is not told: {report}"));
        assert!(found.health == Health::Critical && found.found.contains("enabled"), "{code}: {report}");
    }
    server.fault(Fault::status(403).on([Op::HeadObject]));
    let report = store.doctor().await.expect("it can be asked");
    assert_eq!(report.of("what is asked for").map(|found| found.health), Some(Health::Unknown), "{report}");
    server.heal();
    assert_eq!(versions(&store).await, 0, "a version of the probe is left");
    // One that cannot be taken away is told.
    server.fault(Fault::status(403).on([Op::DeleteObjects]));
    let report = store.doctor().await.expect("it can be asked");
    assert!(report.of("probe").is_some_and(|found| found.found.contains("doctor-probe-")), "{report}");
}

/// How many versions and markers lie in all of a bucket.
async fn versions(store: &S3Store) -> usize {
    let listed = store.list(&Prefix::all(), &ListOptions::versions()).try_collect::<Vec<_>>().await;
    listed.expect("a listing").len()
}
