//! Encoding and decoding together: what goes in comes out, and what was damaged does not.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use proptest::prelude::*;

use crate::budget::Budget;
use crate::clock::{Random, SystemRandom};
use crate::digest::Blake3;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Limits;
use crate::store::{Key, MemoryStore, ObjectStore, ObjectStoreExt as _, Prefix, PutOptions};
use crate::vault::decode::ItemReader;
use crate::vault::encode::{EncodeOptions, Encoded, Encoder};
use crate::vault::manifest::ObjectEntry;
use crate::vault::prove::prove_object;
use crate::vault::seal::{Identity, open_bytes};
use crate::vault::stored::PART;

mod damage;

const MIB: usize = 1 << 20;
const CHUNK: usize = 64 << 10;

/// The same bytes for the same seed; nothing secret is made of them.
#[derive(Debug)]
struct Seeded;

impl Random for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.iter_mut().zip(1..).for_each(|(byte, i)| *byte = i);
    }
}

/// Words from a small dictionary, so that it shrinks.
fn text(len: usize) -> Vec<u8> {
    let words = ["select ", "insert ", "orders ", "customer ", "2026-11-20 ", "0.00\n", "NULL ", "paid "];
    let mut state = 7_u64;
    let mut out = Vec::with_capacity(len + 16);
    while out.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        out.extend_from_slice(words[(state >> 61) as usize].as_bytes());
    }
    out.truncate(len);
    out
}

/// Bytes that do not shrink.
fn noise(len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut out);
    out
}

fn small() -> Budget {
    Budget::new(Limits { bytes: 48 << 20, workers: 2.try_into().unwrap(), ..Limits::default() })
}

fn key() -> Key {
    Key::new("items/a").unwrap()
}

struct Place {
    store: Arc<MemoryStore>,
    identity: Option<Identity>,
    budget: Budget,
    object_bytes: u64,
}

impl Place {
    fn sealed() -> Self {
        let identity = Some(Identity::generate(&SystemRandom));
        Self { store: Arc::new(MemoryStore::new()), identity, budget: small(), object_bytes: 64 << 30 }
    }

    fn bare() -> Self {
        Self { identity: None, ..Self::sealed() }
    }

    async fn open(&self, size_hint: Option<u64>) -> Result<Encoder> {
        let recipient = self.identity.as_ref().map(|identity| identity.recipient().clone());
        let options =
            EncodeOptions { recipient, size_hint, object_bytes: self.object_bytes, ..EncodeOptions::default() };
        let store: Arc<dyn ObjectStore> = Arc::clone(&self.store) as _;
        Encoder::open(store, key(), PutOptions::default(), options, &self.budget, &SystemRandom).await
    }

    async fn encode(&self, plain: &[u8]) -> Encoded {
        let mut encoder = self.open(None).await.unwrap();
        for piece in plain.chunks(300_000) {
            encoder.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        encoder.finish().await.unwrap()
    }

    fn reader(&self, encoded: &Encoded) -> Result<ItemReader> {
        let store: Arc<dyn ObjectStore> = Arc::clone(&self.store) as _;
        let plain = (encoded.bytes, Some(encoded.blake3));
        ItemReader::new("dump", vec![store], encoded.objects.clone(), self.identity.clone(), plain, &self.budget)
    }

    /// The proof that needs no key.
    async fn prove(&self, encoded: &Encoded) -> Result<()> {
        for object in &encoded.objects {
            let entry = ObjectEntry { key: object.key.clone(), bytes: object.bytes, sha256: object.sha256 };
            prove_object(&*self.store, &entry, &self.budget).await?;
        }
        Ok(())
    }

    async fn decode(&self, encoded: &Encoded) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut stream = self.reader(encoded)?.stream().await?;
        while let Some(chunk) = stream.try_next().await? {
            out.extend_from_slice(&chunk);
        }
        Ok(out)
    }

    async fn range(&self, encoded: &Encoded, range: std::ops::Range<usize>) -> Result<Vec<u8>> {
        let stream = self.reader(encoded)?.range(range.start as u64..range.end as u64).await?;
        let pieces: Vec<Bytes> = stream.try_collect().await?;
        Ok(pieces.concat())
    }

    async fn stored(&self, encoded: &Encoded) -> Vec<u8> {
        let mut all = Vec::new();
        for object in &encoded.objects {
            all.extend_from_slice(&self.store.get_bytes(&object.key, object.bytes).await.unwrap());
        }
        all
    }

    /// Replaces a stored object's bytes.
    async fn replace(&self, key: &Key, content: Vec<u8>) {
        self.store.put(key, content.into(), &PutOptions::overwrite()).await.unwrap();
    }
}

