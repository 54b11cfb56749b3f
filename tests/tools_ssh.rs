//! `ssh-keygen` verifies what we sign, and we verify what it signs, by the same `allowed_signers`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backstay::vault::{AllowedSigner, AllowedSigners, PublicKey, SigningKey};
use backstay::{ErrorKind, SystemRandom};
use jiff::Timestamp;

const POINT: &str = "backstay-point-v1";

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file as private as `ssh-keygen` wants its keys.
    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        path
    }

    /// Whether `ssh-keygen` accepts the signature `signature` of the file `message`.
    fn verifies(&self, principal: &str, namespace: &str, at: &str) -> bool {
        let output = Command::new("ssh-keygen")
            .args(["-Y", "verify", "-n", namespace, "-I", principal, "-O", &format!("verify-time={at}")])
            .arg("-f")
            .arg(self.path("allowed_signers"))
            .arg("-s")
            .arg(self.path("signature"))
            .stdin(File::open(self.path("message")).unwrap())
            .stderr(Stdio::null())
            .output()
            .unwrap();
        output.status.success()
    }
}

fn keygen(arguments: &[&str], file: &Path) -> String {
    let output = Command::new("ssh-keygen").args(arguments).arg("-f").arg(file).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn it_verifies_ours_under_the_same_conditions_as_we_do() {
    let key = SigningKey::generate(&SystemRandom);
    let mut signer = AllowedSigner::new("backup", key.public()).namespaces([POINT, "backstay-hold-v1"]);
    signer.valid_after = Some(time("2026-01-01T00:00:00Z"));
    signer.valid_before = Some(time("2027-01-01T00:00:00Z"));
    let mut trusted = AllowedSigners::default();
    trusted.add(signer).unwrap();

    let cases = [
        (POINT, "backup", "20261120064200Z", "message", true),
        ("backstay-hold-v1", "backup", "20261120064200Z", "message", true),
        ("backstay-delete-v1", "backup", "20261120064200Z", "message", false),
        (POINT, "stranger", "20261120064200Z", "message", false),
        (POINT, "backup", "20251231000000Z", "message", false),
        (POINT, "backup", "20270102000000Z", "message", false),
        (POINT, "backup", "20261120064200Z", "massage", false),
    ];
    for (namespace, principal, at, message, expected) in cases {
        let place = Place::new();
        place.write("allowed_signers", &trusted.to_string());
        place.write("message", message);
        let signature = key.sign(namespace, b"message");
        place.write("signature", &signature);
        let what = format!("{namespace} {principal} {at} {message}");
        assert_eq!(place.verifies(principal, namespace, at), expected, "{what}");
        let then = jiff::civil::DateTime::strptime("%Y%m%d%H%M%SZ", at).unwrap();
        let then = then.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
        let ours = trusted.verify(&signature, namespace, message.as_bytes(), then);
        assert_eq!(ours.is_ok_and(|signer| signer.principal == principal), expected, "{what}");
    }
}

#[test]
fn we_verify_its_signatures() {
    let place = Place::new();
    let key = place.path("key");
    keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "backup@host"], &key);
    let public: PublicKey = fs::read_to_string(key.with_extension("pub")).unwrap().parse().unwrap();
    let message = place.write("message", "the content");
    let signed = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", POINT, "-f"])
        .args([&key, &message])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(signed.success());
    let signature = fs::read_to_string(place.path("message.sig")).unwrap();

    let mut trusted = AllowedSigners::default();
    trusted.add(AllowedSigner::new("backup", public)).unwrap();
    let now = time("2026-11-20T06:42:00Z");
    let signer = trusted.verify(&signature, POINT, b"the content", now).unwrap();
    assert_eq!((signer.principal.as_str(), signer.key_id), ("backup", public.id()));
    for (namespace, message) in [("backstay-delete-v1", "the content"), (POINT, "another content")] {
        let error = trusted.verify(&signature, namespace, message.as_bytes(), now).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Untrusted);
    }
}

#[test]
fn keys_and_fingerprints_are_the_same() {
    let place = Place::new();
    let ours = SigningKey::generate(&SystemRandom);
    let file = place.write("ours", ours.to_openssh("a comment", &SystemRandom).expose());
    let public: PublicKey = keygen(&["-y"], &file).parse().unwrap();
    assert_eq!(public, ours.public());
    assert!(keygen(&["-l"], &file).contains(&ours.public().fingerprint()));

    let theirs = place.path("theirs");
    keygen(&["-q", "-t", "ed25519", "-N", ""], &theirs);
    let key = SigningKey::from_openssh(&fs::read_to_string(&theirs).unwrap()).unwrap();
    let public = fs::read_to_string(theirs.with_extension("pub")).unwrap();
    assert_eq!(key.public(), public.parse().unwrap());
}

#[test]
fn other_keys_are_refused_with_the_reason() {
    for (arguments, kind) in [
        (["-q", "-t", "ed25519", "-N", "passphrase"], ErrorKind::Unsupported),
        (["-q", "-t", "ecdsa", "-N", ""], ErrorKind::Invalid),
    ] {
        let place = Place::new();
        let path = place.path("key");
        keygen(&arguments, &path);
        let error = SigningKey::from_openssh(&fs::read_to_string(&path).unwrap()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
}
