//! Locks: what is locked stays, and a lock only grows.

use std::time::Duration;

use backstay_core::ErrorKind;
use backstay_core::store::{GetOptions, HeadOptions, Lock, ObjectRef, ObjectStore, ObjectStoreExt, PutOptions};
use bytes::Bytes;
use futures_util::TryStreamExt;

use super::{Outcome, cases, ensure, fails, key};

cases! {
    a_lock_holds_from_the_put_on: Locks,
    an_upload_can_be_locked: Locks,
    an_object_can_be_locked_later: Locks,
    a_lock_is_never_shortened: Locks,
    a_locked_object_is_not_overwritten: NoVersionsButLocks,
    a_locked_version_stays_under_others: VersionsAndLocks,
    an_older_version_can_be_locked: VersionsAndLocks,
    a_lock_on_nothing_is_not_found: Locks,
}

/// Long enough for every case, and short enough for a server's store to be emptied later.
async fn lock(store: &dyn ObjectStore, minutes: u64) -> backstay_core::Result<Lock> {
    Ok(Lock::until(store.now().await? + Duration::from_secs(60 * minutes)))
}

/// Tries to delete the newest version of `a` for good.
async fn stays(store: &dyn ObjectStore) -> Outcome {
    let version = store.head(&key("a")?, &HeadOptions::default()).await?.version;
    let mut what = ObjectRef::from(key("a")?);
    what.version = version.clone();
    fails("a delete", ErrorKind::Locked, store.delete(&[what]).await?.remove(0).result)?;
    let mut options = GetOptions::default();
    options.version = version;
    let body: Vec<Bytes> = store.get(&key("a")?, &options).await?.body.try_collect().await?;
    ensure!(body.concat() == b"kept", "the locked content is gone");
    Ok(())
}

async fn until(store: &dyn ObjectStore) -> backstay_core::Result<Option<i64>> {
    let head = store.head(&"a".parse()?, &HeadOptions::default()).await?;
    Ok(head.lock.and_then(|lock| lock.until).map(|until| until.as_second()))
}

async fn a_lock_holds_from_the_put_on(store: &dyn ObjectStore) -> Outcome {
    let options = PutOptions::default().with_lock(lock(store, 5).await?);
    store.put(&key("a")?, Bytes::from_static(b"kept"), &options).await?;
    stays(store).await
}

async fn an_upload_can_be_locked(store: &dyn ObjectStore) -> Outcome {
    let options = PutOptions::default().with_lock(lock(store, 5).await?);
    let mut upload = store.upload(&key("a")?, &options).await?;
    upload.part(Bytes::from_static(b"kept")).await?;
    upload.complete().await?;
    stays(store).await
}

async fn an_object_can_be_locked_later(store: &dyn ObjectStore) -> Outcome {
    store.put_new(&key("a")?, "kept").await?;
    store.protect(&key("a")?.into(), &lock(store, 5).await?).await?;
    stays(store).await
}

/// A store may refuse a shorter lock or ignore it.
async fn a_lock_is_never_shortened(store: &dyn ObjectStore) -> Outcome {
    let options = PutOptions::default().with_lock(lock(store, 10).await?);
    store.put(&key("a")?, Bytes::from_static(b"kept"), &options).await?;
    let long = until(store).await?;
    let _refused_or_ignored = store.protect(&key("a")?.into(), &lock(store, 1).await?).await;
    ensure!(until(store).await? == long, "the lock went from {long:?} to {:?}", until(store).await?);
    store.protect(&key("a")?.into(), &lock(store, 20).await?).await?;
    ensure!(until(store).await? > long, "the lock was not extended");
    stays(store).await
}

async fn a_locked_object_is_not_overwritten(store: &dyn ObjectStore) -> Outcome {
    let options = PutOptions::default().with_lock(lock(store, 5).await?);
    store.put(&key("a")?, Bytes::from_static(b"kept"), &options).await?;
    let overwrite = store.put(&key("a")?, Bytes::from_static(b"new"), &PutOptions::overwrite()).await;
    fails("an overwrite", ErrorKind::Locked, overwrite)?;
    stays(store).await
}

/// An overwrite and a delete marker may come over a locked version; it stays below them.
async fn a_locked_version_stays_under_others(store: &dyn ObjectStore) -> Outcome {
    let options = PutOptions::default().with_lock(lock(store, 5).await?);
    let locked = store.put(&key("a")?, Bytes::from_static(b"kept"), &options).await?.version;
    store.put(&key("a")?, Bytes::from_static(b"new"), &PutOptions::overwrite()).await?;
    store.delete(&[key("a")?.into()]).await?.remove(0).result?;
    let mut what = ObjectRef::from(key("a")?);
    what.version = locked.clone();
    fails("a delete", ErrorKind::Locked, store.delete(&[what]).await?.remove(0).result)?;
    let mut options = GetOptions::default();
    options.version = locked;
    let body: Vec<Bytes> = store.get(&key("a")?, &options).await?.body.try_collect().await?;
    ensure!(body.concat() == b"kept", "the locked content is gone");
    Ok(())
}

async fn an_older_version_can_be_locked(store: &dyn ObjectStore) -> Outcome {
    let mut old = ObjectRef::from(key("a")?);
    let mut new = old.clone();
    old.version = store.put_new(&key("a")?, "old").await?.version;
    new.version = store.put(&key("a")?, Bytes::from_static(b"new"), &PutOptions::overwrite()).await?.version;
    store.protect(&old, &lock(store, 5).await?).await?;
    let mut options = HeadOptions::default();
    options.version = old.version.clone();
    ensure!(store.head(&key("a")?, &options).await?.lock.is_some(), "head of the locked version tells no lock");
    fails("a delete", ErrorKind::Locked, store.delete(&[old]).await?.remove(0).result)?;
    store.delete(&[new]).await?.remove(0).result?;
    ensure!(store.get_bytes(&key("a")?, 10).await? == "old", "the newer version was locked instead");
    Ok(())
}

async fn a_lock_on_nothing_is_not_found(store: &dyn ObjectStore) -> Outcome {
    let lock = lock(store, 1).await?;
    fails("a lock", ErrorKind::NotFound, store.protect(&key("absent")?.into(), &lock).await)
}