#[tokio::test]
async fn every_size_comes_back_and_its_digests_are_right() {
    for plain in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 8 * MIB, 8 * MIB + 1]
        .into_iter()
        .flat_map(|len| [text(len), noise(len)])
        .chain([noise(17 * MIB)])
    {
        for place in [Place::sealed(), Place::bare()] {
            let encoded = place.encode(&plain).await;
            assert_eq!((encoded.bytes, encoded.blake3), (plain.len() as u64, Blake3::of(&plain)));
            let stored = place.stored(&encoded).await;
            assert_eq!(encoded.objects.len(), 1);
            assert_eq!(encoded.objects[0].sha256, crate::digest::Sha256::of(&stored));
            assert_eq!(encoded.objects[0].parts, stored.chunks(PART).map(Blake3::of).collect::<Vec<_>>());
            assert!(place.decode(&encoded).await.unwrap() == plain, "{} bytes", plain.len());
            place.prove(&encoded).await.unwrap();
            assert!(place.budget.peak_bytes() <= 48 << 20);
        }
    }
}

#[tokio::test]
async fn the_stored_form_is_an_age_file_of_a_zstd_file() {
    let place = Place::sealed();
    let plain = text(9 * MIB);
    let encoded = place.encode(&plain).await;
    let stored = place.stored(&encoded).await;
    let opened = open_bytes(&stored, &[place.identity.as_ref().unwrap()]).unwrap();
    assert!(zstd::stream::decode_all(opened.expose().as_slice()).unwrap() == plain);
    assert!(stored.len() < plain.len() / 3);
}

#[tokio::test]
async fn a_large_item_becomes_several_objects_that_join() {
    for mut place in [Place::sealed(), Place::bare()] {
        for parts_per_object in [1, 2] {
            place.store = Arc::new(MemoryStore::new());
            place.object_bytes = (parts_per_object * PART) as u64;
            let plain = noise(35 * MIB);
            let encoded = place.encode(&plain).await;
            let names: Vec<_> = encoded.objects.iter().map(|object| object.key.to_string()).collect();
            let expected = if parts_per_object == 1 { 5 } else { 3 };
            assert_eq!(names, ["items/a", "items/a.001", "items/a.002", "items/a.003", "items/a.004"][..expected]);
            assert!(place.decode(&encoded).await.unwrap() == plain);
            let ends = 16 * MIB - 5..16 * MIB + 5;
            assert_eq!(place.range(&encoded, ends.clone()).await.unwrap(), plain[ends]);
            place.prove(&encoded).await.unwrap();
        }
    }
}

