//! The handle on a run that goes on in a task of its own.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use tokio::task::JoinHandle;

use crate::engine::backup_report::BackupReport;
use crate::engine::stop::{self, Stop, Stopped};
use crate::error::{Error, ErrorKind, Result};

/// A backup or drill under way. Dropping it cancels the run: nothing is committed unless the commit had begun, hooks are
/// undone and scratch places removed in the background, and [`Backstay::shutdown`](crate::engine::Backstay::shutdown) waits
/// for that.
#[derive(Debug)]
#[must_use = "dropping the handle cancels the run"]
pub struct RunHandle<T = BackupReport> {
    task: JoinHandle<Result<T>>,
    stop: Stop,
    operation: &'static str,
}

impl<T: Send + 'static> RunHandle<T> {
    /// Begins a run, which is told when to end.
    pub(crate) fn start<R>(operation: &'static str, run: impl FnOnce(Stopped) -> R) -> Self
    where
        R: Future<Output = Result<T>> + Send + 'static,
    {
        let (stop, stopped) = stop::stop();
        Self { task: tokio::spawn(run(stopped)), stop, operation }
    }
}

impl<T> RunHandle<T> {
    /// Tells the run to end; await the handle to hear how it did. A run that was committing succeeds all the same.
    pub fn cancel(&self) {
        self.stop.because("the caller cancelled the run");
    }
}

impl<T> Future for RunHandle<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let operation = self.operation;
        self.task.poll_unpin(context).map(|joined| {
            joined.unwrap_or_else(|error| {
                Err(Error::new(ErrorKind::Other, "the run ended without a result").operation(operation).because(error))
            })
        })
    }
}
