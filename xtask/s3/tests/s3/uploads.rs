use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart};
use backstay_test_s3::Bucket;

use crate::client::{B, answer, bytes, failed, get, put, server};

async fn begin(client: &Client, key: &str) -> String {
    let upload = client.create_multipart_upload().bucket(B).key(key).send().await.unwrap();
    upload.upload_id.unwrap()
}

async fn part(client: &Client, key: &str, id: &str, number: i32, data: &'static [u8]) -> CompletedPart {
    let part = client.upload_part().bucket(B).key(key).upload_id(id).part_number(number);
    let done = part.body(ByteStream::from_static(data)).send().await.unwrap();
    CompletedPart::builder().part_number(number).set_e_tag(done.e_tag).build()
}

fn all(parts: impl IntoIterator<Item = CompletedPart>) -> CompletedMultipartUpload {
    CompletedMultipartUpload::builder().set_parts(Some(parts.into_iter().collect())).build()
}

#[tokio::test]
async fn parts_become_one_object() {
    let (_s3, client) = server(Bucket::versioned().small_parts());
    let id = begin(&client, "k").await;
    let second = part(&client, "k", &id, 2, b"defg").await;
    let first = part(&client, "k", &id, 1, b"abc").await;
    let listed = client.list_parts().bucket(B).key("k").upload_id(&id).send().await.unwrap();
    assert_eq!(listed.parts().iter().filter_map(|part| part.size()).collect::<Vec<_>>(), [3, 4]);
    let complete = client.complete_multipart_upload().bucket(B).key("k").upload_id(&id);
    let complete = complete.multipart_upload(all([first, second]));
    let done = complete.clone().send().await.unwrap();
    assert!(done.e_tag().unwrap().ends_with("-2\""));
    assert_eq!(get(&client, "k").await, "abcdefg");
    let tail = client.get_object().bucket(B).key("k").range("bytes=2-4").send().await.unwrap();
    assert_eq!(bytes(tail).await, "cde");
    let one = client.get_object().bucket(B).key("k").part_number(2).send().await.unwrap();
    assert_eq!(one.parts_count(), Some(2));
    assert_eq!(bytes(one).await, "defg");
    assert_eq!(failed(complete.send().await).1, "NoSuchUpload");
}

#[tokio::test]
async fn a_wrong_end_of_an_upload_is_refused() {
    let (s3, client) = server(Bucket::unversioned());
    let id = begin(&client, "k").await;
    let (one, two) = (part(&client, "k", &id, 1, b"a").await, part(&client, "k", &id, 2, b"b").await);
    let complete = client.complete_multipart_upload().bucket(B).key("k").upload_id(&id);
    let other = CompletedPart::builder().part_number(1).e_tag("\"x\"").build();
    for (parts, code) in [
        (all([one.clone(), two.clone()]), "EntityTooSmall"),
        (all([two.clone(), one.clone()]), "InvalidPartOrder"),
        (all([other]), "InvalidPart"),
    ] {
        let refused = complete.clone().multipart_upload(parts).send().await;
        assert_eq!(failed(refused), answer(400, code));
    }
    let wrong_size = complete.clone().multipart_upload(all([one.clone()])).mpu_object_size(2).send().await;
    assert_eq!(failed(wrong_size), answer(400, "InvalidRequest"));
    let other_key = client.list_parts().bucket(B).key("other").upload_id(&id).send().await;
    assert_eq!(failed(other_key), answer(404, "NoSuchUpload"));
    client.abort_multipart_upload().bucket(B).key("k").upload_id(&id).send().await.unwrap();
    let late = client.upload_part().bucket(B).key("k").upload_id(&id).part_number(1).send().await;
    assert_eq!(failed(late), answer(404, "NoSuchUpload"));
    let again = client.abort_multipart_upload().bucket(B).key("k").upload_id(&id).send().await;
    assert_eq!(failed(again), answer(404, "NoSuchUpload"));
    assert!(s3.keys_in(B).is_empty());
}

#[tokio::test]
async fn unfinished_uploads_are_listed_in_pages() {
    let (s3, client) = server(Bucket::unversioned());
    for key in ["b", "a", "a", "x/c"] {
        begin(&client, key).await;
    }
    let (mut key, mut id, mut found) = (None, None, Vec::new());
    loop {
        let list = client.list_multipart_uploads().bucket(B).max_uploads(1).set_key_marker(key);
        let page = list.set_upload_id_marker(id).send().await.unwrap();
        found
            .extend(page.uploads().iter().map(|it| (it.key().unwrap().to_owned(), it.upload_id().unwrap().to_owned())));
        if page.is_truncated() != Some(true) {
            break;
        }
        (key, id) = (page.next_key_marker, page.next_upload_id_marker);
    }
    let mut expected = s3.uploads_in(B);
    expected.sort();
    assert_eq!(found, expected);
    let under = client.list_multipart_uploads().bucket(B).prefix("x/").send().await.unwrap();
    assert_eq!(under.uploads().len(), 1);
}

