//! The contract of [`ObjectStore`], clause by clause.
//!
//! ```
//! use std::sync::Arc;
//! use backstay_core::store::MemoryStore;
//! use backstay_testkit::conformance::store;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! store::run(|_case| Ok(Arc::new(MemoryStore::new()))).await.assert();
//! # });
//! ```

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use backstay_core::store::{Capabilities, ListEntry, ListOptions, ObjectStore, Prefix};
use backstay_core::{Error, ErrorKind, Result};
use futures_core::future::BoxFuture;
use futures_util::{FutureExt, TryStreamExt};

use super::Report;

mod copy;
mod delete;
mod get;
mod list;
mod lock;
mod put;
mod upload;
mod version;

/// Runs every case. `fresh` makes an empty store for the case of that name; on a shared server it can be a
/// [prefix](backstay_core::store::layer::Prefixed) of its own. Cases leave behind what they put.
pub async fn run(fresh: impl Fn(&'static str) -> Result<Arc<dyn ObjectStore>>) -> Report {
    let mut report = Report::default();
    for case in put::CASES.iter().chain(get::CASES).chain(list::CASES).chain(delete::CASES) {
        case.run(&fresh, &mut report).await;
    }
    for case in upload::CASES.iter().chain(version::CASES).chain(lock::CASES).chain(copy::CASES) {
        case.run(&fresh, &mut report).await;
    }
    report
}

/// One clause.
struct Case {
    name: &'static str,
    needs: Needs,
    run: fn(Arc<dyn ObjectStore>) -> BoxFuture<'static, Outcome>,
}

enum Needs {
    Nothing,
    CreateIfAbsent,
    Versions,
    Locks,
    NoVersionsButLocks,
    VersionsAndLocks,
}

type Outcome = Result<(), Stopped>;

/// Why a case did not come to its end.
enum Stopped {
    /// How the clause was broken.
    Broken(String),
    /// The ability that is not there, where only a call can tell.
    Lacks(&'static str),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Broken(format!("{error:?}"))
    }
}

impl Needs {
    /// The first ability that is not there.
    fn missing(&self, has: &Capabilities) -> Option<&'static str> {
        match self {
            Self::CreateIfAbsent if !has.create_if_absent => Some("create_if_absent"),
            Self::Versions if !has.versions => Some("versions"),
            Self::Locks | Self::NoVersionsButLocks | Self::VersionsAndLocks if !has.locks => Some("locks"),
            Self::VersionsAndLocks if !has.versions => Some("versions"),
            Self::NoVersionsButLocks if has.versions => Some("locks without versions"),
            _ => None,
        }
    }
}

impl Case {
    async fn run(&self, fresh: &impl Fn(&'static str) -> Result<Arc<dyn ObjectStore>>, report: &mut Report) {
        let store = match fresh(self.name) {
            Ok(store) => store,
            Err(error) => return report.failed.push((self.name, format!("no fresh store: {error:?}"))),
        };
        if let Some(missing) = self.needs.missing(&store.capabilities()) {
            return report.skipped.push((self.name, missing));
        }
        match AssertUnwindSafe((self.run)(store)).catch_unwind().await {
            Ok(Ok(())) => report.passed.push(self.name),
            Ok(Err(Stopped::Broken(message))) => report.failed.push((self.name, message)),
            Ok(Err(Stopped::Lacks(ability))) => report.skipped.push((self.name, ability)),
            Err(panic) => {
                let message = panic.downcast_ref::<String>().cloned();
                let message = message.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                report.failed.push((self.name, format!("the store panicked: {}", message.unwrap_or_default())));
            }
        }
    }
}

/// A table of cases: `name: Needs`, each the function of that name in the module.
macro_rules! cases {
    ($($name:ident: $needs:ident),* $(,)?) => {
        pub(super) const CASES: &[super::Case] = &[$(super::Case {
            name: stringify!($name),
            needs: super::Needs::$needs,
            run: |store| Box::pin(async move { $name(&*store).await }),
        }),*];
    };
}
use cases;

/// Ends the case unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(super::Stopped::Broken(format!($($message)+)));
        }
    };
}
use ensure;

/// A key known to be legal.
fn key(name: &str) -> Result<backstay_core::store::Key> {
    name.parse()
}

/// Ends the case unless the call failed in this way.
fn fails<T: std::fmt::Debug>(what: &str, expected: ErrorKind, result: Result<T>) -> Outcome {
    match result {
        Err(error) if error.kind() == expected => Ok(()),
        Err(error) => Err(Stopped::Broken(format!("{what}: expected {expected:?}, got {error:?}"))),
        Ok(value) => Err(Stopped::Broken(format!("{what}: expected {expected:?}, got {value:?}"))),
    }
}

/// The lines of a listing: keys, and folders with their `/`.
async fn names(store: &dyn ObjectStore, prefix: &str, options: &ListOptions) -> Result<Vec<String>> {
    let name = |entry| match entry {
        ListEntry::Object(meta) => meta.key.to_string(),
        ListEntry::Folder(folder) => folder.to_string(),
        other => format!("unknown line {other:?}"),
    };
    store.list(&Prefix::new(prefix)?, options).map_ok(name).try_collect().await
}
