use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::RequestChecksumCalculation;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    CompletedMultipartUpload, CompletedPart, ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockMode,
    ObjectLockRetention, ObjectLockRetentionMode,
};
use backstay_test_s3::{Bucket, Server};

use crate::client::{B, answer, config, failed, put, server};

const DAY: i64 = 86_400;

fn in_days(s3: &Server, days: i64) -> DateTime {
    DateTime::from_secs(s3.now().as_second() + days * DAY)
}

async fn locked(client: &Client, mode: ObjectLockMode, until: DateTime) -> String {
    let put = client.put_object().bucket(B).key("k").body(ByteStream::from_static(b"x"));
    let put = put.object_lock_mode(mode);
    put.object_lock_retain_until_date(until).send().await.unwrap().version_id.unwrap()
}

fn retention(mode: ObjectLockRetentionMode, until: DateTime) -> ObjectLockRetention {
    ObjectLockRetention::builder().mode(mode).retain_until_date(until).build()
}

#[tokio::test]
async fn compliance_ends_with_time_alone() {
    let (s3, client) = server(Bucket::versioned().with_object_lock());
    let id = locked(&client, ObjectLockMode::Compliance, in_days(&s3, 2)).await;
    let delete = client.delete_object().bucket(B).key("k").version_id(&id);
    assert_eq!(failed(delete.clone().send().await), answer(403, "AccessDenied"));
    assert_eq!(failed(delete.clone().bypass_governance_retention(true).send().await), answer(403, "AccessDenied"));
    let change = client.put_object_retention().bucket(B).key("k").version_id(&id).bypass_governance_retention(true);
    for (mode, days, allowed) in [
        (ObjectLockRetentionMode::Compliance, 1, false),
        (ObjectLockRetentionMode::Governance, 3, false),
        (ObjectLockRetentionMode::Compliance, 3, true),
    ] {
        let done = change.clone().retention(retention(mode, in_days(&s3, days))).send().await;
        assert_eq!(done.is_ok(), allowed, "{days}");
    }
    // A marker is no deletion.
    client.delete_object().bucket(B).key("k").send().await.unwrap();
    s3.advance(Duration::from_secs(3 * 86_400 + 1));
    delete.send().await.unwrap();
}

#[tokio::test]
async fn governance_yields_to_who_may_bypass_it() {
    let (s3, client) = server(Bucket::versioned().with_object_lock());
    let id = locked(&client, ObjectLockMode::Governance, in_days(&s3, 2)).await;
    let change = client.put_object_retention().bucket(B).key("k").version_id(&id);
    let shorter = change.retention(retention(ObjectLockRetentionMode::Governance, in_days(&s3, 1)));
    assert_eq!(failed(shorter.clone().send().await), answer(403, "AccessDenied"));
    shorter.bypass_governance_retention(true).send().await.unwrap();
    let got = client.get_object_retention().bucket(B).key("k").version_id(&id).send().await.unwrap();
    assert_eq!(got.retention().unwrap().retain_until_date(), Some(&in_days(&s3, 1)));
    let delete = client.delete_object().bucket(B).key("k").version_id(&id);
    assert_eq!(failed(delete.clone().send().await), answer(403, "AccessDenied"));
    delete.bypass_governance_retention(true).send().await.unwrap();
}

#[tokio::test]
async fn a_hold_keeps_until_it_is_released() {
    let (_s3, client) = server(Bucket::versioned().with_object_lock());
    let id = put(&client, "k", "x").await;
    let none = client.get_object_legal_hold().bucket(B).key("k").send().await;
    assert_eq!(failed(none), answer(404, "NoSuchObjectLockConfiguration"));
    for (status, deleted) in [(ObjectLockLegalHoldStatus::On, false), (ObjectLockLegalHoldStatus::Off, true)] {
        let hold = ObjectLockLegalHold::builder().status(status).build();
        client.put_object_legal_hold().bucket(B).key("k").version_id(&id).legal_hold(hold).send().await.unwrap();
        let delete = client.delete_object().bucket(B).key("k").version_id(&id);
        let delete = delete.bypass_governance_retention(true).send().await;
        assert_eq!(delete.is_ok(), deleted);
    }
}

#[tokio::test]
async fn an_upload_keeps_the_lock_that_it_began_with() {
    let (s3, client) = server(Bucket::versioned().with_object_lock());
    let upload = client.create_multipart_upload().bucket(B).key("k").object_lock_mode(ObjectLockMode::Compliance);
    let upload = upload.object_lock_retain_until_date(in_days(&s3, 2)).send().await.unwrap();
    let id = upload.upload_id().unwrap();
    let part = client.upload_part().bucket(B).key("k").upload_id(id).part_number(1).send().await.unwrap();
    let part = CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).build();
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    let complete = client.complete_multipart_upload().bucket(B).key("k").upload_id(id).multipart_upload(parts);
    let version = complete.send().await.unwrap().version_id.unwrap();
    let head = client.head_object().bucket(B).key("k").send().await.unwrap();
    assert_eq!(head.object_lock_mode(), Some(&ObjectLockMode::Compliance));
    let delete = client.delete_object().bucket(B).key("k").version_id(version).send().await;
    assert_eq!(failed(delete), answer(403, "AccessDenied"));
}

#[tokio::test]
async fn a_lock_has_to_make_sense() {
    let (s3, client) = server(Bucket::versioned().with_object_lock());
    let sums = || client.put_object().bucket(B).key("k").object_lock_mode(ObjectLockMode::Compliance);
    let bare = config(&s3, s3.keys()).request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
    let bare = Client::from_conf(bare.build());
    let put = || bare.put_object().bucket(B).key("k").object_lock_mode(ObjectLockMode::Compliance);
    for (put, code) in [
        (put().object_lock_retain_until_date(in_days(&s3, 1)), "InvalidRequest"),
        (sums().object_lock_retain_until_date(in_days(&s3, -1)), "InvalidArgument"),
        (sums(), "InvalidArgument"),
    ] {
        assert_eq!(failed(put.send().await), answer(400, code));
    }
    s3.create_bucket(B, Bucket::versioned());
    let unlockable = sums().object_lock_retain_until_date(in_days(&s3, 1)).send().await;
    assert_eq!(failed(unlockable), answer(400, "InvalidRequest"));
}
