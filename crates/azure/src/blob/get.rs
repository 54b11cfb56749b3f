//! Reads: one stream, pinned to one content, taken up again where it broke.

use std::num::NonZero;
use std::ops::Range;

use azure_core::http::response::AsyncResponseBody;
use azure_storage_blob::models::{BlobClientDownloadOptions, BlobClientDownloadResult};
use backstay_core::store::{ByteStream, GetOptions, GetOutcome, Key, Operation, VersionId};
use backstay_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::try_unfold;

use super::{BlobStore, meta, told};
use crate::error::is_status;

/// More than any blob has, and a length that every server reads: so the SDK asks once and streams.
const AT_ONCE: usize = 1 << 60;
/// How often one read is taken up again.
const RESUMES: u32 = 5;

/// A read on its way.
struct Reading {
    store: BlobStore,
    key: Key,
    version: Option<VersionId>,
    etag: Option<String>,
    /// Bytes that are still to come.
    left: Range<u64>,
    body: AsyncResponseBody,
    resumes: u32,
}

impl BlobStore {
    pub(super) async fn get_blob(&self, key: &Key, options: &GetOptions) -> Result<GetOutcome> {
        let error = |error: Error| self.placed(Operation::Get, error).with("key", key);
        if let Some(range) = options.range.as_ref().filter(|range| range.is_empty()) {
            let told = Error::new(ErrorKind::Invalid, "no byte of the object lies in the range");
            return Err(error(told).with("range", format!("{}..{}", range.start, range.end)));
        }
        let etag = options.if_match.as_deref();
        let answer = self.download(key, options.version.as_ref(), options.range.clone(), etag).await?;
        let answered = Answered::of(&answer).map_err(error)?;
        let mut meta = meta::of_headers(key, answered.size, &answer.headers).map_err(error)?;
        meta.latest = options.version.is_none();
        if let Some(version) = &options.version {
            let current = meta::header(&answer.headers, "x-ms-is-current-version");
            meta.latest = current.is_some_and(|is| is.eq_ignore_ascii_case("true"));
            meta.version.get_or_insert_with(|| version.clone());
        }
        let range = options.bytes_of(&meta).map_err(error)?;
        if answered.range != range {
            let told = Error::new(ErrorKind::Corrupt, "the service answered with other bytes than were asked for");
            return Err(error(told).with("got", format!("{}..{}", answered.range.start, answered.range.end)));
        }
        let reading = Reading {
            store: self.clone(),
            key: key.clone(),
            version: options.version.clone(),
            etag: meta.etag.clone(),
            left: range.clone(),
            body: answer.body,
            resumes: 0,
        };
        Ok(GetOutcome { meta, range, body: reading.stream() })
    }

    async fn download(
        &self,
        key: &Key,
        version: Option<&VersionId>,
        range: Option<Range<u64>>,
        etag: Option<&str>,
    ) -> Result<BlobClientDownloadResult> {
        let mut options = BlobClientDownloadOptions {
            partition_size: NonZero::new(AT_ONCE),
            parallel: NonZero::new(1),
            ..Default::default()
        };
        options.range =
            range.clone().map(|range| (range.start..range.end.min(range.start.saturating_add(AT_ONCE as u64))).into());
        options.if_match = etag.map(|etag| meta::quoted(etag).into());
        match self.blob_at(key, version)?.download(Some(options)).await {
            Ok(answer) => Ok(answer),
            Err(error) if is_status(&error, 416) || self.is_beyond(key, version, range.as_ref(), &error).await => {
                let beyond =
                    Error::new(ErrorKind::Invalid, "no byte of the object lies in the range").because(told(&error));
                let range = range.unwrap_or_default();
                let beyond = self.placed(Operation::Get, beyond).with("key", key);
                Err(beyond.with("range", format!("{}..{}", range.start, range.end)))
            }
            Err(error) => Err(self.failed(Operation::Get, key, &error)),
        }
    }

    /// Whether an answer that the SDK cannot read is Azurite's about a range of an empty blob: `bytes 0--1/0`.
    async fn is_beyond(
        &self,
        key: &Key,
        version: Option<&VersionId>,
        range: Option<&Range<u64>>,
        error: &azure_core::Error,
    ) -> bool {
        match range {
            Some(range) if matches!(error.kind(), azure_core::error::ErrorKind::DataConversion) => {
                self.head_blob(key, version, Operation::Get).await.is_ok_and(|there| there.size <= range.start)
            }
            _ => false,
        }
    }
}

/// What an answer says that it brings.
struct Answered {
    range: Range<u64>,
    size: u64,
}

impl Answered {
    fn of(answer: &BlobClientDownloadResult) -> Result<Self> {
        let unclear = || Error::new(ErrorKind::Other, "the service did not tell which bytes it sends");
        match meta::header(&answer.headers, "content-range") {
            // `bytes 0-4/5`, both ends included.
            Some(text) => {
                let (range, size) =
                    text.strip_prefix("bytes ").and_then(|rest| rest.split_once('/')).ok_or_else(unclear)?;
                let (first, last) = range.split_once('-').ok_or_else(unclear)?;
                let number = |text: &str| text.parse::<u64>().map_err(|_| unclear());
                let end = number(last)?.checked_add(1).ok_or_else(unclear)?;
                Ok(Self { range: number(first)?..end, size: number(size)? })
            }
            None => {
                let size = meta::header(&answer.headers, "content-length").and_then(|text| text.parse().ok());
                let size = size.ok_or_else(unclear)?;
                Ok(Self { range: 0..size, size })
            }
        }
    }
}

impl Reading {
    fn stream(self) -> ByteStream {
        Box::pin(try_unfold(self, |mut reading| async move {
            let chunk = reading.next().await?;
            Ok(chunk.map(|chunk| (chunk, reading)))
        }))
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let broken = match self.body.next().await {
                Some(Ok(chunk)) if chunk.is_empty() => continue,
                Some(Ok(chunk)) if chunk.len() as u64 > self.left.end - self.left.start => {
                    return Err(self.error(Error::new(ErrorKind::Corrupt, "the service sent more than it said")));
                }
                Some(Ok(chunk)) => {
                    self.left.start += chunk.len() as u64;
                    return Ok(Some(chunk));
                }
                None if self.left.is_empty() => return Ok(None),
                None => None,
                Some(Err(error)) => Some(error),
            };
            self.resume(broken).await?;
        }
    }

    /// Asks for what is left of the same content.
    async fn resume(&mut self, broken: Option<azure_core::Error>) -> Result<()> {
        if self.resumes == RESUMES || self.etag.is_none() {
            let mut early =
                Error::new(ErrorKind::Unavailable, "the content ended early, each time that it was asked for");
            if let Some(error) = &broken {
                early = early.because(told(error));
            }
            return Err(self.error(early).with("missing", self.left.end - self.left.start).no_more_retries());
        }
        self.resumes += 1;
        tracing::debug!(store = %self.store, key = %self.key, at = self.left.start, "a read broke and is taken up again");
        let answer = self
            .store
            .download(&self.key, self.version.as_ref(), Some(self.left.clone()), self.etag.as_deref())
            .await?;
        let answered = Answered::of(&answer).map_err(|error| self.error(error))?;
        if answered.range != self.left {
            return Err(
                self.error(Error::new(ErrorKind::Corrupt, "the service answered with other bytes than were asked for"))
            );
        }
        self.body = answer.body;
        Ok(())
    }

    fn error(&self, error: Error) -> Error {
        self.store.placed(Operation::Get, error).with("key", &self.key)
    }
}
