//! Create-only puts whose answer may get lost: settled by a listing, because a writer may not read. And deletes of many.

use bytes::Bytes;
use futures_util::StreamExt;

use crate::error::{Error, ErrorKind, Result};
use crate::store::{
    DeleteOutcome, Key, ListEntry, ListOptions, ObjectMeta, ObjectRef, ObjectStore, Prefix, PutOptions,
};

/// So many objects are deleted with one call: the limit of S3.
const DELETE_BATCH: usize = 1000;

/// Creates an object whose key no other attempt uses, or whose key is derived from its content. A key that is taken by as
/// many bytes was taken by this call or by its twin.
///
/// # Errors
/// [`AlreadyExists`](ErrorKind::AlreadyExists) if something of another length is there.
pub(crate) async fn put_new(
    store: &dyn ObjectStore,
    key: &Key,
    data: Bytes,
    options: &PutOptions,
) -> Result<ObjectMeta> {
    let size = data.len() as u64;
    settle(store, key, size, store.put(key, data, options).await).await
}

/// Settles a create whose result is unsure or says that the key is taken.
pub(crate) async fn settle(
    store: &dyn ObjectStore,
    key: &Key,
    size: u64,
    result: Result<ObjectMeta>,
) -> Result<ObjectMeta> {
    let error = match result {
        Err(error) if error.kind() == ErrorKind::AlreadyExists || error.kind().is_unsure() => error,
        settled => return settled,
    };
    match find(store, key).await {
        Ok(Some(found)) if found.size == size => Ok(found),
        Ok(Some(found)) => Err(Error::new(
            ErrorKind::AlreadyExists,
            format!("the key is taken by {} bytes that are not ours", found.size),
        )
        .with("key", key)
        .because(error)),
        // What cannot be settled stays as unsure as it was.
        Ok(None) | Err(_) => Err(error),
    }
}

/// Deletes objects, all that can be; the first that stays is the error.
pub(crate) async fn delete_all(store: &dyn ObjectStore, what: &[ObjectRef]) -> Result<()> {
    let mut stays = None;
    for batch in what.chunks(DELETE_BATCH) {
        for DeleteOutcome { object, result, .. } in store.delete(batch).await? {
            stays = stays.or(result.err().map(|error| error.with("key", object.key)));
        }
    }
    stays.map_or(Ok(()), Err)
}

/// What a listing says of one key.
pub(crate) async fn find(store: &dyn ObjectStore, key: &Key) -> Result<Option<ObjectMeta>> {
    let mut listing = store.list(&Prefix::new(key.as_str())?, &ListOptions::default());
    while let Some(entry) = listing.next().await {
        match entry? {
            ListEntry::Object(found) if found.key == *key => return Ok(Some(found)),
            _ => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Lock, MemoryStore, ObjectStoreExt as _};

    #[tokio::test]
    async fn one_object_that_stays_keeps_no_other() {
        let store = MemoryStore::new();
        let mut what = Vec::new();
        for i in 0..DELETE_BATCH + 500 {
            let key: Key = format!("k/{i:04}").parse().unwrap();
            store.put_new(&key, "x").await.unwrap();
            what.push(ObjectRef::from(key));
        }
        store.protect(&what[3], &Lock { hold: true, ..Lock::default() }).await.unwrap();
        let error = delete_all(&store, &what).await.unwrap_err();
        assert_eq!((error.kind(), error.context("key")), (ErrorKind::Locked, Some("k/0003")));
        assert_eq!(store.list(&Prefix::all(), &ListOptions::default()).count().await, 1);
    }
}
