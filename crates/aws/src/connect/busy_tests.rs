//! A server that is too busy is outlasted, and given up in the end.

use std::sync::Arc;

use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use backstay_core::ErrorKind;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::*;

/// A server that is too busy until then.
#[derive(Clone, Debug)]
struct Busy(Arc<Instant>);

impl HttpConnector for Busy {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let (status, body) = match Instant::now() < *self.0 {
            true => (503, "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"),
            false => (200, ""),
        };
        let status = status.try_into().expect("a status");
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body))))
    }
}

/// What becomes of so many calls at once while the server is busy for so long. The time is tokio's, which jumps.
async fn calls(many: usize, busy: Duration) -> Vec<std::result::Result<(), ErrorKind>> {
    // The SDK draws its waits from this thread's source: the same ones each time.
    fastrand::seed(7);
    let connect = Connect::new("S3", "open store");
    let server = SharedHttpConnector::new(Busy(Arc::new(Instant::now() + busy)));
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("a", "b", None, None, "tests"))
        .http_client(http_client_fn(move |_, _| server.clone()))
        .retry_config(retries(connect.attempts))
        .retry_partition(own_quota())
        .timeout_config(connect.timeouts(Duration::ZERO));
    let client = aws_sdk_s3::Client::from_conf(config.build());
    let put = async |n: usize| {
        let put = client.put_object().bucket("acme").key(n.to_string()).send().await;
        put.map(drop).map_err(|error| Told::of(error).kind())
    };
    join_all((0..many).map(put)).await
}

#[tokio::test(start_paused = true)]
async fn a_server_may_be_busy_for_a_minute_however_many_calls_are_under_way() {
    let began = Instant::now();
    assert_eq!(calls(100, Duration::from_secs(60)).await, [Ok(()); 100]);
    assert!(began.elapsed() >= Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_busy_for_an_hour_is_given_up_in_minutes() {
    let began = Instant::now();
    for end in calls(20, Duration::from_secs(3600)).await {
        assert_eq!(end, Err(ErrorKind::Throttled));
    }
    assert!(began.elapsed() <= TOTAL + Duration::from_secs(60));
}
