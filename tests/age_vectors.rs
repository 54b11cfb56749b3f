//! The published test vectors of the age format. They are part of the package `age`, which is found where Cargo keeps it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use backstay::vault::{Identity, open_bytes};
use backstay::{ErrorKind, Sha256};

/// Other recipient types and encodings, which this library does not have.
const NOT_OURS: [&str; 3] = ["armor", "scrypt", "hybrid"];

/// One vector: what is known of it, and the age file.
struct Vector {
    facts: BTreeMap<String, String>,
    file: Vec<u8>,
}

#[test]
fn every_x25519_vector_ends_as_it_must() {
    let mut ran = BTreeMap::new();
    for path in vectors() {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if NOT_OURS.iter().any(|kind| name.starts_with(kind)) {
            continue;
        }
        let vector = Vector::read(&path);
        let expected = vector.facts["expect"].clone();
        let identity = vector.facts.get("identity").map(|text| Identity::parse(text).unwrap());
        let opened = open_bytes(&vector.file, &identity.iter().collect::<Vec<_>>());
        match (expected.as_str(), opened) {
            ("success", Ok(plain)) => {
                assert_eq!(Sha256::of(plain.expose()).to_string(), vector.facts["payload"], "{name}");
            }
            ("no match", Err(error)) => assert_eq!(error.kind(), ErrorKind::Denied, "{name}: {error}"),
            ("header failure" | "HMAC failure" | "payload failure", Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error}");
            }
            (_, Ok(_)) => panic!("{name} was opened; expected {expected}"),
            (_, Err(error)) => panic!("{name}: {error}; expected {expected}"),
        }
        *ran.entry(expected).or_insert(0) += 1;
    }
    // Counted, so that a folder that moved or a rule that skips too much is noticed.
    let counts: Vec<(&str, i32)> = ran.iter().map(|(expected, count)| (expected.as_str(), *count)).collect();
    assert_eq!(
        counts,
        [("HMAC failure", 1), ("header failure", 31), ("no match", 3), ("payload failure", 18), ("success", 14)]
    );
}

impl Vector {
    fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap();
        let facts: BTreeMap<String, String> = std::str::from_utf8(&bytes[..end])
            .unwrap()
            .lines()
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let file = match facts.get("compressed").map(String::as_str) {
            None => bytes[end + 2..].to_vec(),
            Some("zlib") => miniz_oxide::inflate::decompress_to_vec_zlib(&bytes[end + 2..]).unwrap(),
            Some(other) => panic!("{}: compressed with {other}", path.display()),
        };
        Self { facts, file }
    }
}

fn vectors() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let age = packages.iter().find(|package| package["name"] == "age").unwrap();
    let folder = Path::new(age["manifest_path"].as_str().unwrap()).parent().unwrap().join("tests/testdata/testkit");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}
