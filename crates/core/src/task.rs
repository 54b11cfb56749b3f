//! A spawned task that ends with its owner.

use tokio::task::JoinHandle;

use crate::error::{Error, ErrorKind, Result};

/// A task that is aborted when this is dropped.
#[derive(Debug)]
pub(crate) struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    /// Starts it on the current runtime.
    pub(crate) fn spawn(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`Cancelled`](ErrorKind::Cancelled) if the runtime shut down, [`Other`](ErrorKind::Other) if it panicked.
    pub(crate) async fn join(mut self) -> Result<T> {
        (&mut self.0).await.map_err(|error| {
            let kind = if error.is_cancelled() { ErrorKind::Cancelled } else { ErrorKind::Other };
            Error::new(kind, "a task did not end by itself").because(error)
        })
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
