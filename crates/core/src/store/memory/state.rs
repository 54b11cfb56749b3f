//! What a [`MemoryStore`](super::MemoryStore) holds, and the rules of versions and locks.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};
use crate::store::{
    Key, ListEntry, ListOptions, Lock, ObjectMeta, ObjectRef, Prefix, PutMode, PutOptions, UploadRef, VersionId,
};

#[derive(Default)]
pub(super) struct State {
    /// The contents of each key, the oldest first; never empty.
    objects: BTreeMap<String, Vec<Content>>,
    uploads: BTreeMap<String, UploadRef>,
    /// Numbers handed out: versions, uploads.
    serial: u64,
}

struct Content {
    meta: ObjectMeta,
    data: Bytes,
}

/// The first string after everything that begins with `folder`, which ends in `/`.
pub(super) fn after_folder(folder: &str) -> String {
    format!("{}0", folder.trim_end_matches('/'))
}

pub(super) fn no_classes(options: &PutOptions) -> Result<()> {
    match &options.class {
        None => Ok(()),
        Some(class) => {
            Err(Error::new(ErrorKind::Unsupported, "a store in memory has no storage classes").with("class", class))
        }
    }
}

impl State {
    pub(super) fn put(
        &mut self,
        key: &Key,
        data: Bytes,
        etag: String,
        options: &PutOptions,
        versioned: bool,
        now: Timestamp,
    ) -> Result<ObjectMeta> {
        self.not_a_folder(key)?;
        if let Some(newest) = self.newest(key).filter(|content| !content.meta.delete_marker) {
            match options.mode {
                PutMode::Create => {
                    return Err(Error::new(ErrorKind::AlreadyExists, "the key is taken").with("key", key));
                }
                PutMode::Overwrite if !versioned => not_locked(newest, now)?,
                PutMode::Overwrite => {}
            }
        }
        let mut meta = ObjectMeta::new(key.clone(), data.len() as u64, now).with_etag(etag);
        meta.lock = options.lock;
        Ok(self.push(meta, data, versioned))
    }

    pub(super) fn find(&self, key: &Key, version: Option<&VersionId>) -> Result<(ObjectMeta, Bytes)> {
        let newest = self.newest(key).filter(|content| !content.meta.delete_marker);
        let content = match version {
            None => newest,
            Some(_) => self.contents(key).iter().find(|content| content.meta.version.as_ref() == version),
        };
        let content = content.ok_or_else(|| absent(key))?;
        let latest = self.newest(key).is_some_and(|newest| newest.meta.version == content.meta.version);
        Ok((ObjectMeta { latest, ..content.meta.clone() }, content.data.clone()))
    }

    pub(super) fn delete(&mut self, what: &ObjectRef, versioned: bool, now: Timestamp) -> Result<()> {
        let Some(contents) = self.objects.get_mut(what.key.as_str()) else { return Ok(()) };
        match &what.version {
            None if versioned => {
                // On top of another marker too, as S3 does.
                let mut marker = ObjectMeta::new(what.key.clone(), 0, now);
                marker.delete_marker = true;
                self.push(marker, Bytes::new(), versioned);
                return Ok(());
            }
            None => {
                contents.iter().try_for_each(|content| not_locked(content, now))?;
                contents.clear();
            }
            Some(version) => {
                if let Some(at) = contents.iter().position(|content| content.meta.version.as_ref() == Some(version)) {
                    not_locked(&contents[at], now)?;
                    contents.remove(at);
                }
            }
        }
        if contents.is_empty() {
            self.objects.remove(what.key.as_str());
        }
        Ok(())
    }

    pub(super) fn protect(&mut self, what: &ObjectRef, lock: &Lock, now: Timestamp) -> Result<()> {
        let contents = self.objects.get_mut(what.key.as_str()).map(Vec::as_mut_slice).unwrap_or_default();
        let content = match &what.version {
            None => contents.last_mut(),
            version => contents.iter_mut().find(|content| content.meta.version == *version),
        };
        let content = content.filter(|content| !content.meta.delete_marker).ok_or_else(|| absent(&what.key))?;
        let weaker = |old: Lock| lock.until < old.until || (lock.bypassable && !old.bypassable);
        if content.meta.lock.is_some_and(|old| old.until > Some(now) && lock.until.is_some() && weaker(old)) {
            return Err(Error::new(ErrorKind::Locked, "a lock is never weakened").with("key", &what.key));
        }
        content.meta.lock = Some(content.meta.lock.map_or(*lock, |old| old.extended_by(lock)));
        Ok(())
    }

