//! What is asked for with an object goes with it, whichever way it comes: in one piece, in parts, by a copy of the server.
//! Looked at by boto3.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use backstay::Sha256;
use backstay::aws::Encryption;
use backstay::store::{Lock, ObjectStore as _, ObjectStoreExt as _, PutOptions};
use backstay_test_s3::{Bucket, Server};
use bytes::Bytes;
use serde_json::{Value, json};
use support::large;
use support::own_s3::{builder, open};
use support::s3::boto_by;

const BUCKET: &str = "acme";

fn key(name: &str) -> backstay::store::Key {
    name.parse().expect("a key")
}

/// What boto3 is told of an object.
fn told(server: &Server, name: &str) -> Value {
    let script = format!(
        "it = s3.head_object(Bucket='{BUCKET}', Key='{name}')\n\
         tags = s3.get_object_tagging(Bucket='{BUCKET}', Key='{name}')['TagSet']\n\
         wanted = ['StorageClass', 'ServerSideEncryption', 'SSEKMSKeyId', 'BucketKeyEnabled', 'ObjectLockMode',\n\
         \x20         'ObjectLockLegalHoldStatus']\n\
         until = it.get('ObjectLockRetainUntilDate')\n\
         print(json.dumps([it.get(name) for name in wanted] + [until and int(until.timestamp()), tags]))"
    );
    serde_json::from_str(&boto_by(server.env(), &script)).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn class_encryption_lock_hold_and_tags_go_with_a_put_an_upload_and_a_copy() {
    let server = Server::start();
    server.create_bucket(BUCKET, Bucket::versioned().with_object_lock());
    server.create_bucket("origin", Bucket::versioned());
    let store = builder(&server, BUCKET, server.keys()).classes(["STANDARD_IA"]);
    let store = store.encryption(Encryption::kms("alias/vault").bucket_key()).build().await.expect("it opens");
    let (origin, large) = (open(&server, "origin").await, Bytes::from(large()));
    origin.put_new(&key("a"), large.clone()).await.expect("put");

    let until = server.now() + Duration::from_secs(3600);
    let mut lock = Lock::until(until);
    (lock.hold, lock.bypassable) = (true, true);
    let mut options = PutOptions::default().with_lock(lock);
    options.class = Some("STANDARD_IA".to_owned());
    options.tags = BTreeMap::from([("team".to_owned(), "platform & more".to_owned())]);
    options.sha256 = Some(Sha256::of(&large));
    store.put(&key("put"), large.clone(), &options).await.expect("put");
    let mut upload = store.upload(&key("upload"), &options).await.expect("begun");
    upload.part(large.slice(..5 << 20)).await.expect("sent");
    upload.part(large.slice(5 << 20..)).await.expect("sent");
    upload.complete().await.expect("complete");
    let from = origin.locate(&key("a")).expect("a place");
    store.copy_in(&from, &key("copy"), &options).await.expect("copied").expect("by the server");

    let expected = json!([
        "STANDARD_IA",
        "aws:kms",
        "alias/vault",
        true,
        "GOVERNANCE",
        "ON",
        until.as_second(),
        [{ "Key": "team", "Value": "platform & more" }],
    ]);
    for way in ["put", "upload", "copy"] {
        assert_eq!(told(&server, way), expected, "{way}");
    }
}
