//! What the service tells of a blob.

use azure_core::http::headers::{HeaderName, Headers};
use azure_storage_blob::models::AccessTier;
use backstay_core::store::{Key, Lock, ObjectMeta, Operation, VersionId};
use backstay_core::{Error, ErrorKind, Result};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use azure_storage_blob::models::BlobClientGetPropertiesOptions;

use super::BlobStore;

/// The access tiers, which are the classes of a store here.
pub(super) const CLASSES: &[(&str, AccessTier)] = &[
    ("Hot", AccessTier::Hot),
    ("Cool", AccessTier::Cool),
    ("Cold", AccessTier::Cold),
    ("Archive", AccessTier::Archive),
];

/// A header's value; an empty one is none.
pub(super) fn header<'a>(headers: &'a Headers, name: &'static str) -> Option<&'a str> {
    headers.get_optional_str(&HeaderName::from_static(name)).filter(|value| !value.is_empty())
}

/// A time as HTTP has it.
pub(super) fn time(text: &str) -> Result<Timestamp> {
    DateTimeParser::new().parse_timestamp(text).map_err(|error| {
        Error::new(ErrorKind::Other, "the service told a time that is none").with("got", text).because(error)
    })
}

/// An etag without its quotes: headers have them and listings do not.
pub(super) fn bare(etag: &str) -> &str {
    etag.trim_matches('"')
}

/// An etag as a condition wants it.
pub(super) fn quoted(etag: &str) -> String {
    format!("\"{}\"", bare(etag))
}

/// What an answer about a blob of `size` bytes says of it.
pub(super) fn of_headers(key: &Key, size: u64, headers: &Headers) -> Result<ObjectMeta> {
    let modified = header(headers, "last-modified").ok_or_else(|| {
        Error::new(ErrorKind::Other, "the service did not tell when the blob was put").with("key", key)
    })?;
    let mut meta = ObjectMeta::new(key.clone(), size, time(modified)?);
    meta.etag = header(headers, "etag").map(|etag| bare(etag).to_owned());
    meta.version = header(headers, "x-ms-version-id").map(|id| VersionId(id.to_owned()));
    meta.class = header(headers, "x-ms-access-tier").map(str::to_owned);
    let until = header(headers, "x-ms-immutability-policy-until-date").map(time).transpose()?;
    let mode = header(headers, "x-ms-immutability-policy-mode");
    let hold = header(headers, "x-ms-legal-hold").is_some_and(|hold| hold.eq_ignore_ascii_case("true"));
    meta.lock = lock(until, mode, hold);
    Ok(meta)
}

/// A lock as Azure tells it.
pub(super) fn lock(until: Option<Timestamp>, mode: Option<&str>, hold: bool) -> Option<Lock> {
    if until.is_none() && !hold {
        return None;
    }
    let mut lock = Lock::default();
    lock.until = until;
    lock.bypassable = until.is_some() && !mode.is_some_and(|mode| mode.eq_ignore_ascii_case("locked"));
    lock.hold = hold;
    Some(lock)
}

impl BlobStore {
    pub(super) async fn head_blob(
        &self,
        key: &Key,
        version: Option<&VersionId>,
        operation: Operation,
    ) -> Result<ObjectMeta> {
        self.properties(key, version, operation).await.map(|(meta, _)| meta)
    }

    /// What is known of a blob, and the answer that it was told in.
    pub(super) async fn properties(
        &self,
        key: &Key,
        version: Option<&VersionId>,
        operation: Operation,
    ) -> Result<(ObjectMeta, Headers)> {
        let options = BlobClientGetPropertiesOptions {
            version_id: version.map(|VersionId(id)| id.clone()),
            ..Default::default()
        };
        let answer = self.blob(key).get_properties(Some(options)).await;
        let answer = answer.map_err(|error| self.failed(operation, key, &error))?;
        let headers = answer.headers().clone();
        let size = header(&headers, "content-length").and_then(|size| size.parse().ok());
        let size = size.ok_or_else(|| {
            let error = Error::new(ErrorKind::Other, "the service did not tell the blob's length");
            self.placed(operation, error).with("key", key)
        })?;
        let mut meta = of_headers(key, size, &headers).map_err(|error| self.placed(operation, error))?;
        let current = header(&headers, "x-ms-is-current-version").is_some_and(|is| is.eq_ignore_ascii_case("true"));
        meta.latest = version.is_none() || current;
        Ok((meta, headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_http_are_read_and_others_refused() {
        assert_eq!(time("Sat, 28 Nov 2026 20:24:12 GMT").unwrap().to_string(), "2026-11-28T20:24:12Z");
        assert!(time("yesterday").is_err());
        let at = "2026-11-28T20:24:12Z".parse().unwrap();
        assert_eq!(crate::shared_key::http_date(at), "Sat, 28 Nov 2026 20:24:12 GMT");
    }

    #[test]
    fn a_lock_is_bypassable_unless_it_is_locked() {
        let until = Some(Timestamp::UNIX_EPOCH);
        assert!(lock(None, None, false).is_none());
        assert!(lock(until, Some("unlocked"), false).unwrap().bypassable);
        assert!(!lock(until, Some("Locked"), false).unwrap().bypassable);
        assert!(lock(None, None, true).unwrap().hold);
    }
}
