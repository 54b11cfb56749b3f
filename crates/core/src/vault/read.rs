//! Reading a range of a stored object into a buffer.

use std::ops::Range;

use bytes::Bytes;
use futures_util::StreamExt as _;

use crate::buffer::Buffer;
use crate::error::{Error, ErrorKind, Result};
use crate::store::loan::Loan;
use crate::store::{GetOptions, GetOutcome, Key, ObjectStore};

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
    let mut answer = store.get(key, &options).await.map_err(|error| match error.kind() {
        // The store answers so if the object ends before the range begins.
        ErrorKind::Invalid => corrupt("the object is shorter than recorded").because(error),
        _ => error,
    })?;
    if answer.meta.size != size {
        return Err(corrupt("the object has another length than recorded")
            .with("recorded", size)
            .with("found", answer.meta.size));
    }
    let first = answer.body.next().await.transpose()?.unwrap_or_default();
    Ok((answer, first))
}

fn corrupt(what: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, what)
}
