//! Listings of keys and of versions.

use std::collections::BTreeMap;
use std::ops::Bound;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use s3s::dto::{
    ChecksumAlgorithm, CommonPrefix, DeleteMarkerEntry, ETag, ListObjectVersionsInput, ListObjectVersionsOutput,
    ListObjectsV2Input, ListObjectsV2Output, Object, ObjectStorageClass, ObjectVersion, ObjectVersionStorageClass,
    Owner,
};
use s3s::{S3Request, S3Response};

use crate::clock::to_s3;
use crate::error::{Result, fail};
use crate::object::{Content, Version};
use crate::query::encode;
use crate::service::Api;
use crate::sums::Algorithm;
use crate::world::Current;

/// Where a listing goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum After {
    /// Behind this key.
    Key(String),
    /// Behind all keys of this common prefix.
    Prefix(String),
}

impl After {
    fn token(&self) -> String {
        let text = match self {
            Self::Key(key) => format!("k{key}"),
            Self::Prefix(prefix) => format!("p{prefix}"),
        };
        BASE64_URL_SAFE_NO_PAD.encode(text)
    }

    fn parse(token: &str) -> Result<Self> {
        let text = BASE64_URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let after = text.as_deref().and_then(|text| match text.split_at_checked(1)? {
            ("k", key) => Some(Self::Key(key.to_owned())),
            ("p", prefix) => Some(Self::Prefix(prefix.to_owned())),
            _ => None,
        });
        after.ok_or_else(|| fail(400, "InvalidArgument", "The continuation token provided is incorrect"))
    }

    fn skips(&self, key: &str) -> bool {
        match self {
            Self::Key(after) => key <= after.as_str(),
            Self::Prefix(prefix) => key.starts_with(prefix.as_str()),
        }
    }
}

/// The keys of a map that a listing is over, from where it begins.
pub(crate) fn from_here<'a, T>(
    map: &'a BTreeMap<String, T>,
    prefix: &'a str,
    after: Option<&str>,
) -> impl Iterator<Item = (&'a String, &'a T)> {
    let start = match after {
        Some(after) if after > prefix => Bound::Included(after),
        _ => Bound::Included(prefix),
    };
    map.range::<str, _>((start, Bound::Unbounded)).take_while(move |(key, _)| key.starts_with(prefix))
}

/// The common prefix that a key falls into.
pub(crate) fn folder<'a>(key: &'a str, prefix: &str, delimiter: Option<&str>) -> Option<&'a str> {
    let delimiter = delimiter.filter(|it| !it.is_empty())?;
    let at = key.get(prefix.len()..)?.find(delimiter)?;
    key.get(..prefix.len() + at + delimiter.len())
}

pub(crate) fn owner(id: &str) -> Owner {
    Owner { display_name: None, id: Some(id.to_owned()) }
}

fn algorithms(content: &Content) -> Option<Vec<ChecksumAlgorithm>> {
    Algorithm::in_use(&content.sums).map(|it| vec![ChecksumAlgorithm::from_static(it.name())])
}

fn class(content: &Content) -> String {
    content.about.class.name.clone().unwrap_or_else(|| "STANDARD".to_owned())
}

