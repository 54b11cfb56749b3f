//! What the component of versioned objects asks of a bucket beside what a store does.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::EncodingType;
use backstay_core::store::{Key, ObjectMeta, VersionId};
use backstay_core::{ErrorKind, Result};
use bytes::Bytes;
use jiff::Timestamp;

use super::answer::Answer;
use super::bucket::escaped;
use super::head::{moment, size};
use super::integrity::Crc;
use super::list::LIST_VERSIONS;
use super::put::etag;
use super::store::{S3Store, SLOW_CALL, to};
use crate::connect::Connect;
use crate::error::{Call, Told};

const PUT: Call = Call { name: "put", api: "PutObject", right: "s3:PutObject" };
const COPY: Call = Call { name: "copy", api: "CopyObject", right: "s3:PutObject" };
/// Bytes that one CopyObject takes.
const MOST_COPIED: u64 = 5 << 30;

/// A version or a delete marker, as it is listed.
#[derive(Clone, Debug)]
pub(crate) struct VersionLine {
    pub(crate) key: String,
    pub(crate) version: Option<String>,
    pub(crate) modified: Timestamp,
    pub(crate) size: u64,
    pub(crate) etag: Option<String>,
    pub(crate) class: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) latest: bool,
    pub(crate) marker: bool,
}

/// Where a listing goes on: behind this version of this key.
pub(crate) type After = (String, Option<String>);

/// What a key must hold for a write to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Over<'a> {
    /// Nothing.
    Nothing,
    /// The object of this etag.
    Etag(&'a str),
    /// It does not matter.
    Anything,
}

impl Over<'_> {
    /// The headers If-Match and If-None-Match.
    fn headers(self) -> (Option<String>, Option<String>) {
        match self {
            Self::Nothing => (None, Some("*".to_owned())),
            Self::Etag(etag) => (Some(format!("\"{etag}\"")), None),
            Self::Anything => (None, None),
        }
    }
}

impl S3Store {
    pub(crate) fn bucket(&self) -> &str {
        &self.0.bucket
    }

    pub(crate) fn connect(&self) -> &Connect {
        &self.0.connect
    }

    /// A page of all versions under a prefix, newest first for each key, and where the next one begins.
    pub(crate) async fn versions_page(
        &self,
        prefix: &str,
        after: Option<After>,
    ) -> Result<(Vec<VersionLine>, Option<After>)> {
        let (answer, (key, version)) = (Answer::default(), after.map_or((None, None), |(key, id)| (Some(key), id)));
        let call = to!(self, list_object_versions)
            .prefix(prefix)
            .encoding_type(EncodingType::Url)
            .set_key_marker(key)
            .set_version_id_marker(version);
        let told = call.customize().interceptor(answer.clone()).send().await.map_err(Told::of);
        let page = told.map_err(|told| self.error(told, LIST_VERSIONS, "").with("prefix", prefix))?;
        let name = |text| self.name(LIST_VERSIONS, page.encoding_type(), text);
        let (mut versions, mut markers) = (page.versions().iter(), page.delete_markers().iter());
        let mut lines = Vec::new();
        for marker in answer.markers() {
            let line = if marker {
                let Some(found) = markers.next() else { break };
                VersionLine {
                    key: name(found.key())?,
                    version: found.version_id().map(str::to_owned),
                    modified: moment(found.last_modified()),
                    size: 0,
                    etag: None,
                    class: None,
                    owner: found.owner().and_then(called),
                    latest: found.is_latest() == Some(true),
                    marker,
                }
            } else {
                let Some(found) = versions.next() else { break };
                VersionLine {
                    key: name(found.key())?,
                    version: found.version_id().map(str::to_owned),
                    modified: moment(found.last_modified()),
                    size: size(found.size()),
                    etag: found.e_tag().map(etag),
                    class: found.storage_class().map(|class| class.as_str().to_owned()),
                    owner: found.owner().and_then(called),
                    latest: found.is_latest() == Some(true),
                    marker,
                }
            };
            lines.push(line);
        }
        if versions.next().is_some() || markers.next().is_some() {
            let message = "the order of versions and delete markers cannot be told from the server's answer";
            return Err(self.fault(LIST_VERSIONS, ErrorKind::Other, message, "").with("prefix", prefix));
        }
        // versitygw lists the markers of a page before all versions. Stable: what one second holds stays in the server's order.
        lines.sort_by(|a, b| {
            let (newer, older) = ((b.latest, b.modified.as_second()), (a.latest, a.modified.as_second()));
            a.key.cmp(&b.key).then(newer.cmp(&older))
        });
        let next = match (page.is_truncated(), page.next_key_marker()) {
            (Some(true), Some(key)) => {
                let version = page.next_version_id_marker().filter(|id| !id.is_empty()).map(str::to_owned);
                Some((name(Some(key))?, version))
            }
            (Some(true), None) => return Err(self.endless(LIST_VERSIONS, prefix)),
            _ => None,
        };
        Ok((lines, next))
    }

