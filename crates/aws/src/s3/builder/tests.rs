//! Mistakes are told all at once, and no secret with them.

use std::time::Duration;

use backstay_core::Secret;

use super::*;

#[tokio::test]
async fn all_mistakes_are_told_at_once() {
    let builder = S3Builder::new("Not_A_Bucket")
        .endpoint("s3.example")
        .credentials("", Secret::new("planted-secret".to_owned()))
        .assume_role("admin", None)
        .owner("")
        .encryption(Encryption::kms(""))
        .classes(["STANDARD"])
        .storage_class("GLACIER")
        .tag("", "x")
        .attempts(0)
        .timeout(Duration::ZERO);
    assert!(!format!("{builder:?}").contains("planted"));
    let error = builder.build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = error.to_string();
    let told = [
        "not the name of a bucket",
        "endpoint",
        "access key",
        "ARN of a role",
        "owner",
        "key service",
        "\"GLACIER\" is none of the classes",
        "GLACIER for everything",
        "the tag",
        "attempt",
        "timeout",
    ];
    for what in told {
        assert!(text.contains(what), "{what}: {text}");
    }
    assert!(!text.contains("planted"), "{text}");
}

#[test]
fn bodies_are_signed_where_somebody_could_change_them() {
    for safe in ["https://s3.example", "http://127.0.0.1:9000", "http://localhost", "http://[::1]:9000/x"] {
        assert!(is_safe(safe), "{safe}");
    }
    for open in ["http://s3.example", "http://10.0.0.1:9000", "http://localhost.example"] {
        assert!(!is_safe(open), "{open}");
    }
}
