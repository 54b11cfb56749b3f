//! Roles: who may do what in a vault. The rights are data, so that a vault's checks, a store's policy and the tests that
//! deny everything else all read the same table.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};
use crate::store::{Operation, PutMode};
use crate::vault::Purpose;

/// A way to use a vault, with no more rights and keys than it takes.
///
/// ```
/// use backstay_core::vault::{Purpose, Right, Role};
///
/// assert!(Role::Writer.may(Right::Create, "items/prod-eu/daily/x"));
/// assert!(!Role::Writer.may(Right::Get, "items/prod-eu/daily/x"));
/// assert_eq!(Purpose::Hold.roles(), [Role::Keeper]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Role {
    /// Adds points: a backup host. Can neither read, delete nor replace anything.
    Writer,
    /// Copies points into this vault from another one. Lives at the destination and opens nothing.
    Replicator,
    /// Proves points and says so in signed proofs. Decrypts only if a custodian's identity is given as well.
    Verifier,
    /// Reads points.
    Restorer,
    /// Deletes by plan, and takes deletions back. Opens nothing.
    Pruner,
    /// Speaks for people: holds, releases, accepts, retires, looks after epochs and custodians.
    Keeper,
}

/// What a credential may do with the keys under a prefix of the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Right {
    /// List keys.
    List,
    /// Read objects and what the store knows of them, and see unfinished uploads.
    Get,
    /// Make objects under keys that are free, locked from their first moment where a tier says so.
    Create,
    /// Replace objects. No role has it.
    Overwrite,
    /// Delete objects and their versions.
    Delete,
    /// Give up uploads that nobody completed.
    Abort,
    /// Lock objects that are there, and extend locks.
    Lock,
}

/// A right over the keys that begin with a prefix; every key if it is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Grant {
    /// What may be done.
    pub right: Right,
    /// With which keys, relative to the vault.
    pub under: &'static str,
}

const fn grant(right: Right, under: &'static str) -> Grant {
    Grant { right, under }
}

const READ: [Grant; 2] = [grant(Right::List, ""), grant(Right::Get, "")];

const WRITER: [Grant; 8] = [
    grant(Right::List, ""),
    grant(Right::Create, "probe"),
    grant(Right::Create, "runs/"),
    grant(Right::Create, "items/"),
    grant(Right::Create, "details/"),
    grant(Right::Create, "sigs/"),
    grant(Right::Create, "points/"),
    grant(Right::Create, "history/"),
];

const REPLICATOR: [Grant; 9] = [
    READ[0],
    READ[1],
    grant(Right::Create, "probe"),
    grant(Right::Create, "keys/"),
    grant(Right::Create, "items/"),
    grant(Right::Create, "details/"),
    grant(Right::Create, "sigs/"),
    grant(Right::Create, "copies/"),
    grant(Right::Create, "points/"),
];

const VERIFIER: [Grant; 4] = [READ[0], READ[1], grant(Right::Create, "sigs/"), grant(Right::Create, "proofs/")];

const PRUNER: [Grant; 14] = [
    READ[0],
    READ[1],
    // Whoever may create may also leave an upload unfinished, under each key of the vault.
    grant(Right::Abort, ""),
    grant(Right::Create, "probe"),
    grant(Right::Create, "sigs/"),
    grant(Right::Create, "points/"),
    grant(Right::Create, "history/"),
    grant(Right::Delete, "points/"),
    grant(Right::Delete, "items/"),
    grant(Right::Delete, "details/"),
    grant(Right::Delete, "sigs/"),
    grant(Right::Delete, "proofs/"),
    grant(Right::Delete, "copies/"),
    grant(Right::Delete, "runs/"),
];

const KEEPER: [Grant; 12] = [
    READ[0],
    READ[1],
    grant(Right::Create, "probe"),
    grant(Right::Create, "sigs/"),
    grant(Right::Create, "points/"),
    grant(Right::Create, "retired/"),
    grant(Right::Create, "keys/"),
    grant(Right::Delete, "keys/"),
    grant(Right::Lock, "points/"),
    grant(Right::Lock, "items/"),
    grant(Right::Lock, "details/"),
    grant(Right::Lock, "sigs/"),
];

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] =
        [Self::Writer, Self::Replicator, Self::Verifier, Self::Restorer, Self::Pruner, Self::Keeper];

    /// What its credential must be allowed in the vault, and nothing else.
    #[must_use]
    pub fn grants(self) -> &'static [Grant] {
        match self {
            Self::Writer => &WRITER,
            Self::Replicator => &REPLICATOR,
            Self::Verifier => &VERIFIER,
            Self::Restorer => &READ,
            Self::Pruner => &PRUNER,
            Self::Keeper => &KEEPER,
        }
    }

    /// What its credential must be allowed in other vaults: a replicator's in those that it copies from, a pruner's in the
    /// replicas that points must have reached.
    #[must_use]
    pub fn grants_elsewhere(self) -> &'static [Grant] {
        match self {
            Self::Replicator | Self::Pruner => &READ,
            Self::Writer | Self::Verifier | Self::Restorer | Self::Keeper => &[],
        }
    }

    /// Whether it has this right over `key`.
    #[must_use]
    pub fn may(self, right: Right, key: &str) -> bool {
        self.grants().iter().any(|grant| grant.covers(right, key))
    }

    /// What its signing key is trusted for; nothing if it signs nothing.
    #[must_use]
    pub fn purposes(self) -> Vec<Purpose> {
        Purpose::ALL.into_iter().filter(|purpose| purpose.roles().contains(&self)).collect()
    }

    /// Whether it seals something to an epoch, items, keys or the logs of what it did, and so gets the epoch's recipient.
    #[must_use]
    pub fn seals(self) -> bool {
        self.needs_epoch() || self == Self::Pruner
    }

    /// Whether it can do nothing without an epoch. A pruner only leaves no log.
    pub(crate) fn needs_epoch(self) -> bool {
        matches!(self, Self::Writer | Self::Keeper)
    }

    /// Whether it cannot do without a custodian's identity.
    #[must_use]
    pub fn opens(self) -> bool {
        matches!(self, Self::Restorer | Self::Keeper)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Replicator => "replicator",
            Self::Verifier => "verifier",
            Self::Restorer => "restorer",
            Self::Pruner => "pruner",
            Self::Keeper => "keeper",
        }
    }

    /// The roles that have a right over `key`.
    pub(crate) fn having(right: Right, key: &str) -> Vec<&'static str> {
        Self::ALL.into_iter().filter(|role| role.may(right, key)).map(Self::name).collect()
    }
}

