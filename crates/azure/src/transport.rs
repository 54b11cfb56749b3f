//! The HTTP client, and how long it waits.
//!
//! The SDK's own gives a request a minute, from its first byte to the answer: a part that takes longer on a slow line would
//! never arrive, however often it is sent, and a copy by the service would be given up while it goes on.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use futures_util::{StreamExt as _, stream};
use tokio::time::timeout;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest wait for an answer, beyond what its request takes to be sent.
const ANSWER: Duration = Duration::from_secs(60);
/// Bytes that are sent in a second at the least: what takes longer is given up.
const SLOWEST: u64 = 128 << 10;
/// The service may take so long to copy a large object.
const COPY: Duration = Duration::from_secs(15 * 60);
/// A body that rests for so long is given up.
const STALL: Duration = Duration::from_secs(60);

/// A client with connections of its own. Bodies come as they are: what is compressed is the vault's business.
pub(crate) fn client() -> Result<Arc<dyn HttpClient>, reqwest::Error> {
    Ok(Arc::new(Patient(Arc::new(bare()?))))
}

/// It has no limit of time but that of connecting; what is dead at the other end, the system finds out.
fn bare() -> Result<reqwest::Client, reqwest::Error> {
    let builder = reqwest::Client::builder().connect_timeout(CONNECT).redirect(reqwest::redirect::Policy::none());
    builder.no_gzip().no_deflate().build()
}

/// Gives up what rests, and not what is slow.
#[derive(Debug)]
struct Patient(Arc<dyn HttpClient>);

#[async_trait]
impl HttpClient for Patient {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let answer = within(patience(request), self.0.execute_request(request)).await??;
        let (status, headers, body) = answer.deconstruct();
        let body = stream::try_unfold(body, |mut body| async move {
            let chunk = within(STALL, body.next()).await?.transpose()?;
            Ok(chunk.map(|chunk| (chunk, body)))
        });
        Ok(AsyncRawResponse::new(status, headers, Box::pin(body)))
    }
}

/// How long a request may take until it is answered.
fn patience(request: &Request) -> Duration {
    let sent = Duration::from_secs(request.body().len().unwrap_or_default() / SLOWEST);
    let copies = request.headers().iter().any(|(name, _)| name.as_str() == "x-ms-copy-source");
    ANSWER + sent + if copies { COPY } else { Duration::ZERO }
}

async fn within<T>(limit: Duration, waited_for: impl Future<Output = T>) -> azure_core::Result<T> {
    let silent = |_| Error::with_message(ErrorKind::Io, format!("timed out: nothing came for {limit:?}"));
    timeout(limit, waited_for).await.map_err(silent)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::mpsc;

    use azure_core::http::headers::Headers;
    use azure_core::http::{Body, Method, StatusCode};
    use bytes::Bytes;

    use super::*;

    async fn pass(time: Duration) {
        let _elapsed = timeout(time, std::future::pending::<()>()).await;
    }

    /// A service that takes so long to answer, and as long again for each of two halves of a body.
    #[derive(Debug)]
    struct Slow {
        answers: Duration,
        sends: Duration,
    }

    #[async_trait]
    impl HttpClient for Slow {
        async fn execute_request(&self, _: &Request) -> azure_core::Result<AsyncRawResponse> {
            pass(self.answers).await;
            let sends = self.sends;
            let halves = stream::iter(["ha", "lf"]).then(move |half| async move {
                pass(sends).await;
                Ok(Bytes::from(half))
            });
            Ok(AsyncRawResponse::new(StatusCode::Ok, Headers::new(), Box::pin(halves)))
        }
    }

    /// The time is tokio's, which jumps.
    #[tokio::test(start_paused = true)]
    async fn what_is_slow_is_waited_for_and_what_rests_is_not() {
        let (part, second) = (64 << 20, Duration::from_secs(1));
        let table = [
            (0, false, 59, 0, true),
            (0, false, 61, 0, false),
            (part, false, 59 + 512, 0, true),
            (part, false, 61 + 512, 0, false),
            (0, true, 59 + 900, 0, true),
            (0, true, 61 + 900, 0, false),
            (0, false, 0, 59, true),
            (0, false, 0, 61, false),
        ];
        for (size, copies, answers, sends, arrives) in table {
            let mut request = Request::new("https://acme.example".parse().unwrap(), Method::Put);
            request.set_body(Body::Bytes(Bytes::from(vec![0; size])));
            if copies {
                request.insert_header("x-ms-copy-source", "https://acme.example/old");
            }
            let patient = Patient(Arc::new(Slow { answers: answers * second, sends: sends * second }));
            let body = match patient.execute_request(&request).await {
                Ok(answer) => answer.try_into_raw_response().await.map(|answer| answer.into_body().to_vec()),
                Err(error) => Err(error),
            };
            match body {
                Ok(body) => assert!(arrives && body == b"half", "{size} bytes, {answers}, {sends}"),
                Err(error) => assert!(!arrives && error.to_string().contains("timed out"), "{size} bytes: {error}"),
            }
        }
    }

    /// While the server's thread is at it the time stands still, unless it is moved.
    #[tokio::test(start_paused = true)]
    async fn the_client_itself_waits_for_as_long_as_it_takes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let request = Request::new(format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap(), Method::Get);
        let (goes_on, waits) = mpsc::channel();
        let (comes, came) = tokio::sync::oneshot::channel();
        let server = tokio::task::spawn_blocking(move || {
            let (mut connection, _) = listener.accept().unwrap();
            assert!(connection.read(&mut [0; 1024]).unwrap() > 0);
            comes.send(()).unwrap();
            waits.recv().unwrap();
            connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate").unwrap();
        });
        let client = bare().unwrap();
        let asked = tokio::spawn(async move { client.execute_request(&request).await?.try_into_raw_response().await });
        came.await.unwrap();
        tokio::time::advance(Duration::from_secs(3600)).await;
        goes_on.send(()).unwrap();
        assert_eq!(asked.await.unwrap().unwrap().into_body().as_ref(), b"late");
        server.await.unwrap();
    }
}
