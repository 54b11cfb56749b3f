//! What the stored bytes mean: layout, manifests, marks, encoding, sealing, signing.

mod age_header;
mod age_stream;
#[cfg(test)]
mod codec_tests;
mod cut;
mod decode;
mod encode;
mod epoch;
mod fetch;
mod frame;
mod keyring;
mod open;
mod seal;
mod seek_table;
mod send;
mod sign;
mod ssh;
mod stored;
mod trust;
mod unpack;
mod vault_id;

pub use epoch::Epoch;
pub use keyring::Keyring;
pub use seal::{Identity, Recipient, open_bytes, seal_bytes};
pub use sign::{PublicKey, SigningKey};
pub use trust::{AllowedSigner, AllowedSigners, Signer};
pub use vault_id::VaultId;

/// How a component ended in a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// Everything that was asked for is there.
    Good,
    /// Its items can be restored, but something is missing or may be torn; the details name it.
    Incomplete,
    /// Nothing of it can be restored.
    Failed,
}
