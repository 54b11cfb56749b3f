//! Bytes as entries. Whatever the bytes are, memory stays bounded and nothing panics.

use bytes::Bytes;

use super::header::{GID, Header, LINK, MAJOR, MINOR, MODE, MTIME, SIZE, UID};
use super::{BLOCK, padding, pax};
use crate::directory::entry::{Entry, Extent, Kind, Time, Xattr};
use crate::error::{Error, ErrorKind, Result};

/// Most bytes of all extended headers and long names of one entry: far more than a kernel lets anybody make.
const MAX_HEADER: u64 = 4 << 20;
/// Most extents of one sparse file.
const MAX_EXTENTS: u64 = 1 << 20;

/// Where the archive's bytes come from.
pub(in crate::directory) trait Input {
    /// The next bytes, of any length; none at the end.
    fn next(&mut self) -> Result<Option<Bytes>>;
}

/// Takes an archive apart, front to back.
pub(in crate::directory) struct Reader<I> {
    input: I,
    chunk: Bytes,
    /// Bytes taken so far: where an error is.
    at: u64,
    /// Content of the present entry that was not taken yet, then its padding.
    content: u64,
    padding: usize,
    /// Records that hold for all later entries.
    global: Records,
}

/// What extended headers say about the next entry.
#[derive(Clone, Default)]
struct Records {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<Time>,
    xattrs: Vec<Xattr>,
    sparse_version: (Option<u64>, Option<u64>),
    sparse_name: Option<Vec<u8>>,
    sparse_size: Option<u64>,
    /// A record of the older sparse formats 0.0 and 0.1.
    sparse_old: bool,
}

impl<I: Input> Reader<I> {
    pub(in crate::directory) fn new(input: I) -> Self {
        Self { input, chunk: Bytes::new(), at: 0, content: 0, padding: 0, global: Records::default() }
    }

    /// The next entry; none after the end mark. Content of the one before that was not taken is skipped.
    ///
    /// The path is as the archive has it, without a directory's trailing slash.
    pub(in crate::directory) fn next(&mut self) -> Result<Option<Entry>> {
        while self.content()?.is_some() {}
        self.skip_padding()?;
        let mut records = self.global.clone();
        let mut announced = false;
        let mut budget = MAX_HEADER;
        loop {
            let header = self.block()?;
            if header.is_zero() {
                if announced {
                    return Err(self.corrupt("the archive ends after an extended header"));
                }
                // The second of the two. A writer that left it out is forgiven if nothing follows at all.
                if self.available()? > 0 && !self.block()?.is_zero() {
                    return Err(self.corrupt("one block of zeros stands between entries"));
                }
                return Ok(None);
            }
            if !header.is_intact() {
                return Err(self.corrupt("a header's checksum is wrong"));
            }
            match header.type_flag() {
                b'x' | b'X' => self.extended(&header, &mut budget, &mut records)?,
                b'g' => {
                    let mut global = std::mem::take(&mut self.global);
                    self.extended(&header, &mut budget, &mut global)?;
                    // One for all entries makes no sense, and they would add up without end.
                    global.xattrs.clear();
                    records = global.clone();
                    self.global = global;
                }
                b'L' => records.path = Some(self.long_name(&header, &mut budget)?),
                b'K' => records.link = Some(self.long_name(&header, &mut budget)?),
                _ => return self.entry(&header, records).map(Some),
            }
            announced = true;
        }
    }

    /// The next bytes of the present entry's content; none at its end.
    pub(in crate::directory) fn content(&mut self) -> Result<Option<Bytes>> {
        if self.content == 0 {
            return Ok(None);
        }
        if self.available()? == 0 {
            return Err(self.truncated());
        }
        let length = usize::try_from(self.content).unwrap_or(usize::MAX).min(self.chunk.len());
        self.content -= length as u64;
        Ok(Some(self.take(length)))
    }

    /// Reads what follows the end mark, to the end. Says whether anything but zeros was there.
    pub(in crate::directory) fn finish(mut self) -> Result<bool> {
        let mut rubbish = false;
        while self.available()? > 0 {
            let length = self.chunk.len();
            rubbish |= self.take(length).iter().any(|b| *b != 0);
        }
        Ok(rubbish)
    }

    /// An error at this place.
    pub(in crate::directory) fn corrupt(&self, message: &'static str) -> Error {
        Error::new(ErrorKind::Corrupt, message).operation("read tar").with("offset", self.at)
    }

