//! Names of users and groups, from the system's files. Those that only a directory service knows stay numbers.

use std::collections::HashMap;

/// Who bears which number.
#[derive(Debug, Default)]
pub(super) struct Owners {
    users: HashMap<u32, Vec<u8>>,
    groups: HashMap<u32, Vec<u8>>,
}

impl Owners {
    /// Reads `/etc/passwd` and `/etc/group`. A machine without them has no names.
    pub(super) fn of_this_machine() -> Self {
        let read = |path| names(&std::fs::read(path).unwrap_or_default());
        Self { users: read("/etc/passwd"), groups: read("/etc/group") }
    }

    /// The user's name; empty if there is none.
    pub(super) fn user(&self, id: u32) -> &[u8] {
        self.users.get(&id).map_or(&[], Vec::as_slice)
    }

    /// The group's name; empty if there is none.
    pub(super) fn group(&self, id: u32) -> &[u8] {
        self.groups.get(&id).map_or(&[], Vec::as_slice)
    }
}

/// Lines `NAME:PASSWORD:ID:...`; the first name of a number counts.
fn names(file: &[u8]) -> HashMap<u32, Vec<u8>> {
    let mut names = HashMap::new();
    for line in file.split(|b| *b == b'\n') {
        let mut fields = line.split(|b| *b == b':');
        let (name, id) = (fields.next(), fields.nth(1));
        let id = id.and_then(|id| std::str::from_utf8(id).ok()?.parse().ok());
        if let (Some(name), Some(id)) = (name, id) {
            names.entry(id).or_insert_with(|| name.to_vec());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_odd_lines_are_not() {
        let found = names(b"root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\n\n+::::::\nx:y\nweb:x:33:33::/:\n");
        assert_eq!(found, HashMap::from([(0, b"root".to_vec()), (33, b"web".to_vec())]));
    }
}
