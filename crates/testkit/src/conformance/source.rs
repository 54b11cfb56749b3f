//! The contracts of [`ResourceExporter`] and [`ResourceImporter`], clause by clause.
//!
//! ```no_run
//! # async fn example(orders: std::sync::Arc<dyn backstay_core::source::ResourceExporter>) {
//! use backstay_testkit::conformance::source;
//!
//! source::exporter(|_case| Ok(orders.clone())).await.assert();
//! # }
//! ```

mod export;
mod import;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;

use backstay_core::source::{ResourceExporter, ResourceImporter};
use backstay_core::{Error, Result};
use futures_core::future::BoxFuture;
use futures_util::FutureExt as _;

use super::Report;
use crate::items::Items;

/// Runs every case for exporters. `fresh` makes an exporter of a component that does not change while the suite runs.
pub async fn exporter(fresh: impl Fn(&'static str) -> Result<Arc<dyn ResourceExporter>>) -> Report {
    run(export::CASES, fresh).await
}

/// Runs every case for importers. `fresh` makes, for the case of that name, an importer into an empty target of its own.
pub async fn importer(fresh: impl Fn(&'static str) -> Result<ImporterSetup>) -> Report {
    run(import::CASES, fresh).await
}

/// What the cases for importers work with.
#[derive(Clone, Debug)]
pub struct ImporterSetup {
    /// An importer into an empty target.
    pub importer: Arc<dyn ResourceImporter>,
    /// What an exporter of its kind made, of a few kilobytes at least.
    pub items: Items,
    /// The same component in another state: the same entries, each with other content.
    pub other: Items,
}

/// One clause.
struct Case<T> {
    name: &'static str,
    run: fn(T) -> BoxFuture<'static, Outcome>,
}

type Outcome = Result<(), Broken>;

/// How a clause was broken.
struct Broken(String);

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self(format!("{error:?}"))
    }
}

/// The clause holds, or `what` is seen instead.
fn hold(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(Broken(what())) }
}

async fn run<T>(cases: &[Case<T>], fresh: impl Fn(&'static str) -> Result<T>) -> Report {
    let mut report = Report::default();
    for case in cases {
        let outcome = match fresh(case.name) {
            Ok(subject) => AssertUnwindSafe((case.run)(subject)).catch_unwind().await,
            Err(error) => Ok(Err(error.into())),
        };
        match outcome {
            Ok(Ok(())) => report.passed.push(case.name),
            Ok(Err(Broken(what))) => report.failed.push((case.name, what)),
            Err(_) => report.failed.push((case.name, "it panicked".to_owned())),
        }
    }
    report
}

/// Polls at most `polls` times, then drops. None if it was not ready by then.
async fn dropped_after<T>(polls: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = Box::pin(work);
    let mut left = polls;
    std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => {
            left = left.saturating_sub(1);
            if left == 0 { Poll::Ready(None) } else { Poll::Pending }
        }
    })
    .await
}
