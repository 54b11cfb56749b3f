//! Which objects are meant, and what is to be done with them.

use std::fmt;

use backstay_core::source::ExporterInfo;
use backstay_core::store::{Key, ListEntry, ListOptions, ObjectStore as _, Prefix};
use backstay_core::{Error, ErrorKind, Result};
use futures_util::TryStreamExt as _;

use super::KIND;
use super::choose::Chosen;
use super::locks::Locks;
use super::table::LockTable;
use crate::s3::S3Store;

/// The workspace that every backend has, at the key itself.
const DEFAULT: &str = "default";

/// Objects that others keep in a versioned bucket.
///
/// As an exporter it takes the versions that were [chosen](Self::choose), one item each; as an importer it puts the newest
/// that a point has of each key into the bucket again; and it [brings an earlier version back](Self::plan_bring_back) without
/// any vault. Of a [Terraform backend](Self::terraform) it knows locks, digests, serials and lineages. States hold secrets:
/// programs take it only into a vault that is encrypted.
///
/// A vault gets the content of objects: content type, metadata and tags stay behind, and come back only with an earlier
/// version. An object whose name is no [`Key`], such as `a//b`, cannot be taken: the point is partial then and names it. Empty
/// objects that show a folder in consoles (`a/`) are left out.
///
/// The credential needs, each with the prefix `s3:` unless it has another:
///
/// | act | rights |
/// |---|---|
/// | [`versions`](Self::versions), export | `ListBucketVersions`, `GetObjectVersion` |
/// | [`workspaces`](Self::workspaces) | `ListBucket` |
/// | [`pull`](Self::pull), plans | `ListBucket`, without which nothing is known to be absent, `GetObject`, `GetObjectVersion` |
/// | writing a state | that of its plan, and `PutObject` |
/// | [bringing back](Self::bring_back) another object | that of its plan, `PutObject`, `GetObjectVersionTagging`, `PutObjectTagging`, `AbortMultipartUpload` |
/// | import of other objects | that of its plan, `PutObject`, `AbortMultipartUpload` |
/// | [`use_lockfile`](Self::use_lockfile) | of `KEY.tflock` `GetObject`, which every plan of a state needs, `PutObject`, `DeleteObject` |
/// | a [`LockTable`], plans | `dynamodb:GetItem` |
/// | a [`LockTable`], writing | `dynamodb:PutItem`, `dynamodb:DeleteItem` |
///
/// and `kms:Decrypt` to read and `kms:GenerateDataKey` to write where objects are encrypted by a key of AWS KMS.
///
/// ```no_run
/// use backstay_aws::{S3Store, VersionedObjects};
/// use backstay_aws::s3_versions::Chosen;
///
/// # async fn states() -> backstay_core::Result<()> {
/// let store = S3Store::from_env("acme-states").await?;
/// let states = VersionedObjects::terraform(store, "network/terraform.tfstate".parse()?)
///     .use_lockfile()
///     .choose(Chosen::Newest(10));
///
/// let plan = states.plan_bring_back(&states.state_key("staging")?, "3sL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY").await?;
/// println!("{plan}");
/// states.bring_back(plan).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct VersionedObjects {
    pub(super) store: S3Store,
    pub(super) scope: Scope,
    pub(super) chosen: Chosen,
    pub(super) locks: Locks,
    pub(super) options: Options,
    pub(super) info: ExporterInfo,
}

/// Which keys are meant.
#[derive(Clone, Debug)]
pub(super) enum Scope {
    Key(Key),
    Prefix(Prefix),
    /// A state and those of its workspaces: `PREFIX/WORKSPACE/KEY`.
    Terraform {
        key: Key,
        workspaces: String,
    },
}

/// What was allowed for all writes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    pub(super) bump_serial: bool,
    pub(super) any_lineage: bool,
    pub(super) any_serial: bool,
}

impl VersionedObjects {
    fn new(store: S3Store, scope: Scope) -> Self {
        Self {
            store,
            scope,
            chosen: Chosen::default(),
            locks: Locks::default(),
            options: Options::default(),
            info: ExporterInfo::new(KIND).secret(),
        }
    }

    /// One object.
    pub fn key(store: S3Store, key: Key) -> Self {
        Self::new(store, Scope::Key(key))
    }

    /// Every object under a prefix.
    pub fn prefix(store: S3Store, prefix: Prefix) -> Self {
        Self::new(store, Scope::Prefix(prefix))
    }

    /// The state of a Terraform backend of type `s3`, whose `key` this is, and the states of its workspaces.
    pub fn terraform(store: S3Store, key: Key) -> Self {
        Self::new(store, Scope::Terraform { key, workspaces: "env:".to_owned() })
    }

    /// The backend's `workspace_key_prefix`, if it is not `env:`.
    pub fn workspace_key_prefix(mut self, prefix: impl Into<String>) -> Self {
        if let Scope::Terraform { workspaces, .. } = &mut self.scope {
            *workspaces = prefix.into().trim_matches('/').to_owned();
        }
        self
    }

