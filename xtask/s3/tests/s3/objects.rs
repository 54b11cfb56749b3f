use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, MetadataDirective, ObjectIdentifier, ServerSideEncryption, StorageClass};
use backstay_test_s3::{Bucket, Op, Server};

use crate::client::{B, answer, bytes, client, failed, get, put, server};

#[tokio::test]
async fn an_object_comes_back_with_all_that_was_said_of_it() {
    let (s3, client) = server(Bucket::unversioned());
    let stored = client
        .put_object()
        .bucket(B)
        .key("a/é b+c")
        .body(ByteStream::from_static(b"hello"))
        .content_type("text/plain")
        .metadata("made-by", "me")
        .storage_class(StorageClass::StandardIa)
        .server_side_encryption(ServerSideEncryption::AwsKms)
        .ssekms_key_id("key-1")
        .tagging("a=b&c=d%20e")
        .send()
        .await
        .unwrap();
    assert_eq!(stored.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    assert_eq!((stored.version_id(), stored.ssekms_key_id()), (None, Some("key-1")));
    let head = client.head_object().bucket(B).key("a/é b+c").send().await.unwrap();
    assert_eq!(head.content_length(), Some(5));
    assert_eq!(head.content_type(), Some("text/plain"));
    assert_eq!(head.metadata().unwrap()["made-by"], "me");
    assert_eq!(head.storage_class(), Some(&StorageClass::StandardIa));
    assert_eq!(head.server_side_encryption(), Some(&ServerSideEncryption::AwsKms));
    assert_eq!(head.last_modified().unwrap().secs(), s3.now().as_second());
    let tags = client.get_object_tagging().bucket(B).key("a/é b+c").send().await.unwrap();
    assert_eq!(tags.tag_set()[1].value(), "d e");
    assert_eq!(s3.bytes_of(B, "a/é b+c").unwrap(), b"hello");
    assert_eq!((s3.calls(Op::PutObject), s3.calls(Op::HeadObject), s3.all_calls()), (1, 1, 3));
}

#[tokio::test]
async fn ranges_are_what_http_says() {
    let (_s3, client) = server(Bucket::unversioned());
    put(&client, "k", "0123456789").await;
    put(&client, "empty", "").await;
    for (range, expected, told) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=8-99", "89", "bytes 8-9/10"),
    ] {
        let got = client.get_object().bucket(B).key("k").range(range).send().await.unwrap();
        assert_eq!(got.content_range(), Some(told), "{range}");
        assert_eq!(bytes(got).await, expected, "{range}");
    }
    for (key, range) in [("k", "bytes=10-"), ("empty", "bytes=0-0")] {
        let refused = client.get_object().bucket(B).key(key).range(range).send().await;
        assert_eq!(failed(refused), answer(416, "InvalidRange"));
    }
    assert_eq!(get(&client, "empty").await, "");
}

#[tokio::test]
async fn versions_and_markers() {
    let (s3, client) = server(Bucket::versioned());
    let first = put(&client, "k", "one").await;
    let second = put(&client, "k", "two").await;
    assert_ne!(first, second);
    let marker = client.delete_object().bucket(B).key("k").send().await.unwrap();
    assert_eq!(marker.delete_marker(), Some(true));
    let gone = client.get_object().bucket(B).key("k").send().await;
    assert_eq!(failed(gone), answer(404, "NoSuchKey"));
    assert!(s3.keys_in(B).is_empty());
    let marker = marker.version_id().unwrap();
    let read_marker = client.get_object().bucket(B).key("k").version_id(marker).send().await;
    assert_eq!(failed(read_marker), answer(405, "MethodNotAllowed"));
    let old = client.get_object().bucket(B).key("k").version_id(&first).send().await.unwrap();
    assert_eq!(bytes(old).await, "one");
    let undone = client.delete_object().bucket(B).key("k").version_id(marker).send().await.unwrap();
    assert_eq!(undone.delete_marker(), Some(true));
    assert_eq!(get(&client, "k").await, "two");
    client.delete_object().bucket(B).key("k").version_id(&second).send().await.unwrap();
    assert_eq!(get(&client, "k").await, "one");
    let unknown = client.get_object().bucket(B).key("k").version_id(&second).send().await;
    assert_eq!(failed(unknown), answer(404, "NoSuchVersion"));
}

