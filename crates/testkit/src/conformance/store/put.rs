//! Puts: whole, durable, exclusive.

use backstay_core::store::{HeadOptions, ListOptions, ObjectStore, ObjectStoreExt, PutOptions};
use backstay_core::{ErrorKind, Sha256};
use bytes::Bytes;
use futures_util::future::join_all;

use super::{Outcome, cases, ensure, fails, key, names};

cases! {
    what_is_put_is_read_back: Nothing,
    empty_objects_are_objects: Nothing,
    odd_names_are_names: Nothing,
    keys_may_have_a_thousand_characters: Nothing,
    answers_name_the_object: Nothing,
    a_second_create_changes_nothing: CreateIfAbsent,
    of_sixteen_creates_one_wins: CreateIfAbsent,
    an_overwrite_replaces_all: Nothing,
    an_overwrite_creates_what_is_absent: Nothing,
    readers_see_one_content_or_the_other: Nothing,
    other_content_than_announced_is_refused: Nothing,
    a_key_that_is_a_folder_of_another_loses_nothing: Nothing,
    the_time_is_the_stores_own: Nothing,
}

async fn what_is_put_is_read_back(store: &dyn ObjectStore) -> Outcome {
    for (name, content) in [("a", vec![1, 2, 3]), ("b/c", vec![0; 3_000_000])] {
        store.put_new(&key(name)?, content.clone()).await?;
        ensure!(store.get_bytes(&key(name)?, 3_000_000).await? == content, "{name} came back as other bytes");
    }
    Ok(())
}

async fn empty_objects_are_objects(store: &dyn ObjectStore) -> Outcome {
    let meta = store.put_new(&key("empty")?, "").await?;
    ensure!(meta.size == 0, "an empty object has {} bytes", meta.size);
    ensure!(store.get_bytes(&key("empty")?, 0).await?.is_empty(), "an empty object has content");
    ensure!(names(store, "", &ListOptions::default()).await? == ["empty"], "an empty object is not listed");
    Ok(())
}

async fn odd_names_are_names(store: &dyn ObjectStore) -> Outcome {
    let odd = super::list::ODD;
    for name in odd {
        store.put_new(&key(name)?, name.to_owned()).await?;
    }
    for name in odd {
        ensure!(store.get_bytes(&key(name)?, 1000).await? == name, "{name:?} holds the content of another key");
    }
    Ok(())
}

async fn keys_may_have_a_thousand_characters(store: &dyn ObjectStore) -> Outcome {
    let segment = "s".repeat(249);
    let name = [segment.as_str(); 4].join("/") + "x";
    ensure!(name.len() == 1000, "the case is wrong");
    store.put_new(&key(&name)?, "long").await?;
    ensure!(store.get_bytes(&key(&name)?, 10).await? == "long", "the content differs");
    ensure!(names(store, &segment, &ListOptions::default()).await? == [name], "the key is listed otherwise");
    Ok(())
}

async fn answers_name_the_object(store: &dyn ObjectStore) -> Outcome {
    let put = store.put_new(&key("a/b")?, "12345").await?;
    let head = store.head(&key("a/b")?, &HeadOptions::default()).await?;
    ensure!(put.key == key("a/b")? && put.size == 5, "the put answered {put:?}");
    ensure!(head.key == put.key && head.size == 5 && head.latest && !head.delete_marker, "head answered {head:?}");
    ensure!(head.etag == put.etag && head.version == put.version, "put answered {put:?}, head {head:?}");
    fails("head of an absent key", ErrorKind::NotFound, store.head(&key("a")?, &HeadOptions::default()).await)
}

async fn a_second_create_changes_nothing(store: &dyn ObjectStore) -> Outcome {
    let first = store.put_new(&key("a")?, "first").await?;
    fails("a second create", ErrorKind::AlreadyExists, store.put_new(&key("a")?, "second").await)?;
    fails("a create of the same content", ErrorKind::AlreadyExists, store.put_new(&key("a")?, "first").await)?;
    ensure!(store.get_bytes(&key("a")?, 10).await? == "first", "the second content is there");
    let now = store.head(&key("a")?, &HeadOptions::default()).await?;
    ensure!(now.etag == first.etag && now.version == first.version, "the refused create left a trace: {now:?}");
    Ok(())
}