    /// The backend's `dynamodb_table`: its locks count and are taken, and the digest is kept with each write.
    pub fn lock_table(mut self, table: LockTable) -> Self {
        self.locks.table = Some(table);
        self
    }

    /// The backend has `use_lockfile`: the lock file is taken while something is written. One that is there counts anyhow.
    pub fn use_lockfile(mut self) -> Self {
        self.locks.file = true;
        self
    }

    /// Which versions are exported; the current ones if not said.
    pub fn choose(mut self, chosen: Chosen) -> Self {
        self.chosen = chosen;
        self
    }

    /// Brings states back under a serial of their own, one above the current one, instead of byte for byte.
    ///
    /// Terraform takes either for its next plan. The difference is plans that were saved before: one that was made when the
    /// earlier version was current counts as fresh again once that is back byte for byte, and as stale after a new serial.
    pub fn bump_serial(mut self) -> Self {
        self.options.bump_serial = true;
        self
    }

    /// Lets a state take the place of one of another lineage, with which it has nothing in common: what the one that goes
    /// tells of is forgotten, and goes on running.
    pub fn danger_any_lineage(mut self) -> Self {
        self.options.any_lineage = true;
        self
    }

    /// Lets a [push](Self::plan_push) put an older state over a newer one.
    pub fn danger_any_serial(mut self) -> Self {
        self.options.any_serial = true;
        self
    }

    /// The key of a workspace's state.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a name with `/`, and where the objects are no [states](Self::terraform).
    pub fn state_key(&self, workspace: &str) -> Result<Key> {
        let Scope::Terraform { key, workspaces } = &self.scope else {
            return Err(Error::new(ErrorKind::Invalid, "only a Terraform backend has workspaces").with("objects", self));
        };
        if workspace == DEFAULT {
            return Ok(key.clone());
        }
        if workspace.is_empty() || workspace.contains('/') {
            return Err(Error::new(ErrorKind::Invalid, "this is not the name of a workspace").with("got", workspace));
        }
        Key::new(format!("{}{workspace}/{key}", folder(workspaces)))
    }

    /// The workspaces whose states are there now, `default` first.
    ///
    /// # Errors
    /// What the store answers; [`Invalid`](ErrorKind::Invalid) where the objects are no [states](Self::terraform).
    pub async fn workspaces(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for prefix in self.prefixes()? {
            let mut list = self.store.list(&prefix, &ListOptions::default());
            while let Some(entry) = list.try_next().await? {
                if let ListEntry::Object(meta) = entry {
                    found.extend(self.workspace_of(meta.key.as_str()).map(str::to_owned));
                }
            }
        }
        self.state_key(DEFAULT).map(|_| found)
    }

    /// Whose state lies at a key, if one does.
    pub(super) fn workspace_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        let Scope::Terraform { key, workspaces } = &self.scope else { return None };
        if name == key.as_str() {
            return Some(DEFAULT);
        }
        let workspace = name.strip_prefix(&folder(workspaces))?.strip_suffix(key.as_str())?.strip_suffix('/')?;
        (!workspace.is_empty() && !workspace.contains('/')).then_some(workspace)
    }

    /// Whether a key is one of those that are meant.
    pub(super) fn means(&self, name: &str) -> bool {
        match &self.scope {
            Scope::Key(key) => name == key.as_str(),
            Scope::Prefix(prefix) => name.starts_with(prefix.as_str()),
            Scope::Terraform { .. } => self.workspace_of(name).is_some(),
        }
    }

    /// Fails for a key that is none of those that are meant.
    pub(super) fn meant(&self, key: &Key) -> Result<()> {
        if self.means(key.as_str()) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Invalid, "the key is none of these objects").with("key", key).with("objects", self))
    }

    /// Whether the objects are Terraform's states.
    pub(super) fn are_states(&self) -> bool {
        matches!(self.scope, Scope::Terraform { .. })
    }

    /// What to list, to find all keys that are meant.
    pub(super) fn prefixes(&self) -> Result<Vec<Prefix>> {
        match &self.scope {
            Scope::Key(key) => Ok(vec![Prefix::new(key.as_str())?]),
            Scope::Prefix(prefix) => Ok(vec![prefix.clone()]),
            Scope::Terraform { key, workspaces } => {
                let (own, others) = (Prefix::new(key.as_str())?, Prefix::new(folder(workspaces))?);
                // One that begins with the other is listed with it.
                Ok(match (own.as_str().starts_with(others.as_str()), others.as_str().starts_with(own.as_str())) {
                    (true, _) => vec![others],
                    (_, true) => vec![own],
                    _ => vec![own, others],
                })
            }
        }
    }
}

fn folder(prefix: &str) -> String {
    if prefix.is_empty() { String::new() } else { format!("{prefix}/") }
}

impl fmt::Display for VersionedObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what: &dyn fmt::Display = match &self.scope {
            Scope::Key(key) | Scope::Terraform { key, .. } => key,
            Scope::Prefix(prefix) => &prefix.as_str(),
        };
        write!(
            f,
            "{} in {}",
            if what.to_string().is_empty() { "everything".to_owned() } else { what.to_string() },
            self.store
        )
    }
}
