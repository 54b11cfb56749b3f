use aws_sdk_s3::types::EncodingType;
use backstay_test_s3::{Bucket, Op};

use crate::client::{B, put, server};

#[tokio::test]
async fn pages_are_in_byte_order_and_complete() {
    let (s3, client) = server(Bucket::unversioned());
    let odd = ["é", "a b", "a+b", "%41", "~", "a", "a/b", "Z", "\u{1F600}"];
    let mut keys: Vec<String> = (0..2_100).map(|n| format!("n/{n:05}")).collect();
    s3.put_empty(B, keys.iter().cloned());
    for key in odd {
        put(&client, key, "").await;
        keys.push(key.to_owned());
    }
    let etag = |key| client.head_object().bucket(B).key(key).send();
    assert_eq!(etag("n/00000").await.unwrap().e_tag(), etag("a").await.unwrap().e_tag());
    keys.sort();
    for encoding in [None, Some(EncodingType::Url)] {
        let mut pages = client.list_objects_v2().bucket(B).set_encoding_type(encoding.clone()).into_paginator().send();
        let (mut found, mut sizes) = (Vec::new(), Vec::new());
        while let Some(page) = pages.next().await {
            let page = page.unwrap();
            sizes.push(page.contents().len());
            found.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
        }
        assert_eq!(sizes, [1000, 1000, 109]);
        match encoding {
            None => assert_eq!(found, keys),
            Some(_) => assert!(found.contains(&"%C3%A9".to_owned()) && found.contains(&"a%20b".to_owned())),
        }
    }
    assert_eq!(s3.calls(Op::ListObjectsV2), 6);
    let list = client.list_objects_v2().bucket(B).prefix("n/").start_after("n/02097").send().await.unwrap();
    let found: Vec<_> = list.contents().iter().filter_map(|object| object.key()).collect();
    assert_eq!(found, ["n/02098", "n/02099"]);
}

#[tokio::test]
async fn folders_are_told_once_over_all_pages() {
    let (_s3, client) = server(Bucket::unversioned());
    for key in ["a/1", "a/2", "a/3", "b", "c/1", "c/d/1", "e"] {
        put(&client, key, "x").await;
    }
    let mut pages = client.list_objects_v2().bucket(B).delimiter("/").max_keys(1).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        found.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
        found.extend(page.common_prefixes().iter().filter_map(|folder| folder.prefix().map(str::to_owned)));
    }
    assert_eq!(found, ["a/", "b", "c/", "e"]);
    let inside = client.list_objects_v2().bucket(B).delimiter("/").prefix("c/").send().await.unwrap();
    assert_eq!(inside.common_prefixes()[0].prefix(), Some("c/d/"));
    assert_eq!(inside.contents()[0].key(), Some("c/1"));
}

#[tokio::test]
async fn versions_are_listed_newest_first() {
    let (_s3, client) = server(Bucket::versioned());
    let mut expected = Vec::new();
    for key in ["a", "b", "c"] {
        let old = put(&client, key, "old").await;
        let marker = client.delete_object().bucket(B).key(key).send().await.unwrap().version_id.unwrap();
        let new = put(&client, key, "new").await;
        expected.extend([(key, new, true), (key, marker, false), (key, old, false)]);
    }
    let (mut key, mut id, mut found) = (None, None, Vec::new());
    loop {
        let list = client.list_object_versions().bucket(B).max_keys(2).set_key_marker(key).set_version_id_marker(id);
        let page = list.send().await.unwrap();
        let versions = page.versions().iter().map(|it| (it.key(), it.version_id(), it.is_latest()));
        let markers = page.delete_markers().iter().map(|it| (it.key(), it.version_id(), it.is_latest()));
        found.extend(
            versions
                .chain(markers)
                .map(|(key, id, latest)| (key.unwrap().to_owned(), id.unwrap().to_owned(), latest.unwrap())),
        );
        if page.is_truncated() != Some(true) {
            break;
        }
        (key, id) = (page.next_key_marker, page.next_version_id_marker);
    }
    let mut expected: Vec<_> = expected.into_iter().map(|(key, id, latest)| (key.to_owned(), id, latest)).collect();
    // The SDK tells versions and markers apart, so that only the set can be compared.
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}
