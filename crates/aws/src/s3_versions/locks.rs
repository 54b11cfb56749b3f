//! Terraform's own locks: looked at before a plan, held while it is done.

use backstay_core::clock::{Clock as _, Random as _, SystemClock, SystemRandom};
use backstay_core::store::{GetOptions, Key, ObjectStore as _, PutOptions};
use backstay_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};

use super::table::LockTable;
use crate::s3::S3Store;

/// What Terraform adds to a state's key for the lock that `use_lockfile` makes.
pub(super) const LOCK_FILE: &str = ".tflock";

/// The locks of a backend.
#[derive(Clone, Debug, Default)]
pub(super) struct Locks {
    pub(super) table: Option<LockTable>,
    pub(super) file: bool,
}

/// What a lock says, as Terraform writes it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Info {
    #[serde(rename = "ID")]
    id: String,
    operation: String,
    info: String,
    who: String,
    version: String,
    created: String,
    path: String,
}

/// A lock that is held by us. It must be [given back](Self::release).
pub(super) struct Held<'a> {
    locks: &'a Locks,
    store: &'a S3Store,
    key: &'a Key,
    info: String,
    id: String,
    file: bool,
    table: bool,
}

impl Locks {
    /// Fails if somebody holds a lock of this state. The lock file is looked for whether it is in use here or not.
    pub(super) async fn refuse_if_held(&self, store: &S3Store, key: &Key) -> Result<()> {
        if let Some(info) = read_file(store, &lock_file(key)?).await? {
            return Err(busy(&info, key, "its lock file"));
        }
        if let Some(table) = &self.table
            && let Some(info) = table.lock(&lock_id(store, key)).await?
        {
            return Err(busy(&info, key, "the lock table"));
        }
        Ok(())
    }

    /// Takes the locks, in Terraform's order: lock file, table.
    pub(super) async fn take<'a>(&'a self, store: &'a S3Store, key: &'a Key, operation: &str) -> Result<Held<'a>> {
        let id = new_id();
        let info = Info {
            id: id.clone(),
            operation: operation.to_owned(),
            who: "backstay".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            created: SystemClock.now().to_string(),
            path: lock_id(store, key),
            ..Info::default()
        };
        let info = serde_json::to_string(&info)
            .map_err(|error| Error::new(ErrorKind::Other, "the lock cannot be written as JSON").because(error))?;
        let mut held = Held { locks: self, store, key, info, id, file: false, table: false };
        match held.take_all().await {
            Ok(()) => Ok(held),
            Err(error) => match held.release().await {
                Ok(()) => Err(error),
                Err(left) => Err(error.because(left)),
            },
        }
    }
}

