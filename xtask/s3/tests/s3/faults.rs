//! Each fault happens, and only to the calls that it is meant for.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode};
use backstay_test_s3::{Bucket, Fault, Op};

use crate::client::{B, answer, bytes, client, config, failed, get, put, server};

#[tokio::test]
async fn errors_come_as_often_as_they_are_asked_for_and_nothing_is_done() {
    let (s3, client) = server(Bucket::unversioned());
    for (fault, status, code) in [
        (Fault::status(500), 500, "InternalError"),
        (Fault::status(503), 503, "SlowDown"),
        (Fault::status(409), 409, "ConditionalRequestConflict"),
        (Fault::error(400, "KMS.DisabledException"), 400, "KMS.DisabledException"),
        (Fault::expired_token(), 400, "ExpiredToken"),
    ] {
        s3.fault(fault.on(Op::PutObject).under("items/").first(2));
        let write = |key: &str| client.put_object().bucket(B).key(key).send();
        write("points/x").await.unwrap();
        assert_eq!(failed(write("items/x").await), answer(status, code));
        assert_eq!(failed(write("items/x").await), answer(status, code));
        assert_eq!(s3.keys_in(B), ["points/x"]);
        write("items/y").await.unwrap();
        client.delete_object().bucket(B).key("items/y").send().await.unwrap();
        s3.heal();
    }
    assert_eq!(s3.calls(Op::PutObject), 20);
}

#[tokio::test]
async fn the_rules_count_from_one_and_know_users() {
    let (s3, client) = server(Bucket::unversioned());
    let user = s3.user("other");
    s3.fault(Fault::status(500).on(Op::PutObject).nth(2));
    s3.fault(Fault::status(503).except([Op::PutObject]).from(2));
    s3.fault(Fault::status(501).by(&user.access_key));
    let head = || client.head_bucket().bucket(B).send();
    put(&client, "k", "x").await;
    assert_eq!(failed(client.put_object().bucket(B).key("k").send().await).0, 500);
    put(&client, "k", "x").await;
    head().await.unwrap();
    assert_eq!(failed(head().await).0, 503);
    assert_eq!(failed(head().await).0, 503);
    let other = crate::client::client(&s3, &user).put_object().bucket(B).key("k").send().await;
    assert_eq!(failed(other).0, 501);
}

#[tokio::test]
async fn a_slow_down_says_when_to_come_again_and_a_redirect_where() {
    let (s3, client) = server(Bucket::unversioned());
    s3.fault(Fault::slow_down(Duration::from_secs(7)).nth(1));
    let error = client.head_bucket().bucket(B).send().await.unwrap_err();
    assert_eq!(error.raw_response().unwrap().headers().get("retry-after"), Some("7"));
    for (status, code) in [(301, "PermanentRedirect"), (307, "TemporaryRedirect")] {
        s3.heal();
        s3.fault(Fault::redirect(status, "eu-west-1", "s3.eu-west-1.example.com"));
        let error = client.get_object().bucket(B).key("k").send().await.unwrap_err();
        let headers = error.raw_response().unwrap().headers();
        assert_eq!(headers.get("x-amz-bucket-region"), Some("eu-west-1"));
        assert_eq!(headers.get("location").is_some(), status == 307);
        assert_eq!(error.code(), Some(code));
    }
}

#[tokio::test]
async fn an_error_may_hide_behind_a_good_status() {
    let (s3, client) = server(Bucket::unversioned());
    put(&client, "k", "x").await;
    s3.fault(Fault::error(200, "InternalError").on(Op::CopyObject));
    let copy = client.copy_object().bucket(B).key("to").copy_source(format!("{B}/k")).send().await;
    assert_eq!(failed(copy), answer(200, "InternalError"));
}

#[tokio::test]
async fn a_lost_answer_leaves_a_done_call() {
    let (s3, client) = server(Bucket::unversioned());
    s3.fault(Fault::reset().under("lost").on(Op::PutObject));
    s3.fault(Fault::reset().done_first().under("done").first(1));
    s3.fault(Fault::status(412).done_first().under("lied").first(1));
    let write = |key: &str| client.put_object().bucket(B).key(key).body(ByteStream::from_static(b"x")).send();
    assert_eq!(failed(write("lost").await).1, "lost");
    assert_eq!(failed(write("done").await).1, "lost");
    assert_eq!(failed(write("lied").await), answer(412, "PreconditionFailed"));
    assert_eq!(s3.keys_in(B), ["done", "lied"]);
    // A client that tries again finds its own object in the way.
    let keys = s3.keys();
    let retries = RetryConfig::standard().with_initial_backoff(Duration::from_millis(1));
    let patient = Client::from_conf(config(&s3, keys).retry_config(retries).build());
    s3.fault(Fault::reset().done_first().under("again").first(1));
    let create = patient.put_object().bucket(B).key("again").if_none_match("*").send().await;
    assert_eq!(failed(create), answer(412, "PreconditionFailed"));
}

#[tokio::test]
async fn uploads_are_cut_and_damaged() {
    let (s3, client) = server(Bucket::unversioned());
    let body = vec![7_u8; 3 << 20];
    let write = |size: usize| {
        let put = client.put_object().bucket(B).key("k").body(body[..size].to_vec().into());
        put.checksum_algorithm(ChecksumAlgorithm::Crc32).send()
    };
    s3.fault(Fault::cut_upload(1 << 20));
    assert_eq!(failed(write(3 << 20).await).1, "lost");
    assert!(s3.keys_in(B).is_empty());
    write(1 << 20).await.unwrap();
    s3.heal();
    s3.fault(Fault::flip_upload(1 << 20));
    assert_eq!(failed(write(2 << 20).await), answer(400, "BadDigest"));
}

