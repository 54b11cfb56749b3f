//! Small readers of what comes in a request.

use hyper::Uri;
use jiff::Timestamp;
use jiff::civil::DateTime;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use s3s::dto;

/// A parameter of the query; an empty one counts as none.
pub(crate) fn query(uri: &Uri, name: &str) -> Option<String> {
    pairs(uri.query()?).into_iter().find(|(found, _)| found == name).map(|(_, value)| value).filter(|it| !it.is_empty())
}

/// `a=b&c=d`
fn pairs(text: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let split =
        |pair: &str| pair.split_once('=').map_or((decode(pair), String::new()), |(a, b)| (decode(a), decode(b)));
    text.split('&').filter(|pair| !pair.is_empty()).map(split).collect()
}

/// The tags of an `x-amz-tagging` header.
pub(crate) fn tags(header: Option<&str>) -> Vec<dto::Tag> {
    let tag = |(key, value)| dto::Tag { key: Some(key), value: Some(value) };
    pairs(header.unwrap_or_default()).into_iter().map(tag).collect()
}

/// `20261120T064200Z`
pub(crate) fn date(text: &str) -> Option<Timestamp> {
    let civil = DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/');

/// A key in a listing: as it is, or encoded if the listing asks for it.
pub(crate) fn encode(key: &str, encoding: Option<&dto::EncodingType>) -> String {
    match encoding {
        Some(_) => utf8_percent_encode(key, PLAIN).to_string(),
        None => key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_queries_dates_and_tags() {
        let uri: Uri = "/b?prefix=a%2Fb+c&list-type=2&empty=".parse().unwrap();
        assert_eq!(query(&uri, "prefix").as_deref(), Some("a/b c"));
        assert_eq!(query(&uri, "empty"), None);
        assert_eq!(date("20261120T064200Z").unwrap().to_string(), "2026-11-20T06:42:00Z");
        assert_eq!(tags(Some("a=b&c=d%20e"))[1].value.as_deref(), Some("d e"));
        assert_eq!(encode("a/é b", Some(&dto::EncodingType::from_static("url"))), "a/%C3%A9%20b");
    }
}