impl Held<'_> {
    async fn take_all(&mut self) -> Result<()> {
        if self.locks.file {
            self.take_file().await?;
        }
        if let Some(table) = &self.locks.table {
            let lock = lock_id(self.store, self.key);
            if let Some(there) = table.take(&lock, &self.info, &mut self.table).await? {
                return Err(busy(&there, self.key, "the lock table"));
            }
        }
        // Whoever makes lock files heeds no table: after the plan, one may have begun.
        if !self.locks.file
            && let Some(there) = read_file(self.store, &lock_file(self.key)?).await?
        {
            return Err(busy(&there, self.key, "its lock file"));
        }
        Ok(())
    }

    async fn take_file(&mut self) -> Result<()> {
        let file = lock_file(self.key)?;
        let put = self.store.put(&file, Bytes::from(self.info.clone()), &PutOptions::default()).await;
        let taken = |error: &Error| error.kind() == ErrorKind::AlreadyExists;
        self.file = put.as_ref().map_or_else(|error| taken(error) || error.kind().is_unsure(), |_| true);
        let Err(error) = put else { return Ok(()) };
        match read_file(self.store, &file).await? {
            // The answer was lost.
            Some(there) if there == self.info => Ok(()),
            Some(there) => {
                self.file = false;
                Err(busy(&there, self.key, "its lock file"))
            }
            None => Err(error),
        }
    }

    /// Gives back what was taken, both whatever happens to one.
    pub(super) async fn release(self) -> Result<()> {
        let table = match (&self.locks.table, self.table) {
            (Some(table), true) => table.release(&lock_id(self.store, self.key), &self.info).await,
            _ => Ok(()),
        };
        let file = if self.file { self.release_file().await } else { Ok(()) };
        table.and(file).map_err(|error| {
            let advice = format!("`terraform force-unlock {}` frees it", self.id);
            let message = "the lock of the state could not be given back";
            Error::new(error.kind(), message).with("key", self.key).with("lock", &self.id).advise(advice).because(error)
        })
    }

    async fn release_file(&self) -> Result<()> {
        let file = lock_file(self.key)?;
        let is_ours =
            async || Ok::<_, Error>(read_file(self.store, &file).await?.is_some_and(|there| there == self.info));
        // Somebody may have forced it open, and others taken it.
        if !is_ours().await? {
            return Ok(());
        }
        let outcomes = self.store.delete(&[file.clone().into()]).await;
        match outcomes.and_then(|outcomes| outcomes.into_iter().try_for_each(|outcome| outcome.result)) {
            // The answer was lost.
            Err(error) if error.kind().is_unsure() && is_ours().await.is_ok_and(|ours| !ours) => Ok(()),
            done => done,
        }
    }
}

/// As Terraform names the state in its table: the digest's item is this and `-md5`.
pub(super) fn lock_id(store: &S3Store, key: &Key) -> String {
    format!("{}/{key}", store.bucket())
}

pub(super) fn digest_id(store: &S3Store, key: &Key) -> String {
    format!("{}-md5", lock_id(store, key))
}

fn lock_file(key: &Key) -> Result<Key> {
    Key::new(format!("{key}{LOCK_FILE}"))
}

async fn read_file(store: &S3Store, key: &Key) -> Result<Option<String>> {
    let got = match store.get(key, &GetOptions::default()).await {
        Ok(got) => got,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // A lock is short; what is not is not read, and holds all the same.
    if got.meta.size > 64 << 10 {
        return Ok(Some(String::new()));
    }
    let content = got.body.try_collect::<Vec<_>>().await?.concat();
    Ok(Some(String::from_utf8_lossy(&content).into_owned()))
}

/// Of what the lock says only what tells who holds it: it may be anything.
fn busy(info: &str, key: &Key, place: &'static str) -> Error {
    let info: Info = serde_json::from_str(info).unwrap_or_default();
    let mut error = Error::new(ErrorKind::Busy, format!("the state is locked, by {place}")).with("key", key);
    for (name, value) in [("lock", &info.id), ("who", &info.who), ("doing", &info.operation), ("since", &info.created)]
    {
        if !value.is_empty() {
            error = error.with(name, value);
        }
    }
    error.advise("wait until it is free; if its holder died, `terraform force-unlock` frees it")
}

/// Random, written as Terraform's own are.
fn new_id() -> String {
    let mut bytes = [0; 16];
    SystemRandom.fill(&mut bytes);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_told_by_whoever_holds_it() {
        let key: Key = "a/terraform.tfstate".parse().unwrap();
        let info = r#"{"ID":"f0-1","Operation":"OperationTypeApply","Info":"","Who":"me@host","Version":"1.11.4","Created":"2026","Path":"b/k"}"#;
        let error = busy(info, &key, "the lock table");
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert_eq!((error.context("lock"), error.context("who")), (Some("f0-1"), Some("me@host")));
        // Whatever it says, it is a lock.
        assert_eq!(busy("nonsense", &key, "its lock file").kind(), ErrorKind::Busy);
    }

    #[test]
    fn ids_look_like_those_of_terraform() {
        let (one, two) = (new_id(), new_id());
        assert_ne!(one, two);
        assert_eq!(one.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    }
}
