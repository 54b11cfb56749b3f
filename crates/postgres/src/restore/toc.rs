//! The head of a custom-format archive: which release wrote it, how, and its table of contents. `pg_restore --list` shows the
//! same for people; names with spaces cannot be told apart there. Layout: PostgreSQL's `src/bin/pg_dump/pg_backup_archiver.c`.

use backstay_core::{Error, ErrorKind};

/// Archives of PostgreSQL 9.0 to 18 are of format 1.12 to 1.16.
const FORMATS: std::ops::RangeInclusive<(u8, u8)> = (1, 12)..=(1, 16);
const CUSTOM: u8 = 1;

/// What stands before the data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Toc {
    pub(super) compression: Compression,
    pub(super) database: String,
    /// The version of the server that was dumped, in its own words.
    pub(super) server: String,
    /// The version of the `pg_dump` that did it, in its own words.
    pub(super) client: String,
    pub(super) entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Compression {
    #[default]
    None,
    /// The only one with a checksum of its own.
    Zlib,
    Lz4,
    Zstd,
}

/// One object of the archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: i64,
    pub(super) tag: String,
    /// What it is: `TABLE`, `TABLE DATA`, `FK CONSTRAINT`.
    pub(super) kind: String,
    /// The statement that makes it.
    pub(super) definition: String,
    pub(super) schema: Option<String>,
    pub(super) tablespace: Option<String>,
    pub(super) owner: Option<String>,
    pub(super) needs: Vec<i64>,
}

/// Why a head could not be read.
#[derive(Debug)]
pub(super) enum Unread {
    /// It goes on behind these bytes.
    Short,
    Bad(Error),
}

type Read<T> = std::result::Result<T, Unread>;

impl Toc {
    /// Reads the head from the archive's first bytes.
    pub(super) fn parse(bytes: &[u8]) -> Read<Self> {
        let mut reader = Reader { rest: bytes, integer: 4, offset: 8 };
        if reader.take(5)? != b"PGDMP" {
            return Err(bad(ErrorKind::Corrupt, "this is no archive of pg_dump's custom format"));
        }
        let format = (reader.byte()?, reader.byte()?);
        let _revision = reader.byte()?;
        if !FORMATS.contains(&format) {
            let what = format!("archive format {}.{} is not known", format.0, format.1);
            return Err(bad(ErrorKind::Unsupported, what));
        }
        (reader.integer, reader.offset) = (reader.byte()?.into(), reader.byte()?.into());
        if !(1..=8).contains(&reader.integer) || reader.byte()? != CUSTOM {
            return Err(bad(ErrorKind::Unsupported, "the archive is not of the custom format"));
        }
        let compression = compression(&mut reader, format.1)?;
        for _ in 0..7 {
            reader.int()?; // When it was made, in local time.
        }
        let [database, server, client] = [reader.text()?, reader.text()?, reader.text()?];
        let mut toc = Self { compression, database, server, client, entries: Vec::new() };
        for _ in 0..reader.int()? {
            toc.entries.push(entry(&mut reader, format.1)?);
        }
        Ok(toc)
    }

    /// The major version of the `pg_dump` that made it: an older `pg_restore` may not read it.
    pub(super) fn client_major(&self) -> u32 {
        major(&self.client)
    }

    /// The major version of the server that it comes from.
    pub(super) fn server_major(&self) -> u32 {
        major(&self.server)
    }
}

impl Entry {
    /// A setting or property of the archive or its database; nothing that is restored in it.
    pub(super) fn is_of_the_whole(&self) -> bool {
        matches!(self.kind.as_str(), "ENCODING" | "STDSTRINGS" | "SEARCHPATH" | "DATABASE" | "DATABASE PROPERTIES")
            || self.is_about_the_database()
    }

    /// A comment on the database, a privilege or a label of it. `pg_restore` makes these only with the database.
    pub(super) fn is_about_the_database(&self) -> bool {
        let kind = matches!(self.kind.as_str(), "COMMENT" | "ACL" | "SECURITY LABEL");
        kind && self.schema.is_none() && self.tag.starts_with("DATABASE ")
    }
}

fn entry(reader: &mut Reader<'_>, minor: u8) -> Read<Entry> {
    let mut entry = Entry { id: reader.int()?, ..Entry::default() };
    let _has_data = reader.int()?;
    let [_table_oid, _oid] = [reader.string()?, reader.string()?];
    (entry.tag, entry.kind) = (reader.text()?, reader.text()?);
    let _section = reader.int()?;
    entry.definition = reader.text()?;
    let [_drop, _copy] = [reader.string()?, reader.string()?];
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    entry.schema = filled(reader.string()?);
    entry.tablespace = filled(reader.string()?);
    if minor >= 14 {
        let _access_method = reader.string()?;
    }
    if minor >= 16 {
        let _relation_kind = reader.int()?;
    }
    entry.owner = filled(reader.string()?);
    let _with_oids = reader.string()?;
    while let Some(id) = reader.string()? {
        entry.needs.push(id.parse().map_err(|_| bad(ErrorKind::Corrupt, "a dependency in the archive is no number"))?);
    }
    let _data_state = reader.byte()?;
    let _data_offset = reader.take(reader.offset)?;
    Ok(entry)
}

fn compression(reader: &mut Reader<'_>, minor: u8) -> Read<Compression> {
    let number = if minor >= 15 { reader.byte()?.into() } else { reader.int()? };
    Ok(match number {
        0 => Compression::None,
        // Before 1.15 it is zlib's level, or -1 for its default.
        _ if minor < 15 => Compression::Zlib,
        1 => Compression::Zlib,
        2 => Compression::Lz4,
        3 => Compression::Zstd,
        _ => return Err(bad(ErrorKind::Unsupported, "the archive's compression is not known")),
    })
}