impl Purpose {
    /// The roles whose keys sign for it.
    #[must_use]
    pub fn roles(self) -> &'static [Role] {
        match self {
            Self::Point => &[Role::Writer],
            Self::Delete | Self::Void => &[Role::Pruner],
            Self::Hold | Self::Release | Self::Accept | Self::Retire | Self::Canary => &[Role::Keeper],
            Self::Proof => &[Role::Verifier],
            Self::Copy => &[Role::Replicator],
            Self::History => &[Role::Writer, Role::Pruner],
        }
    }

    /// The same, in words.
    pub(crate) fn role_names(self) -> String {
        self.roles().iter().map(|role| role.name()).collect::<Vec<_>>().join(" or the ")
    }
}

impl Right {
    /// The right that a call needs; none for asking the time. An upload of one's own that may not be given up is left to the
    /// sweep.
    #[must_use]
    pub fn of(operation: Operation, mode: PutMode) -> Option<Self> {
        match operation {
            Operation::Put | Operation::Upload | Operation::Part | Operation::Complete | Operation::CopyIn => {
                Some(if mode == PutMode::Overwrite { Self::Overwrite } else { Self::Create })
            }
            Operation::List => Some(Self::List),
            Operation::Get | Operation::Head | Operation::Thaw | Operation::Uploads => Some(Self::Get),
            Operation::Delete => Some(Self::Delete),
            Operation::Abort | Operation::AbortUpload => Some(Self::Abort),
            Operation::Protect => Some(Self::Lock),
            Operation::Now => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Get => "get",
            Self::Create => "create",
            Self::Overwrite => "overwrite",
            Self::Delete => "delete",
            Self::Abort => "give up uploads",
            Self::Lock => "lock",
        }
    }
}

impl Grant {
    /// Whether it gives `right` over `key`. A listing is over the prefix that it asks for.
    #[must_use]
    pub fn covers(&self, right: Right, key: &str) -> bool {
        self.right == right && key.starts_with(self.under)
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            Error::new(ErrorKind::Invalid, "there is no such role")
                .with("got", text)
                .advise(format!("there are: {known}"))
        })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.under {
            "" => self.right.fmt(f),
            under => write!(f, "{} {under}", self.right),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_role_overwrites_and_only_one_deletes_points() {
        for key in ["backstay-1.json", "points/a/b/c.json", "items/a/b/c", "keys/e.c.age"] {
            assert!(Role::having(Right::Overwrite, key).is_empty(), "{key}");
        }
        assert_eq!(Role::having(Right::Delete, "points/a/b/c.json"), ["pruner"]);
        assert_eq!(Role::having(Right::Delete, "keys/e.c.age"), ["keeper"]);
        assert_eq!(Role::having(Right::Abort, "keys/e.c.age"), ["pruner"]);
        assert!(Role::having(Right::Delete, "backstay-1.json").is_empty());
    }

    #[test]
    fn a_writer_reads_and_deletes_nothing() {
        let rights: Vec<Right> = Role::Writer.grants().iter().map(|grant| grant.right).collect();
        assert!(rights.iter().all(|right| matches!(right, Right::List | Right::Create)), "{rights:?}");
        assert_eq!(Role::Writer.purposes(), [Purpose::Point, Purpose::History]);
        assert!(!Role::Writer.opens());
    }

    #[test]
    fn every_purpose_is_some_roles_and_names_are_read_back() {
        assert!(Purpose::ALL.iter().all(|purpose| !purpose.roles().is_empty()));
        assert!(Role::ALL.iter().all(|role| role.name().parse::<Role>().unwrap() == *role));
        assert!("root".parse::<Role>().unwrap_err().to_string().contains("pruner"));
    }
}
