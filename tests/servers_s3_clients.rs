//! Others' clients read what we put in a bucket, byte by byte with its checksums and tags, and we read what they put.

mod support;

use std::path::Path;

use backstay::aws::S3Store;
use backstay::store::{Key, ObjectStore, ObjectStoreExt as _, PutOptions};
use backstay::{ErrorKind, Sha256};
use backstay_test_servers::python::aws;
use backstay_test_servers::s3::{Minio, Server, Versitygw};
use bytes::Bytes;
use support::s3::{Kind, boto, builder, make, open};
use support::{is_whole, large, listed};

/// CRC-64/NVME by its definition, as none of Amazon's clients here knows it, and what a head tells of an object.
const CHECKS: &str = "
import base64, hashlib
def crc64nvme(data):
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ (0x9a6c9329ac4bc9b5 if n & 1 else 0)
        table.append(n)
    crc = 2**64 - 1
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ (crc >> 8)
    return base64.b64encode((crc ^ (2**64 - 1)).to_bytes(8, 'big')).decode()
assert crc64nvme(b'123456789') == 'rosUhgp5mIg='
body = lambda key, **more: s3.get_object(Bucket='acme', Key=key, ChecksumMode='ENABLED', **more)['Body'].read()
head = lambda key: s3.head_object(Bucket='acme', Key=key, ChecksumMode='ENABLED')
tags = lambda key: {it['Key']: it['Value'] for it in s3.get_object_tagging(Bucket='acme', Key=key)['TagSet']}
";

fn key(name: &str) -> Key {
    name.parse().expect("a key")
}

