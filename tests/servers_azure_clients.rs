//! Microsoft's own client reads what we put in a container, byte by byte with its digests and tags, and we read what it puts.

mod support;

use backstay::ErrorKind;
use backstay::store::{Key, ObjectStore, ObjectStoreExt as _, PutOptions};
use backstay_test_servers::azure::Azurite;
use bytes::Bytes;
use support::azure::{made, theirs};
use support::{is_whole, large, listed};

fn key(name: &str) -> Key {
    name.parse().expect("a key")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_put_is_read_and_proved_by_microsofts_client() {
    let server = Azurite::start();
    let store = made(&server, "vault").await;
    let (large, place) = (large(), tempfile::tempdir().expect("a folder"));
    let mut tagged = PutOptions::default();
    tagged.tags.insert("vault".to_owned(), "acme: 1+1".to_owned());
    store.put(&key("small/a b+é"), Bytes::from_static(b"123456789"), &tagged).await.expect("put");
    store.put_new(&key("nothing"), "").await.expect("put");
    let mut upload = store.upload(&key("large"), &tagged).await.expect("it begins");
    for part in large.chunks(4 << 20) {
        upload.part(Bytes::copy_from_slice(part)).await.expect("a part");
    }
    upload.complete().await.expect("it ends");

    let ours = place.path().join("large");
    std::fs::write(&ours, &large).expect("room");
    // `validate_content` has the service give a digest with each range that is read, and proves it.
    let lines = "
body = lambda name, **more: blobs.download_blob(name, validate_content=True, **more).readall()
md5 = lambda name: bytes(blobs.get_blob_client(name).get_blob_properties().content_settings.content_md5 or b'')
tags = lambda name: blobs.get_blob_client(name).get_blob_tags()
assert body('small/a b+é') == b'123456789' and body('large') == file and body('nothing') == b'', 'other bytes'
assert md5('small/a b+é') == hashlib.md5(b'123456789').digest(), md5('small/a b+é')
assert tags('large') == tags('small/a b+é') == {'vault': 'acme: 1+1'}, (tags('large'), tags('small/a b+é'))
assert body('large', offset=4194303, length=3) == file[4194303:4194306]
print([(it.name, it.size) for it in blobs.list_blobs()])";
    let shown = format!("[('large', {}), ('nothing', 0), ('small/a b+é', 9)]", large.len());
    assert_eq!(theirs(&server, "vault", Some(&ours), lines), shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_microsofts_client_puts_is_read_by_us() {
    let server = Azurite::start();
    let store = made(&server, "vault").await;
    let (large, place) = (large(), tempfile::tempdir().expect("a folder"));
    let file = place.path().join("large");
    std::fs::write(&file, &large).expect("room");
    let lines = "
blobs.upload_blob('a b+é', b'123456789', metadata={'who': 'them'}, validate_content=True)
blobs.upload_blob('nothing', b'')
blobs.upload_blob('put', file)
blob = blobs.get_blob_client('blocks')
ids = [base64.b64encode(bytes([n] * 8)).decode() for n in range(3)]
for n, id in enumerate(ids):
    blob.stage_block(id, file[n << 22:(n + 1) << 22], validate_content=True)
blob.commit_block_list([BlobBlock(id) for id in ids])";
    theirs(&server, "vault", Some(&file), lines);

    assert_eq!(store.get_bytes(&key("a b+é"), 100).await.expect("it is read"), "123456789");
    assert_eq!(store.get_bytes(&key("nothing"), 100).await.expect("it is read"), "");
    let size = large.len() as u64;
    for name in ["put", "blocks"] {
        is_whole(&store, name, &large).await;
    }
    let listed = listed(&store).await.into_iter().map(|meta| (meta.key.to_string(), meta.size));
    let all =
        [("a b+é", 9), ("blocks", size), ("nothing", 0), ("put", size)].map(|(name, size)| (name.to_owned(), size));
    assert_eq!(listed.collect::<Vec<_>>(), all);
    // What is theirs is not put over.
    let error = store.put_new(&key("blocks"), "x").await.expect_err("it is taken");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
}
