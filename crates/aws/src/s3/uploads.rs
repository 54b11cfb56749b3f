//! Uploads that began and did not end.

use std::collections::VecDeque;

use aws_sdk_s3::types::EncodingType;
use backstay_core::Result;
use backstay_core::store::{BoxStream, Key, Prefix, UploadRef};
use futures_util::{TryStreamExt as _, stream};

use super::answer::time;
use super::store::{S3Store, to};
use crate::error::{Call, Told};

const UPLOADS: Call = Call { name: "uploads", api: "ListMultipartUploads", right: "s3:ListBucketMultipartUploads" };

/// Where the next page begins.
struct Markers {
    key: Option<String>,
    upload: Option<String>,
}

impl S3Store {
    pub(super) fn list_uploads(&self, prefix: &Prefix) -> BoxStream<'static, Result<UploadRef>> {
        let (store, prefix) = (self.clone(), prefix.as_str().to_owned());
        let first = Some(Markers { key: None, upload: None });
        let pages = stream::try_unfold(first, move |markers| {
            let (store, prefix) = (store.clone(), prefix.clone());
            async move {
                let Some(markers) = markers else { return Ok(None) };
                let (page, next) = store.page_of_uploads(&prefix, markers).await?;
                Ok::<_, backstay_core::Error>(Some((stream::iter(page.into_iter().map(Ok)), next)))
            }
        });
        Box::pin(pages.try_flatten())
    }

    async fn page_of_uploads(&self, prefix: &str, markers: Markers) -> Result<(VecDeque<UploadRef>, Option<Markers>)> {
        let call = to!(self, list_multipart_uploads)
            .prefix(prefix)
            .encoding_type(EncodingType::Url)
            .set_key_marker(markers.key)
            .set_upload_id_marker(markers.upload);
        let told = call.send().await.map_err(Told::of);
        let page = told.map_err(|told| self.error(told, UPLOADS, "").with("prefix", prefix))?;
        let name = |text| self.name(UPLOADS, page.encoding_type(), text);
        let mut found = VecDeque::with_capacity(page.uploads().len());
        for upload in page.uploads() {
            // What is no key is nobody's of ours.
            if let (Ok(key), Some(id)) = (Key::new(name(upload.key())?), upload.upload_id()) {
                found.push_back(UploadRef::new(key, id, upload.initiated().copied().and_then(time)));
            }
        }
        let next = match (page.is_truncated(), page.next_key_marker()) {
            (Some(true), Some(key)) => {
                let upload = page.next_upload_id_marker().map(str::to_owned);
                Some(Markers { key: Some(name(Some(key))?), upload })
            }
            (Some(true), None) => return Err(self.endless(UPLOADS, prefix)),
            _ => None,
        };
        Ok((found, next))
    }
}
