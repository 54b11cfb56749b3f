//! Copies that the server makes, also under a policy that denies plain overwrites: parts copied, then a conditional end.

use backstay_core::store::{Key, Location, ObjectMeta, PutOptions, Upload as _};
use backstay_core::{ErrorKind, Result};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::bucket::escaped;
use super::head::size;
use super::store::{S3Store, SLOW_CALL, to};
use super::upload::{S3Upload, Sent};
use crate::error::{Call, Told};

const LOOK: Call = Call { name: "copy_in", api: "HeadObject", right: "s3:GetObject" };
const COPY: Call = Call { name: "copy_in", api: "UploadPartCopy", right: "s3:PutObject" };
const SCHEME: &str = "s3";
/// Bytes of one part, unless the object is too large for it.
const PART: u64 = 256 << 20;
/// Parts on their way at once.
const IN_FLIGHT: usize = 4;

/// What is copied.
struct Source {
    bucket: String,
    key: String,
    etag: Option<String>,
    size: u64,
}

impl S3Store {
    pub(super) fn location(&self, key: &Key) -> Location {
        let place = match &self.0.endpoint {
            Some(endpoint) => format!("{}/{}", endpoint.trim_end_matches('/'), self.0.bucket),
            None => self.0.bucket.clone(),
        };
        Location::new(SCHEME, place, key.as_str())
    }

    /// The bucket that a location lies in, if this server has it.
    fn bucket_of<'a>(&self, from: &'a Location) -> Option<&'a str> {
        let place = match &self.0.endpoint {
            Some(endpoint) => from.place.strip_prefix(endpoint.trim_end_matches('/'))?.strip_prefix('/')?,
            None => &from.place,
        };
        (from.scheme == SCHEME && super::bucket::flaw(place).is_none()).then_some(place)
    }

    pub(super) async fn copy_object(
        &self,
        from: &Location,
        to: &Key,
        options: &PutOptions,
    ) -> Result<Option<ObjectMeta>> {
        let Some(bucket) = self.bucket_of(from) else { return Ok(None) };
        let source = match self.look_at(bucket, &from.key).await {
            Ok(source) => source,
            // Somebody else's credential may read it, and what it reads can be streamed.
            Err(told) if told.kind() == ErrorKind::Denied => return Ok(None),
            Err(told) => return Err(told.error(LOOK, bucket, &from.key)),
        };
        if source.size == 0 {
            return self.put_object(to, Bytes::new(), options).await.map(Some);
        }
        let mut upload = self.begin_copy(to, options).await?;
        match self.copy_parts(&upload, &source).await {
            Ok(parts) => parts.into_iter().for_each(|part| upload.take(part)),
            Err(error) => {
                if let Err(left) = Box::new(upload).abort().await {
                    tracing::debug!(error = %left, "an upload could not be aborted; a sweep will find it");
                }
                let cannot = matches!(error.kind(), ErrorKind::Denied | ErrorKind::Unsupported);
                return if cannot { Ok(None) } else { Err(error) };
            }
        }
        Box::new(upload).complete().await.map(Some)
    }

    async fn look_at(&self, bucket: &str, key: &str) -> Result<Source, Told> {
        let call = self.0.client.head_object().bucket(bucket).key(key).set_request_payer(self.0.payer.clone());
        let found = call.send().await.map_err(Told::of)?;
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        Ok(Source { bucket, key, etag: found.e_tag().map(str::to_owned), size: size(found.content_length()) })
    }

    async fn copy_parts(&self, upload: &S3Upload, source: &Source) -> Result<Vec<Sent>> {
        let most = u64::from(self.0.capabilities.max_parts);
        let bytes = PART.max(source.size.div_ceil(most));
        let parts = source.size.div_ceil(bytes);
        let copies = (0..parts).map(|index| {
            let (start, end) = (index * bytes, source.size.min((index + 1) * bytes));
            let number = i32::try_from(index + 1).unwrap_or(i32::MAX);
            self.copy_part(upload, source, number, (parts > 1).then_some((start, end - 1)), end - start)
        });
        stream::iter(copies).buffer_unordered(IN_FLIGHT).try_collect().await
    }

    async fn copy_part(
        &self,
        upload: &S3Upload,
        source: &Source,
        number: i32,
        range: Option<(u64, u64)>,
        bytes: u64,
    ) -> Result<Sent> {
        let path = source.key.split('/').map(escaped).collect::<Vec<_>>().join("/");
        let call = to!(self, upload_part_copy)
            .key(upload.key.as_str())
            .upload_id(&upload.id)
            .part_number(number)
            .copy_source(format!("{}/{path}", source.bucket))
            .set_copy_source_if_match(source.etag.clone())
            .set_copy_source_range(range.map(|(first, last)| format!("bytes={first}-{last}")));
        let told = call.customize().config_override(self.waits(SLOW_CALL)).send().await.map_err(Told::of);
        let copied = told.map_err(|told| {
            if told.is_precondition() {
                return self.fault(COPY, ErrorKind::Conflict, "the object changed while it was copied", &source.key);
            }
            self.error(told, COPY, upload.key.as_str()).with("from", &source.key)
        })?;
        let etag = copied.copy_part_result().and_then(|part| part.e_tag()).map(str::to_owned);
        Ok(Sent { number, etag, crc: None, bytes })
    }
}
