//! Reads: whole, ranges, conditions.

use backstay_core::ErrorKind;
use backstay_core::store::{GetOptions, ObjectStore, ObjectStoreExt, PutOptions};
use bytes::Bytes;
use futures_util::TryStreamExt;

use super::{Outcome, cases, ensure, fails, key};

cases! {
    an_absent_key_is_not_found: Nothing,
    ranges_are_cut_at_the_end: Nothing,
    ranges_without_a_byte_are_invalid: Nothing,
    a_read_can_be_bound_to_an_etag: Nothing,
    a_body_can_be_dropped_halfway: Nothing,
}

async fn read(store: &dyn ObjectStore, options: &GetOptions) -> backstay_core::Result<(u64, u64, Vec<u8>)> {
    let outcome = store.get(&"a".parse()?, options).await?;
    let body: Vec<Bytes> = outcome.body.try_collect().await?;
    Ok((outcome.range.start, outcome.range.end, body.concat()))
}

async fn an_absent_key_is_not_found(store: &dyn ObjectStore) -> Outcome {
    store.put_new(&key("a/b")?, "x").await?;
    for absent in ["b", "a", "a/c", "a/b/c"] {
        fails(absent, ErrorKind::NotFound, store.get(&key(absent)?, &GetOptions::default()).await)?;
    }
    Ok(())
}

async fn ranges_are_cut_at_the_end(store: &dyn ObjectStore) -> Outcome {
    let content: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
    store.put_new(&key("a")?, content.clone()).await?;
    let ranges =
        [0..1, 0..200_000, 1..2, 65_535..65_537, 199_999..200_000, 199_999..200_001, 100..u64::MAX, 0..1_000_000];
    for range in ranges {
        let end = range.end.min(200_000);
        let (from, to, body) = read(store, &GetOptions::range(range.clone())).await?;
        ensure!((from, to) == (range.start, end), "{range:?} was answered as {from}..{to}");
        ensure!(body == content[range.start as usize..end as usize], "{range:?} gave {} other bytes", body.len());
    }
    let (from, to, _) = read(store, &GetOptions::default()).await?;
    ensure!((from, to) == (0, 200_000), "the whole was answered as {from}..{to}");
    Ok(())
}

async fn ranges_without_a_byte_are_invalid(store: &dyn ObjectStore) -> Outcome {
    store.put_new(&key("a")?, "12345").await?;
    store.put_new(&key("empty")?, "").await?;
    for range in [5..6, 7..9, 5..5, 2..2] {
        let what = format!("{range:?} of five bytes");
        fails(&what, ErrorKind::Invalid, store.get(&key("a")?, &GetOptions::range(range)).await)?;
    }
    let empty = store.get(&key("empty")?, &GetOptions::range(0..1)).await;
    fails("a range of nothing", ErrorKind::Invalid, empty)
}

async fn a_read_can_be_bound_to_an_etag(store: &dyn ObjectStore) -> Outcome {
    let old = store.put_new(&key("a")?, "old").await?;
    let Some(etag) = old.etag else { return Ok(()) };
    let mut bound = GetOptions::default();
    bound.if_match = Some(etag);
    ensure!(read(store, &bound).await?.2 == b"old", "the content differs");
    store.put(&key("a")?, Bytes::from_static(b"new"), &PutOptions::overwrite()).await?;
    fails("a read of the old etag", ErrorKind::Conflict, store.get(&key("a")?, &bound).await)
}

async fn a_body_can_be_dropped_halfway(store: &dyn ObjectStore) -> Outcome {
    store.put_new(&key("a")?, vec![7; 3_000_000]).await?;
    for _ in 0..20 {
        let mut body = store.get(&key("a")?, &GetOptions::default()).await?.body;
        ensure!(body.try_next().await?.is_some_and(|chunk| !chunk.is_empty()), "the body begins with nothing");
    }
    ensure!(store.get_bytes(&key("a")?, 3_000_000).await?.len() == 3_000_000, "the object is short");
    Ok(())
}
