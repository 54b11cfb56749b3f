//! One page of a listing, as it stands in the answer. The SDK's own model leaves folders out.

use azure_core::xml;
use backstay_core::store::{Key, ListEntry, ObjectMeta, Prefix, VersionId};
use backstay_core::{Error, ErrorKind, Result};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::meta::{self, bare};

#[derive(Deserialize)]
struct Page {
    #[serde(rename = "Blobs", default)]
    blobs: Blobs,
}

#[derive(Default, Deserialize)]
struct Blobs {
    #[serde(rename = "$value", default)]
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
enum Entry {
    Blob(Blob),
    BlobPrefix(Folder),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blob {
    name: Name,
    version_id: Option<String>,
    is_current_version: Option<bool>,
    #[serde(default)]
    deleted: bool,
    properties: Properties,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Folder {
    name: Name,
}

#[derive(Deserialize)]
struct Name {
    #[serde(rename = "@Encoded", default)]
    encoded: bool,
    #[serde(rename = "$text", default)]
    text: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Properties {
    /// Not told of blocks that nobody committed.
    #[serde(rename = "Last-Modified", default)]
    last_modified: String,
    etag: Option<String>,
    #[serde(rename = "Content-Length", default)]
    content_length: u64,
    access_tier: Option<String>,
    immutability_policy_until_date: Option<String>,
    immutability_policy_mode: Option<String>,
    legal_hold: Option<bool>,
}

/// One line of a page.
#[derive(Debug)]
pub(super) enum Line {
    Entry(ListEntry),
    /// Blocks without a blob, and without a word of when they came.
    Blocks(Key),
}

/// The lines of a page in the order of their names; what is no key of ours is left out.
pub(super) fn read(body: &[u8]) -> Result<Vec<Line>> {
    let page: Page = xml::from_xml(body).map_err(|error| {
        Error::new(ErrorKind::Other, "the listing cannot be understood").because(crate::wire::causes(&error))
    })?;
    let mut lines = Vec::with_capacity(page.blobs.entries.len());
    for entry in page.blobs.entries {
        match entry {
            Entry::Blob(blob) => lines.extend(blob.line()?),
            Entry::BlobPrefix(folder) => {
                lines.extend(Prefix::new(folder.name.read()?).ok().map(ListEntry::Folder).map(Line::Entry));
            }
        }
    }
    // Blobs and folders may stand apart. Versions of one blob keep their order.
    lines.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(lines)
}

impl Line {
    /// The name that it is sorted by.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Entry(ListEntry::Object(meta)) => meta.key.as_str(),
            Self::Entry(ListEntry::Folder(folder)) => folder.as_str(),
            Self::Entry(_) => "",
            Self::Blocks(key) => key.as_str(),
        }
    }
}

impl Name {
    fn read(self) -> Result<String> {
        if !self.encoded {
            return Ok(self.text);
        }
        let decoded = percent_decode_str(&self.text).decode_utf8();
        let decoded =
            decoded.map_err(|_| Error::new(ErrorKind::Other, "a listed name is no text").with("name", &self.text))?;
        Ok(decoded.into_owned())
    }
}

impl Blob {
    fn line(self) -> Result<Option<Line>> {
        let name = self.name.read()?;
        let Ok(key) = Key::new(name.clone()) else {
            tracing::debug!(name, "a blob whose name is no key is left out");
            return Ok(None);
        };
        if self.deleted {
            return Ok(None);
        }
        let told = self.properties;
        if told.last_modified.is_empty() {
            return Ok(Some(Line::Blocks(key)));
        }
        let mut line = ObjectMeta::new(key, told.content_length, meta::time(&told.last_modified)?);
        line.etag = told.etag.filter(|etag| !etag.is_empty()).map(|etag| bare(&etag).to_owned());
        line.latest = self.version_id.is_none() || self.is_current_version == Some(true);
        line.version = self.version_id.filter(|id| !id.is_empty()).map(VersionId);
        line.class = told.access_tier.filter(|tier| !tier.is_empty());
        let until = told.immutability_policy_until_date.filter(|until| !until.is_empty());
        let until = until.map(|until| meta::time(&until)).transpose()?;
        line.lock = meta::lock(until, told.immutability_policy_mode.as_deref(), told.legal_hold == Some(true));
        Ok(Some(Line::Entry(ListEntry::Object(line))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_in_the_order_of_names() {
        let page = br#"<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="x" ContainerName="c">
<Prefix>a</Prefix><Blobs>
<Blob><Name>b &amp; c</Name><Properties><Last-Modified>Sat, 28 Nov 2026 20:24:12 GMT</Last-Modified><Etag>0x8D</Etag>
<Content-Length>5</Content-Length><BlobType>BlockBlob</BlobType><AccessTier>Cool</AccessTier>
<ImmutabilityPolicyUntilDate>Sat, 28 Nov 2026 20:24:13 GMT</ImmutabilityPolicyUntilDate>
<ImmutabilityPolicyMode>locked</ImmutabilityPolicyMode><LegalHold>true</LegalHold></Properties><OrMetadata /></Blob>
<Blob><Name Encoded="true">a%EF%BF%BE</Name><VersionId>2026</VersionId><IsCurrentVersion>true</IsCurrentVersion>
<Properties><Last-Modified>Sat, 28 Nov 2026 20:24:12 GMT</Last-Modified></Properties></Blob>
<Blob><Name>gone</Name><Deleted>true</Deleted><Properties><Last-Modified>Sat, 28 Nov 2026 20:24:12 GMT</Last-Modified>
</Properties></Blob>
<Blob><Name>no//key</Name><Properties><Last-Modified>Sat, 28 Nov 2026 20:24:12 GMT</Last-Modified></Properties></Blob>
<Blob><Name>staged</Name><Properties><Content-Length>0</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>
<BlobPrefix><Name>a/</Name></BlobPrefix></Blobs><NextMarker /></EnumerationResults>"#;
        let lines = read(page).unwrap();
        assert_eq!(lines.iter().map(Line::name).collect::<Vec<_>>(), ["a/", "a\u{fffe}", "b & c", "staged"]);
        let [_, Line::Entry(ListEntry::Object(version)), Line::Entry(ListEntry::Object(locked)), Line::Blocks(_)] =
            lines.as_slice()
        else {
            panic!("{lines:?}")
        };
        assert!(version.latest && version.version == Some(VersionId("2026".to_owned())));
        assert!(locked.size == 5 && locked.class.as_deref() == Some("Cool") && locked.etag.as_deref() == Some("0x8D"));
        let lock = locked.lock.unwrap();
        assert!(lock.hold && !lock.bypassable && lock.until.is_some());
    }

    #[test]
    fn an_empty_page_is_no_lines() {
        for page in ["<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>", "<EnumerationResults/>"] {
            assert!(read(page.as_bytes()).unwrap().is_empty(), "{page}");
        }
        assert!(read(b"<html>").is_err());
    }
}
