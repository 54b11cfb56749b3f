use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode};
use backstay_test_s3::Bucket;

use crate::client::{B, answer, failed, server};

const ALL: [ChecksumAlgorithm; 5] = [
    ChecksumAlgorithm::Crc32,
    ChecksumAlgorithm::Crc32C,
    ChecksumAlgorithm::Crc64Nvme,
    ChecksumAlgorithm::Sha1,
    ChecksumAlgorithm::Sha256,
];

#[tokio::test]
async fn what_the_sdk_computes_is_right_and_kept() {
    let (_s3, client) = server(Bucket::unversioned());
    let file = tempfile();
    for algorithm in ALL {
        // Bytes in memory have the checksum in a header, a file has it behind the body.
        for body in [ByteStream::from_static(b"hello"), ByteStream::from_path(&file.0).await.unwrap()] {
            let put = client.put_object().bucket(B).key("k").checksum_algorithm(algorithm.clone()).body(body);
            put.send().await.unwrap();
            let head = client.head_object().bucket(B).key("k").checksum_mode(ChecksumMode::Enabled);
            let head = head.send().await.unwrap();
            let kept = [
                head.checksum_crc32(),
                head.checksum_crc32_c(),
                head.checksum_crc64_nvme(),
                head.checksum_sha1(),
                head.checksum_sha256(),
            ];
            assert_eq!(kept.iter().flatten().count(), 1, "{algorithm:?}");
            assert_eq!(head.content_encoding(), None);
            let got = client.get_object().bucket(B).key("k").checksum_mode(ChecksumMode::Enabled).send().await;
            assert_eq!(crate::client::bytes(got.unwrap()).await, "hello");
        }
    }
}

/// A file that goes with the test.
struct File(std::path::PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn tempfile() -> File {
    let path = std::env::temp_dir().join(format!("backstay-test-s3-{}", std::process::id()));
    std::fs::write(&path, "hello").unwrap();
    File(path)
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_nothing_is_kept() {
    let (s3, client) = server(Bucket::unversioned());
    let put = || client.put_object().bucket(B).key("k").body(ByteStream::from_static(b"hello"));
    let (four, eight) = ("AAAAAA==", "AAAAAAAAAAA=");
    let (twenty, many) = ("AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    for wrong in [
        put().checksum_crc32(four),
        put().checksum_crc32_c(four),
        put().checksum_crc64_nvme(eight),
        put().checksum_sha1(twenty),
        put().checksum_sha256(many),
        put().content_md5("AAAAAAAAAAAAAAAAAAAAAA=="),
    ] {
        assert_eq!(failed(wrong.send().await), answer(400, "BadDigest"));
    }
    assert_eq!(failed(put().content_md5("nonsense").send().await), answer(400, "InvalidDigest"));
    put().content_md5("XUFAKrxLKna5cZ2REBfFkg==").checksum_crc32("NhCmhg==").send().await.unwrap();
    assert_eq!(s3.keys_in(B), ["k"]);
    let id = client.create_multipart_upload().bucket(B).key("k").send().await.unwrap().upload_id.unwrap();
    let part = client.upload_part().bucket(B).key("k").upload_id(&id).part_number(1);
    let part = part.body(ByteStream::from_static(b"hello")).checksum_crc32(four).send().await;
    assert_eq!(failed(part), answer(400, "BadDigest"));
}
