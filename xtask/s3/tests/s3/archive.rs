use std::time::Duration;

use aws_sdk_s3::types::{GlacierJobParameters, RestoreRequest, StorageClass, Tier};
use backstay_test_s3::Bucket;

use crate::client::{B, answer, failed, get, put, server};

fn days(days: i32, tier: Tier) -> RestoreRequest {
    let tier = GlacierJobParameters::builder().tier(tier).build().unwrap();
    RestoreRequest::builder().days(days).glacier_job_parameters(tier).build()
}

#[tokio::test]
async fn an_archived_object_is_read_after_a_thaw() {
    let (s3, client) = server(Bucket::unversioned());
    put(&client, "k", "cold").await;
    let thaw = client.restore_object().bucket(B).key("k").restore_request(days(2, Tier::Bulk));
    assert_eq!(failed(thaw.clone().send().await), answer(403, "InvalidObjectState"));
    s3.move_to_class(B, "k", "DEEP_ARCHIVE");
    let read = client.get_object().bucket(B).key("k");
    assert_eq!(failed(read.clone().send().await), answer(403, "InvalidObjectState"));
    let copy = client.copy_object().bucket(B).key("to").copy_source(format!("{B}/k")).send().await;
    assert_eq!(failed(copy), answer(403, "InvalidObjectState"));
    let head = || async { client.head_object().bucket(B).key("k").send().await.unwrap() };
    assert_eq!((head().await.storage_class(), head().await.restore()), (Some(&StorageClass::DeepArchive), None));
    let too_fast = client.restore_object().bucket(B).key("k").restore_request(days(2, Tier::Expedited));
    assert_eq!(failed(too_fast.send().await), answer(400, "InvalidArgument"));
    thaw.clone().send().await.unwrap();
    assert_eq!(failed(thaw.clone().send().await), answer(409, "RestoreAlreadyInProgress"));
    assert_eq!(head().await.restore(), Some("ongoing-request=\"true\""));
    assert_eq!(failed(read.clone().send().await), answer(403, "InvalidObjectState"));
    s3.thawed(B, "k");
    assert!(head().await.restore().unwrap().starts_with("ongoing-request=\"false\", expiry-date="));
    assert_eq!(get(&client, "k").await, "cold");
    s3.advance(Duration::from_secs(2 * 86_400));
    assert_eq!(failed(read.send().await), answer(403, "InvalidObjectState"));
}

#[tokio::test]
async fn classes_are_those_that_there_are() {
    let (_s3, client) = server(Bucket::unversioned());
    let put = |class| client.put_object().bucket(B).key("k").storage_class(class);
    put(StorageClass::GlacierIr).send().await.unwrap();
    assert_eq!(get(&client, "k").await, "");
    put(StorageClass::Glacier).send().await.unwrap();
    let read = client.get_object().bucket(B).key("k").send().await;
    assert_eq!(failed(read), answer(403, "InvalidObjectState"));
    assert_eq!(failed(put(StorageClass::from("WARM")).send().await), answer(400, "InvalidStorageClass"));
}
