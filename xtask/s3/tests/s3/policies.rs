use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{
    CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier, ObjectLockMode, ObjectLockRetention,
    ObjectLockRetentionMode,
};
use backstay_test_s3::{Bucket, Server};

use crate::client::{B, answer, client, failed, put, server};

fn user(s3: &Server, policy: &str) -> Client {
    let keys = s3.user("some-user");
    s3.allow(&keys, policy);
    client(s3, &keys)
}

const WRITER: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::vault"},
    {"Effect": "Allow", "Action": ["s3:PutObject", "s3:PutObjectRetention"], "Resource": "arn:aws:s3:::vault/items/*"},
    {"Effect": "Deny", "Action": "s3:PutObject", "Resource": "*", "Condition": {
        "Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}}},
    {"Effect": "Deny", "Action": ["s3:PutObject", "s3:PutObjectRetention"], "Resource": "*", "Condition": {
        "NumericGreaterThan": {"s3:object-lock-remaining-retention-days": "31"}}}]}"#;

#[tokio::test]
async fn a_writer_can_add_and_list_and_nothing_else() {
    let (s3, admin) = server(Bucket::versioned().with_object_lock());
    put(&admin, "items/old", "x").await;
    let writer = user(&s3, WRITER);
    let write = |key: &str| writer.put_object().bucket(B).key(key);
    write("items/new").if_none_match("*").send().await.unwrap();
    let denied = answer(403, "AccessDenied");
    assert_eq!(failed(write("items/new").if_none_match("*").send().await), answer(412, "PreconditionFailed"));
    assert_eq!(failed(write("items/old").send().await), denied);
    assert_eq!(failed(write("points/new").if_none_match("*").send().await), denied);
    assert_eq!(failed(writer.get_object().bucket(B).key("items/old").send().await), denied);
    assert_eq!(failed(writer.head_object().bucket(B).key("items/old").send().await).0, 403);
    assert_eq!(failed(writer.delete_object().bucket(B).key("items/old").send().await), denied);
    assert_eq!(failed(writer.list_object_versions().bucket(B).send().await), denied);
    let listed = writer.list_objects_v2().bucket(B).send().await.unwrap();
    assert_eq!(listed.contents().len(), 2);
}

#[tokio::test]
async fn parts_need_no_condition_and_their_whole_does() {
    let (s3, _admin) = server(Bucket::versioned());
    let writer = user(&s3, WRITER);
    let upload = writer.create_multipart_upload().bucket(B).key("items/k").send().await.unwrap();
    let id = upload.upload_id().unwrap();
    let part = writer.upload_part().bucket(B).key("items/k").upload_id(id).part_number(1).send().await.unwrap();
    let part = CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).build();
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    let complete = writer.complete_multipart_upload().bucket(B).key("items/k").upload_id(id).multipart_upload(parts);
    assert_eq!(failed(complete.clone().send().await), answer(403, "AccessDenied"));
    complete.if_none_match("*").send().await.unwrap();
}

#[tokio::test]
async fn locks_are_capped() {
    let (s3, _admin) = server(Bucket::versioned().with_object_lock());
    let writer = user(&s3, WRITER);
    let until = |days: i64| DateTime::from_secs(s3.now().as_second() + days * 86_400);
    for (key, days, allowed) in [("items/a", 31, true), ("items/b", 32, false)] {
        let put = writer.put_object().bucket(B).key(key).if_none_match("*");
        let put = put.object_lock_mode(ObjectLockMode::Compliance);
        assert_eq!(put.object_lock_retain_until_date(until(days)).send().await.is_ok(), allowed, "{days}");
        // The same in the body of a call of its own.
        let longer = ObjectLockRetention::builder().mode(ObjectLockRetentionMode::Compliance);
        let longer = longer.retain_until_date(until(days)).build();
        let extend = writer.put_object_retention().bucket(B).key("items/a").retention(longer);
        assert_eq!(extend.send().await.is_ok(), allowed, "{days}");
    }
}

#[tokio::test]
async fn each_key_of_a_delete_needs_its_right() {
    let (s3, admin) = server(Bucket::versioned());
    let ids = [put(&admin, "a/1", "x").await, put(&admin, "b/1", "x").await];
    let pruner = user(
        &s3,
        r#"{"Version": "2012-10-17", "Statement": {
            "Effect": "Allow", "Action": "s3:DeleteObjectVersion", "Resource": "arn:aws:s3:::vault/a/*"}}"#,
    );
    let named = |key: &str, id: &str| ObjectIdentifier::builder().key(key).version_id(id).build().unwrap();
    let both = Delete::builder().objects(named("a/1", &ids[0])).objects(named("b/1", &ids[1])).build().unwrap();
    let done = pruner.delete_objects().bucket(B).delete(both).send().await.unwrap();
    assert_eq!(done.deleted()[0].key(), Some("a/1"));
    assert_eq!((done.errors()[0].key(), done.errors()[0].code()), (Some("b/1"), Some("AccessDenied")));
    assert_eq!(s3.keys_in(B), ["b/1"]);
}

#[tokio::test]
async fn a_copy_needs_to_read_its_source() {
    let (s3, admin) = server(Bucket::unversioned());
    put(&admin, "secret/k", "x").await;
    put(&admin, "open/k", "x").await;
    let user = user(
        &s3,
        r#"{"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"},
            {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::vault/open/*"}]}"#,
    );
    let copy = |from: &str| user.copy_object().bucket(B).key("to").copy_source(format!("{B}/{from}"));
    copy("open/k").send().await.unwrap();
    assert_eq!(failed(copy("secret/k").send().await), answer(403, "AccessDenied"));
    // Who may not list is not told what there is not.
    let absent = user.get_object().bucket(B).key("open/absent").send().await;
    assert_eq!(failed(absent), answer(403, "AccessDenied"));
}

#[tokio::test]
async fn listings_are_allowed_by_prefix() {
    let (s3, _admin) = server(Bucket::unversioned());
    let user = user(
        &s3,
        r#"{"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::vault",
             "Condition": {"StringLike": {"s3:prefix": ["a/*"]}}}]}"#,
    );
    user.list_objects_v2().bucket(B).prefix("a/b").send().await.unwrap();
    for prefix in [None, Some("b/".to_owned())] {
        let list = user.list_objects_v2().bucket(B).set_prefix(prefix).send().await;
        assert_eq!(failed(list), answer(403, "AccessDenied"));
    }
}
