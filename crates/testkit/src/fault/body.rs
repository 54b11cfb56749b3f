//! Faults in the middle of a stream.

use backstay_core::store::{BoxStream, ByteStream};
use backstay_core::{ErrorKind, Result};
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::store::injected;

/// The stream up to `limit` units of `size`, then an error.
pub(super) fn break_off<T: Send + 'static>(
    inner: BoxStream<'static, Result<T>>,
    limit: u64,
    kind: ErrorKind,
    cut: fn(T, u64) -> (T, u64),
) -> BoxStream<'static, Result<T>> {
    Box::pin(stream::unfold(Some((inner, limit)), move |state| async move {
        let (mut inner, left) = state?;
        if left == 0 {
            return Some((Err(injected(kind)), None));
        }
        match inner.next().await? {
            Err(error) => Some((Err(error), None)),
            Ok(item) => {
                let (item, used) = cut(item, left);
                Some((Ok(item), Some((inner, left - used))))
            }
        }
    }))
}

/// At most `left` bytes of a chunk, and how many they are.
pub(super) fn cut_chunk(chunk: Bytes, left: u64) -> (Bytes, u64) {
    let kept = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
    (chunk.slice(..kept), kept as u64)
}

/// One line of a listing.
pub(super) fn cut_line<T>(line: T, _left: u64) -> (T, u64) {
    (line, 1)
}

/// The body with the lowest bit of the byte `at` flipped; the body begins at `offset` of the object.
pub(super) fn flip_bit(body: ByteStream, mut offset: u64, at: u64) -> ByteStream {
    Box::pin(body.map(move |chunk| {
        let chunk = chunk?;
        let begin = offset;
        offset += chunk.len() as u64;
        let index = at.checked_sub(begin).and_then(|index| usize::try_from(index).ok());
        match index.filter(|index| *index < chunk.len()) {
            None => Ok(chunk),
            Some(index) => {
                let mut flipped = chunk.to_vec();
                flipped[index] ^= 1;
                Ok(flipped.into())
            }
        }
    }))
}
