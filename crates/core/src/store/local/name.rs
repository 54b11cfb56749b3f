//! How keys are written as file names.

/// Writes one segment of a key so that no file system folds, normalises or refuses it.
///
/// A dot at the beginning is written out because hidden names are the store's own, one at the end because some file
/// systems drop it.
pub(super) fn encode(segment: &str) -> String {
    let last = segment.len().saturating_sub(1);
    let mut name = String::with_capacity(segment.len());
    for (at, byte) in segment.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            b'.' if at != 0 && at != last => name.push('.'),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    name
}

/// Reads back what [`encode`] wrote; nothing for a name that it would not have written.
pub(super) fn decode(name: &str) -> Option<String> {
    let segment = unescape(name)?;
    (encode(&segment) == name).then_some(segment)
}

/// Takes the `%xx` out of `text`.
pub(super) fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            bytes.push(digit()? << 4 | digit()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// The folders of a key and the name in the last of them, as they stand on disk.
pub(super) fn path(key: &str) -> (Vec<String>, String) {
    let mut names: Vec<String> = key.split('/').map(encode).collect();
    let name = names.pop().unwrap_or_default();
    (names, name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn usual_names_stay_readable_and_odd_ones_are_written_out() {
        for (segment, name) in [
            ("000001-orders_db.zst.age.001", "000001-orders_db.zst.age.001"),
            ("A", "%41"),
            ("%41", "%2541"),
            (".hidden", "%2ehidden"),
            ("end.", "end%2e"),
            ("a b", "a%20b"),
            ("é", "%c3%a9"),
        ] {
            assert_eq!(encode(segment), name);
            assert_eq!(decode(name).as_deref(), Some(segment));
        }
        for foreign in ["lost+found", "A", "a%", "a%4", "%zz", "%61", "%2E", "%ff", ".backstay-tmp", "a."] {
            assert_eq!(decode(foreign), None, "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn names_are_reversible_and_have_no_letter_case(segment in "\\PC{1,60}") {
            let name = encode(&segment);
            prop_assert_eq!(name.to_lowercase(), name.as_str());
            prop_assert!(name.is_ascii());
            prop_assert_eq!(decode(&name), Some(segment));
        }
    }
}
