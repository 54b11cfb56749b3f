//! AWS Secrets Manager: secrets as a component, their replicas and their rotation.
//!
//! `open` finds the way, `choice` says which secrets, `read` asks the service, `document` is a secret as it rests in a vault,
//! `export` the way out. On the way back `restore` plans, by `wanted` (what is to be here) and `compare` (what is there), and
//! `write` does it. `replicas` and `rotation` look after those that live.
//!
//! An item is the JSON document of one secret: its name, `arn`, `description`, `kms_key`, `tags`, `policy`, `rotation`,
//! `replicas`, and `versions`, each with its `id`, its `stages` and its value: `string`, or `binary` as base64.

mod choice;
mod compare;
mod document;
mod export;
mod open;
mod read;
mod replicas;
mod restore;
mod rotation;
mod wanted;
mod write;

pub use choice::SecretChoice;
pub use export::Secrets;
pub use open::{SecretsBuilder, SecretsManager};
pub use replicas::{ReplicaRegion, ReplicaReport, ReplicaState, ReplicateReport};
pub use restore::SecretsRestore;
pub use rotation::{RotationReport, RotationState};

/// The kind of component.
const KIND: &str = "aws.secrets";
/// What an item's bytes are.
const FORMAT: &str = "aws.secret json";
