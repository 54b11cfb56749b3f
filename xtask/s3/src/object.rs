//! What is stored under a key.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto;

use crate::put::hex;

/// The id of what an unversioned bucket holds.
pub(crate) const NULL: &str = "null";

/// One version of a key.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) id: String,
    pub(crate) made: Timestamp,
    /// Nothing if it is a delete marker.
    pub(crate) content: Option<Content>,
}

/// The bytes of an object, and all that is known of them.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    /// As they came, without copying.
    pub(crate) data: Arc<Vec<Bytes>>,
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) sums: dto::Checksum,
    /// The sizes of the parts of an upload; empty for a put.
    pub(crate) parts: Vec<u64>,
    pub(crate) about: About,
}

/// What a put, a copy and the beginning of an upload say of an object.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    pub(crate) cache_control: Option<String>,
    pub(crate) content_disposition: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) content_language: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) expires: Option<dto::Timestamp>,
    pub(crate) metadata: Option<dto::Metadata>,
    pub(crate) tags: Vec<dto::Tag>,
    pub(crate) class: Class,
    pub(crate) encryption: Encryption,
    pub(crate) lock: Lock,
}

/// Where an object is kept, and the copy of an archived one that was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Class {
    /// None for `STANDARD`, which S3 does not say.
    pub(crate) name: Option<String>,
    pub(crate) thaw: Thaw,
}

/// How far the restore of an archived object is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Thaw {
    /// Nobody asked.
    #[default]
    Frozen,
    /// Goes on, for so many days.
    Ongoing { days: i32 },
    /// Readable until then.
    Until(Timestamp),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Encryption {
    pub(crate) algorithm: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) context: Option<String>,
    pub(crate) bucket_key: Option<bool>,
}

/// Retention and hold of one version.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lock {
    pub(crate) retention: Option<Retention>,
    /// Whether there is a legal hold; nothing if none was ever said.
    pub(crate) hold: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retention {
    /// Nobody ends it before its time; else whoever may bypass governance.
    pub(crate) compliance: bool,
    pub(crate) until: Timestamp,
}

impl Version {
    pub(crate) fn is_marker(&self) -> bool {
        self.content.is_none()
    }
}

impl Content {
    /// No bytes, of which nothing is said.
    pub(crate) fn empty() -> Self {
        let etag = hex(&Md5::new().finalize());
        let (data, sums, about) = (Arc::default(), dto::Checksum::default(), About::default());
        Self { data, size: 0, etag, sums, parts: Vec::new(), about }
    }

    /// The bytes of a range of it, without copying.
    pub(crate) fn slice(&self, from: u64, to: u64) -> Vec<Bytes> {
        let (mut begin, mut found) = (0, Vec::new());
        for chunk in self.data.iter() {
            let end = begin + chunk.len() as u64;
            if end > from && begin < to {
                let inside = |at: u64| usize::try_from(at.clamp(begin, end) - begin).unwrap_or(usize::MAX);
                found.push(chunk.slice(inside(from)..inside(to)));
            }
            begin = end;
            if begin >= to {
                break;
            }
        }
        found
    }
}

impl Class {
    /// Whether its bytes cannot be read at once.
    pub(crate) fn is_frozen(&self, now: Timestamp) -> bool {
        self.is_archive() && !matches!(self.thaw, Thaw::Until(until) if now < until)
    }

    pub(crate) fn is_archive(&self) -> bool {
        matches!(self.name.as_deref(), Some("GLACIER" | "DEEP_ARCHIVE"))
    }

    /// As `x-amz-restore` tells it.
    pub(crate) fn restore(&self, now: Timestamp) -> Option<String> {
        match self.thaw {
            Thaw::Ongoing { .. } => Some("ongoing-request=\"true\"".to_owned()),
            Thaw::Until(until) if now < until => {
                let until = crate::clock::http_date(until);
                Some(format!("ongoing-request=\"false\", expiry-date=\"{until}\""))
            }
            Thaw::Until(_) | Thaw::Frozen => None,
        }
    }
}

impl Lock {
    /// Whether the version may not be deleted now, by one who bypasses governance or not.
    pub(crate) fn forbids(&self, now: Timestamp, bypass: bool) -> bool {
        let retained = self.retention.is_some_and(|it| now < it.until && (it.compliance || !bypass));
        retained || self.hold == Some(true)
    }
}

impl Retention {
    pub(crate) fn mode(self) -> &'static str {
        if self.compliance { "COMPLIANCE" } else { "GOVERNANCE" }
    }
}
