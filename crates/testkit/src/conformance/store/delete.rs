//! Deletes: many, idempotent, each with its own outcome.

use backstay_core::store::{ListOptions, ObjectRef, ObjectStore, ObjectStoreExt};

use super::{Outcome, cases, ensure, key, names};

cases! {
    what_is_absent_is_deleted_with_success: Nothing,
    only_what_is_named_is_deleted: Nothing,
    many_are_deleted_in_the_order_asked: Nothing,
    a_deleted_key_can_be_created_again: Nothing,
}

async fn delete(store: &dyn ObjectStore, names: &[&str]) -> Outcome {
    let what = names.iter().map(|name| Ok(key(name)?.into())).collect::<backstay_core::Result<Vec<ObjectRef>>>()?;
    let outcomes = store.delete(&what).await?;
    ensure!(outcomes.iter().map(|outcome| &outcome.object).eq(&what), "{what:?} was answered by {outcomes:?}");
    for outcome in outcomes {
        outcome.result?;
    }
    Ok(())
}

async fn what_is_absent_is_deleted_with_success(store: &dyn ObjectStore) -> Outcome {
    store.put_new(&key("a/b")?, "x").await?;
    delete(store, &["nothing", "a/b/c", "deep/er", "a"]).await?;
    ensure!(store.exists(&key("a/b")?).await?, "the delete of an absent key took another");
    delete(store, &["a/b"]).await?;
    delete(store, &["a/b"]).await?;
    delete(store, &[]).await
}

async fn only_what_is_named_is_deleted(store: &dyn ObjectStore) -> Outcome {
    for name in ["a", "a-b", "b/c", "b/c-d", "B/c"] {
        store.put_new(&key(name)?, "x").await?;
    }
    delete(store, &["a", "b/c"]).await?;
    let left = names(store, "", &ListOptions::default()).await?;
    ensure!(left == ["B/c", "a-b", "b/c-d"], "left is {left:?}");
    ensure!(!store.exists(&key("a")?).await?, "a deleted object is there");
    Ok(())
}

async fn many_are_deleted_in_the_order_asked(store: &dyn ObjectStore) -> Outcome {
    // More than one request of every store there is; some of the keys are absent.
    let all: Vec<String> = (0..1_100).rev().map(|i| format!("d/{}/{i}", i % 7)).collect();
    for name in all.iter().filter(|name| !name.ends_with('3')) {
        store.put_new(&key(name)?, "").await?;
    }
    delete(store, &all.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let left = names(store, "", &ListOptions::default()).await?;
    ensure!(left.is_empty(), "{} keys are left", left.len());
    Ok(())
}

async fn a_deleted_key_can_be_created_again(store: &dyn ObjectStore) -> Outcome {
    for content in ["first", "second"] {
        store.put_new(&key("a/b")?, content).await?;
        ensure!(store.get_bytes(&key("a/b")?, 10).await? == content, "the content is not {content:?}");
        delete(store, &["a/b"]).await?;
        ensure!(!store.exists(&key("a/b")?).await?, "a deleted object is there");
    }
    Ok(())
}
