//! One page of a listing.

use std::cmp::Reverse;

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

/// A version or a delete marker, as it is listed.
#[derive(Clone, Debug)]
pub(crate) struct VersionLine {
    pub(crate) key: String,
    pub(crate) version: Option<String>,
    pub(crate) modified: Timestamp,
    pub(crate) size: u64,
    pub(crate) etag: Option<String>,
    pub(crate) class: Option<String>,
    #[cfg_attr(not(feature = "s3_versions"), expect(dead_code, reason = "a store does not tell who put an object"))]
    pub(crate) owner: Option<String>,
    pub(crate) latest: bool,
    pub(crate) marker: bool,
}

/// Where a listing goes on: behind this version of this key.
pub(crate) type After = (String, Option<String>);

pub(crate) struct VersionPage {
    pub(crate) lines: Vec<VersionLine>,
    folders: Vec<String>,
    pub(crate) next: Option<After>,
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

impl From<VersionLine> for Line {
    fn from(line: VersionLine) -> Self {
        let found = Found {
            size: line.size,
            modified: line.modified,
            etag: line.etag,
            class: line.class,
            version: line.version.map(VersionId),
            is_old: !line.latest,
            is_marker: line.marker,
        };
        Self::Object(line.key, found)
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

/// Amazon lists versions and delete markers among each other, the newest of each key first. Some servers list all of one
/// kind and then all of the other: those are put where they belong, by the times that are told.
fn interleaved(mut lines: Vec<VersionLine>) -> Vec<VersionLine> {
    let kinds: Vec<&[VersionLine]> = lines.chunk_by(|a, b| a.marker == b.marker).collect();
    let sorted = |lines: &[VersionLine]| lines.is_sorted_by(|a, b| a.key <= b.key);
    if kinds.len() == 2 && kinds.iter().all(|kind| sorted(kind)) {
        // A second is as fine as times are told; stable, so that what one second holds stays in the server's order.
        let age = |line: &VersionLine| (!line.latest, Reverse(line.modified.as_second()));
        lines.sort_by(|a, b| a.key.cmp(&b.key).then_with(|| age(a).cmp(&age(b))));
    }
    lines
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
        let after = match next {
            Next::Version { key, version } => Some((key, version)),
            _ => options.start_after.clone().map(|key| (key, None)),
        };
        let page = self.ask_for_versions(prefix, options.folders, after).await?;
        let lines = page.lines.into_iter().map(Line::from).collect();
        Ok(Page {
            lines: merged(lines, page.folders.into_iter().map(Line::Folder).collect()),
            next: page.next.map(|(key, version)| Next::Version { key, version }),
        })
    }

    /// A page of versions and delete markers, the newest of each key first.
    pub(crate) async fn ask_for_versions(
        &self,
        prefix: &str,
        folders: bool,
        after: Option<After>,
    ) -> Result<VersionPage> {
        let (answer, (key, version)) = (Answer::default(), after.map_or((None, None), |(key, id)| (Some(key), id)));
        let call = to!(self, list_object_versions)
            .prefix(prefix)
            .encoding_type(EncodingType::Url)
            .set_delimiter(folders.then(|| "/".to_owned()))
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
        let folders = page.common_prefixes().iter().map(|folder| name(folder.prefix())).collect::<Result<_>>()?;
        let next = match (page.is_truncated(), page.next_key_marker()) {
            (Some(true), Some(key)) => {
                let version = page.next_version_id_marker().filter(|id| !id.is_empty()).map(str::to_owned);
                Some((name(Some(key))?, version))
            }
            (Some(true), None) => return Err(self.endless(LIST_VERSIONS, prefix)),
            _ => None,
        };
        Ok(VersionPage { lines: interleaved(lines), folders, next })
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

fn called(owner: &aws_sdk_s3::types::Owner) -> Option<String> {
    owner.display_name().filter(|name| !name.is_empty()).or(owner.id()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(key: &str, second: i64, latest: bool, marker: bool) -> VersionLine {
        VersionLine {
            key: key.to_owned(),
            version: None,
            modified: Timestamp::from_second(second).unwrap(),
            size: 0,
            etag: None,
            class: None,
            owner: None,
            latest,
            marker,
        }
    }

    fn told(lines: &[VersionLine]) -> Vec<(&str, bool)> {
        lines.iter().map(|line| (&*line.key, line.marker)).collect()
    }

    #[test]
    fn markers_that_come_apart_from_versions_are_put_to_their_keys() {
        let lines = vec![
            line("a", 3, true, false),
            line("a", 1, false, false),
            line("b", 1, false, false),
            line("a", 2, false, true),
            line("b", 2, true, true),
        ];
        let expected = [("a", false), ("a", true), ("a", false), ("b", true), ("b", false)];
        assert_eq!(told(&interleaved(lines)), expected);
        let markers_first = vec![line("a", 2, true, true), line("b", 2, true, true), line("a", 1, false, false)];
        assert_eq!(told(&interleaved(markers_first)), [("a", true), ("a", false), ("b", true)]);
    }

    #[test]
    fn an_order_that_is_none_stays_as_it_is_told() {
        let lines = vec![line("b", 1, true, false), line("a", 1, false, false), line("a", 2, true, true)];
        assert_eq!(told(&interleaved(lines)), [("b", false), ("a", false), ("a", true)]);
    }
}
