//! Versions: nothing is lost by an overwrite or a delete.

use backstay_core::ErrorKind;
use backstay_core::store::{
    GetOptions, HeadOptions, ListEntry, ListOptions, ObjectMeta, ObjectRef, ObjectStore, ObjectStoreExt, Prefix,
    PutOptions, VersionId,
};
use bytes::Bytes;
use futures_util::TryStreamExt;

use super::{Outcome, Stopped, cases, ensure, fails, key, names};

cases! {
    older_contents_stay_readable: Versions,
    versions_are_listed_the_newest_first: Versions,
    versions_are_told_with_their_times: Versions,
    a_delete_adds_a_marker: Versions,
    a_version_is_deleted_by_its_id_for_good: Versions,
}

async fn two_versions(store: &dyn ObjectStore) -> Result<(VersionId, VersionId), Stopped> {
    let old = store.put_new(&key("a")?, "old").await?.version;
    let new = store.put(&key("a")?, Bytes::from_static(b"new"), &PutOptions::overwrite()).await?.version;
    match (old, new) {
        (Some(old), Some(new)) if old != new => Ok((old, new)),
        other => Err(Stopped::Broken(format!("two puts answered the versions {other:?}"))),
    }
}

async fn content(store: &dyn ObjectStore, version: &VersionId) -> backstay_core::Result<Vec<u8>> {
    let outcome = store.get(&"a".parse()?, &GetOptions::default().with_version(version.clone())).await?;
    Ok(outcome.body.try_collect::<Vec<Bytes>>().await?.concat())
}

async fn all(store: &dyn ObjectStore) -> backstay_core::Result<Vec<ObjectMeta>> {
    let object = |entry| async move {
        Ok(match entry {
            ListEntry::Object(meta) => Some(meta),
            _ => None,
        })
    };
    store.list(&Prefix::all(), &ListOptions::versions()).try_filter_map(object).try_collect().await
}

async fn older_contents_stay_readable(store: &dyn ObjectStore) -> Outcome {
    let (old, new) = two_versions(store).await?;
    ensure!(content(store, &old).await? == b"old", "the old version has another content");
    ensure!(content(store, &new).await? == b"new", "the new version has another content");
    let mut options = HeadOptions::default();
    options.version = Some(old.clone());
    let head = store.head(&key("a")?, &options).await?;
    ensure!(head.version == Some(old) && !head.latest, "head of the old version answered {head:?}");
    ensure!(store.get_bytes(&key("a")?, 10).await? == "new", "the key reads as the old version");
    Ok(())
}

async fn versions_are_listed_the_newest_first(store: &dyn ObjectStore) -> Outcome {
    let (old, new) = two_versions(store).await?;
    store.put_new(&key("b")?, "x").await?;
    let lines = all(store).await?;
    let told: Vec<_> = lines.iter().map(|meta| (meta.key.as_str(), meta.version.as_ref(), meta.latest)).collect();
    let expected = [("a", Some(&new), true), ("a", Some(&old), false), ("b", lines[2].version.as_ref(), true)];
    ensure!(told == expected, "expected {expected:?}, got {told:?}");
    ensure!(names(store, "", &ListOptions::default()).await? == ["a", "b"], "a plain listing repeats keys");
    Ok(())
}

/// Delete markers too: a reader finds what was there at a moment by these times alone. A store may round to the second.
async fn versions_are_told_with_their_times(store: &dyn ObjectStore) -> Outcome {
    let second = std::time::Duration::from_secs(1);
    let begun = store.now().await? - second;
    two_versions(store).await?;
    store.delete(&[key("a")?.into()]).await?.remove(0).result?;
    store.put_new(&key("b")?, "x").await?;
    let ended = store.now().await? + second;
    let lines = all(store).await?;
    let times: Vec<_> = lines.iter().filter(|meta| meta.key.as_str() == "a").map(|meta| meta.last_modified).collect();
    ensure!(times.len() == 3 && times.is_sorted_by(|a, b| a >= b), "the newest first: {times:?}");
    ensure!(times.iter().all(|time| (begun..=ended).contains(time)), "{times:?} are not within {begun} and {ended}");
    let mut options = ListOptions::versions();
    options.start_after = Some("a".to_owned());
    ensure!(names(store, "", &options).await? == ["b"], "versions of the key to start after are listed");
    Ok(())
}

async fn a_delete_adds_a_marker(store: &dyn ObjectStore) -> Outcome {
    let (old, new) = two_versions(store).await?;
    store.delete(&[key("a")?.into()]).await?.remove(0).result?;
    fails("a deleted key", ErrorKind::NotFound, store.get(&key("a")?, &GetOptions::default()).await)?;
    fails("its head", ErrorKind::NotFound, store.head(&key("a")?, &HeadOptions::default()).await)?;
    ensure!(names(store, "", &ListOptions::default()).await?.is_empty(), "a deleted key is listed");
    ensure!(content(store, &new).await? == b"new" && content(store, &old).await? == b"old", "a delete lost a version");
    let lines = all(store).await?;
    ensure!(lines.len() == 3 && lines[0].delete_marker && lines[0].latest, "the versions are {lines:?}");
    let marker = lines[0].version.clone().ok_or_else(|| Stopped::Broken("the marker has no version".to_owned()))?;
    store.delete(&[ObjectRef::version(key("a")?, marker)]).await?.remove(0).result?;
    ensure!(store.get_bytes(&key("a")?, 10).await? == "new", "without its marker the key is not back");
    Ok(())
}

async fn a_version_is_deleted_by_its_id_for_good(store: &dyn ObjectStore) -> Outcome {
    let (old, new) = two_versions(store).await?;
    let what = [ObjectRef::version(key("a")?, new.clone())];
    store.delete(&what).await?.remove(0).result?;
    store.delete(&what).await?.remove(0).result?;
    ensure!(store.get_bytes(&key("a")?, 10).await? == "old", "the older version is not the newest now");
    fails("the deleted version", ErrorKind::NotFound, content(store, &new).await)?;
    let lines = all(store).await?;
    ensure!(lines.len() == 1 && lines[0].version == Some(old) && lines[0].latest, "the versions are {lines:?}");
    Ok(())
}
