//! What an export met: counts, problems, notes.

use super::entry::{Kind, show};
use crate::source::{ExportReport, Facts, Problem};

/// Problems and notes of one sort that are listed one by one; the rest is counted.
const LISTED: usize = 1_000;

/// Counts and lists, bounded however large the tree is.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) identity: String,
    pub(super) directories: u64,
    pub(super) files: u64,
    pub(super) symlinks: u64,
    pub(super) hard_links: u64,
    pub(super) fifos: u64,
    pub(super) devices: u64,
    /// Content, without holes.
    pub(super) bytes: u64,
    pub(super) sockets: u64,
    pub(super) excluded: u64,
    problems: Vec<Problem>,
    more_problems: u64,
    notes: Vec<String>,
    more_notes: u64,
}

impl Tally {
    pub(super) fn count(&mut self, kind: &Kind) {
        *match kind {
            Kind::Directory => &mut self.directories,
            Kind::File(_) => &mut self.files,
            Kind::Symlink(_) => &mut self.symlinks,
            Kind::HardLink(_) => &mut self.hard_links,
            Kind::Fifo => &mut self.fifos,
            Kind::Character(..) | Kind::Block(..) => &mut self.devices,
        } += 1;
    }

    pub(super) fn problem(&mut self, path: &[u8], why: impl std::fmt::Display) {
        tracing::warn!(path = show(path), %why, "directory entry is not safe in the export");
        if self.problems.len() < LISTED {
            self.problems.push(Problem::new(show(path), why));
        } else {
            self.more_problems += 1;
        }
    }

    pub(super) fn note(&mut self, what: &str, path: &[u8]) {
        if self.notes.len() < LISTED {
            self.notes.push(format!("{} {what}", show(path)));
        } else {
            self.more_notes += 1;
        }
    }

    /// All entries of the archive.
    pub(super) fn entries(&self) -> u64 {
        self.directories + self.files + self.symlinks + self.hard_links + self.fifos + self.devices
    }

    pub(super) fn facts(&self) -> Facts {
        [
            ("entries", self.entries()),
            ("directories", self.directories),
            ("files", self.files),
            ("symlinks", self.symlinks),
            ("hard_links", self.hard_links),
            ("fifos", self.fifos),
            ("devices", self.devices),
            ("bytes", self.bytes),
            ("sockets", self.sockets),
            ("excluded", self.excluded),
        ]
        .into_iter()
        .fold(Facts::new(), |facts, (name, value)| facts.with(name, value))
    }

    pub(super) fn report(mut self) -> ExportReport {
        let facts = self.facts();
        if self.more_problems > 0 {
            self.problems.push(Problem::new("more entries", format!("{} more have problems", self.more_problems)));
        }
        if self.more_notes > 0 {
            self.notes.push(format!("{} more entries were noted", self.more_notes));
        }
        if self.excluded > 0 {
            self.notes.push(format!("{} entries were left out by globs", self.excluded));
        }
        // A file system that is not mounted leaves a directory, one that was just made has `lost+found` in it.
        let empty = self.entries() == self.directories;
        let Self { identity, problems, notes, .. } = self;
        ExportReport { identity: Some(identity), facts, problems, notes, empty, ..ExportReport::default() }
    }
}