    /// Puts JSON, if the key holds what is said. [`Conflict`](ErrorKind::Conflict) if it does not.
    pub(crate) async fn put_json(&self, key: &Key, data: Bytes, over: Over<'_>) -> Result<()> {
        let (encryption, (if_match, if_none_match)) = (self.0.encryption.headers(), over.headers());
        let call = to!(self, put_object)
            .key(key.as_str())
            .content_type("application/json")
            .checksum_crc64_nvme(Crc::of(&data).header())
            .body(ByteStream::from(data.clone()))
            .set_if_match(if_match)
            .set_if_none_match(if_none_match)
            .set_server_side_encryption(encryption.algorithm)
            .set_ssekms_key_id(encryption.key)
            .set_ssekms_encryption_context(encryption.context)
            .set_bucket_key_enabled(encryption.bucket_key)
            .customize()
            .config_override(self.patient(data.len() as u64));
        let call = if self.0.signs_bodies { call } else { call.disable_payload_signing() };
        call.send().await.map_err(Told::of).map(drop).map_err(|told| self.not_written(told, PUT, key))
    }

    /// Makes an earlier version the current one, by a copy at the server with its metadata and tags.
    pub(crate) async fn copy_version(&self, from: &ObjectMeta, version: &VersionId, over: Over<'_>) -> Result<()> {
        let key = &from.key;
        if from.size > MOST_COPIED {
            let message = format!("the version has {} bytes, and a copy takes at most {MOST_COPIED}", from.size);
            return Err(self.fault(COPY, ErrorKind::Unsupported, message, key.as_str()));
        }
        let path = key.as_str().split('/').map(escaped).collect::<Vec<_>>().join("/");
        let (encryption, (if_match, if_none_match)) = (self.0.encryption.headers(), over.headers());
        let call = to!(self, copy_object)
            .key(key.as_str())
            .copy_source(format!("{}/{path}?versionId={}", self.0.bucket, escaped(&version.0)))
            .set_copy_source_if_match(from.etag.as_ref().map(|etag| format!("\"{etag}\"")))
            .set_if_match(if_match)
            .set_if_none_match(if_none_match)
            .set_server_side_encryption(encryption.algorithm)
            .set_ssekms_key_id(encryption.key)
            .set_ssekms_encryption_context(encryption.context)
            .set_bucket_key_enabled(encryption.bucket_key);
        let told = call.customize().config_override(self.waits(SLOW_CALL)).send().await.map_err(Told::of);
        told.map(drop).map_err(|told| self.not_written(told, COPY, key))
    }

    fn not_written(&self, told: Told, call: Call, key: &Key) -> backstay_core::Error {
        if told.is_precondition() {
            return self
                .fault(call, ErrorKind::Conflict, "the key no longer holds what was seen", key.as_str())
                .advise("somebody else wrote it meanwhile: make a new plan");
        }
        self.error(told, call, key.as_str())
    }
}

fn called(owner: &aws_sdk_s3::types::Owner) -> Option<String> {
    owner.display_name().filter(|name| !name.is_empty()).or(owner.id()).map(str::to_owned)
}
