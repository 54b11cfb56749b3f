//! Globs over paths of a tree, as [`DirectoryOptions::exclude`](super::DirectoryOptions::exclude) describes them.

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::error::{Error, ErrorKind, Result};

/// A set of globs that knows which of them ever matched.
#[derive(Clone, Debug)]
pub(super) struct Globs {
    set: GlobSet,
    unmatched: Vec<Option<String>>,
}

impl Globs {
    /// Compiles `globs`; `field` is where they stand.
    pub(super) fn new(field: &'static str, globs: &[String]) -> Result<Self> {
        let mut set = GlobSetBuilder::new();
        for glob in globs {
            let bad = |error| {
                Error::new(ErrorKind::Invalid, "this is no glob")
                    .with("field", field)
                    .with("got", glob)
                    .advise(
                        "use `*`, `?`, `**`, `[a-z]` and `{a,b}`, and a backslash before one that is meant literally",
                    )
                    .because(error)
            };
            // A trailing slash says "directory"; a leading one or `./` says "from the root", as a slash inside does.
            let trimmed = glob.strip_suffix('/').unwrap_or(glob);
            let rooted = trimmed.strip_prefix("./").or_else(|| trimmed.strip_prefix('/'));
            let whole = match rooted {
                Some(rest) => rest.to_owned(),
                None if trimmed.contains('/') => trimmed.to_owned(),
                None => format!("**/{trimmed}"),
            };
            if whole.is_empty() || trimmed.is_empty() {
                return Err(Error::new(ErrorKind::Invalid, "a glob is empty").with("field", field));
            }
            set.add(GlobBuilder::new(&whole).literal_separator(true).build().map_err(bad)?);
        }
        let set = set.build().map_err(|error| {
            Error::new(ErrorKind::Invalid, "the globs are too large").with("field", field).because(error)
        })?;
        Ok(Self { set, unmatched: globs.iter().cloned().map(Some).collect() })
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Whether `path` itself matches.
    pub(super) fn matches(&mut self, path: &[u8]) -> bool {
        if self.set.is_empty() {
            return false;
        }
        let path = Candidate::from_bytes(path);
        let matched = self.set.is_match_candidate(&path);
        if matched && self.unmatched.iter().any(Option::is_some) {
            for i in self.set.matches_candidate(&path) {
                self.unmatched[i] = None;
            }
        }
        matched
    }

    /// The globs that matched nothing so far.
    pub(super) fn unmatched(&self) -> impl Iterator<Item = &str> {
        self.unmatched.iter().filter_map(Option::as_deref)
    }

    /// Whether `path` or a directory that it lies in matches.
    pub(super) fn covers(&mut self, path: &[u8]) -> bool {
        self.matches(path) || path.iter().enumerate().any(|(i, byte)| *byte == b'/' && self.matches(&path[..i]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_means_what_the_documentation_says() {
        #[rustfmt::skip]
        let table = [
            ("*.tmp", "a.tmp", true), ("*.tmp", "x/y/a.tmp", true), ("*.tmp", "a.tmp.gz", false),
            ("node_modules", "a/node_modules", true), ("node_modules/", "a/node_modules", true),
            ("var/cache", "var/cache", true), ("var/cache", "x/var/cache", false),
            ("/build", "build", true), ("/build", "x/build", false), ("./build", "x/build", false),
            ("logs/*.gz", "logs/a.gz", true), ("logs/*.gz", "logs/b/a.gz", false),
            ("logs/**/*.gz", "logs/b/c/a.gz", true), ("logs/**/*.gz", "logs/a.gz", true),
            ("a/**", "a/b/c", true), ("a/**", "a", false),
            ("[ab]?.{log,txt}", "b1.txt", true), ("*", ".hidden", true), ("A", "a", false),
        ];
        for (glob, path, expected) in table {
            let mut globs = Globs::new("exclude", &[glob.to_owned()]).unwrap();
            assert_eq!(globs.matches(path.as_bytes()), expected, "{glob} {path}");
        }
    }

    #[test]
    fn what_lies_below_a_match_is_covered() {
        let mut globs = Globs::new("only", &["a/b".to_owned()]).unwrap();
        assert!(globs.covers(b"a/b/c/d") && globs.covers(b"a/b") && !globs.covers(b"a") && !globs.covers(b"a/bc"));
        let mut bytes = Globs::new("only", &["x*".to_owned()]).unwrap();
        assert!(bytes.covers(b"x\xff/y"));
    }

    #[test]
    fn what_never_matched_is_known() {
        let mut globs = Globs::new("only", &["*.txt", "b", "a/*"].map(str::to_owned)).unwrap();
        assert!(globs.matches(b"a/x.txt") && !globs.matches(b"c"));
        assert_eq!(globs.unmatched().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn a_bad_glob_is_named() {
        for bad in ["[", "", "/", "a{b"] {
            let error = Globs::new("exclude", &[bad.to_owned()]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert_eq!(error.context("field"), Some("exclude"));
        }
    }
}