    /// The next `limit` lines, or a few more where a key has many versions.
    pub(super) fn page(
        &self,
        prefix: &Prefix,
        options: &ListOptions,
        from: &Bound<String>,
        limit: usize,
    ) -> Vec<ListEntry> {
        let mut page = Vec::new();
        let mut from = from.clone();
        'range: while page.len() < limit {
            let rest = self.objects.range((from.clone(), Bound::Unbounded));
            for (key, contents) in rest.take_while(|(key, _)| key.starts_with(prefix.as_str())) {
                let lines = lines(contents, options.versions);
                if lines.is_empty() {
                    continue;
                }
                if let Some(folder) = prefix.folder_of(key).filter(|_| options.folders) {
                    from = Bound::Included(after_folder(folder.as_str()));
                    page.push(ListEntry::Folder(folder));
                    continue 'range;
                }
                page.extend(lines.into_iter().map(ListEntry::Object));
                if page.len() >= limit {
                    break 'range;
                }
            }
            break;
        }
        page
    }

    pub(super) fn begin(&mut self, key: &Key, now: Timestamp) -> String {
        let id = self.next("u");
        self.uploads.insert(id.clone(), UploadRef::new(key.clone(), id.clone(), now));
        id
    }

    /// Whether the upload was still there.
    pub(super) fn end(&mut self, id: &str) -> bool {
        self.uploads.remove(id).is_some()
    }

    pub(super) fn unfinished(&self, prefix: &Prefix) -> Vec<UploadRef> {
        self.uploads.values().filter(|upload| prefix.contains(&upload.key)).cloned().collect()
    }

    fn contents(&self, key: &Key) -> &[Content] {
        self.objects.get(key.as_str()).map(Vec::as_slice).unwrap_or_default()
    }

    fn newest(&self, key: &Key) -> Option<&Content> {
        self.contents(key).last()
    }

    fn push(&mut self, mut meta: ObjectMeta, data: Bytes, versioned: bool) -> ObjectMeta {
        meta.version = versioned.then(|| VersionId(self.next("v")));
        let contents = self.objects.entry(meta.key.as_str().to_owned()).or_default();
        if !versioned {
            contents.clear();
        }
        // A copy: what the caller handed in may be a small piece of something large.
        let data = Bytes::copy_from_slice(&data);
        contents.push(Content { meta: meta.clone(), data });
        meta
    }

    fn next(&mut self, kind: &str) -> String {
        self.serial += 1;
        format!("{kind}{:016}", self.serial)
    }

    fn not_a_folder(&self, key: &Key) -> Result<()> {
        let name = key.as_str();
        let inside = self.objects.range(format!("{name}/")..after_folder(name)).next().map(|(key, _)| key.as_str());
        let mut parents = name.match_indices('/').map(|(at, _)| &name[..at]);
        match parents.find(|parent| self.objects.contains_key(*parent)).or(inside) {
            None => Ok(()),
            Some(other) => Err(super::super::folder_conflict(key).with("other", other)),
        }
    }
}

/// What a listing tells of one key, the newest first.
fn lines(contents: &[Content], versions: bool) -> Vec<ObjectMeta> {
    let newest_first = contents.iter().rev().enumerate();
    let line = |(age, content): (usize, &Content)| ObjectMeta { latest: age == 0, ..content.meta.clone() };
    match versions {
        true => newest_first.map(line).collect(),
        false => newest_first.take(1).map(line).filter(|meta| !meta.delete_marker).collect(),
    }
}

fn not_locked(content: &Content, now: Timestamp) -> Result<()> {
    match content.meta.lock {
        Some(lock) if lock.holds(now) => {
            let until = lock.until.map_or_else(|| "released".to_owned(), |until| until.to_string());
            Err(Error::new(ErrorKind::Locked, "the object is locked")
                .with("key", &content.meta.key)
                .with("until", until))
        }
        _ => Ok(()),
    }
}

fn absent(key: &Key) -> Error {
    Error::new(ErrorKind::NotFound, "no such object").with("key", key)
}
