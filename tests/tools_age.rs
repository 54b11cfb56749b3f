//! The program `age` and the crate `age` open what we seal, and we open what they seal.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use backstay::vault::{Identity, Recipient, open_bytes, seal_bytes};
use backstay::{ErrorKind, SystemRandom};

const CHUNK: usize = 64 * 1024;

/// Around every boundary of the payload's chunks.
const SIZES: [usize; 9] = [0, 1, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 5 * CHUNK + 17];

fn plain(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

/// Runs a program on `input` and returns what it prints, if it succeeds.
fn run(program: &str, arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A program that refuses its input ends before it has read all of it.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    output.status.success().then_some(output.stdout)
}

fn identity_file(folder: &Path, name: &str, identity: &Identity) -> String {
    let path = folder.join(name);
    fs::write(&path, identity.to_text().expose()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_program_opens_ours_with_any_of_its_recipients() {
    let place = tempfile::tempdir().unwrap();
    let identities = [0; 3].map(|_| Identity::generate(&SystemRandom));
    let files: Vec<String> =
        identities.iter().zip(["a", "b", "stranger"]).map(|(i, name)| identity_file(place.path(), name, i)).collect();
    let recipients: Vec<Recipient> = identities[..2].iter().map(|i| i.recipient().clone()).collect();
    for len in SIZES {
        let sealed = seal_bytes(&plain(len), &recipients, &SystemRandom).unwrap();
        for file in &files[..2] {
            assert_eq!(run("age", &["-d", "-i", file], &sealed), Some(plain(len)), "{len} bytes");
        }
        assert_eq!(run("age", &["-d", "-i", &files[2]], &sealed), None);
    }
}

#[test]
fn we_open_the_programs_with_any_of_its_recipients() {
    let identities = [0; 3].map(|_| Identity::generate(&SystemRandom));
    let [a, b] = [0, 1].map(|i: usize| identities[i].recipient().to_string());
    for len in SIZES {
        let sealed = run("age", &["-r", &a, "-r", &b], &plain(len)).unwrap();
        for identity in &identities[..2] {
            assert_eq!(*open_bytes(&sealed, &[identity]).unwrap().expose(), plain(len), "{len} bytes");
        }
        assert_eq!(open_bytes(&sealed, &[&identities[2]]).unwrap_err().kind(), ErrorKind::Denied);
    }
}

#[test]
fn a_stanza_of_another_kind_is_passed_over() {
    let place = tempfile::tempdir().unwrap();
    let key = place.path().join("ssh");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().unwrap();
    assert!(made.success());
    let identity = Identity::generate(&SystemRandom);
    let (ssh, ours) = (key.with_extension("pub"), identity.recipient().to_string());
    let sealed = run("age", &["-R", ssh.to_str().unwrap(), "-r", &ours], b"words").unwrap();
    assert_eq!(open_bytes(&sealed, &[&identity]).unwrap().expose(), b"words");
}

#[test]
fn identity_files_are_the_same() {
    let place = tempfile::tempdir().unwrap();
    let made = run("age-keygen", &[], b"").unwrap();
    let theirs = Identity::parse(std::str::from_utf8(&made).unwrap()).unwrap();
    assert!(String::from_utf8(made).unwrap().contains(&format!("# public key: {}", theirs.recipient())));

    let ours = Identity::generate(&SystemRandom);
    let shown = run("age-keygen", &["-y", &identity_file(place.path(), "ours", &ours)], b"").unwrap();
    assert_eq!(String::from_utf8(shown).unwrap().trim(), ours.recipient().to_string());
}

#[test]
fn the_crate_and_we_open_each_others() {
    use age::secrecy::ExposeSecret as _;
    let theirs = age::x25519::Identity::generate();
    let ours = Identity::parse(theirs.to_string().expose_secret()).unwrap();
    assert_eq!(ours.recipient().to_string(), theirs.to_public().to_string());
    for len in SIZES {
        let sealed = age::encrypt(&theirs.to_public(), &plain(len)).unwrap();
        assert_eq!(*open_bytes(&sealed, &[&ours]).unwrap().expose(), plain(len), "{len} bytes");
        let sealed = seal_bytes(&plain(len), &[ours.recipient().clone()], &SystemRandom).unwrap();
        assert_eq!(age::decrypt(&theirs, &sealed).unwrap(), plain(len), "{len} bytes");
    }
}