#[tokio::test]
async fn many_are_deleted_at_once_and_absent_is_success() {
    let (s3, client) = server(Bucket::unversioned());
    for key in ["a", "b", "c"] {
        put(&client, key, "x").await;
    }
    let named = |key: &str| ObjectIdentifier::builder().key(key).build().unwrap();
    let all = Delete::builder().objects(named("a")).objects(named("b")).objects(named("absent")).build().unwrap();
    let done = client.delete_objects().bucket(B).delete(all).send().await.unwrap();
    assert_eq!((done.deleted().len(), done.errors().len()), (3, 0));
    assert_eq!(s3.keys_in(B), ["c"]);
}

#[tokio::test]
async fn copies_keep_or_replace_what_was_said() {
    let (_s3, client) = server(Bucket::versioned());
    let put = client.put_object().bucket(B).key("from").body(ByteStream::from_static(b"x")).metadata("a", "b");
    let version = put.send().await.unwrap().version_id.unwrap();
    let copy = client.copy_object().bucket(B).key("to").copy_source(format!("{B}/from?versionId={version}"));
    let copied = copy.send().await.unwrap();
    assert_eq!(copied.copy_source_version_id(), Some(version.as_str()));
    let head = client.head_object().bucket(B).key("to").send().await.unwrap();
    assert_eq!(head.metadata().unwrap()["a"], "b");
    let onto_itself = client.copy_object().bucket(B).key("from").copy_source(format!("{B}/from"));
    assert_eq!(failed(onto_itself.clone().send().await), answer(400, "InvalidRequest"));
    onto_itself.metadata_directive(MetadataDirective::Replace).metadata("c", "d").send().await.unwrap();
    let head = client.head_object().bucket(B).key("from").send().await.unwrap();
    assert_eq!(head.metadata().unwrap().len(), 1);
    assert_eq!(head.metadata().unwrap()["c"], "d");
}

#[tokio::test]
async fn reads_have_conditions() {
    let (_s3, client) = server(Bucket::unversioned());
    put(&client, "k", "x").await;
    let etag = client.head_object().bucket(B).key("k").send().await.unwrap().e_tag.unwrap();
    client.get_object().bucket(B).key("k").if_match(&etag).send().await.unwrap();
    let other = client.get_object().bucket(B).key("k").if_match("\"other\"").send().await;
    assert_eq!(failed(other), answer(412, "PreconditionFailed"));
    let same = client.get_object().bucket(B).key("k").if_none_match(&etag).send().await;
    assert_eq!(failed(same).0, 304);
}

#[tokio::test]
async fn headers_may_be_dropped_in_silence() {
    let (_s3, client) = server(Bucket::unversioned().drops_class().drops_encryption());
    let put = client.put_object().bucket(B).key("k").storage_class(StorageClass::Glacier);
    put.server_side_encryption(ServerSideEncryption::AwsKms).send().await.unwrap();
    let head = client.head_object().bucket(B).key("k").send().await.unwrap();
    assert_eq!((head.storage_class(), head.server_side_encryption()), (None, None));
}

#[tokio::test]
async fn who_is_wrong_is_told_so() {
    let s3 = Server::start();
    let admin = client(&s3, s3.keys());
    assert_eq!(failed(admin.get_object().bucket(B).key("k").send().await), answer(404, "NoSuchBucket"));
    s3.create_bucket(B, Bucket::unversioned().owned_by("999988887777").in_region("eu-central-1"));
    let wrong_region = admin.get_object().bucket(B).key("k").send().await.unwrap_err();
    let headers = wrong_region.raw_response().unwrap().headers();
    assert_eq!(headers.get("x-amz-bucket-region"), Some("eu-central-1"));
    assert_eq!(failed(Err::<(), _>(wrong_region)), answer(400, "AuthorizationHeaderMalformed"));
    s3.create_bucket(B, Bucket::unversioned().owned_by("999988887777"));
    let put = || admin.put_object().bucket(B).key("k");
    put().expected_bucket_owner("999988887777").send().await.unwrap();
    let wrong_owner = put().expected_bucket_owner("111122223333").send().await;
    assert_eq!(failed(wrong_owner), answer(403, "AccessDenied"));
    let mut keys = s3.keys().clone();
    keys.secret_key.push('x');
    let wrong_secret = client(&s3, &keys).list_buckets().send().await;
    assert_eq!(failed(wrong_secret), answer(403, "SignatureDoesNotMatch"));
    keys.access_key.push('x');
    let unknown = client(&s3, &keys).list_buckets().send().await;
    assert_eq!(failed(unknown), answer(403, "InvalidAccessKeyId"));
    let long = "k".repeat(1025);
    assert_eq!(failed(admin.put_object().bucket(B).key(long).send().await), answer(400, "KeyTooLongError"));
}
