//! Mistakes about the way are told all at once, and no secret with them.

#![expect(unreachable_pub, reason = "this builder is like those of users")]

use super::*;

struct Builder {
    connect: Connect,
}

connect_methods!(Builder);

fn builder() -> Builder {
    Builder { connect: Connect::new("S3", "open it") }
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

#[test]
fn all_mistakes_are_told_at_once() {
    let wrong = builder()
        .endpoint("s3.example")
        .region("eu-west-1")
        .profile("backup")
        .credentials("", secret("planted-secret"))
        .session_token(secret("planted-token"))
        .assume_role("admin", None)
        .assume_role("arn:aws:iam::123456789012:role/backup", Some("id"))
        .attempts(0)
        .timeout(Duration::ZERO)
        .connect;
    let error = wrong.check(vec!["its own".to_owned()]).unwrap_err();
    let told = "cannot open it: its own; the endpoint begins with neither https:// nor http://; an access key or a secret key \
                is empty; \"admin\" is not the ARN of a role; no attempt at all; a timeout of nothing";
    assert_eq!((error.kind(), error.message()), (ErrorKind::Invalid, told));
    assert!(!format!("{wrong:?} {error:?}").contains("planted"));
}

#[test]
fn a_token_goes_with_its_keys_in_either_order() {
    let first = builder().session_token(secret("token")).credentials("key", secret("secret")).connect;
    let last = builder().credentials("key", secret("secret")).session_token(secret("token")).connect;
    for connect in [first, last] {
        connect.check(Vec::new()).unwrap();
        assert_eq!(connect.credentials(connect.keys.as_ref().unwrap()).session_token(), Some("token"));
    }
    let alone = builder().session_token(secret("planted")).connect.check(Vec::new()).unwrap_err().to_string();
    assert!(alone.contains("a session token without `credentials`") && !alone.contains("planted"), "{alone}");
}

#[test]
fn an_endpoint_is_an_address_and_nothing_else() {
    for good in ["https://s3.example", "http://127.0.0.1:9000/base"] {
        builder().endpoint(good).connect.check(Vec::new()).unwrap();
    }
    for (url, flaw) in [("https://", "no host"), ("https://key:planted@s3.example", "has a credential in it")] {
        let error = builder().endpoint(url).connect.check(Vec::new()).unwrap_err().to_string();
        assert!(error.contains(flaw) && !error.contains("planted"), "{url}: {error}");
    }
}

#[test]
fn a_credential_that_no_header_can_carry_is_told() {
    let with = |access: &str, secret_key: &str, token: &str| {
        builder().credentials(access, secret(secret_key)).session_token(secret(token)).connect.check(Vec::new())
    };
    with("AKIA", "a/b+c=", "token==").unwrap();
    for (access, secret_key, token) in [("AKIA\n", "s", "t"), ("AKIA", "planted\r\n", "t"), ("AKIA", "s", " planted")] {
        let error = with(access, secret_key, token).unwrap_err();
        assert!(error.message().contains("line break") && !error.to_string().contains("planted"), "{error}");
    }
}

#[test]
fn an_address_is_not_shown_with_what_may_be_a_credential() {
    for url in ["https://key:planted@s3.example", "https://s3.example/?X-Amz-Signature=planted"] {
        let connect = builder().endpoint(url).connect;
        assert!(!format!("{connect:?}").contains("planted"), "{connect:?}");
        assert_eq!(connect.check(Vec::new()).unwrap_err().kind(), ErrorKind::Invalid);
        // As the environment would name it.
        let error = builder().connect.address(&SdkConfig::builder().endpoint_url(url).build()).unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && !format!("{error:?}").contains("planted"), "{error:?}");
    }
}

/// The SDK tells by words alone why there is no credential: these are its own.
#[tokio::test]
async fn who_gives_the_credential_and_is_not_there_is_not_a_credential_that_is_missing() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let with = Credentials::new("key", "secret", None, None, "test");
    let loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).region(Region::new("eu-west-1"));
    let loader = loader.endpoint_url(format!("http://127.0.0.1:{port}")).retry_config(retries(1));
    let config = loader.credentials_provider(with.clone()).load().await;
    let role =
        AssumeRoleProvider::builder("arn:aws:iam::123456789012:role/backup").session_name("test").configure(&config);
    let error = role.build_from_provider(with).await.provide_credentials().await.unwrap_err();
    assert_eq!(without_credential(&error).0, ErrorKind::Unavailable, "{}", chain(&error));
}
