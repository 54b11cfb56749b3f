//! Names of one inode: the first has the content, the others are links to it.

use std::collections::HashMap;

use super::entry::Inode;

/// First names of inodes that have several, until all were seen.
#[derive(Default)]
pub(super) struct Links(HashMap<(u64, u64), First>);

struct First {
    path: Vec<u8>,
    inode: Inode,
    /// Names that are still to come.
    left: u64,
}

/// What a name is among those of its inode.
pub(super) enum Name {
    First,
    /// A link to this path.
    Link(Vec<u8>),
    /// The inode, or what bore its number, was another when its first name was seen. This name is the first of what it is now.
    Changed,
}

impl Links {
    /// Takes note of a name.
    pub(super) fn name(&mut self, path: &[u8], inode: &Inode) -> Name {
        if inode.links < 2 {
            return Name::First;
        }
        let known = self.0.get_mut(&inode.id);
        // Names may be deleted, and the number given to another file, while we walk.
        let Some(first) = known.filter(|first| is_same(&first.inode, inode)) else {
            let first = First { path: path.to_vec(), inode: *inode, left: inode.links - 1 };
            return if self.0.insert(inode.id, first).is_some() { Name::Changed } else { Name::First };
        };
        let target = first.path.clone();
        first.left -= 1;
        if first.left == 0 {
            self.0.remove(&inode.id);
        }
        Name::Link(target)
    }
}

/// Whether what bore one name is what bears another now.
fn is_same(first: &Inode, other: &Inode) -> bool {
    (first.kind, first.size, first.times()) == (other.kind, other.size, other.times())
}
