//! Uploads: parts in any order of arrival, nothing visible before the end.

use backstay_core::store::{
    Capabilities, ListOptions, ObjectStore, ObjectStoreExt, Prefix, PutOptions, Upload, UploadRef,
};
use backstay_core::{ErrorKind, Sha256};
use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::future::{join_all, try_join_all};

use super::{Outcome, cases, ensure, fails, key, names};

cases! {
    parts_are_joined_in_the_order_of_their_calls: Nothing,
    an_upload_of_one_part_or_none_is_an_object: Nothing,
    half_an_upload_is_invisible: Nothing,
    a_dropped_upload_is_found_and_aborted: Nothing,
    an_aborted_upload_leaves_nothing: Nothing,
    an_upload_overwrites_only_when_told: CreateIfAbsent,
    of_uploads_that_complete_together_one_wins: CreateIfAbsent,
    an_upload_of_other_content_than_announced_is_refused: Nothing,
}

fn part_size(store: &dyn ObjectStore) -> usize {
    let Capabilities { min_part_bytes, .. } = store.capabilities();
    usize::try_from(min_part_bytes).unwrap_or(usize::MAX).max(100_000)
}

async fn unfinished(store: &dyn ObjectStore, prefix: &str) -> backstay_core::Result<Vec<UploadRef>> {
    store.uploads(&Prefix::new(prefix)?).try_collect().await
}

async fn upload(store: &dyn ObjectStore, name: &str, content: &'static str) -> backstay_core::Result<Box<dyn Upload>> {
    let mut upload = store.upload(&key(name)?, &PutOptions::default()).await?;
    upload.part(Bytes::from_static(content.as_bytes())).await?;
    Ok(upload)
}

async fn parts_are_joined_in_the_order_of_their_calls(store: &dyn ObjectStore) -> Outcome {
    let size = part_size(store);
    let mut upload = store.upload(&key("up/a")?, &PutOptions::default()).await?;
    let mut parts: Vec<_> = (0..4).map(|i| upload.part(vec![i; size].into())).collect();
    parts.push(upload.part(Bytes::from_static(b"end")));
    // The last one first, the others side by side.
    for part in parts.split_off(3).into_iter().rev() {
        part.await?;
    }
    try_join_all(parts.into_iter().rev()).await?;
    let meta = upload.complete().await?;
    let expected: Vec<u8> = (0..4).flat_map(|i| vec![i; size]).chain(*b"end").collect();
    ensure!(meta.key == key("up/a")? && meta.size == expected.len() as u64, "complete answered {meta:?}");
    ensure!(store.get_bytes(&key("up/a")?, meta.size).await? == expected, "the parts are not joined in order");
    Ok(())
}

async fn an_upload_of_one_part_or_none_is_an_object(store: &dyn ObjectStore) -> Outcome {
    upload(store, "one", "part").await?.complete().await?;
    ensure!(store.get_bytes(&key("one")?, 10).await? == "part", "the content differs");
    store.upload(&key("none")?, &PutOptions::default()).await?.complete().await?;
    ensure!(store.get_bytes(&key("none")?, 0).await?.is_empty(), "an upload of nothing has content");
    Ok(())
}

async fn half_an_upload_is_invisible(store: &dyn ObjectStore) -> Outcome {
    let begun = upload(store, "up/a", "half").await?;
    ensure!(!store.exists(&key("up/a")?).await?, "an upload is visible before its end");
    for options in [ListOptions::default(), ListOptions::folders()] {
        let seen = names(store, "", &options).await?;
        ensure!(seen.is_empty(), "an upload is listed before its end: {seen:?}");
    }
    begun.complete().await?;
    ensure!(names(store, "", &ListOptions::default()).await? == ["up/a"], "a complete upload is not listed alone");
    let left = unfinished(store, "").await?;
    ensure!(left.is_empty(), "a complete upload counts as unfinished: {left:?}");
    Ok(())
}

