//! The layer outside: what goes over the wire in spite of, or instead of, the answer of an operation.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, EXPECT, HeaderName, HeaderValue};
use hyper::{HeaderMap, Request, StatusCode};
use s3s::service::S3Service;
use s3s::{Body, HttpResponse};

use crate::body::{Damage, Damaged, Upload};
use crate::clock::http_date;
use crate::fault::{Answer, What};
use crate::service::Status;
use crate::world::{Shared, Slot};

/// Answers one request; an error resets the connection.
pub(crate) async fn serve(
    service: S3Service,
    shared: Arc<Shared>,
    mut request: Request<Incoming>,
    reset: Arc<AtomicBool>,
) -> Result<HttpResponse, io::Error> {
    let slot = Slot::default();
    request.extensions_mut().insert(slot.clone());
    let waits = request.headers().contains_key(EXPECT);
    let (parts, incoming) = request.into_parts();
    let (upload, rest) = Upload::new(incoming);
    let request = Request::from_parts(parts, Body::http_body_unsync(upload));
    let response = service.call(request).await.map_err(|error| io::Error::other(format!("{error:?}")))?;
    let fault = slot.lock().fault.clone();
    if matches!(fault, Some(What::Reset { .. } | What::CutUpload(_))) && !untouched(&fault, &response) {
        reset.store(true, Ordering::Relaxed);
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    if let Some(What::Hang { .. }) = fault {
        return std::future::pending().await;
    }
    // Who refuses without reading must still read, or the client gets a reset before the answer. Who waits for leave to
    // send has sent nothing yet.
    rest.drain(waits).await;
    let mut response = finish(&shared, response);
    if let Some(fault) = fault {
        response = faulty(fault, response, reset);
    }
    Ok(response)
}

/// Whether a cut of the upload found nothing to cut.
fn untouched(fault: &Option<What>, response: &HttpResponse) -> bool {
    matches!(fault, Some(What::CutUpload(_))) && response.status() != StatusCode::INTERNAL_SERVER_ERROR
}

/// The date by the server's clock, and what s3s leaves out.
fn finish(shared: &Shared, mut response: HttpResponse) -> HttpResponse {
    let (now, number) = {
        let mut world = shared.world();
        (world.clock.now(), world.next())
    };
    put(response.headers_mut(), DATE, &http_date(now));
    put(response.headers_mut(), HeaderName::from_static("x-amz-request-id"), &format!("{number:016X}"));
    if let Some(Status(status)) = response.extensions().get::<Status>().copied() {
        *response.status_mut() = status;
    }
    if response.status() == StatusCode::NOT_MODIFIED {
        *response.body_mut() = Body::empty();
        response.headers_mut().remove(CONTENT_TYPE);
    }
    response
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn faulty(fault: What, mut response: HttpResponse, reset: Arc<AtomicBool>) -> HttpResponse {
    let damage = match fault {
        What::Answer { answer, done } => return answered(&answer, done, response),
        What::WrongChecksum => {
            wrong_checksums(response.headers_mut());
            return response;
        }
        _ if !response.status().is_success() => return response,
        What::TruncateDownload(bytes) => {
            let length = response.headers().get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
            if let Some(length) = length {
                put(response.headers_mut(), CONTENT_LENGTH, &length.min(bytes).to_string());
            }
            Damage::End(bytes)
        }
        What::CutDownload(bytes) => Damage::Reset(bytes, reset),
        What::StallDownload(bytes) => Damage::Stall(bytes),
        What::FlipDownload(offset) => match offset.checked_sub(begin(response.headers())) {
            Some(offset) => Damage::Flip(offset),
            None => return response,
        },
        _ => return response,
    };
    let body = std::mem::take(response.body_mut());
    *response.body_mut() = Body::http_body_unsync(Damaged::new(body, damage));
    response
}

/// Where in the object the body of an answer begins.
fn begin(headers: &HeaderMap) -> u64 {
    let range = headers.get("content-range").and_then(|range| range.to_str().ok());
    range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()).unwrap_or_default()
}

fn answered(answer: &Answer, done: bool, response: HttpResponse) -> HttpResponse {
    // What failed on its own account says so.
    if done && !response.status().is_success() {
        return response;
    }
    let Answer { status, code, headers, elements } = answer;
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>A fault was injected.</Message>\
         {elements}<RequestId>0</RequestId></Error>"
    );
    let mut failed = HttpResponse::new(Body::from(body));
    *failed.status_mut() = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for name in [DATE, HeaderName::from_static("x-amz-request-id")] {
        failed.headers_mut().extend(response.headers().get(&name).map(|value| (name.clone(), value.clone())));
    }
    put(failed.headers_mut(), CONTENT_TYPE, "application/xml");
    for (name, value) in headers {
        put(failed.headers_mut(), HeaderName::from_static(name), value);
    }
    failed
}

/// Another first letter in each: still base64 of the same length.
fn wrong_checksums(headers: &mut HeaderMap) {
    for (name, value) in headers.iter_mut() {
        if name.as_str().starts_with("x-amz-checksum-") && name != "x-amz-checksum-type" {
            let old = value.to_str().unwrap_or_default();
            let first = if old.starts_with('A') { 'B' } else { 'A' };
            let wrong = format!("{first}{}", old.get(1..).unwrap_or_default());
            *value = HeaderValue::from_str(&wrong).unwrap_or_else(|_| value.clone());
        }
    }
}
