//! Reads: a range of one object, whole or with an error.

use std::ops::Range;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream as SdkStream;
use backstay_core::clock::{Clock as _, SystemClock};
use backstay_core::store::{GetOptions, GetOutcome, Key, ObjectMeta, VersionId};
use backstay_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures_util::stream;

use super::head::{moment, size};
use super::lock;
use super::put::etag;
use super::store::{S3Store, to};
use crate::error::{Call, Told, chain};

const GET: Call = Call { name: "get", api: "GetObject", right: "s3:GetObject" };
/// A body that breaks off is asked for again so often, if nothing of it comes in between.
const RESUMES: u32 = 5;

/// Where a read is.
struct Reading {
    store: S3Store,
    meta: ObjectMeta,
    /// The version asked for.
    version: Option<VersionId>,
    at: u64,
    end: u64,
    body: SdkStream,
    resumes: u32,
}

impl S3Store {
    pub(super) async fn get_object(&self, key: &Key, options: &GetOptions) -> Result<GetOutcome> {
        if let Some(range) = options.range.clone().filter(Range::is_empty) {
            let message = format!("the range {}..{} is empty", range.start, range.end);
            return Err(self.fault(GET, ErrorKind::Invalid, message, key.as_str()));
        }
        let (version, if_match) = (options.version.as_ref(), options.if_match.as_deref());
        let got = self.read(key, version, if_match, options.range.clone()).await?;
        let (mut meta, told) = self.checked(key, &got)?;
        meta.latest = version.is_none();
        let range = options.bytes_of(&meta).map_err(|error| self.placed(error, GET, key))?;
        if told != range {
            let message = format!(
                "bytes {}..{} were asked for, and {}..{} answered",
                range.start, range.end, told.start, told.end
            );
            return Err(self.fault(GET, ErrorKind::Corrupt, message, key.as_str()));
        }
        let reading = Reading {
            store: self.clone(),
            meta: meta.clone(),
            version: version.cloned(),
            at: range.start,
            end: range.end,
            body: got.body,
            resumes: 0,
        };
        let body = stream::try_unfold(reading, |mut reading| async move {
            Ok(reading.next().await?.map(|chunk| (chunk, reading)))
        });
        Ok(GetOutcome { meta, range, body: Box::pin(body) })
    }

    async fn read(
        &self,
        key: &Key,
        version: Option<&VersionId>,
        if_match: Option<&str>,
        range: Option<Range<u64>>,
    ) -> Result<GetObjectOutput> {
        let call = to!(self, get_object)
            .key(key.as_str())
            .set_version_id(version.map(|version| version.0.clone()))
            .set_if_match(if_match.map(|etag| format!("\"{etag}\"")))
            .set_range(range.map(header));
        call.send().await.map_err(Told::of).map_err(|told| {
            if told.is_precondition() {
                let message = "the object is not the one that was meant";
                let error = self.fault(GET, ErrorKind::Conflict, message, key.as_str());
                return error.advise("look at it again with head");
            }
            self.unread(told, GET, key, version)
        })
    }