async fn of_sixteen_creates_one_wins(store: &dyn ObjectStore) -> Outcome {
    for round in 0..4 {
        let name = key(&format!("race/{round}"))?;
        let name = &name;
        let create = |i: usize| async move { store.put_new(name, format!("writer {i}")).await };
        let results = join_all((0..16).map(create)).await;
        let mut winners = Vec::new();
        for (i, result) in results.into_iter().enumerate() {
            match result {
                Ok(_) => winners.push(i),
                Err(error) => fails("a lost race", ErrorKind::AlreadyExists, Err::<(), _>(error))?,
            }
        }
        ensure!(winners.len() == 1, "{} creates won", winners.len());
        let content = store.get_bytes(name, 100).await?;
        ensure!(content == format!("writer {}", winners[0]), "the winner's content is not there: {content:?}");
    }
    Ok(())
}

async fn an_overwrite_replaces_all(store: &dyn ObjectStore) -> Outcome {
    let long = store.put_new(&key("a")?, "a long content").await?;
    let short = store.put(&key("a")?, Bytes::from_static(b"short"), &PutOptions::overwrite()).await?;
    ensure!(store.get_bytes(&key("a")?, 100).await? == "short", "the new content is not there alone");
    ensure!(long.etag.is_none() || long.etag != short.etag, "the etag stayed {:?}", long.etag);
    ensure!(names(store, "", &ListOptions::default()).await? == ["a"], "the key is listed twice");
    Ok(())
}

async fn an_overwrite_creates_what_is_absent(store: &dyn ObjectStore) -> Outcome {
    store.put(&key("a")?, Bytes::from_static(b"x"), &PutOptions::overwrite()).await?;
    ensure!(store.get_bytes(&key("a")?, 1).await? == "x", "the content is not there");
    Ok(())
}

async fn readers_see_one_content_or_the_other(store: &dyn ObjectStore) -> Outcome {
    const SIZE: usize = 300_000;
    let name = &key("a")?;
    store.put_new(name, vec![0; SIZE]).await?;
    let write = async {
        for i in 1..20 {
            store.put(name, vec![i; SIZE].into(), &PutOptions::overwrite()).await?;
        }
        Ok(())
    };
    let read = async {
        for _ in 0..20 {
            let content = store.get_bytes(name, SIZE as u64).await?;
            ensure!(content.len() == SIZE, "a reader saw {} bytes", content.len());
            ensure!(content.iter().all(|byte| *byte == content[0]), "a reader saw a mixture of two contents");
        }
        Ok(())
    };
    futures_util::future::try_join(write, read).await.map(|_: ((), ())| ())
}

async fn other_content_than_announced_is_refused(store: &dyn ObjectStore) -> Outcome {
    let announced = PutOptions::default().with_sha256(Sha256::of(b"right"));
    let refused = store.put(&key("a")?, Bytes::from_static(b"wrong"), &announced).await;
    fails("a put of other bytes", ErrorKind::Corrupt, refused)?;
    ensure!(!store.exists(&key("a")?).await?, "the refused content is there");
    store.put(&key("a")?, Bytes::from_static(b"right"), &announced).await?;
    Ok(())
}

/// No key may be the folder of another. A store that cannot hold both must refuse the second, not lose the first.
async fn a_key_that_is_a_folder_of_another_loses_nothing(store: &dyn ObjectStore) -> Outcome {
    for (first, second) in [("a", "a/b"), ("c/d", "c")] {
        store.put_new(&key(first)?, "first").await?;
        let refused = store.put_new(&key(second)?, "second").await.err();
        ensure!(store.get_bytes(&key(first)?, 10).await? == "first", "{first} is lost");
        let there = store.exists(&key(second)?).await?;
        ensure!(there == refused.is_none(), "{second}: there is {there}, the put answered {refused:?}");
    }
    Ok(())
}

async fn the_time_is_the_stores_own(store: &dyn ObjectStore) -> Outcome {
    // Stores keep whole seconds at worst.
    let before = store.now().await?.as_second();
    let put = store.put_new(&key("a")?, "x").await?.last_modified.as_second();
    let after = store.now().await?.as_second() + 1;
    ensure!((before..=after).contains(&put), "put at {put}, between {before} and {after} by the store's clock");
    let head = store.head(&key("a")?, &HeadOptions::default()).await?.last_modified.as_second();
    ensure!((put - head).abs() <= 1, "the put answered {put}, head {head}");
    Ok(())
}
