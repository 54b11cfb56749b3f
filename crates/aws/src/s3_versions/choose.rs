//! Which versions of each key are exported.

use jiff::Timestamp;

use super::listing::ObjectVersion;

/// Which versions of each object are exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Chosen {
    /// The current one; of an object that is deleted none.
    #[default]
    Current,
    /// The newest so many.
    Newest(usize),
    /// Every one that was current at any time since then.
    Since(Timestamp),
    /// All.
    All,
}

/// Goes through the versions of all keys, newest first for each, and says which are chosen.
#[derive(Debug)]
pub(super) struct Choice {
    chosen: Chosen,
    key: String,
    /// How many of this key were chosen.
    taken: usize,
    /// Whether what comes was replaced before the time.
    older: bool,
}

impl Choice {
    pub(super) fn new(chosen: Chosen) -> Self {
        Self { chosen, key: String::new(), taken: 0, older: false }
    }

    /// Whether this one is to be exported. A delete marker is not, and ends the time of the version before it.
    pub(super) fn takes(&mut self, found: &ObjectVersion) -> bool {
        if found.key != self.key {
            (self.key, self.taken, self.older) = (found.key.clone(), 0, false);
        }
        let takes = match self.chosen {
            Chosen::Current => found.latest,
            Chosen::Newest(count) => self.taken < count,
            Chosen::Since(_) => !self.older,
            Chosen::All => true,
        };
        if let Chosen::Since(time) = self.chosen {
            self.older |= found.modified <= time;
        }
        let takes = takes && !found.deleted;
        self.taken += usize::from(takes);
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(key: &str, second: i64, latest: bool, deleted: bool) -> ObjectVersion {
        ObjectVersion {
            key: key.to_owned(),
            version: second.to_string(),
            modified: Timestamp::from_second(second).unwrap(),
            size: 1,
            etag: None,
            class: None,
            owner: None,
            latest,
            deleted,
            archived: false,
            state: None,
        }
    }

    #[test]
    fn versions_are_chosen_for_each_key() {
        let all = [
            version("a", 30, true, false),
            version("a", 20, false, false),
            version("a", 10, false, false),
            version("b", 25, true, true),
            version("b", 15, false, false),
            version("b", 5, false, false),
        ];
        let since = |second| Chosen::Since(Timestamp::from_second(second).unwrap());
        for (chosen, expected) in [
            (Chosen::Current, &["a30"][..]),
            (Chosen::Newest(0), &[]),
            (Chosen::Newest(2), &["a30", "a20", "b15", "b5"]),
            (since(40), &["a30"]),
            (since(22), &["a30", "a20", "b15"]),
            (since(20), &["a30", "a20", "b15"]),
            (since(1), &["a30", "a20", "a10", "b15", "b5"]),
            (Chosen::All, &["a30", "a20", "a10", "b15", "b5"]),
        ] {
            let mut choice = Choice::new(chosen);
            let taken = all.iter().filter(|found| choice.takes(found));
            let names: Vec<String> = taken.map(|found| format!("{}{}", found.key, found.version)).collect();
            assert_eq!(names, expected, "{chosen:?}");
        }
    }
}
