//! A hook that does what it is told.

use std::fmt;

use async_trait::async_trait;
use backstay_core::source::{Hook, HookContext, HookOptions};
use backstay_core::{ErrorKind, Result};

use crate::mock::{Calls, scripted};

/// Notes its calls as `NAME.before` and `NAME.after`, and fails or hangs where it is told.
///
/// ```
/// use backstay_core::ErrorKind;
/// use backstay_testkit::mock::MockHook;
///
/// let hook = MockHook::new("freeze").fail_after(ErrorKind::Unavailable);
/// assert!(hook.calls().all().is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct MockHook {
    name: String,
    before: Act,
    after: Act,
    options: HookOptions,
    calls: Calls,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Succeed,
    Fail(ErrorKind),
    Hang,
}

impl MockHook {
    /// A hook that succeeds.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            before: Act::Succeed,
            after: Act::Succeed,
            options: HookOptions::default(),
            calls: Calls::default(),
        }
    }

    /// `before` fails.
    #[must_use]
    pub fn fail_before(mut self, kind: ErrorKind) -> Self {
        self.before = Act::Fail(kind);
        self
    }

    /// `after` fails.
    #[must_use]
    pub fn fail_after(mut self, kind: ErrorKind) -> Self {
        self.after = Act::Fail(kind);
        self
    }

    /// `before` never ends.
    #[must_use]
    pub fn hang_before(mut self) -> Self {
        self.before = Act::Hang;
        self
    }

    /// `after` never ends.
    #[must_use]
    pub fn hang_after(mut self) -> Self {
        self.after = Act::Hang;
        self
    }

    /// Its timeout and failure rule.
    #[must_use]
    pub fn options(mut self, options: HookOptions) -> Self {
        self.options = options;
        self
    }

    /// Notes its calls in this list.
    #[must_use]
    pub fn record(mut self, calls: &Calls) -> Self {
        self.calls = calls.clone();
        self
    }

    /// Its calls.
    #[must_use]
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    async fn call(&self, phase: &str, act: Act) -> Result<()> {
        self.calls.add(format_args!("{}.{phase}", self.name));
        match act {
            Act::Succeed => Ok(()),
            Act::Fail(kind) => Err(scripted(kind)),
            Act::Hang => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Hook for MockHook {
    async fn before(&self, _: &HookContext) -> Result<()> {
        self.call("before", self.before).await
    }

    async fn after(&self, _: &HookContext) -> Result<()> {
        self.call("after", self.after).await
    }

    fn options(&self) -> HookOptions {
        self.options.clone()
    }
}

impl fmt::Display for MockHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
