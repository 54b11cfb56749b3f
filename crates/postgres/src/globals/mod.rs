//! What belongs to a server and not to one of its databases: roles, memberships, settings, tablespaces, privileges.
//!
//! `read` asks the server, `render` makes statements of it, `member` puts memberships in an order that can be granted,
//! `setting` writes values as `SET` takes them, `script` is the whole for people.

mod member;
mod read;
mod render;
mod script;
mod setting;

use backstay_core::Secret;
use serde::{Deserialize, Serialize};

pub use render::Statement;
pub(crate) use setting::setting;

/// What belongs to a server and not to one of its databases. Roles that PostgreSQL brings along (`pg_*`) are not in it, but
/// memberships in them are. Nor are `ALTER DATABASE .. SET` and who may connect to a database: its dump has them. Security
/// labels, and who granted a privilege, are not kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Globals {
    /// `server_version_num` of the server that they were read from.
    pub server_version: u32,
    /// Roles: users and groups.
    pub roles: Vec<Role>,
    /// Who belongs to whom.
    pub memberships: Vec<Membership>,
    /// `ALTER ROLE .. SET`.
    pub settings: Vec<RoleSetting>,
    /// Tablespaces but for the two that each server has.
    pub tablespaces: Vec<Tablespace>,
    /// `GRANT .. ON PARAMETER`, from PostgreSQL 15 on.
    pub parameters: Vec<Parameter>,
}

/// A role.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Role {
    /// Its name.
    pub name: String,
    /// `SUPERUSER`.
    pub superuser: bool,
    /// `INHERIT`.
    pub inherit: bool,
    /// `CREATEROLE`.
    pub create_role: bool,
    /// `CREATEDB`.
    pub create_db: bool,
    /// `LOGIN`.
    pub login: bool,
    /// `REPLICATION`.
    pub replication: bool,
    /// `BYPASSRLS`.
    pub bypass_rls: bool,
    /// Most connections, if bounded.
    pub connection_limit: Option<i32>,
    /// The password as the server keeps it: a verifier, from which the password cannot be told, but somebody who has it can
    /// pass for the server, and guess.
    #[serde(with = "secret", skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret<String>>,
    /// Until when the password is good, as PostgreSQL writes it.
    pub valid_until: Option<String>,
    /// `COMMENT ON ROLE`.
    pub comment: Option<String>,
}

/// A role that belongs to another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Membership {
    /// The role that is belonged to.
    pub role: String,
    /// The role that belongs to it.
    pub member: String,
    /// `ADMIN OPTION`.
    pub admin: bool,
    /// `INHERIT` option; none before PostgreSQL 16, where the member's attribute decides.
    pub inherit: Option<bool>,
    /// `SET` option; none before PostgreSQL 16.
    pub set: Option<bool>,
    /// Who granted it; none for the first super-user, and before PostgreSQL 16, where it means nothing.
    pub grantor: Option<String>,
}

/// A setting of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RoleSetting {
    /// The role; all if none.
    pub role: Option<String>,
    /// The database that it holds in; all if none.
    pub database: Option<String>,
    /// What is set.
    pub name: String,
    /// To what, as PostgreSQL keeps it.
    pub value: String,
}

/// A tablespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Tablespace {
    /// Its name.
    pub name: String,
    /// Its owner.
    pub owner: String,
    /// Its folder at the server; empty if it lies in the data folder.
    pub location: String,
    /// Options, each as `name=value`.
    pub options: Vec<String>,
    /// Who may use it; none if nobody ever said so.
    pub privileges: Option<Vec<Privilege>>,
    /// `COMMENT ON TABLESPACE`.
    pub comment: Option<String>,
}

/// A setting of the server that somebody may change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Who may.
    pub privileges: Vec<Privilege>,
}

/// What somebody may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Privilege {
    /// Who; everybody if none.
    pub role: Option<String>,
    /// What: `CREATE`, `SET`, `ALTER SYSTEM`.
    pub privilege: String,
    /// `WITH GRANT OPTION`.
    pub grantable: bool,
}

/// A secret is written only into what the vault seals.
mod secret {
    use backstay_core::Secret;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Option<Secret<String>>, to: S) -> Result<S::Ok, S::Error> {
        value.as_ref().map(Secret::expose).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret<String>>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(Secret::new))
    }
}
