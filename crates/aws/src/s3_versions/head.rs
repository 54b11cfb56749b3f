//! The head of a Terraform state: the values that stand before outputs and resources, read without the rest.

use std::ops::Range;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What tells one state from another. Terraform writes it first in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StateHead {
    /// Counts the changes: each write of another state has a higher one.
    pub serial: Option<u64>,
    /// Made anew with each new state, and kept through all changes: two states with different ones have nothing in common.
    pub lineage: Option<String>,
    /// The release that wrote it.
    pub terraform_version: Option<String>,
    /// The version of the format; an encrypted state of OpenTofu does not tell it.
    pub version: Option<u64>,
}

impl StateHead {
    /// Reads it from the first bytes of a state.
    pub(super) fn of(text: &[u8]) -> Self {
        let mut head = Self::default();
        for (name, value) in entries(text) {
            match name.as_str() {
                "serial" => head.serial = read(text, value),
                "lineage" => head.lineage = read(text, value),
                "terraform_version" => head.terraform_version = read(text, value),
                "version" => head.version = read(text, value),
                _ => {}
            }
        }
        head
    }

    /// Whether it is one at all.
    pub(super) fn is_state(&self) -> bool {
        self.serial.is_some() && self.lineage.is_some()
    }
}

fn read<T: DeserializeOwned>(text: &[u8], at: Range<usize>) -> Option<T> {
    serde_json::from_slice(text.get(at)?).ok()
}

/// Where the value of an entry of the outermost object lies.
pub(super) fn place(text: &[u8], name: &str) -> Option<Range<usize>> {
    entries(text).into_iter().find(|(found, _)| found == name).map(|(_, at)| at)
}

/// The entries of the outermost object whose values are strings or numbers, as far as they lie in `text` whole.
fn entries(text: &[u8]) -> Vec<(String, Range<usize>)> {
    let (mut found, mut depth, mut at) = (Vec::new(), 0_usize, 0);
    let (mut name, mut is_value) = (None, false);
    while let Some(byte) = text.get(at) {
        let end = match byte {
            b'"' => string_end(text, at),
            b'-' | b'0'..=b'9' => number_end(text, at),
            _ => Some(at + 1),
        };
        let Some(end) = end else { break };
        match byte {
            b'{' | b'[' => (depth, is_value) = (depth + 1, false),
            b'}' | b']' => depth = depth.saturating_sub(1),
            b':' if depth == 1 => is_value = true,
            b',' if depth == 1 => (name, is_value) = (None, false),
            b'"' | b'-' | b'0'..=b'9' if depth == 1 && is_value => {
                found.extend(name.take().map(|name| (name, at..end)));
            }
            b'"' if depth == 1 => name = read(text, at..end),
            _ => {}
        }
        at = end;
    }
    found
}

fn string_end(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn number_end(text: &[u8], start: usize) -> Option<usize> {
    let more = |byte: &u8| !matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
    text.get(start..)?.iter().position(more).map(|length| start + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_from_the_first_bytes() {
        let text = br#"{ "outputs": {"serial": {"value": 9, "serial": 8}}, "a": [1, {"lineage": "no"}], "version": 4,
            "terraform_version": "1.11.4", "serial": 12, "lineage": "a\"b", "resources": [{"serial": "#;
        let head = StateHead::of(text);
        assert_eq!((head.version, head.serial, head.lineage.as_deref()), (Some(4), Some(12), Some("a\"b")));
        assert_eq!(head.terraform_version.as_deref(), Some("1.11.4"));
        assert!(head.is_state());
        let at = place(text, "serial").unwrap();
        assert_eq!(&text[at], b"12");
    }

    #[test]
    fn what_is_not_whole_is_not_read() {
        for odd in [
            &b""[..],
            b"{",
            b"\"serial\": 1",
            b"{\"serial\": 1",
            b"{\"serial\": \"1\", \"lineage\": \"x",
            b"{\"serial\": -1, \"lineage\": 5}",
            b"[{\"serial\": 1, \"lineage\": \"x\"}]",
            b"\\\\\"\\",
            b"}}}}{{{{",
        ] {
            assert!(!StateHead::of(odd).is_state(), "{}", String::from_utf8_lossy(odd));
        }
    }
}
