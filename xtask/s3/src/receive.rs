//! The body of a put or a part: kept as it comes, hashed as it passes.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::StreamExt;
use hyper::HeaderMap;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{Checksum, StreamingBlob};
use s3s::{S3Error, TrailingHeaders};

use crate::error::{Result, fail};
use crate::fault::What;
use crate::sums::{self, Algorithm};

/// What a request says of its body.
pub(crate) struct Claims<'a> {
    pub(crate) sums: Checksum,
    pub(crate) md5: Option<String>,
    pub(crate) length: Option<i64>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) trailer: Option<TrailingHeaders>,
}

/// A body that is as it was said to be.
pub(crate) struct Received {
    pub(crate) data: Vec<Bytes>,
    pub(crate) size: u64,
    /// If it was asked for.
    pub(crate) md5: Option<[u8; 16]>,
    /// Those that were claimed, and one more if asked for.
    pub(crate) sums: Checksum,
}

/// Reads a body. `md5` and the checksum `also` are computed even if the request says nothing of them.
pub(crate) async fn receive(
    body: Option<StreamingBlob>,
    mut claims: Claims<'_>,
    fault: Option<&What>,
    md5: bool,
    also: Option<Algorithm>,
) -> Result<Received> {
    let trailing = Algorithm::in_trailer(claims.headers);
    let claimed = Algorithm::ALL.into_iter().filter(|algorithm| algorithm.of(&claims.sums).is_some());
    let wanted: Vec<_> = claimed.chain(trailing.iter().copied()).chain(also).collect();
    let mut hasher = sums::hasher(&wanted);
    let mut digest = (md5 || claims.md5.is_some()).then(Md5::new);
    let (mut data, mut size) = (Vec::new(), 0);
    let mut body = body;
    while let Some(chunk) = next(&mut body).await {
        let chunk = damage(chunk?, size, fault)?;
        size += chunk.len() as u64;
        hasher.update(&chunk);
        if let Some(digest) = &mut digest {
            digest.update(&chunk);
        }
        data.push(chunk);
    }
    if claims.length.is_some_and(|length| u64::try_from(length) != Ok(size)) {
        return Err(fail(400, "IncompleteBody", "The request body terminated unexpectedly"));
    }
    let trailer = claims.trailer.take().and_then(|trailer| trailer.take()).unwrap_or_default();
    for algorithm in trailing {
        let Some(value) = algorithm.in_headers(&trailer) else {
            return Err(fail(
                400,
                "MalformedTrailerError",
                "The request contained trailing data that was not well-formed",
            ));
        };
        algorithm.set(&mut claims.sums, value);
    }
    let sums = hasher.finalize();
    sums::verify(&claims.sums, &sums)?;
    let digest = digest.map(Md5::finalize);
    check_md5(claims.md5.as_deref(), digest)?;
    Ok(Received { data, size, md5: digest.filter(|_| md5), sums })
}

async fn next(body: &mut Option<StreamingBlob>) -> Option<Result<Bytes>> {
    let chunk = body.as_mut()?.next().await?;
    Some(chunk.map_err(|error| broken(&error.to_string())))
}

/// What s3s finds wrong with a stream it tells only in words.
fn broken(words: &str) -> S3Error {
    if words.contains("Sha256Mismatch") {
        let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
        fail(400, "XAmzContentSHA256Mismatch", message)
    } else if words.contains("SignatureMismatch") {
        fail(403, "SignatureDoesNotMatch", "The signature of a chunk does not match.")
    } else {
        fail(400, "IncompleteBody", "The request body terminated unexpectedly")
    }
}

fn damage(chunk: Bytes, begin: u64, fault: Option<&What>) -> Result<Bytes> {
    let inside = |at: u64| {
        let at = at.checked_sub(begin).and_then(|at| usize::try_from(at).ok());
        at.filter(|at| *at < chunk.len())
    };
    match fault {
        // The layer outside resets the connection.
        Some(What::CutUpload(bytes)) if begin + chunk.len() as u64 > *bytes => Err(fail(500, "Fault", "")),
        Some(What::FlipUpload(offset)) => match inside(*offset) {
            None => Ok(chunk),
            Some(at) => {
                let mut flipped = chunk.to_vec();
                flipped[at] ^= 1;
                Ok(flipped.into())
            }
        },
        _ => Ok(chunk),
    }
}

fn check_md5(claimed: Option<&str>, computed: Option<[u8; 16]>) -> Result<()> {
    let Some(claimed) = claimed else { return Ok(()) };
    match BASE64_STANDARD.decode(claimed) {
        Ok(bytes) if bytes.len() == 16 && computed.is_some_and(|it| bytes == it) => Ok(()),
        Ok(bytes) if bytes.len() == 16 => {
            Err(fail(400, "BadDigest", "The Content-MD5 you specified did not match what we received."))
        }
        _ => Err(fail(400, "InvalidDigest", "The Content-MD5 you specified was invalid.")),
    }
}