    fn truncated(&self) -> Error {
        self.corrupt("the archive ends in the middle")
    }

    /// Bytes at hand, after waiting for some; 0 at the end.
    fn available(&mut self) -> Result<usize> {
        while self.chunk.is_empty() {
            match self.input.next()? {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        Ok(self.chunk.len())
    }

    fn take(&mut self, length: usize) -> Bytes {
        self.at += length as u64;
        self.chunk.split_to(length)
    }

    fn block(&mut self) -> Result<Header> {
        let mut block = [0; BLOCK];
        self.fill(&mut block)?;
        Ok(Header(block))
    }

    fn fill(&mut self, mut out: &mut [u8]) -> Result<()> {
        while !out.is_empty() {
            let available = self.available()?;
            if available == 0 {
                return Err(self.truncated());
            }
            let length = available.min(out.len());
            let (now, later) = out.split_at_mut(length);
            now.copy_from_slice(&self.take(length));
            out = later;
        }
        Ok(())
    }

    fn skip_padding(&mut self) -> Result<()> {
        let length = std::mem::take(&mut self.padding);
        self.fill(&mut [0; BLOCK][..length])
    }

    /// The content of a header that describes another one, at most `budget` bytes.
    fn body(&mut self, header: &Header, budget: &mut u64) -> Result<Vec<u8>> {
        let size = header.number(SIZE).and_then(|size| u64::try_from(size).ok());
        let size = size.ok_or_else(|| self.corrupt("a header's size is no number"))?;
        *budget = budget
            .checked_sub(size)
            .ok_or_else(|| self.corrupt("the extended headers of an entry are longer than 4 MiB"))?;
        // Grown as bytes arrive: a size is only a claim.
        let mut body = Vec::new();
        while (body.len() as u64) < size {
            let available = self.available()?;
            if available == 0 {
                return Err(self.truncated());
            }
            let length = available.min(usize::try_from(size).unwrap_or(usize::MAX) - body.len());
            body.extend_from_slice(&self.take(length));
        }
        self.padding = padding(size);
        self.skip_padding()?;
        Ok(body)
    }

    fn long_name(&mut self, header: &Header, budget: &mut u64) -> Result<Vec<u8>> {
        let mut name = self.body(header, budget)?;
        if let Some(end) = name.iter().position(|b| *b == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    fn extended(&mut self, header: &Header, budget: &mut u64, records: &mut Records) -> Result<()> {
        let body = self.body(header, budget)?;
        let mut rest = &body[..];
        while !rest.is_empty() {
            let Some((key, value)) = pax::next(&mut rest) else {
                return Err(self.corrupt("a record of an extended header is malformed"));
            };
            records.set(key, value).ok_or_else(|| {
                self.corrupt("a record's value is malformed").with("record", String::from_utf8_lossy(key))
            })?;
        }
        Ok(())
    }

    fn entry(&mut self, header: &Header, records: Records) -> Result<Entry> {
        let number = |field, name| {
            let value = header.number(field).and_then(|n| u32::try_from(n).ok());
            value.ok_or_else(|| self.corrupt("a header's number is malformed").with("field", name))
        };
        let (uid, gid) = (records.uid, records.gid);
        let mut entry = Entry {
            mode: number(MODE, "mode")? & 0o7777,
            uid: uid.map_or_else(|| number(UID, "uid"), Ok)?,
            gid: gid.map_or_else(|| number(GID, "gid"), Ok)?,
            ..Entry::default()
        };
        let seconds = header.number(MTIME).map(|seconds| Time { seconds, nanos: 0 });
        entry.mtime = records
            .mtime
            .or(seconds)
            .ok_or_else(|| self.corrupt("a header's number is malformed").with("field", "mtime"))?;
        let size = records.size.or_else(|| header.number(SIZE).and_then(|n| u64::try_from(n).ok()));
        let size = size.ok_or_else(|| self.corrupt("a header's number is malformed").with("field", "size"))?;
        let link = records.link.unwrap_or_else(|| header.text(LINK).to_vec());
        let sparse = records.sparse_version == (Some(1), Some(0));
        if (records.sparse_old || records.sparse_version != (None, None)) && !sparse {
            return Err(self.corrupt("a sparse file is in a format other than 1.0"));
        }
        entry.path = match records.sparse_name {
            Some(name) if sparse => name,
            _ => records.path.unwrap_or_else(|| header.path()),
        };
        entry.xattrs = records.xattrs;
        let device = |field| header.number(field).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        let ended = |path: &[u8]| path.ends_with(b"/");
        entry.kind = match header.type_flag() {
            // Before there was a type for directories, a trailing slash said it.
            b'0' | 0 if ended(&entry.path) => Kind::Directory,
            b'0' | 0 | b'7' => Kind::File(None),
            b'1' => Kind::HardLink(link),
            b'2' => Kind::Symlink(link),
            b'3' => Kind::Character(device(MAJOR), device(MINOR)),
            b'4' => Kind::Block(device(MAJOR), device(MINOR)),
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => {
                let name = char::from(other);
                return Err(self.corrupt("an entry is of an unknown type").with("type", name));
            }
        };
        while entry.path.ends_with(b"/") {
            entry.path.pop();
        }
        // Only files have content. A directory's size is a hint of old systems, a hard link's that of the file.
        if let Kind::File(extents) = &mut entry.kind {
            self.padding = padding(size);
            self.content = size;
            entry.size = size;
            if sparse {
                let real = records.sparse_size.ok_or_else(|| self.corrupt("a sparse file has no length"))?;
                entry.size = real;
                *extents = Some(self.map(real)?);
            }
        }
        Ok(entry)
    }

    /// The map at the beginning of a sparse file's content: extents in order, within the file, as long as the content.
    fn map(&mut self, real_size: u64) -> Result<Vec<Extent>> {
        let mut block = Bytes::new();
        let count = self.map_number(&mut block)?;
        if count > MAX_EXTENTS {
            return Err(self.corrupt("a sparse file has more than 1,048,576 extents"));
        }
        let mut extents = Vec::new();
        let mut end = 0;
        let mut stored = 0_u64;
        for _ in 0..count {
            let extent = Extent { offset: self.map_number(&mut block)?, length: self.map_number(&mut block)? };
            let next = extent.offset.checked_add(extent.length).filter(|next| *next <= real_size);
            match next {
                Some(next) if extent.offset >= end => end = next,
                _ => return Err(self.corrupt("a sparse file's extents overlap or lie beyond its end")),
            }
            stored += extent.length;
            extents.push(extent);
        }
        if stored != self.content {
            return Err(self.corrupt("a sparse file's extents do not add up to its content"));
        }
        Ok(extents)
    }

    /// One line of the map. Blocks are taken whole; the rest of the last one is padding.
    fn map_number(&mut self, block: &mut Bytes) -> Result<u64> {
        let mut digits = Vec::new();
        loop {
            if block.is_empty() {
                let Some(rest) = self.content.checked_sub(BLOCK as u64) else {
                    return Err(self.corrupt("a sparse file's map is longer than its content"));
                };
                self.content = rest;
                *block = Bytes::copy_from_slice(&self.block()?.0);
            }
            match block.split_to(1)[0] {
                b'\n' => break,
                digit if digits.len() < 20 => digits.push(digit),
                _ => return Err(self.corrupt("a sparse file's map is malformed")),
            }
        }
        pax::number(&digits).ok_or_else(|| self.corrupt("a sparse file's map is malformed"))
    }
}

impl Records {
    /// Takes one record. An empty value takes back what an earlier one said. None if the value is malformed.
    fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let text = || (!value.is_empty()).then(|| value.to_vec());
        let number = || if value.is_empty() { Some(None) } else { pax::number(value).map(Some) };
        match key {
            b"path" => self.path = text(),
            b"linkpath" => self.link = text(),
            b"size" => self.size = number()?,
            b"uid" => self.uid = number()?.map(u32::try_from).transpose().ok()?,
            b"gid" => self.gid = number()?.map(u32::try_from).transpose().ok()?,
            b"mtime" => self.mtime = if value.is_empty() { None } else { Some(pax::time(value)?) },
            b"GNU.sparse.major" => self.sparse_version.0 = number()?,
            b"GNU.sparse.minor" => self.sparse_version.1 = number()?,
            b"GNU.sparse.name" => self.sparse_name = text(),
            b"GNU.sparse.realsize" => self.sparse_size = number()?,
            _ if key.starts_with(b"GNU.sparse.") => self.sparse_old = true,
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((pax::unescape(name), value.to_vec()));
                }
            }
        }
        Some(())
    }
}
