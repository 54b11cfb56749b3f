//! Reading a range of a stored object into a buffer.

use std::ops::Range;

use bytes::Bytes;
use futures_util::StreamExt as _;

use crate::buffer::Buffer;
use crate::error::{Error, ErrorKind, Result};
use crate::store::loan::Loan;
use crate::store::{GetOptions, GetOutcome, HeadOptions, Key, ObjectStore};

/// Reads `range` of an object of `size` bytes. On an error the buffer holds nothing that counts.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt) if the object has another size or the store sends another number of bytes, and what the
/// store answers.
pub(crate) async fn read_range(
    store: &dyn ObjectStore,
    key: &Key,
    size: u64,
    range: Range<u64>,
    buffer: &mut Buffer,
) -> Result<()> {
    let wanted = (range.end - range.start) as usize;
    let loan = Loan::offer(std::mem::take(&mut **buffer));
    let options =
        GetOptions { range: Some(range).filter(|_| wanted > 0), loan: Some(loan.clone()), ..GetOptions::default() };
    let (answer, first) = match begin(store, key, size, options).await {
        Ok((answer, first)) => (Ok(answer), first),
        Err(error) => (Err(error), Bytes::new()),
    };
    let mut rest;
    (**buffer, rest) = loan.end(first);
    let mut body = answer?.body;
    loop {
        if rest.len() > wanted.saturating_sub(buffer.len()) {
            return Err(corrupt("the store sent more than was asked for"));
        }
        buffer.extend_from_slice(&rest);
        match body.next().await {
            Some(piece) => rest = piece?,
            None if buffer.len() < wanted => return Err(corrupt("the store sent less than was asked for")),
            None => return Ok(()),
        }
    }
}

/// The answer with the first chunk taken out of its body.
async fn begin(store: &dyn ObjectStore, key: &Key, size: u64, options: GetOptions) -> Result<(GetOutcome, Bytes)> {
    let mut answer = match store.get(key, &options).await {
        // A store answers so if the object ends before the range begins, and something on the way for reasons of its own.
        Err(error) if error.kind() == ErrorKind::Invalid => {
            return match store.head(key, &HeadOptions::default()).await?.size {
                found if found == size => Err(error),
                found => Err(other_length(size, found).because(error)),
            };
        }
        answer => answer?,
    };
    if answer.meta.size != size {
        return Err(other_length(size, answer.meta.size));
    }
    let first = answer.body.next().await.transpose()?.unwrap_or_default();
    Ok((answer, first))
}

fn other_length(recorded: u64, found: u64) -> Error {
    corrupt("the object has another length than recorded").with("recorded", recorded).with("found", found)
}