/// Numbers are a sign and so many bytes, the lowest first; strings are a length and bytes, an absent one is of length -1.
struct Reader<'a> {
    rest: &'a [u8],
    integer: usize,
    offset: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Unread::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Read<u8> {
        Ok(self.take(1)?[0])
    }

    fn int(&mut self) -> Read<i64> {
        let negative = self.byte()? != 0;
        let bytes = self.take(self.integer)?;
        let value = bytes.iter().rev().fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
        let value =
            i64::try_from(value).map_err(|_| bad(ErrorKind::Corrupt, "a number in the archive is too large"))?;
        Ok(if negative { -value } else { value })
    }

    fn string(&mut self) -> Read<Option<String>> {
        match usize::try_from(self.int()?) {
            Ok(length) => Ok(Some(String::from_utf8_lossy(self.take(length)?).into_owned())),
            Err(_) => Ok(None),
        }
    }

    fn text(&mut self) -> Read<String> {
        Ok(self.string()?.unwrap_or_default())
    }
}

fn bad(kind: ErrorKind, what: impl Into<std::borrow::Cow<'static, str>>) -> Unread {
    let advice = "look with `pg_restore --list`; restore what other formats hold with PostgreSQL's own programs";
    Unread::Bad(Error::new(kind, what).advise(advice))
}

/// The 15 of `15.18 (Debian 15.18-0+deb12u1)`.
fn major(version: &str) -> u32 {
    version.split(|c: char| !c.is_ascii_digit()).next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The head of an archive as `pg_dump` writes it, for tests.
#[cfg(test)]
pub(super) fn written(toc: &Toc, minor: u8) -> Vec<u8> {
    fn int(out: &mut Vec<u8>, value: i64) {
        out.push(u8::from(value < 0));
        out.extend_from_slice(&u32::try_from(value.unsigned_abs()).unwrap().to_le_bytes());
    }
    fn string(out: &mut Vec<u8>, text: Option<&str>) {
        int(out, text.map_or(-1, |text| text.len().try_into().unwrap()));
        out.extend_from_slice(text.unwrap_or("").as_bytes());
    }
    let mut out = b"PGDMP".to_vec();
    out.extend_from_slice(&[1, minor, 0, 4, 8, CUSTOM]);
    let number = toc.compression as u8;
    if minor >= 15 {
        out.push(number)
    } else {
        int(&mut out, if number == 0 { 0 } else { -1 })
    }
    (0..7).for_each(|_| int(&mut out, 7));
    [&toc.database, &toc.server, &toc.client].iter().for_each(|text| string(&mut out, Some(text)));
    int(&mut out, toc.entries.len().try_into().unwrap());
    for entry in &toc.entries {
        int(&mut out, entry.id);
        int(&mut out, 0);
        ["0", "0", &entry.tag, &entry.kind].iter().for_each(|text| string(&mut out, Some(text)));
        int(&mut out, 2);
        [Some(entry.definition.as_str()), Some(""), None].iter().for_each(|text| string(&mut out, *text));
        [&entry.schema, &entry.tablespace].iter().for_each(|text| string(&mut out, text.as_deref()));
        if minor >= 14 {
            string(&mut out, Some("heap"));
        }
        if minor >= 16 {
            int(&mut out, 114);
        }
        string(&mut out, entry.owner.as_deref());
        string(&mut out, Some("false"));
        entry.needs.iter().for_each(|id| string(&mut out, Some(&id.to_string())));
        string(&mut out, None);
        out.extend_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toc(compression: Compression) -> Toc {
        let entry = Entry {
            id: 217,
            tag: "T b".into(),
            kind: "TABLE".into(),
            definition: "CREATE TABLE s.\"T b\" ();\n".into(),
            schema: Some("s 1".into()),
            owner: Some("it's\nme".into()),
            needs: vec![7, 3],
            ..Entry::default()
        };
        let comment = Entry { kind: "COMMENT".into(), tag: "DATABASE a".into(), ..Entry::default() };
        Toc {
            compression,
            database: "a".into(),
            server: "15.18 (Debian 15.18-0+deb12u1)".into(),
            client: "18beta1".into(),
            entries: vec![entry, comment],
        }
    }

    #[test]
    fn every_format_is_read_and_names_stay_apart() {
        for minor in 12..=16 {
            for compression in [Compression::None, Compression::Zlib] {
                let toc = toc(compression);
                let parsed = Toc::parse(&written(&toc, minor)).unwrap();
                assert_eq!(parsed, toc, "1.{minor}");
                assert_eq!((parsed.server_major(), parsed.client_major()), (15, 18));
                assert_eq!(parsed.entries.iter().filter(|entry| entry.is_of_the_whole()).count(), 1);
            }
        }
    }

    #[test]
    fn a_head_that_ends_anywhere_is_short_and_never_wrong() {
        let bytes = written(&toc(Compression::Zlib), 14);
        for end in 0..bytes.len() {
            assert!(matches!(Toc::parse(&bytes[..end]), Err(Unread::Short)), "{end}");
        }
    }

    #[test]
    fn what_is_no_archive_of_ours_is_refused() {
        let good = written(&toc(Compression::None), 14);
        let changed = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            match Toc::parse(&bytes) {
                Err(Unread::Bad(error)) => error.kind(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(changed(0, b'X'), ErrorKind::Corrupt);
        assert_eq!(changed(6, 99), ErrorKind::Unsupported);
        assert_eq!(changed(8, 0), ErrorKind::Unsupported);
        assert_eq!(changed(10, 3), ErrorKind::Unsupported);
        let flips = (0..good.len() * 8).map(|bit| {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        });
        // Whatever a bit says: an answer, no panic.
        flips.for_each(|bytes| drop(Toc::parse(&bytes)));
    }
}