    /// What is read, and the range of it that the answer has.
    fn checked(&self, key: &Key, got: &GetObjectOutput) -> Result<(ObjectMeta, Range<u64>)> {
        let length = size(got.content_length());
        let (range, whole) = match got.content_range() {
            None => (0..length, length),
            Some(text) => {
                content_range(text).filter(|(range, _)| range.end - range.start == length).ok_or_else(|| {
                    let message = format!("the answer of {length} bytes says it is {text:?}");
                    self.fault(GET, ErrorKind::Corrupt, message, key.as_str())
                })?
            }
        };
        let mut meta = ObjectMeta::new(key.clone(), whole, moment(got.last_modified()));
        meta.etag = got.e_tag().map(etag);
        meta.version = got.version_id().map(|id| VersionId(id.to_owned()));
        meta.class = got.storage_class().map(|class| class.as_str().to_owned());
        let hold = got.object_lock_legal_hold_status();
        meta.lock = lock::told(got.object_lock_mode(), got.object_lock_retain_until_date(), hold);
        Ok((meta, range))
    }
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let error = match self.body.next().await {
                Some(Ok(chunk)) if chunk.is_empty() => continue,
                Some(Ok(chunk)) if chunk.len() as u64 > self.end - self.at => {
                    return Err(self.failed(ErrorKind::Corrupt, "more bytes came than were announced"));
                }
                Some(Ok(chunk)) => {
                    self.at += chunk.len() as u64;
                    self.resumes = 0;
                    return Ok(Some(chunk));
                }
                None if self.at == self.end => return Ok(None),
                None => self.failed(ErrorKind::Unavailable, "the answer ended early"),
                Some(Err(error)) => {
                    let told = chain(&error);
                    // Only a checksum that is wrong cannot get right.
                    if told.contains("checksum") {
                        let message = "the bytes that came have not the object's checksum";
                        return Err(self.failed(ErrorKind::Corrupt, message).because(told));
                    }
                    if self.at == self.end {
                        return Ok(None);
                    }
                    self.failed(ErrorKind::Unavailable, "the answer broke off").because(told)
                }
            };
            self.resume(error).await?;
        }
    }

    /// Asks for the rest, if it can be known to be that of the same content.
    async fn resume(&mut self, error: Error) -> Result<()> {
        self.resumes += 1;
        if self.resumes > RESUMES || (self.meta.etag.is_none() && self.meta.version.is_none()) {
            return Err(error.no_more_retries());
        }
        tracing::debug!(%error, at = self.at, "a read goes on where it broke off");
        SystemClock.sleep(std::time::Duration::from_millis(100 << self.resumes)).await;
        let version = self.version.as_ref().or(self.meta.version.as_ref());
        let rest = self.at..self.end;
        let got = self.store.read(&self.meta.key, version, self.meta.etag.as_deref(), Some(rest.clone())).await?;
        let (meta, range) = self.store.checked(&self.meta.key, &got)?;
        if (range, meta.etag) != (rest, self.meta.etag.clone()) {
            return Err(self.failed(ErrorKind::Conflict, "the object changed while it was read"));
        }
        self.body = got.body;
        Ok(())
    }

    fn failed(&self, kind: ErrorKind, message: &'static str) -> Error {
        let error = self.store.fault(GET, kind, message, self.meta.key.as_str());
        error.with("received", self.at).with("announced", self.end)
    }
}

/// Servers read the end as a signed number.
fn header(range: Range<u64>) -> String {
    match i64::try_from(range.end) {
        Ok(end) => format!("bytes={}-{}", range.start, end - 1),
        Err(_) => format!("bytes={}-", range.start),
    }
}

/// `bytes 0-9/100`: the range, and the size of the whole.
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, whole) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, whole): (u64, u64, u64) = (first.parse().ok()?, last.parse().ok()?, whole.parse().ok()?);
    (first <= last && last < whole).then_some((first..last + 1, whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::store::offline;

    /// What a body of these bytes gives, where others were announced.
    async fn body(bytes: &'static [u8], announced: u64) -> Result<Vec<Bytes>> {
        let meta = ObjectMeta::new("a".parse()?, announced, jiff::Timestamp::UNIX_EPOCH);
        let body = SdkStream::from_static(bytes);
        let mut reading = Reading { store: offline(), meta, version: None, at: 0, end: announced, body, resumes: 0 };
        let mut chunks = Vec::new();
        while let Some(chunk) = reading.next().await? {
            chunks.push(chunk);
        }
        Ok(chunks)
    }

    #[tokio::test]
    async fn a_body_of_another_length_is_an_error() {
        assert_eq!(body(b"12345", 5).await.unwrap().concat(), b"12345");
        assert!(body(b"", 0).await.unwrap().is_empty());
        assert_eq!(body(b"1234", 5).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(body(b"123456", 5).await.unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn ranges_are_written_and_read_as_http_has_them() {
        assert_eq!(header(0..1), "bytes=0-0");
        assert_eq!(header(100..u64::MAX), "bytes=100-");
        assert_eq!(content_range("bytes 0-9/100"), Some((0..10, 100)));
        for odd in ["", "bytes */100", "bytes 5-4/100", "bytes 0-100/100", "0-9/100", "bytes 0-9/*"] {
            assert_eq!(content_range(odd), None, "{odd}");
        }
    }
}