fn corrupt(what: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, what)
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::Arc;

    use async_trait::async_trait;
    use jiff::Timestamp;

    use super::*;
    use crate::budget::Budget;
    use crate::buffer::Lane;
    use crate::limits::Limits;
    use crate::store::{
        BoxStream, Capabilities, DeleteOutcome, HeadOptions, ListEntry, ListOptions, MemoryStore, ObjectMeta,
        ObjectRef, ObjectStoreExt as _, Prefix, PutOptions, Upload, UploadRef,
    };

    /// Says another size than the object has, or sends other bytes.
    #[derive(Debug)]
    struct Liar {
        store: MemoryStore,
        size: u64,
        /// What it sends; none if it refuses every read.
        sent: Option<&'static str>,
    }

    #[async_trait]
    impl ObjectStore for Liar {
        fn capabilities(&self) -> Capabilities {
            self.store.capabilities()
        }

        async fn put(&self, key: &Key, data: Bytes, options: &PutOptions) -> Result<ObjectMeta> {
            self.store.put(key, data, options).await
        }

        async fn upload(&self, key: &Key, options: &PutOptions) -> Result<Box<dyn Upload>> {
            self.store.upload(key, options).await
        }

        fn uploads(&self, prefix: &Prefix) -> BoxStream<'static, Result<UploadRef>> {
            self.store.uploads(prefix)
        }

        async fn abort_upload(&self, upload: &UploadRef) -> Result<()> {
            self.store.abort_upload(upload).await
        }

        async fn now(&self) -> Result<Timestamp> {
            self.store.now().await
        }

        async fn get(&self, key: &Key, _: &GetOptions) -> Result<GetOutcome> {
            let mut answer = self.store.get(key, &GetOptions::default()).await?;
            answer.meta.size = self.size;
            // In two pieces, so that both the first and a later one are measured.
            let sent = self.sent.ok_or_else(|| Error::new(ErrorKind::Invalid, "a proxy does not like it"))?;
            let (one, two) = sent.split_at(sent.len() / 2);
            answer.body = Box::pin(futures_util::stream::iter([one, two].map(|piece| Ok(Bytes::from(piece)))));
            Ok(answer)
        }

        async fn head(&self, key: &Key, options: &HeadOptions) -> Result<ObjectMeta> {
            self.store.head(key, options).await
        }

        fn list(&self, prefix: &Prefix, options: &ListOptions) -> BoxStream<'static, Result<ListEntry>> {
            self.store.list(prefix, options)
        }

        async fn delete(&self, what: &[ObjectRef]) -> Result<Vec<DeleteOutcome>> {
            self.store.delete(what).await
        }
    }

    impl fmt::Display for Liar {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a liar")
        }
    }

    #[tokio::test]
    async fn a_read_that_is_refused_is_damage_only_if_the_object_is_not_as_long_as_recorded() {
        let key: Key = "a".parse().unwrap();
        let budget = Budget::inline(Limits::default());
        let lane = Lane::new(&Arc::new(budget.reserve(4 << 10).await.unwrap()), 4 << 10, &budget);
        let refusing = Liar { store: MemoryStore::new(), size: 8, sent: None };
        refusing.store.put_new(&key, "abcdefgh").await.unwrap();
        let mut buffer = lane.buffer().await.unwrap();
        let error = read_range(&refusing, &key, 8, 2..6, &mut buffer).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Invalid, "a proxy does not like it"));
        let mut buffer = lane.buffer().await.unwrap();
        let error = read_range(&refusing.store, &key, 20, 10..16, &mut buffer).await.unwrap_err();
        assert_eq!((error.kind(), error.context("found")), (ErrorKind::Corrupt, Some("8")), "{error:?}");
    }

    #[tokio::test]
    async fn lengths_that_are_not_as_recorded_are_damage() {
        let key: Key = "a".parse().unwrap();
        let budget = Budget::inline(Limits::default());
        let lane = Lane::new(&Arc::new(budget.reserve(4 << 10).await.unwrap()), 4 << 10, &budget);
        for (size, sent, expected) in [
            (8, "cdef", None),
            (9, "cdef", Some("the object has another length than recorded")),
            (7, "cdef", Some("the object has another length than recorded")),
            (8, "cdefg", Some("the store sent more than was asked for")),
            (8, "cdefghijkl", Some("the store sent more than was asked for")),
            (8, "cde", Some("the store sent less than was asked for")),
            (8, "", Some("the store sent less than was asked for")),
        ] {
            let liar = Liar { store: MemoryStore::new(), size, sent: Some(sent) };
            liar.store.put_new(&key, "abcdefgh").await.unwrap();
            let mut buffer = lane.buffer().await.unwrap();
            let read = read_range(&liar, &key, 8, 2..6, &mut buffer).await;
            match (expected, read) {
                (None, Ok(())) => assert_eq!(&buffer[..], b"cdef"),
                (Some(expected), Err(error)) => {
                    assert_eq!((error.kind(), error.message()), (ErrorKind::Corrupt, expected), "{size} {sent:?}");
                }
                (_, read) => panic!("{size} {sent:?}: {read:?}"),
            }
        }
    }
}
