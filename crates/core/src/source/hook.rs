//! Work before and after a cut: freeze, thaw, notify.

use std::fmt::{Debug, Display};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::name::{Name, PointId};

/// Work around the cut of some components.
///
/// # Contract
/// * `after` runs exactly once for every `before` that was started, also when `before` failed or timed out, when the export
///   failed, when the run was cancelled or its handle dropped.
/// * A freeze arms its own undo timer on the target first: a killed process runs no `after`.
/// * Both may be called again for a later run; `after` without effect to undo is success.
/// * The next process of the source calls `after` for a run that died, once or more, with that run's point: its own hook, by
///   its own configuration. So `after` undoes whatever is there to undo, whoever began it.
#[async_trait]
pub trait Hook: Debug + Display + Send + Sync + 'static {
    /// Before the components are exported.
    ///
    /// # Errors
    /// Any; [`HookOptions::on_error`] says what follows.
    async fn before(&self, context: &HookContext) -> Result<()>;

    /// After they were exported, well or not.
    ///
    /// # Errors
    /// Any; it is reported and makes the point partial.
    async fn after(&self, context: &HookContext) -> Result<()>;

    /// How long each call may take and what a failure means.
    fn options(&self) -> HookOptions {
        HookOptions::default()
    }
}

/// For what a hook runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HookContext {
    /// The point in the making.
    pub point: PointId,
    /// The components around which it runs.
    pub components: Vec<Name>,
}

impl HookContext {
    /// A context.
    #[must_use]
    pub fn new(point: PointId, components: Vec<Name>) -> Self {
        Self { point, components }
    }
}

/// A hook's timeout and failure rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HookOptions {
    /// How long one call may take. Default: 60 s.
    pub timeout: Duration,
    /// What a failing `before` means for the hook's components. Default: they fail.
    pub on_error: OnHookError,
}

impl Default for HookOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(60), on_error: OnHookError::default() }
    }
}

/// What a failing [`Hook::before`] means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnHookError {
    /// The hook's components fail without being exported.
    #[default]
    Fail,
    /// They are exported all the same; the failure is reported.
    Continue,
}
