//! Running hooks: `after` exactly once for each `before` that was begun, whatever happened between.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::clock::timeout;
use crate::engine::builder::Inner;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Observers};
use crate::name::{Name, PointId};
use crate::source::{Hook, HookContext, OnHookError};

/// A hook and the components around which it runs.
#[derive(Clone)]
pub(crate) struct ConfiguredHook {
    pub(crate) components: Vec<Name>,
    pub(crate) hook: Arc<dyn Hook>,
}

/// The hooks of one run.
pub(crate) struct RunHooks {
    backstay: Arc<Inner>,
    point: PointId,
    observers: Observers,
    /// Hooks whose `before` was begun and whose `after` is owed, in the order they were begun.
    owed: Vec<Owed>,
}

struct Owed {
    hook: ConfiguredHook,
    context: HookContext,
    waits_for: BTreeSet<Name>,
    /// `after`, once it was begun.
    undoing: Option<JoinHandle<Result<()>>>,
}

impl RunHooks {
    pub(crate) fn new(backstay: Arc<Inner>, point: PointId, observers: Observers) -> Self {
        Self { backstay, point, observers, owed: Vec::new() }
    }

    /// Runs every `before` that concerns these components, in the order they were given. Returns the components that must
    /// not be exported, each with the reason. If this future is dropped, `after` is owed for all that it began.
    pub(crate) async fn before(&mut self, components: &[Name]) -> BTreeMap<Name, Error> {
        let mut refused = BTreeMap::new();
        for hook in self.backstay.hooks.clone() {
            let concerned: Vec<Name> =
                components.iter().filter(|name| hook.components.contains(name)).cloned().collect();
            if concerned.is_empty() {
                continue;
            }
            let context = HookContext::new(self.point.clone(), concerned.clone());
            let waits_for = concerned.iter().cloned().collect();
            self.owed.push(Owed { hook: hook.clone(), context: context.clone(), waits_for, undoing: None });
            let options = hook.hook.options();
            let result = timeout(&**self.backstay.vault.clock(), options.timeout, hook.hook.before(&context)).await;
            self.tell(&hook, "before", &result);
            if let (Err(error), OnHookError::Fail) = (result, options.on_error) {
                for name in concerned {
                    let reason = Error::new(error.kind(), format!("its hook failed before the cut: {error}"));
                    refused.entry(name).or_insert(reason);
                }
            }
        }
        refused
    }

    /// Owes the `after` of a hook whose `before` a dead run began, or may have.
    pub(crate) fn owe(&mut self, hook: ConfiguredHook, components: Vec<Name>) {
        let context = HookContext::new(self.point.clone(), components);
        self.owed.push(Owed { hook, context, waits_for: BTreeSet::new(), undoing: None });
    }

    /// A component is done: runs `after` of every hook that waits for nothing else.
    pub(crate) async fn done(&mut self, component: &Name) -> Vec<(Vec<Name>, Error)> {
        for owed in &mut self.owed {
            owed.waits_for.remove(component);
        }
        self.after(|owed| owed.waits_for.is_empty()).await
    }

    /// Runs every `after` that is still owed.
    pub(crate) async fn finish(&mut self) -> Vec<(Vec<Name>, Error)> {
        self.after(|_| true).await
    }

    /// The last begun is the first undone. Returns the components whose hook failed. Every `after` runs in a task of its
    /// own: once begun it goes through, also when this future is dropped, and the next call waits for it.
    async fn after(&mut self, due: impl Fn(&Owed) -> bool) -> Vec<(Vec<Name>, Error)> {
        let mut failed = Vec::new();
        for index in (0..self.owed.len()).rev() {
            if !due(&self.owed[index]) {
                continue;
            }
            let clock = self.backstay.vault.clock();
            let owed = &mut self.owed[index];
            let undoing = owed.undoing.get_or_insert_with(|| {
                let (hook, context, clock) = (owed.hook.hook.clone(), owed.context.clone(), clock.clone());
                tokio::spawn(async move { timeout(&*clock, hook.options().timeout, hook.after(&context)).await })
            });
            let result = undoing
                .await
                .unwrap_or_else(|error| Err(Error::new(ErrorKind::Other, "the hook did not come back").because(error)));
            let Owed { hook, context, .. } = self.owed.remove(index);
            self.tell(&hook, "after", &result);
            if let Err(error) = result {
                failed.push((context.components, error));
            }
        }
        failed
    }

    fn tell(&self, hook: &ConfiguredHook, phase: &'static str, result: &Result<()>) {
        if let Err(error) = result {
            tracing::warn!(hook = %hook.hook, phase, %error, "a hook failed");
        }
        let error = result.as_ref().err().map(Error::kind);
        self.observers.emit(&Event::HookDone { hook: hook.hook.to_string(), phase: phase.into(), error });
    }
}

impl fmt::Debug for ConfiguredHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} around {:?}", self.hook, self.components)
    }
}
