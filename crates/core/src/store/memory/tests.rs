use futures_util::{StreamExt, TryStreamExt};

use super::*;
use crate::error::ErrorKind;
use crate::store::{PutMode, VersionId};

fn key(name: &str) -> Key {
    name.parse().unwrap()
}

async fn put(store: &MemoryStore, name: &str, options: &PutOptions) -> Result<ObjectMeta> {
    store.put(&key(name), Bytes::from_static(b"x"), options).await
}

#[tokio::test]
async fn a_hundred_thousand_keys_are_listed_in_order_and_page_by_page() {
    let store = MemoryStore::new();
    for i in (0..100_000).rev() {
        put(&store, &format!("k/{i:06}"), &PutOptions::default()).await.unwrap();
    }
    let names: Vec<_> = store.list(&Prefix::all(), &ListOptions::after("k/000009")).try_collect().await.unwrap();
    assert_eq!(names.len(), 99_990);
    assert!(names.is_sorted_by_key(|entry| match entry {
        ListEntry::Object(meta) => meta.key.clone(),
        ListEntry::Folder(folder) => panic!("{folder}"),
    }));
    // A reader that stops early costs one page, not the whole listing.
    assert!(store.list(&Prefix::all(), &ListOptions::default()).next().await.unwrap().is_ok());
    assert_eq!(store.page(&Prefix::all(), &ListOptions::default(), &Bound::Unbounded).len(), PAGE);
}

#[tokio::test]
async fn a_key_that_is_a_folder_of_another_is_refused() {
    let store = MemoryStore::new();
    for (first, second) in [("a", "a/b/c"), ("d/e", "d")] {
        put(&store, first, &PutOptions::default()).await.unwrap();
        for mode in [PutMode::Create, PutMode::Overwrite] {
            let options = PutOptions { mode, ..PutOptions::default() };
            assert_eq!(put(&store, second, &options).await.unwrap_err().kind(), ErrorKind::Conflict);
        }
    }
    put(&store, "a-b", &PutOptions::default()).await.unwrap();
}

#[tokio::test]
async fn parts_of_uneven_size_and_parts_that_never_ran_are_refused() {
    let store = MemoryStore::new();
    for sizes in [[1, 2], [2, 3]] {
        let mut upload = store.upload(&key("u"), &PutOptions::default()).await.unwrap();
        upload.part(vec![0; sizes[0]].into()).await.unwrap();
        assert_eq!(upload.part(vec![0; sizes[1]].into()).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    let mut upload = store.upload(&key("u"), &PutOptions::default()).await.unwrap();
    drop(upload.part(Bytes::from_static(b"lost")));
    assert_eq!(upload.complete().await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(store.head(&key("u"), &HeadOptions::default()).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn an_aborted_upload_cannot_be_completed() {
    let store = MemoryStore::new();
    let upload = store.upload(&key("u"), &PutOptions::default()).await.unwrap();
    let seen: Vec<_> = store.uploads(&Prefix::all()).try_collect().await.unwrap();
    store.abort_upload(&seen[0]).await.unwrap();
    assert_eq!(upload.complete().await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_class_is_refused_instead_of_dropped() {
    let options = PutOptions { class: Some("COLD".to_owned()), ..PutOptions::default() };
    let store = MemoryStore::new();
    assert_eq!(put(&store, "a", &options).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(store.upload(&key("a"), &options).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_create_succeeds_over_a_delete_marker_and_versions_stay() {
    let store = MemoryStore::versioned();
    let first = put(&store, "a", &PutOptions::default()).await.unwrap();
    store.delete(&[key("a").into()]).await.unwrap();
    store.delete(&[key("a").into()]).await.unwrap();
    let second = put(&store, "a", &PutOptions::default()).await.unwrap();
    let lines: Vec<_> = store.list(&Prefix::all(), &ListOptions::versions()).try_collect().await.unwrap();
    let versions: Vec<VersionId> = lines
        .iter()
        .filter_map(|line| match line {
            ListEntry::Object(meta) if !meta.delete_marker => meta.version.clone(),
            _ => None,
        })
        .collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(versions, [second.version.unwrap(), first.version.unwrap()]);
}
