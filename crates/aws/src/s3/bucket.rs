//! Names of buckets, and tags: what no server takes is refused before it is asked.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Why this is no bucket's name, if it is none. Amazon's rules:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
pub(super) fn flaw(name: &str) -> Option<&'static str> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if name.starts_with("arn:") {
        return Some("it is an ARN: give the bucket's name, or the alias of its access point");
    }
    if !(3..=63).contains(&name.len()) {
        return Some("it has less than 3 or more than 63 characters");
    }
    if !name.bytes().all(|byte| plain(byte) || byte == b'.' || byte == b'-') {
        return Some("it has other characters than a-z, 0-9, `-` and `.`");
    }
    if !name.bytes().next().is_some_and(plain) || !name.bytes().last().is_some_and(plain) {
        return Some("it begins or ends with something other than a letter or digit");
    }
    if name.contains("..") || name.contains(".-") || name.contains("-.") {
        return Some("a part of it between dots is empty, or begins or ends with `-`");
    }
    if name.parse::<Ipv4Addr>().is_ok() {
        return Some("it looks like an IP address");
    }
    if name.ends_with("--x-s3") {
        return Some("it is a directory bucket: those list out of order and have neither versions nor locks");
    }
    None
}

/// Why these cannot be an object's tags, if they cannot.
pub(super) fn flaw_of_tags(tags: &BTreeMap<String, String>) -> Option<String> {
    if tags.len() > 10 {
        return Some(format!("{} tags: an object has at most 10", tags.len()));
    }
    if let Some(name) = tags.keys().find(|name| name.to_ascii_lowercase().starts_with("aws:")) {
        return Some(format!("the tag {name:?}: names that begin with `aws:` are Amazon's own"));
    }
    let long =
        tags.iter().find(|(name, value)| name.is_empty() || name.chars().count() > 128 || value.chars().count() > 256);
    long.map(|(name, _)| format!("the tag {name:?}: a name has 1 to 128 characters, a value at most 256"))
}

/// As the header wants them.
pub(super) fn tagging(tags: &BTreeMap<String, String>) -> Option<String> {
    let pairs = tags.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
    (!tags.is_empty()).then(|| pairs.collect::<Vec<_>>().join("&"))
}

/// Percent-encoded for a query or a path: all but what RFC 3986 calls unreserved.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// The text that a server has percent-encoded in a listing, where `+` is a space. None if it is no text.
pub(super) fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_bucket_has_are_told() {
        for name in ["acme-backups", "abc", "a.b-c", "x11", "xyz-s3alias"] {
            assert_eq!(flaw(name), None, "{name}");
        }
        let long = "a".repeat(64);
        for name in
            ["", "ab", &long, "Acme", "a_b", "-abc", "abc-", "a..b", "a.-b", "10.0.0.1", "zone--x-s3", "arn:aws:s3"]
        {
            assert!(flaw(name).is_some(), "{name}");
        }
    }

    #[test]
    fn what_is_escaped_comes_back() {
        for text in ["a b+c/é%41", "~-._", "q?x=1&y#z"] {
            assert_eq!(unescaped(&escaped(text)).as_deref(), Some(text));
        }
        assert_eq!(unescaped("a+b%2Bc").as_deref(), Some("a b+c"));
        for broken in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(unescaped(broken), None, "{broken}");
        }
    }

    #[test]
    fn tags_are_a_query() {
        let tags = [("cost center".to_owned(), "a&b".to_owned()), ("x".to_owned(), String::new())].into();
        assert_eq!(tagging(&tags).as_deref(), Some("cost%20center=a%26b&x="));
        assert_eq!(tagging(&BTreeMap::new()), None);
        for name in ["", "aws:x", "AWS:x"] {
            assert!(flaw_of_tags(&[(name.to_owned(), String::new())].into()).is_some(), "{name}");
        }
    }
}
