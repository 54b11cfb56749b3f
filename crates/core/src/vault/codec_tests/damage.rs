//! Stored bytes that are not what they were.

use super::*;

/// What becomes of stored bytes, and what the error must say.
type Damage = (&'static str, fn(&mut Vec<u8>), ErrorKind, &'static str);

#[tokio::test]
async fn damage_is_found_and_named() {
    let damages: [Damage; 6] = [
        ("header", |stored| stored[30] ^= 1, ErrorKind::Corrupt, "part: 0"),
        ("middle", |stored| stored[10 * MIB] ^= 1, ErrorKind::Corrupt, "part: 1"),
        ("last byte", |stored| *stored.last_mut().unwrap() ^= 0x80, ErrorKind::Corrupt, "part: 2"),
        ("cut by one", |stored| stored.truncate(stored.len() - 1), ErrorKind::Corrupt, "another length"),
        ("cut in the middle", |stored| stored.truncate(9 * MIB), ErrorKind::Corrupt, "part: "),
        ("longer", |stored| stored.push(0), ErrorKind::Corrupt, "another length"),
    ];
    for place in [Place::sealed(), Place::bare()] {
        let plain = noise(20 * MIB);
        let encoded = place.encode(&plain).await;
        let good = place.stored(&encoded).await;
        for (what, damage, kind, expected) in damages {
            let mut stored = good.clone();
            damage(&mut stored);
            place.replace(&key(), stored).await;
            let decoded = place.decode(&encoded).await.expect_err(what);
            assert!(decoded.to_string().contains(expected), "{what}: {decoded}");
            assert_eq!(decoded.context("item"), Some("dump"), "{what}: {decoded}");
            for error in [decoded, place.prove(&encoded).await.expect_err(what)] {
                assert_eq!(error.kind(), kind, "{what}: {error:?}");
                assert_eq!(error.context("key"), Some("items/a"), "{what}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn objects_that_are_swapped_or_missing_are_found() {
    let mut place = Place::sealed();
    place.object_bytes = PART as u64;
    let encoded = place.encode(&noise(20 * MIB)).await;
    let [first, second] = [0, 1].map(|i| encoded.objects[i].key.clone());
    let (a, b) = (
        place.store.get_bytes(&first, PART as u64).await.unwrap(),
        place.store.get_bytes(&second, PART as u64).await.unwrap(),
    );
    place.replace(&first, b.to_vec()).await;
    place.replace(&second, a.to_vec()).await;
    assert_eq!(place.decode(&encoded).await.unwrap_err().context("key"), Some("items/a"));
    place.replace(&first, a.to_vec()).await;
    assert_eq!(place.decode(&encoded).await.unwrap_err().context("key"), Some("items/a.001"));
    place.store.delete(&[second.into()]).await.unwrap();
    for error in [place.decode(&encoded).await.map(|_| ()).unwrap_err(), place.prove(&encoded).await.unwrap_err()] {
        assert_eq!((error.kind(), error.context("key")), (ErrorKind::NotFound, Some("items/a.001")), "{error:?}");
    }
}

/// Stored bytes whose digests are right but whose content is not: as if the writer had been wrong.
async fn forged(place: &Place, stream: &[u8], bytes: u64, blake3: Blake3) -> Encoded {
    let stored = match &place.identity {
        Some(identity) => crate::vault::seal_bytes(stream, &[identity.recipient().clone()], &SystemRandom).unwrap(),
        None => stream.to_vec(),
    };
    let object = crate::vault::stored::StoredObject {
        key: key(),
        bytes: stored.len() as u64,
        sha256: crate::digest::Sha256::of(&stored),
        parts: stored.chunks(PART).map(Blake3::of).collect(),
    };
    place.replace(&key(), stored).await;
    Encoded { bytes, blake3, objects: vec![object] }
}

#[tokio::test]
async fn a_stream_that_is_proved_but_wrong_is_refused() {
    for place in [Place::sealed(), Place::bare()] {
        let plain = text(5 * MIB);
        let (bytes, blake3) = (plain.len() as u64, Blake3::of(&plain));
        let encoded = place.encode(&plain).await;
        let mut stream = place.stored(&encoded).await;
        if let Some(identity) = &place.identity {
            stream = open_bytes(&stream, &[identity]).unwrap().expose().clone();
        }
        let table = stream.len() - (8 + 2 * 8 + 9);
        let bomb = zstd::bulk::compress(&vec![0; 9 * MIB], 3).unwrap();
        let mut wrong_table = stream.clone();
        wrong_table[table + 8] ^= 1;
        let cases: [(&str, Vec<u8>, u64, Blake3, &str); 9] = [
            ("as it was", stream.clone(), bytes, blake3, ""),
            ("bomb", bomb, bytes, blake3, "more than 8 MiB"),
            ("more than recorded", stream.clone(), bytes - 1, blake3, "more bytes than recorded"),
            ("less than recorded", stream.clone(), bytes + 1, blake3, "another length or digest"),
            ("another digest", stream.clone(), bytes, Blake3::of(b"other"), "another length or digest"),
            ("garbage after the table", [&stream[..], b"x"].concat(), bytes, blake3, "follows the table"),
            ("no table", stream[..table].to_vec(), bytes, blake3, "ends too early"),
            ("wrong table", wrong_table, bytes, blake3, "does not fit the frames"),
            ("not zstd", b"plain text that nobody compressed".to_vec(), bytes, blake3, "does not begin as one"),
        ];
        for (what, stream, bytes, blake3, expected) in cases {
            let encoded = forged(&place, &stream, bytes, blake3).await;
            let mut seen = Vec::new();
            let mut read = place.reader(&encoded).unwrap().stream().await.unwrap();
            let error: Option<Error> = loop {
                match read.try_next().await {
                    Ok(Some(chunk)) => seen.extend_from_slice(&chunk),
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            };
            match error {
                None => assert!(expected.is_empty() && seen == plain, "{what}"),
                Some(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error:?}");
                    assert!(!expected.is_empty() && error.to_string().contains(expected), "{what}: {error}");
                    assert!((seen.len() as u64) < bytes, "{what}: the end is withheld");
                }
            }
        }
    }
}

#[tokio::test]
async fn ranges_of_a_lying_table_are_refused() {
    let place = Place::bare();
    let plain = text(5 * MIB);
    let encoded = place.encode(&plain).await;
    let stream = place.stored(&encoded).await;
    let table = stream.len() - (8 + 2 * 8 + 9);
    // The first frame one byte longer, the second one shorter: the sums are right, the frames are not.
    let mut shifted = stream.clone();
    shifted[table + 8] = shifted[table + 8].wrapping_add(1);
    shifted[table + 16] = shifted[table + 16].wrapping_sub(1);
    for (what, stream) in [("shifted", shifted), ("no footer", stream[..stream.len() - 1].to_vec())] {
        let encoded = forged(&place, &stream, encoded.bytes, encoded.blake3).await;
        assert_eq!(place.range(&encoded, 0..10).await.unwrap_err().kind(), ErrorKind::Corrupt, "{what}");
    }
}

#[tokio::test]
async fn the_wrong_key_and_no_key_are_told_apart_from_damage() {
    let mut place = Place::sealed();
    let encoded = place.encode(b"secret").await;
    place.identity = Some(Identity::generate(&SystemRandom));
    assert_eq!(place.decode(&encoded).await.unwrap_err().kind(), ErrorKind::Denied);
    place.identity = None;
    assert_eq!(place.decode(&encoded).await.unwrap_err().kind(), ErrorKind::Denied);
    assert!(place.prove(&encoded).await.is_ok(), "this needs no key");
}

#[tokio::test]
async fn descriptions_that_contradict_themselves_are_refused() {
    let place = Place::sealed();
    let encoded = place.encode(b"content").await;
    let mut none = encoded.clone();
    none.objects.clear();
    let mut missing = encoded.clone();
    missing.objects[0].parts.clear();
    let mut short = encoded.clone();
    short.objects.push(encoded.objects[0].clone());
    for wrong in [none, missing, short] {
        assert_eq!(place.reader(&wrong).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