/// What Amazon's program prints of this server.
fn cli(server: &Server, words: &[&str]) -> String {
    let output = aws().envs(server.env()).args(words).output().expect("it runs");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

async fn upload(store: &S3Store, name: &str, content: &[u8]) {
    let mut upload = store.upload(&key(name), &PutOptions::default()).await.expect("it begins");
    for part in content.chunks(5 << 20) {
        upload.part(Bytes::copy_from_slice(part)).await.expect("a part");
    }
    upload.complete().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_put_is_read_and_proved_by_boto3_and_by_amazons_program() {
    for server in [&*Versitygw::with_versions_and_users(), &*Minio::start()] {
        make(server, &[("acme", Kind::Versioned)]);
        let store = builder(server, "acme").tag("vault", "acme: 1+1").build().await.expect("it opens");
        let (large, place) = (large(), tempfile::tempdir().expect("a folder"));
        store.put_new(&key("small/a b+é"), "123456789").await.expect("put");
        let mut named = PutOptions::default().with_sha256(Sha256::of(b"123456789"));
        named.tags.insert("run".to_owned(), "r1".to_owned());
        store.put(&key("digest"), Bytes::from_static(b"123456789"), &named).await.expect("put");
        upload(&store, "large", &large).await;

        let ours = place.path().join("large");
        std::fs::write(&ours, &large).expect("room");
        let lines = format!(
            "{CHECKS}
ours = open({:?}, 'rb').read()
assert body('small/a b+é') == b'123456789' and body('large') == ours, 'other bytes'
assert head('small/a b+é')['ChecksumCRC64NVME'] == crc64nvme(b'123456789'), head('small/a b+é')
assert head('large')['ChecksumCRC64NVME'] == crc64nvme(ours), head('large')
# boto3 proves this one by itself, and says so here.
digest = s3.get_object(Bucket='acme', Key='digest', ChecksumMode='ENABLED')
assert digest['Body'].read() == b'123456789'
assert digest['ChecksumSHA256'] == base64.b64encode(hashlib.sha256(b'123456789').digest()).decode(), digest
assert tags('large') == tags('small/a b+é') == {{'vault': 'acme: 1+1'}}, (tags('large'), tags('small/a b+é'))
assert tags('digest') == {{'vault': 'acme: 1+1', 'run': 'r1'}}, tags('digest')
assert body('large', Range='bytes=5242879-5242881') == ours[5242879:5242882]
print([it['Key'] for it in s3.list_objects_v2(Bucket='acme')['Contents']])",
            text(&ours)
        );
        assert_eq!(boto(server, &lines), "['digest', 'large', 'small/a b+é']");

        let theirs = place.path().join("theirs");
        let get = ["s3api", "get-object", "--bucket", "acme", "--checksum-mode", "ENABLED", "--key"];
        for (name, content) in [("small/a b+é", &b"123456789"[..]), ("digest", b"123456789"), ("large", &large)] {
            cli(server, &[&get[..], &[name, text(&theirs)]].concat());
            assert!(std::fs::read(&theirs).expect("it wrote") == content, "{name}: other bytes");
        }
        let tagged = ["s3api", "get-object-tagging", "--bucket", "acme", "--key", "large"];
        let query = ["--query", "TagSet[].[Key,Value]", "--output", "text"];
        assert_eq!(cli(server, &[&tagged[..], &query].concat()), "vault\tacme: 1+1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_boto3_and_amazons_program_put_is_read_by_us() {
    for server in [&*Versitygw::with_versions_and_users(), &*Minio::start()] {
        make(server, &[("acme", Kind::Versioned)]);
        let (large, place) = (large(), tempfile::tempdir().expect("a folder"));
        let file = place.path().join("large");
        std::fs::write(&file, &large).expect("room");
        let lines = format!(
            "
theirs = open({:?}, 'rb').read()
s3.put_object(Bucket='acme', Key='boto/a b+é', Body=b'123456789', Metadata={{'who': 'boto'}}, Tagging='a=b')
s3.put_object(Bucket='acme', Key='boto/nothing', Body=b'')
for name, how in [('plain', {{}}), ('crc32', {{'ChecksumAlgorithm': 'CRC32'}}), ('sha256', {{'ChecksumAlgorithm': 'SHA256'}})]:
    at = {{'Bucket': 'acme', 'Key': 'boto/parts/' + name}}
    id = s3.create_multipart_upload(**at, **how)['UploadId']
    parts = []
    for n, part in enumerate([theirs[:6 << 20], theirs[6 << 20:]], 1):
        made = s3.upload_part(**at, UploadId=id, PartNumber=n, Body=part, **how)
        told = ['ETag', *('Checksum' + it for it in how.values())]
        parts.append({{'PartNumber': n, **{{it: made[it] for it in told}}}})
    s3.complete_multipart_upload(**at, UploadId=id, MultipartUpload={{'Parts': parts}})
",
            text(&file)
        );
        boto(server, &lines);
        let put = ["s3api", "put-object", "--bucket", "acme", "--body", text(&file), "--key", "cli/put"];
        cli(server, &put);
        // In parts: it is larger than what it puts at once.
        cli(server, &["s3", "cp", "--only-show-errors", text(&file), "s3://acme/cli/parts"]);

        let store = open(server, "acme").await;
        let small = store.get_bytes(&key("boto/a b+é"), 100).await.expect("it is read");
        assert_eq!(small, "123456789");
        assert_eq!(store.get_bytes(&key("boto/nothing"), 100).await.expect("it is read"), "");
        let larges = ["boto/parts/crc32", "boto/parts/plain", "boto/parts/sha256", "cli/parts", "cli/put"];
        for name in larges {
            is_whole(&store, name, &large).await;
        }
        let listed = listed(&store).await.into_iter().map(|meta| (meta.key.to_string(), meta.size));
        let small = [("boto/a b+é".to_owned(), 9), ("boto/nothing".to_owned(), 0)];
        let all = small.into_iter().chain(larges.map(|name| (name.to_owned(), large.len() as u64)));
        assert_eq!(listed.collect::<Vec<_>>(), all.collect::<Vec<_>>());
        // What is theirs is not put over.
        let error = store.put_new(&key("cli/parts"), "x").await.expect_err("it is taken");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
    }
}
