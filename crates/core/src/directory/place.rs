//! Where an archive's paths lead: below the target, or nowhere.

/// A file or directory that is being made; it gets its name when it is whole.
pub(super) const PARTIAL: &[u8] = b".backstay-partial";
/// In a directory that a restore made and has not finished.
pub(super) const UNFINISHED: &[u8] = b".backstay-unfinished";

/// Deepest path that is restored.
const MAX_DEPTH: usize = 10_000;

/// Whether a restore refuses the name.
pub(super) fn is_reserved(name: &[u8]) -> bool {
    name == PARTIAL || name == UNFINISHED
}

/// The names in `path`, or why it leads nowhere. None for the root itself.
pub(super) fn names(path: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
    if path.starts_with(b"/") {
        return Err("its path is absolute");
    }
    let mut names = Vec::new();
    for name in path.split(|b| *b == b'/') {
        match name {
            b"" | b"." => {}
            b".." => return Err("its path leads out by `..`"),
            name if is_reserved(name) => return Err("its name is reserved for unfinished restores"),
            name if name.contains(&0) => return Err("its path has a zero byte"),
            name if name.len() > 255 => return Err("a name in its path has more than 255 bytes"),
            name => names.push(name),
        }
    }
    if names.len() > MAX_DEPTH { Err("it lies deeper than 10,000 directories") } else { Ok(names) }
}

/// `names` as one path.
pub(super) fn join(names: &[&[u8]]) -> Vec<u8> {
    names.join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_below_the_target_or_nowhere() {
        for (path, expected) in [
            (&b"a/b"[..], Some(&b"a/b"[..])),
            (b"./a//b/.", Some(b"a/b")),
            (b".", Some(b"")),
            (b"", Some(b"")),
            (b"a/..b", Some(b"a/..b")),
            (b"/a", None),
            (b"..", None),
            (b"a/../b", None),
            (b"a\0b", None),
            (b"a/.backstay-partial", None),
        ] {
            assert_eq!(names(path).ok().map(|names| join(&names)).as_deref(), expected, "{path:?}");
        }
        assert!(names(&[b'x'; 256]).is_err());
        assert!(names(&b"x/".repeat(MAX_DEPTH + 1)).is_err());
    }
}
