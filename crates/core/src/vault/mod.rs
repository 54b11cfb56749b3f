//! What the stored bytes mean: layout, manifests, marks, encoding, sealing, signing.
//!
//! FORMAT.md describes all of it for people, down to opening a vault by hand.

mod age_header;
mod age_stream;
pub(crate) mod beacon;
mod builder;
#[cfg(test)]
mod codec_tests;
pub(crate) mod commit;
pub(crate) mod copy;
pub(crate) mod custodians;
pub(crate) mod custody;
mod cut;
pub(crate) mod decode;
pub(crate) mod details;
pub(crate) mod encode;
mod epoch;
mod explain;
mod fetch;
mod frame;
#[cfg(test)]
mod fuzz_tests;
pub(crate) mod handle;
pub(crate) mod history;
pub(crate) mod items;
mod key_folder;
mod keyring;
pub(crate) mod layout;
mod lines;
pub(crate) mod list;
pub(crate) mod lookback;
pub(crate) mod manifest;
pub(crate) mod mark;
mod open;
pub(crate) mod points;
pub(crate) mod prove;
mod read;
mod role;
mod role_keys;
mod rotate;
pub(crate) mod runs;
mod seal;
mod seek_table;
mod send;
pub(crate) mod settle;
mod sign;
pub(crate) mod signed;
mod ssh;
pub(crate) mod stored;
mod stranger;
mod trust;
pub(crate) mod undelete;
mod unpack;
mod vault_id;
pub(crate) mod wary;
mod whole_object;

pub use builder::VaultBuilder;
pub use custodians::{Custodian, Removal};
pub use epoch::Epoch;
pub use handle::Vault;
pub use history::{Act, History, HistoryEntry, HistoryRecord, LogLine, Logged};
pub use keyring::Keyring;
pub use manifest::{Component, DetailsRef, Manifest, ObjectEntry, Outcome, SnapshotEntry, Status};
pub use mark::{Mark, MarkKind, Retirement, WorkList};
pub use points::{Point, Points};
pub use role::{Grant, Right, Role};
pub use role_keys::RoleKeys;
pub use rotate::Rotation;
pub use seal::{Identity, Recipient, open_bytes, seal_bytes};
pub use sign::{PublicKey, SigningKey};
pub use signed::Purpose;
pub use trust::{AllowedSigner, AllowedSigners, Signer};
pub use vault_id::VaultId;