#[tokio::test]
async fn parts_are_copied_by_range() {
    let (_s3, client) = server(Bucket::unversioned().small_parts());
    put(&client, "from", "0123456789").await;
    let id = begin(&client, "to").await;
    let mut parts = Vec::new();
    for (number, range) in [(1, "bytes=5-9"), (2, "bytes=0-1")] {
        let copy = client.upload_part_copy().bucket(B).key("to").upload_id(&id).part_number(number);
        let done = copy.copy_source(format!("{B}/from")).copy_source_range(range).send().await.unwrap();
        let etag = done.copy_part_result.and_then(|result| result.e_tag);
        parts.push(CompletedPart::builder().part_number(number).set_e_tag(etag).build());
    }
    let beyond = client.upload_part_copy().bucket(B).key("to").upload_id(&id).part_number(3);
    let beyond = beyond.copy_source(format!("{B}/from")).copy_source_range("bytes=5-10").send().await;
    assert_eq!(failed(beyond), answer(400, "InvalidArgument"));
    let complete = client.complete_multipart_upload().bucket(B).key("to").upload_id(&id);
    complete.multipart_upload(all(parts)).send().await.unwrap();
    assert_eq!(get(&client, "to").await, "5678901");
}

/// The SDK computes what the server is held against.
#[tokio::test]
async fn the_whole_has_a_checksum_of_all_its_bytes() {
    let (_s3, client) = server(Bucket::unversioned().small_parts());
    let algorithm = ChecksumAlgorithm::Crc64Nvme;
    let put = |data: &'static [u8]| {
        let put = client.put_object().bucket(B).key("whole").body(ByteStream::from_static(data));
        put.checksum_algorithm(algorithm.clone()).send()
    };
    let right = put(b"abcdefg").await.unwrap().checksum_crc64_nvme.unwrap();
    let wrong = put(b"x").await.unwrap().checksum_crc64_nvme.unwrap();
    for (claim, kept) in [(&wrong, false), (&right, true)] {
        let upload = client.create_multipart_upload().bucket(B).key("k").checksum_algorithm(algorithm.clone());
        let upload = upload.checksum_type(ChecksumType::FullObject).send().await.unwrap();
        let id = upload.upload_id().unwrap();
        let mut parts = Vec::new();
        for (number, data) in [(1, &b"abc"[..]), (2, b"defg")] {
            let part = client.upload_part().bucket(B).key("k").upload_id(id).part_number(number);
            let part = part.checksum_algorithm(algorithm.clone()).body(ByteStream::from_static(data));
            let done = part.send().await.unwrap();
            let sum = done.checksum_crc64_nvme.clone().unwrap();
            let completed = CompletedPart::builder().part_number(number).set_e_tag(done.e_tag);
            parts.push(completed.checksum_crc64_nvme(sum).build());
        }
        let complete = client.complete_multipart_upload().bucket(B).key("k").upload_id(id).mpu_object_size(7);
        let complete = complete.checksum_type(ChecksumType::FullObject).checksum_crc64_nvme(claim);
        let done = complete.multipart_upload(all(parts)).send().await;
        match kept {
            false => assert_eq!(failed(done), answer(400, "BadDigest")),
            true => assert_eq!(done.unwrap().checksum_crc64_nvme(), Some(right.as_str())),
        }
    }
    let head = client.head_object().bucket(B).key("k").checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
    assert_eq!(head.checksum_crc64_nvme(), Some(right.as_str()));
    assert_eq!(head.checksum_type(), Some(&ChecksumType::FullObject));
}

#[tokio::test]
async fn a_composite_checksum_is_over_the_parts() {
    let (_s3, client) = server(Bucket::unversioned().small_parts());
    let upload = client.create_multipart_upload().bucket(B).key("k").checksum_algorithm(ChecksumAlgorithm::Sha256);
    let upload = upload.send().await.unwrap();
    let id = upload.upload_id().unwrap();
    let part = || client.upload_part().bucket(B).key("k").upload_id(id).part_number(1);
    let other = part().checksum_algorithm(ChecksumAlgorithm::Crc32).send().await;
    assert_eq!(failed(other), answer(400, "InvalidRequest"));
    let part = part().checksum_algorithm(ChecksumAlgorithm::Sha256).body(ByteStream::from_static(b"abc"));
    let part = part.send().await.unwrap();
    let bare = CompletedPart::builder().part_number(1).set_e_tag(part.e_tag.clone());
    let complete = client.complete_multipart_upload().bucket(B).key("k").upload_id(id);
    let missing = complete.clone().multipart_upload(all([bare.clone().build()])).send().await;
    assert_eq!(failed(missing), answer(400, "InvalidRequest"));
    let full = bare.set_checksum_sha256(part.checksum_sha256).build();
    let done = complete.multipart_upload(all([full])).send().await.unwrap();
    // SHA-256 of the SHA-256, by another implementation.
    assert_eq!(done.checksum_sha256(), Some("T4tCwi3TcptRm6b2jS2nzFstYG0F2u1a1RKMwD5sY1g=-1"));
}
