//! One page of a listing.

use aws_sdk_s3::types::EncodingType;
use backstay_core::store::{Key, ListEntry, ListOptions, ObjectMeta, Prefix, VersionId};
use backstay_core::{ErrorKind, Result};
use jiff::Timestamp;

use super::answer::Answer;
use super::bucket::unescaped;
use super::head::{moment, size};
use super::list::{LIST, LIST_VERSIONS};
use super::put::etag;
use super::store::{S3Store, to};
use crate::error::{Call, Told};

/// What comes next.
pub(super) enum Next {
    First,
    /// The first page behind a folder.
    Behind,
    Token(String),
    Version {
        key: String,
        version: Option<String>,
    },
}

pub(super) struct Page {
    pub(super) lines: Vec<Line>,
    pub(super) next: Option<Next>,
}

/// A line, whose name may be no key.
pub(super) enum Line {
    Folder(String),
    Object(String, Found),
}

/// What a line tells of an object, or of one version of it.
#[derive(Default)]
pub(super) struct Found {
    size: u64,
    modified: Timestamp,
    etag: Option<String>,
    class: Option<String>,
    version: Option<VersionId>,
    is_old: bool,
    is_marker: bool,
}

impl Line {
    pub(super) fn name(&self) -> &str {
        let (Self::Folder(name) | Self::Object(name, _)) = self;
        name
    }

    /// The entry, if the name is a key or a prefix.
    pub(super) fn entry(self) -> Option<ListEntry> {
        match self {
            Self::Folder(name) => Prefix::new(name).ok().map(ListEntry::Folder),
            Self::Object(name, found) => Key::new(name).ok().map(|key| ListEntry::Object(found.meta(key))),
        }
    }
}

impl Found {
    fn meta(self, key: Key) -> ObjectMeta {
        let mut meta = ObjectMeta::new(key, self.size, self.modified);
        (meta.etag, meta.class, meta.version) = (self.etag, self.class, self.version);
        (meta.latest, meta.delete_marker) = (!self.is_old, self.is_marker);
        meta
    }
}

/// In the order of the names; folders stand where their names do.
fn merged(mut lines: Vec<Line>, folders: Vec<Line>) -> Vec<Line> {
    if !folders.is_empty() {
        lines.extend(folders);
        // Stable: versions of one key stay as they are.
        lines.sort_by(|a, b| a.name().cmp(b.name()));
    }
    lines
}

impl S3Store {
    pub(super) async fn page_of_keys(&self, prefix: &str, options: &ListOptions, next: Next) -> Result<Page> {
        let mut call = to!(self, list_objects_v2)
            .prefix(prefix)
            .encoding_type(EncodingType::Url)
            .set_delimiter(options.folders.then(|| "/".to_owned()));
        call = match next {
            Next::Token(token) => call.continuation_token(token),
            _ => call.set_start_after(options.start_after.clone()),
        };
        let told = call.send().await.map_err(Told::of);
        let page = told.map_err(|told| self.error(told, LIST, "").with("prefix", prefix))?;
        let name = |text| self.name(LIST, page.encoding_type(), text);
        let mut lines = Vec::with_capacity(page.contents().len());
        for object in page.contents() {
            let found = Found {
                size: size(object.size()),
                modified: moment(object.last_modified()),
                etag: object.e_tag().map(etag),
                class: object.storage_class().map(|class| class.as_str().to_owned()),
                ..Found::default()
            };
            lines.push(Line::Object(name(object.key())?, found));
        }
        let folders = page.common_prefixes().iter().map(|folder| name(folder.prefix()).map(Line::Folder));
        let lines = merged(lines, folders.collect::<Result<_>>()?);
        let next = match (page.is_truncated(), page.next_continuation_token()) {
            (Some(true), Some(token)) => Some(Next::Token(token.to_owned())),
            (Some(true), None) => return Err(self.endless(LIST, prefix)),
            _ => None,
        };
        Ok(Page { lines, next })
    }

    pub(super) async fn page_of_versions(&self, prefix: &str, options: &ListOptions, next: Next) -> Result<Page> {
        let answer = Answer::default();
        let (after, version) = match next {
            Next::Version { key, version } => (Some(key), version),
            _ => (options.start_after.clone(), None),
        };
        let call = to!(self, list_object_versions)
            .prefix(prefix)
            .encoding_type(EncodingType::Url)
            .set_delimiter(options.folders.then(|| "/".to_owned()))
            .set_key_marker(after)
            .set_version_id_marker(version);
        let told = call.customize().interceptor(answer.clone()).send().await.map_err(Told::of);
        let page = told.map_err(|told| self.error(told, LIST_VERSIONS, "").with("prefix", prefix))?;
        let name = |text| self.name(LIST_VERSIONS, page.encoding_type(), text);
        let (mut versions, mut markers) = (page.versions().iter(), page.delete_markers().iter());
        let mut lines = Vec::new();
        for is_marker in answer.markers() {
            let (text, found) = if is_marker {
                let Some(marker) = markers.next() else { break };
                let found = Found {
                    modified: moment(marker.last_modified()),
                    version: marker.version_id().map(|id| VersionId(id.to_owned())),
                    is_old: marker.is_latest() != Some(true),
                    is_marker,
                    ..Found::default()
                };
                (marker.key(), found)
            } else {
                let Some(version) = versions.next() else { break };
                let found = Found {
                    size: size(version.size()),
                    modified: moment(version.last_modified()),
                    etag: version.e_tag().map(etag),
                    class: version.storage_class().map(|class| class.as_str().to_owned()),
                    version: version.version_id().map(|id| VersionId(id.to_owned())),
                    is_old: version.is_latest() != Some(true),
                    is_marker,
                };
                (version.key(), found)
            };
            lines.push(Line::Object(name(text)?, found));
        }
        if versions.next().is_some() || markers.next().is_some() {
            let message = "the order of versions and delete markers cannot be told from the server's answer";
            return Err(self.fault(LIST_VERSIONS, ErrorKind::Other, message, "").with("prefix", prefix));
        }
        let folders = page.common_prefixes().iter().map(|folder| name(folder.prefix()).map(Line::Folder));
        let lines = merged(lines, folders.collect::<Result<_>>()?);
        let next = match (page.is_truncated(), page.next_key_marker()) {
            (Some(true), Some(key)) => {
                let version = page.next_version_id_marker().filter(|id| !id.is_empty()).map(str::to_owned);
                Some(Next::Version { key: name(Some(key))?, version })
            }
            (Some(true), None) => return Err(self.endless(LIST_VERSIONS, prefix)),
            _ => None,
        };
        Ok(Page { lines, next })
    }

    /// The name that a server may have encoded, so that XML can hold it.
    pub(super) fn name(&self, call: Call, encoding: Option<&EncodingType>, text: Option<&str>) -> Result<String> {
        let name = match (text, encoding) {
            (Some(text), Some(EncodingType::Url)) => unescaped(text),
            (text, _) => text.map(str::to_owned),
        };
        name.ok_or_else(|| {
            let message = format!("the listing has a line whose name cannot be read: {:?}", text.unwrap_or_default());
            self.fault(call, ErrorKind::Other, message, "")
        })
    }

    pub(super) fn endless(&self, call: Call, prefix: &str) -> backstay_core::Error {
        let message = "the server says that there is more, and not where";
        self.fault(call, ErrorKind::Other, message, "").with("prefix", prefix)
    }
}