async fn a_dropped_upload_is_found_and_aborted(store: &dyn ObjectStore) -> Outcome {
    let before = store.now().await?.as_second() - 1;
    drop(upload(store, "up/a", "x").await?);
    drop(upload(store, "up/b", "x").await?);
    drop(upload(store, "other", "x").await?);
    let mut found = unfinished(store, "up/").await?;
    found.sort_by(|a, b| a.key.cmp(&b.key));
    let [a, b] = found.as_slice() else {
        return Err(super::Stopped::Broken(format!("two uploads under the prefix, found {found:?}")));
    };
    ensure!(a.key == key("up/a")? && b.key == key("up/b")?, "found {found:?}");
    let after = store.now().await?.as_second() + 1;
    // A store may not tell when an upload began; a time that it tells is the right one.
    let times: Vec<_> = [a, b].iter().filter_map(|upload| Some(upload.started?.as_second())).collect();
    ensure!(times.iter().all(|time| (before..=after).contains(time)), "began at {times:?}, not {before}..{after}");
    store.abort_upload(a).await?;
    store.abort_upload(a).await?;
    let left = unfinished(store, "").await?;
    ensure!(left.len() == 2 && !left.contains(a), "after one abort there are {left:?}");
    ensure!(!store.exists(&key("up/a")?).await?, "an aborted upload is visible");
    Ok(())
}

async fn an_aborted_upload_leaves_nothing(store: &dyn ObjectStore) -> Outcome {
    upload(store, "a", "x").await?.abort().await?;
    ensure!(!store.exists(&key("a")?).await?, "an aborted upload is visible");
    let left = unfinished(store, "").await?;
    ensure!(left.is_empty(), "an aborted upload is unfinished: {left:?}");
    store.put_new(&key("a")?, "free").await?;
    Ok(())
}

async fn an_upload_overwrites_only_when_told(store: &dyn ObjectStore) -> Outcome {
    // A taken key may be told at the beginning or at the end.
    let late = upload(store, "a", "late").await?;
    store.put_new(&key("a")?, "first").await?;
    fails("complete on a taken key", ErrorKind::AlreadyExists, late.complete().await)?;
    let second = match upload(store, "a", "second").await {
        Ok(second) => second.complete().await,
        Err(error) => Err(error),
    };
    fails("an upload to a taken key", ErrorKind::AlreadyExists, second)?;
    ensure!(store.get_bytes(&key("a")?, 10).await? == "first", "a refused upload replaced the object");
    let mut told = store.upload(&key("a")?, &PutOptions::overwrite()).await?;
    told.part(Bytes::from_static(b"new")).await?;
    told.complete().await?;
    ensure!(store.get_bytes(&key("a")?, 10).await? == "new", "the upload did not overwrite");
    Ok(())
}

async fn of_uploads_that_complete_together_one_wins(store: &dyn ObjectStore) -> Outcome {
    let uploads = try_join_all((0..8).map(|_| upload(store, "a", "same"))).await?;
    let results = join_all(uploads.into_iter().map(Upload::complete)).await;
    let won = results.iter().filter(|result| result.is_ok()).count();
    ensure!(won == 1, "{won} uploads won");
    for lost in results.into_iter().filter(Result::is_err) {
        fails("a lost race", ErrorKind::AlreadyExists, lost)?;
    }
    Ok(())
}

/// A store that cannot check an upload may take it; one that refuses must leave nothing visible.
async fn an_upload_of_other_content_than_announced_is_refused(store: &dyn ObjectStore) -> Outcome {
    let announced = PutOptions::default().with_sha256(Sha256::of(b"right"));
    for (name, content) in [("right", &b"right"[..]), ("wrong", &b"wrong"[..])] {
        let mut upload = store.upload(&key(name)?, &announced).await?;
        upload.part(Bytes::copy_from_slice(content)).await?;
        match upload.complete().await {
            Err(error) if name == "wrong" => {
                fails("an upload of other bytes", ErrorKind::Corrupt, Err::<(), _>(error))?;
                ensure!(!store.exists(&key(name)?).await?, "the refused content is there");
            }
            completed => {
                completed?;
            }
        }
    }
    Ok(())
}
