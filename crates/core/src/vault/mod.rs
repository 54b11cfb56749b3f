//! What the stored bytes mean: layout, manifests, marks, encoding, sealing, signing.

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
