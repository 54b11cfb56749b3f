//! Interruptions at every step: a store that dies at a call, a future that is dropped at a poll, a slow store between them.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use backstay::{ErrorKind, MemoryStore};
use backstay_testkit::fault::{Fault, FaultyStore, Rule};

/// From its `k`-th call on the store answers nothing; with a lost answer that call is still carried out.
pub fn dies_at(store: &FaultyStore, k: u64, lost_answer: bool) {
    if lost_answer {
        store.add(Rule::new(Fault::FailAfter(ErrorKind::Unavailable)).nth(k));
    }
    store.add(Rule::new(Fault::FailBefore(ErrorKind::Unavailable)).from(k + u64::from(lost_answer)));
}

/// Every call takes a millisecond of the paused clock, so that a future waits at each of them.
pub fn slow(store: &MemoryStore) -> FaultyStore {
    FaultyStore::new(Arc::new(store.clone())).with(Rule::new(Fault::Delay(Duration::from_millis(1))))
}

/// Polls a future at most `n` times, then drops it; what it gave, if it was done by then.
pub async fn polled<T>(n: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut polls = 0;
    std::future::poll_fn(move |context| {
        polls += 1;
        match future.as_mut().poll(context) {
            Poll::Pending if polls < n => Poll::Pending,
            Poll::Pending => Poll::Ready(None),
            Poll::Ready(done) => Poll::Ready(Some(done)),
        }
    })
    .await
}
