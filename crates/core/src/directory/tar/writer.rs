//! Entries as bytes.

use super::header::{GID, GNAME, Header, LINK, MAJOR, MINOR, MODE, MTIME, NAME, SIZE, UID, UNAME};
use super::{BLOCK, padding, pax};
use crate::directory::entry::{Entry, Extent, Kind};

/// The end of an archive.
pub(in crate::directory) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The name of every extended header. Only readers that do not know them ever show it.
const PAX_NAME: &[u8] = b"././@PaxHeader";
/// The folder that readers without sparse files put them into, as GNU tar names it.
const SPARSE_FOLDER: &[u8] = b"GNUSparseFile.0/";

/// Turns entries into headers; keeps its buffers from one to the next.
#[derive(Default)]
pub(in crate::directory) struct Writer {
    records: Vec<u8>,
    value: Vec<u8>,
    path: Vec<u8>,
    map: Vec<u8>,
}

impl Writer {
    /// Appends everything that comes before the content of `entry` to `out`: extended header, header, and the map of a
    /// sparse file. `user` and `group` are the owner's names. The content is [`Entry::stored`] bytes, then padding.
    pub(in crate::directory) fn head(&mut self, out: &mut Vec<u8>, entry: &Entry, user: &[u8], group: &[u8]) {
        self.path.clear();
        self.path.extend_from_slice(if entry.path.is_empty() { b"." } else { &entry.path });
        let mut header = Header::new(b'0');
        let mut link: &[u8] = &[];
        match &entry.kind {
            Kind::File(_) => {}
            Kind::Directory => {
                header = Header::new(b'5');
                self.path.push(b'/');
            }
            Kind::HardLink(target) => {
                header = Header::new(b'1');
                link = target;
            }
            Kind::Symlink(target) => {
                header = Header::new(b'2');
                link = target;
            }
            Kind::Character(major, minor) => {
                header = Header::new(b'3');
                set_device(&mut header, *major, *minor);
            }
            Kind::Block(major, minor) => {
                header = Header::new(b'4');
                set_device(&mut header, *major, *minor);
            }
            Kind::Fifo => header = Header::new(b'6'),
        }

        self.records.clear();
        self.map.clear();
        // A name that is not UTF-8 needs this before its record. One that fits the header needs neither: all readers take
        // the bytes there as they are, while GNU tar warns of this record.
        let sparse = matches!(entry.kind, Kind::File(Some(_)));
        let fields = [(&self.path[..], if sparse { 0 } else { NAME.len() }), (link, LINK.len())];
        if fields.iter().any(|(text, room)| text.len() > *room && std::str::from_utf8(text).is_err()) {
            pax::put(&mut self.records, b"hdrcharset", b"BINARY");
        }
        let mut size = entry.stored();
        if let Kind::File(Some(extents)) = &entry.kind {
            put_map(&mut self.map, extents);
            size += self.map.len() as u64;
            pax::put(&mut self.records, b"GNU.sparse.major", b"1");
            pax::put(&mut self.records, b"GNU.sparse.minor", b"0");
            pax::put(&mut self.records, b"GNU.sparse.name", &self.path);
            self.put_number(b"GNU.sparse.realsize", entry.size);
            let name = self.path.rsplit(|b| *b == b'/').next().unwrap_or(&self.path);
            header.set_text(NAME, &[SPARSE_FOLDER, &name[..name.len().min(80)]].concat());
        } else {
            self.put_path(&mut header);
        }
        put_text(&mut self.records, &mut header, LINK, b"linkpath", link);
        put_text(&mut self.records, &mut header, UNAME, b"uname", user);
        put_text(&mut self.records, &mut header, GNAME, b"gname", group);
        for (field, key, number) in
            [(UID, &b"uid"[..], u64::from(entry.uid)), (GID, b"gid", u64::from(entry.gid)), (SIZE, b"size", size)]
        {
            if number >> (3 * (field.len() - 1)) != 0 {
                self.put_number(key, number);
            }
            header.set_number(field, number);
        }
        let seconds = u64::try_from(entry.mtime.seconds).ok().filter(|s| s >> 33 == 0);
        if seconds.is_none() || entry.mtime.nanos != 0 {
            self.value.clear();
            pax::put_time(&mut self.value, entry.mtime);
            pax::put(&mut self.records, b"mtime", &self.value);
        }
        header.set_number(MTIME, seconds.unwrap_or(0));
        header.set_number(MODE, entry.mode.into());
        for (name, value) in &entry.xattrs {
            pax::put(&mut self.records, &[b"SCHILY.xattr.", &pax::escape(name)[..]].concat(), value);
        }
        header.seal();

        if !self.records.is_empty() {
            let mut extended = Header::new(b'x');
            extended.set_text(NAME, PAX_NAME);
            extended.set_number(MODE, 0o644);
            for field in [UID, GID, MTIME] {
                extended.set_number(field, 0);
            }
            extended.set_number(SIZE, self.records.len() as u64);
            extended.seal();
            out.extend_from_slice(&extended.0);
            out.extend_from_slice(&self.records);
            out.resize(out.len() + padding(self.records.len() as u64), 0);
        }
        out.extend_from_slice(&header.0);
        out.extend_from_slice(&self.map);
    }

    fn put_number(&mut self, key: &[u8], number: u64) {
        self.value.clear();
        pax::put_number(&mut self.value, number);
        pax::put(&mut self.records, key, &self.value);
    }

    /// The prefix field is left empty: a record is as short, and every reader that knows the prefix knows records.
    fn put_path(&mut self, header: &mut Header) {
        put_text(&mut self.records, header, NAME, b"path", &self.path);
    }
}

/// Into the header, and into a record too if it does not fit there, or if it has letters that a header's standard lacks.
fn put_text(records: &mut Vec<u8>, header: &mut Header, field: std::ops::Range<usize>, key: &[u8], text: &[u8]) {
    if text.len() > field.len() || (!text.is_ascii() && std::str::from_utf8(text).is_ok()) {
        pax::put(records, key, text);
    }
    header.set_text(field, text);
}

fn set_device(header: &mut Header, major: u32, minor: u32) {
    header.set_number(MAJOR, major.into());
    header.set_number(MINOR, minor.into());
}

/// The map of a sparse file, format 1.0: the number of extents, then offset and length of each, a line per number.
fn put_map(out: &mut Vec<u8>, extents: &[Extent]) {
    pax::put_number(out, extents.len() as u64);
    out.push(b'\n');
    for extent in extents {
        for number in [extent.offset, extent.length] {
            pax::put_number(out, number);
            out.push(b'\n');
        }
    }
    out.resize(out.len() + padding(out.len() as u64), 0);
}
