//! Copies by the store itself: the same bytes, on a free key, and with a digest proved before anything shows.

use backstay_core::store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutOptions};
use backstay_core::{ErrorKind, Result, Sha256};

use super::{Outcome, Stopped, cases, ensure, fails, key};

cases! {
    a_copy_has_the_bytes_of_its_source: Nothing,
    a_copy_is_what_was_announced: Nothing,
    a_copy_of_other_content_than_announced_is_refused: Nothing,
    a_copy_replaces_nothing: CreateIfAbsent,
    a_copy_of_nothing_is_not_found: Nothing,
}

const CONTENT: &[u8] = b"what is copied";

fn announced(content: &[u8]) -> PutOptions {
    PutOptions::default().with_sha256(Sha256::of(content))
}

/// Copies `from` to `to`, or says which ability it takes.
async fn copy(store: &dyn ObjectStore, to: &str, options: &PutOptions) -> Result<Result<ObjectMeta>, Stopped> {
    let Some(place) = store.locate(&key("from")?) else { return Err(Stopped::Lacks("copies")) };
    match store.copy_in(&place, &key(to)?, options).await {
        Ok(Some(meta)) => Ok(Ok(meta)),
        Ok(None) if options.sha256.is_some() => {
            ensure!(!store.exists(&key(to)?).await?, "the caller is to stream, and something is there");
            Err(Stopped::Lacks("proved copies"))
        }
        Ok(None) => Err(Stopped::Lacks("copies")),
        Err(error) => Ok(Err(error)),
    }
}

async fn holds(store: &dyn ObjectStore, name: &str, meta: &ObjectMeta) -> Outcome {
    ensure!(meta.key == key(name)? && meta.size == CONTENT.len() as u64, "the copy answered {meta:?}");
    ensure!(store.get_bytes(&key(name)?, 100).await? == CONTENT, "{name} holds other bytes");
    Ok(())
}

async fn a_copy_has_the_bytes_of_its_source(store: &dyn ObjectStore) -> Outcome {
    store.put_new(&key("from")?, CONTENT).await?;
    let meta = copy(store, "folder/to", &PutOptions::default()).await??;
    holds(store, "folder/to", &meta).await
}

async fn a_copy_is_what_was_announced(store: &dyn ObjectStore) -> Outcome {
    store.put_new(&key("from")?, CONTENT).await?;
    let meta = copy(store, "to", &announced(CONTENT)).await??;
    holds(store, "to", &meta).await
}

async fn a_copy_of_other_content_than_announced_is_refused(store: &dyn ObjectStore) -> Outcome {
    store.put_new(&key("from")?, CONTENT).await?;
    let refused = copy(store, "to", &announced(b"something else")).await?;
    fails("a copy of other bytes", ErrorKind::Corrupt, refused)?;
    ensure!(!store.exists(&key("to")?).await?, "the refused content is there");
    Ok(())
}

async fn a_copy_replaces_nothing(store: &dyn ObjectStore) -> Outcome {
    store.put_new(&key("from")?, CONTENT).await?;
    store.put_new(&key("to")?, "first").await?;
    let taken = copy(store, "to", &PutOptions::default()).await?;
    fails("a copy to a taken key", ErrorKind::AlreadyExists, taken)?;
    ensure!(store.get_bytes(&key("to")?, 100).await? == "first", "the copy is there");
    Ok(())
}

async fn a_copy_of_nothing_is_not_found(store: &dyn ObjectStore) -> Outcome {
    store.put_new(&key("from")?, CONTENT).await?;
    copy(store, "to", &PutOptions::default()).await??;
    store.delete(&[key("from")?.into()]).await?;
    fails("a copy of nothing", ErrorKind::NotFound, copy(store, "other", &PutOptions::default()).await?)
}