#[tokio::test]
async fn ranges_come_back_wherever_they_begin_and_end() {
    for place in [Place::sealed(), Place::bare()] {
        let plain = [noise(13 * MIB), text(6 * MIB)].concat();
        let encoded = place.encode(&plain).await;
        let reader = place.reader(&encoded).unwrap();
        let edges = [0, 1, CHUNK, 4 * MIB - 1, 4 * MIB, 8 * MIB + 1, 13 * MIB, plain.len() - 1, plain.len()];
        for (i, start) in edges.into_iter().enumerate() {
            for end in &edges[i..] {
                let stream = reader.range(start as u64..*end as u64).await.unwrap();
                let pieces: Vec<Bytes> = stream.try_collect().await.unwrap();
                assert!(pieces.concat() == plain[start..*end], "{start}..{end}");
            }
        }
        for (start, end) in [(2, 1), (0, plain.len() as u64 + 1)] {
            let error = reader.range(start..end).await.map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
    }
}

#[tokio::test]
async fn a_range_fetches_only_the_parts_that_hold_it() {
    let place = Place::sealed();
    let plain = noise(40 * MIB);
    let mut encoded = place.encode(&plain).await;
    // Parts that are not needed may be rotten: 0 has the header, 4 and 5 the table, 2 the range.
    for part in [1, 3] {
        encoded.objects[0].parts[part] = Blake3::of(b"other");
    }
    let range = 18 * MIB..19 * MIB;
    assert!(place.range(&encoded, range.clone()).await.unwrap() == plain[range]);
    assert!(place.range(&encoded, 10 * MIB..11 * MIB).await.is_err());
}

#[tokio::test]
async fn a_wrong_hint_costs_speed_only() {
    for hint in [0, 1, 5000, u64::MAX] {
        let place = Place::sealed();
        let plain = noise(20 * MIB);
        let mut encoder = place.open(Some(hint)).await.unwrap();
        encoder.write(plain.clone().into()).await.unwrap();
        let encoded = encoder.finish().await.unwrap();
        assert!(place.decode(&encoded).await.unwrap() == plain, "{hint}");
    }
}

#[tokio::test]
async fn two_items_side_by_side_fit_in_the_smallest_budget() {
    let place = Place::sealed();
    let (mut a, mut b) = (place.open(None).await.unwrap(), {
        let store: Arc<dyn ObjectStore> = Arc::clone(&place.store) as _;
        let key = Key::new("items/b").unwrap();
        Encoder::open(store, key, PutOptions::default(), EncodeOptions::default(), &place.budget, &Seeded)
            .await
            .unwrap()
    });
    for piece in noise(40 * MIB).chunks(MIB) {
        a.write(Bytes::copy_from_slice(piece)).await.unwrap();
        b.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    let (a, b) = (a.finish().await.unwrap(), b.finish().await.unwrap());
    assert_eq!(a.blake3, b.blake3);
    assert!(place.budget.peak_bytes() <= 48 << 20);
}

#[tokio::test]
async fn a_reader_that_keeps_everything_does_not_stand_still() {
    let place = Place::sealed();
    let plain = text(100 * MIB);
    let encoded = place.encode(&plain).await;
    let stream = place.reader(&encoded).unwrap().stream().await.unwrap();
    let kept: Vec<Bytes> = stream.try_collect().await.unwrap();
    assert_eq!(kept.iter().map(Bytes::len).sum::<usize>(), plain.len());
}

#[tokio::test]
async fn what_is_dropped_or_aborted_is_never_visible() {
    for abort in [false, true] {
        let place = Place::sealed();
        let mut encoder = place.open(None).await.unwrap();
        encoder.write(noise(30 * MIB).into()).await.unwrap();
        if abort {
            encoder.abort().await;
            let uploads: Vec<_> = place.store.uploads(&Prefix::all()).try_collect().await.unwrap();
            assert!(uploads.is_empty(), "abort frees the upload");
        } else {
            drop(encoder);
        }
        // Everything that was taken comes back, as soon as the workers have let go.
        drop(place.budget.reserve(48 << 20).await.unwrap());
        let error = place.store.head(&key(), &crate::store::HeadOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn a_taken_key_fails_the_item_and_changes_nothing() {
    for len in [10, 20 * MIB] {
        let place = Place::sealed();
        place.store.put_new(&key(), "before").await.unwrap();
        let mut encoder = place.open(None).await.unwrap();
        let written = encoder.write(noise(len).into()).await;
        let error = match written {
            Ok(()) => encoder.finish().await.map(|_| ()).unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
        assert_eq!(place.store.get_bytes(&key(), 100).await.unwrap(), "before");
    }
}

#[tokio::test]
async fn after_a_failure_every_call_fails() {
    let place = Place::sealed();
    place.store.put_new(&key(), "before").await.unwrap();
    let mut encoder = place.open(None).await.unwrap();
    let noise = Bytes::from(noise(10 * MIB));
    let mut failed = 0;
    for _ in 0..20 {
        failed += usize::from(encoder.write(noise.clone()).await.is_err());
        tokio::task::yield_now().await;
    }
    // The memory store reports a taken key when the upload begins or completes; in the latter case only finish fails.
    assert!(failed == 0 || encoder.write(noise).await.is_err());
    assert!(encoder.finish().await.is_err());
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_one_thread() {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = Arc::new(MemoryStore::new());
            let identity = Identity::generate(&Seeded);
            let options = EncodeOptions { recipient: Some(identity.recipient().clone()), ..EncodeOptions::default() };
            let budget = Budget::inline(Limits::default());
            let shared: Arc<dyn ObjectStore> = Arc::clone(&store) as _;
            let mut encoder =
                Encoder::open(Arc::clone(&shared), key(), PutOptions::default(), options, &budget, &Seeded)
                    .await
                    .unwrap();
            let plain = noise(20 * MIB);
            encoder.write(plain.clone().into()).await.unwrap();
            let encoded = encoder.finish().await.unwrap();
            let content = (encoded.bytes, Some(encoded.blake3));
            let reader =
                ItemReader::new("a", vec![shared], encoded.objects.clone(), Some(identity), content, &budget).unwrap();
            let pieces: Vec<Bytes> = reader.stream().await.unwrap().try_collect().await.unwrap();
            assert!(pieces.concat() == plain);
            encoded.objects
        })
    };
    assert_eq!(run(), run());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_chunking_and_any_range_come_back(
        pieces in prop::collection::vec((0_usize..700_000, any::<bool>()), 0..12),
        workers in 1_usize..5,
        sealed in any::<bool>(),
        at in (0.0..1.0_f64, 0.0..1.0_f64),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(async {
            let mut place = if sealed { Place::sealed() } else { Place::bare() };
            place.budget = Budget::new(Limits { workers: workers.try_into().unwrap(), ..Limits::default() });
            let mut encoder = place.open(None).await.unwrap();
            let mut plain = Vec::new();
            for (len, shrinks) in pieces {
                let piece = if shrinks { text(len) } else { noise(len) };
                plain.extend_from_slice(&piece);
                encoder.write(piece.into()).await.unwrap();
            }
            let encoded = encoder.finish().await.unwrap();
            assert!(place.decode(&encoded).await.unwrap() == plain);
            let (a, b) = ((at.0 * plain.len() as f64) as usize, (at.1 * plain.len() as f64) as usize);
            let range = a.min(b)..a.max(b);
            assert!(place.range(&encoded, range.clone()).await.unwrap() == plain[range]);
        });
    }
}