#[tokio::test]
async fn downloads_are_cut_shortened_stalled_and_damaged() {
    let (s3, client) = server(Bucket::unversioned());
    let text: String = ('a'..='z').cycle().take(300_000).collect();
    put(&client, "k", &text).await;
    let read = || async { client.get_object().bucket(B).key("k").send().await.unwrap() };

    s3.fault(Fault::cut_download(100_000));
    let mut cut = read().await;
    let (mut came, mut broke) = (0, false);
    while let Some(chunk) = cut.body.next().await {
        match chunk {
            Ok(chunk) => came += chunk.len(),
            Err(_) => {
                broke = true;
                break;
            }
        }
    }
    assert!(broke && came <= 100_000, "{came}");
    s3.heal();

    s3.fault(Fault::truncate_download(1000));
    let short = read().await;
    assert_eq!(short.content_length(), Some(1000));
    assert_eq!(bytes(short).await, text[..1000]);
    s3.heal();

    s3.fault(Fault::flip_download(26));
    let flipped = bytes(read().await).await;
    assert_eq!((&flipped[25..28], &flipped[28..]), ("z`b", &text[28..]));
    let range = client.get_object().bucket(B).key("k").range("bytes=20-30").send().await.unwrap();
    assert_eq!(bytes(range).await, "uvwxyz`bcde");
    s3.heal();

    s3.fault(Fault::stall_download(10));
    let mut stalled = read().await;
    assert_eq!(stalled.body.next().await.unwrap().unwrap().len(), 10);
    let rest = tokio::time::timeout(Duration::from_millis(50), stalled.body.next()).await;
    assert!(rest.is_err());
    s3.heal();

    s3.flip_stored(B, "k", 0);
    assert!(get(&client, "k").await.starts_with("`b"));
}

#[tokio::test]
async fn a_checksum_may_be_wrong_in_the_answer() {
    let (s3, client) = server(Bucket::unversioned());
    let put = client.put_object().bucket(B).key("k").checksum_crc32("NhCmhg==");
    put.body(ByteStream::from_static(b"hello")).send().await.unwrap();
    s3.fault(Fault::wrong_checksum().on([Op::GetObject, Op::HeadObject]));
    let head = client.head_object().bucket(B).key("k").checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
    assert_eq!(head.checksum_crc32(), Some("AhCmhg=="));
    let read = client.get_object().bucket(B).key("k").checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
    assert!(read.body.collect().await.is_err());
}

#[tokio::test]
async fn pages_are_short_and_conditions_ignored() {
    let (s3, client) = server(Bucket::unversioned());
    for key in ["a", "b", "c"] {
        put(&client, key, "x").await;
    }
    s3.fault(Fault::short_pages(2).on([Op::ListObjectsV2]));
    let page = client.list_objects_v2().bucket(B).send().await.unwrap();
    assert_eq!((page.contents().len(), page.is_truncated()), (2, Some(true)));
    s3.fault(Fault::ignore_conditions().on(Op::PutObject));
    client.put_object().bucket(B).key("a").if_none_match("*").send().await.unwrap();
}

#[tokio::test]
async fn calls_hang_and_are_late() {
    let (s3, _) = server(Bucket::unversioned());
    let timeout = TimeoutConfig::builder().operation_timeout(Duration::from_millis(200)).build();
    let hasty = Client::from_conf(config(&s3, s3.keys()).timeout_config(timeout).build());
    s3.fault(Fault::hang().under("k"));
    s3.fault(Fault::hang().done_first().under("done"));
    s3.fault(Fault::delay(Duration::from_secs(60)).under("late"));
    for key in ["k", "done", "late"] {
        assert_eq!(failed(hasty.put_object().bucket(B).key(key).send().await).1, "lost");
    }
    assert_eq!(s3.keys_in(B), ["done"]);
    s3.heal();
    s3.fault(Fault::delay(Duration::from_millis(1)));
    put(&client(&s3, s3.keys()), "k", "x").await;
}

#[tokio::test]
async fn the_clock_may_be_off_and_time_pass() {
    let (s3, client) = server(Bucket::unversioned());
    for (minutes, accepted) in [(14, true), (-14, true), (16, false), (-16, false)] {
        s3.skew(jiff::SignedDuration::from_mins(minutes));
        // A client of its own each time: the SDK learns the server's time from its first answer.
        let fresh = crate::client::client(&s3, s3.keys());
        let list = fresh.list_objects_v2().bucket(B).send().await;
        match accepted {
            true => drop(list.unwrap()),
            false => assert_eq!(failed(list), answer(403, "RequestTimeTooSkewed")),
        }
    }
    s3.skew(jiff::SignedDuration::ZERO);
    let before = s3.now();
    s3.advance(Duration::from_secs(86_400));
    put(&client, "k", "x").await;
    let made = client.head_object().bucket(B).key("k").send().await.unwrap().last_modified.unwrap();
    assert!(made.secs() >= before.as_second() + 86_400);
}

#[tokio::test]
async fn the_server_goes_down_and_comes_back_with_all_it_had() {
    let (s3, client) = server(Bucket::unversioned());
    put(&client, "k", "x").await;
    s3.down();
    assert_eq!(failed(client.get_object().bucket(B).key("k").send().await).1, "lost");
    s3.up();
    assert_eq!(get(&client, "k").await, "x");
}

/// Who is refused before the body was read gets the refusal, not a broken connection.
#[tokio::test]
async fn a_refused_upload_is_told_why() {
    let (s3, client) = server(Bucket::unversioned());
    s3.fault(Fault::status(403));
    for size in [1 << 10, 1 << 20, 16 << 20] {
        let put = client.put_object().bucket(B).key("k").body(vec![0; size].into()).send().await;
        assert_eq!(failed(put), answer(403, "AccessDenied"));
    }
}