impl Api {
    pub(crate) fn list(&self, request: S3Request<ListObjectsV2Input>) -> Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let limit = Current::of(&request.extensions).page(input.max_keys);
        let after = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) => Some(After::parse(token)?),
            (None, Some(key)) => Some(After::Key(key.clone())),
            (None, None) => None,
        };
        let prefix = input.prefix.clone().unwrap_or_default();
        let encoding = input.encoding_type.as_ref();
        let world = self.0.world();
        let bucket = world.bucket(&input.bucket)?;
        let begin = after.as_ref().map(|(After::Key(text) | After::Prefix(text))| text.as_str());
        let (mut contents, mut folders, mut last) = (Vec::new(), Vec::new(), after.clone());
        let mut truncated = false;
        for (key, versions) in from_here(&bucket.objects, &prefix, begin) {
            if last.as_ref().is_some_and(|last| last.skips(key)) {
                continue;
            }
            let Some(Version { made, content: Some(content), .. }) = versions.last() else { continue };
            if contents.len() + folders.len() >= limit {
                truncated = limit > 0;
                break;
            }
            match folder(key, &prefix, input.delimiter.as_deref()) {
                Some(folder) => {
                    folders.push(CommonPrefix { prefix: Some(encode(folder, encoding)) });
                    last = Some(After::Prefix(folder.to_owned()));
                }
                None => {
                    contents.push(Object {
                        checksum_algorithm: algorithms(content),
                        checksum_type: content.sums.checksum_type.clone(),
                        e_tag: Some(ETag::Strong(content.etag.clone())),
                        key: Some(encode(key, encoding)),
                        last_modified: Some(to_s3(*made)),
                        owner: input.fetch_owner.unwrap_or_default().then(|| owner(&bucket.settings.owner)),
                        restore_status: None,
                        size: i64::try_from(content.size).ok(),
                        storage_class: Some(ObjectStorageClass::from(class(content))),
                    });
                    last = Some(After::Key(key.clone()));
                }
            }
        }
        let token = last.filter(|_| truncated).map(|last| last.token());
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: i32::try_from(contents.len() + folders.len()).ok(),
            contents: (!contents.is_empty()).then_some(contents),
            common_prefixes: (!folders.is_empty()).then_some(folders),
            is_truncated: Some(truncated),
            next_continuation_token: token,
            max_keys: Some(input.max_keys.unwrap_or(1000)),
            name: Some(input.bucket),
            prefix: Some(encode(&prefix, encoding)),
            delimiter: input.delimiter,
            encoding_type: input.encoding_type,
            continuation_token: input.continuation_token,
            start_after: input.start_after,
            ..ListObjectsV2Output::default()
        }))
    }

    pub(crate) fn list_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> Result<S3Response<ListObjectVersionsOutput>> {
        let input = request.input;
        let limit = Current::of(&request.extensions).page(input.max_keys);
        let prefix = input.prefix.clone().unwrap_or_default();
        let encoding = input.encoding_type.as_ref();
        let world = self.0.world();
        let bucket = world.bucket(&input.bucket)?;
        let mut output = ListObjectVersionsOutput { is_truncated: Some(false), ..Default::default() };
        let (mut versions, mut markers, mut folders) = (Vec::new(), Vec::<DeleteMarkerEntry>::new(), Vec::new());
        let mut inside: Option<String> = None;
        let mut last: Option<(String, Option<String>)> = None;
        let after = input.key_marker.as_deref();
        'keys: for (key, all) in from_here(&bucket.objects, &prefix, after) {
            if after
                .is_some_and(|after| key.as_str() < after || folder_of_marker(key, after, input.delimiter.as_deref()))
            {
                continue;
            }
            let mut rest: Vec<&Version> = all.iter().rev().collect();
            if after == Some(key.as_str()) {
                let marker = input.version_id_marker.as_deref();
                let at = rest.iter().position(|version| Some(version.id.as_str()) == marker);
                rest = at.map_or(Vec::new(), |at| rest.split_off(at + 1));
            }
            let folder = folder(key, &prefix, input.delimiter.as_deref());
            if folder.is_some() && folder == inside.as_deref() {
                continue;
            }
            for version in rest {
                if versions.len() + markers.len() + folders.len() >= limit {
                    output.is_truncated = Some(limit > 0);
                    break 'keys;
                }
                if let Some(folder) = folder {
                    folders.push(CommonPrefix { prefix: Some(encode(folder, encoding)) });
                    inside = Some(folder.to_owned());
                    last = Some((folder.to_owned(), None));
                    break;
                }
                let latest = all.last().is_some_and(|newest| newest.id == version.id);
                match &version.content {
                    None => markers.push(DeleteMarkerEntry {
                        is_latest: Some(latest),
                        key: Some(encode(key, encoding)),
                        last_modified: Some(to_s3(version.made)),
                        owner: Some(owner(&bucket.settings.owner)),
                        version_id: Some(version.id.clone()),
                    }),
                    Some(content) => versions.push(ObjectVersion {
                        checksum_algorithm: algorithms(content),
                        checksum_type: content.sums.checksum_type.clone(),
                        e_tag: Some(ETag::Strong(content.etag.clone())),
                        is_latest: Some(latest),
                        key: Some(encode(key, encoding)),
                        last_modified: Some(to_s3(version.made)),
                        owner: Some(owner(&bucket.settings.owner)),
                        restore_status: None,
                        size: i64::try_from(content.size).ok(),
                        storage_class: Some(ObjectVersionStorageClass::from(class(content))),
                        version_id: Some(version.id.clone()),
                    }),
                }
                last = Some((key.clone(), Some(version.id.clone())));
            }
        }
        if let Some((key, version)) = last.filter(|_| output.is_truncated == Some(true)) {
            output.next_key_marker = Some(encode(&key, encoding));
            output.next_version_id_marker = version;
        }
        output.versions = (!versions.is_empty()).then_some(versions);
        output.delete_markers = (!markers.is_empty()).then_some(markers);
        output.common_prefixes = (!folders.is_empty()).then_some(folders);
        output.max_keys = Some(input.max_keys.unwrap_or(1000));
        output.name = Some(input.bucket);
        output.prefix = Some(encode(&prefix, encoding));
        output.key_marker = input.key_marker;
        output.version_id_marker = input.version_id_marker;
        output.delimiter = input.delimiter;
        output.encoding_type = input.encoding_type;
        Ok(S3Response::new(output))
    }
}

/// Whether the marker is a common prefix that the key falls into.
fn folder_of_marker(key: &str, marker: &str, delimiter: Option<&str>) -> bool {
    delimiter.is_some_and(|delimiter| !delimiter.is_empty() && marker.ends_with(delimiter) && key.starts_with(marker))
}
