//! The live budget: how many bytes and threads everything together may use right now.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::buffer::Idle;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Limits;

/// [`Limits`] in force. Clones share them, so one value can serve any number of Backstays in a program.
///
/// ```
/// use backstay_core::{Budget, Limits};
///
/// let budget = Budget::new(Limits::default());
/// assert_eq!(budget.clone().limits(), &Limits::default());
/// assert_eq!(budget.peak_bytes(), 0);
/// ```
#[derive(Clone)]
pub struct Budget(Arc<Inner>);

struct Inner {
    limits: Limits,
    threads: bool,
    units: Arc<Semaphore>,
    used: AtomicU64,
    peak: AtomicU64,
    queue: Mutex<Queue>,
    idle: Idle,
}

/// CPU work that waits for a worker.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Box<dyn FnOnce() + Send>>,
    workers: usize,
}

/// The semaphore counts in KiB: it takes no more than 32 bits at once.
const UNIT: u64 = 1024;

impl Budget {
    /// A budget of its own. CPU work runs on the blocking threads of the Tokio runtime that asks for it.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self::with(limits, true)
    }

    /// A budget without threads: CPU work runs on the task that asks for it. Together with a current-thread runtime every
    /// run takes the same course, which is what simulations need; it is slow.
    #[must_use]
    pub fn inline(limits: Limits) -> Self {
        Self::with(limits, false)
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// The most bytes that were in use at once so far, as accounted.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        self.0.peak.load(Ordering::Relaxed)
    }

    fn with(limits: Limits, threads: bool) -> Self {
        let units = usize::try_from(limits.bytes / UNIT).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Inner {
            limits,
            threads,
            units: Arc::new(Semaphore::new(units)),
            used: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            queue: Mutex::default(),
            idle: Idle::default(),
        }))
    }

    /// Waits until `bytes` are free and takes them. Served in order: a large wish is not starved by small ones.
    ///
    /// # Errors
    /// [`Exhausted`](ErrorKind::Exhausted) if the whole budget is smaller; that would wait for ever.
    pub(crate) async fn reserve(&self, bytes: usize) -> Result<Reservation> {
        let units = units(bytes).filter(|units| u64::from(*units) <= self.0.limits.bytes / UNIT).ok_or_else(|| {
            Error::new(ErrorKind::Exhausted, "the budget is smaller than what one item needs")
                .with("budget", self.0.limits.bytes)
                .with("needed", bytes)
                .advise("raise `bytes` in the limits")
        })?;
        let permit = Arc::clone(&self.0.units).acquire_many_owned(units).await;
        let permit = permit.map_err(|error| Error::new(ErrorKind::Other, "the budget is closed").because(error))?;
        Ok(self.reservation(permit))
    }

    /// Takes `bytes` if they are free and nobody waits for them.
    pub(crate) fn try_reserve(&self, bytes: usize) -> Option<Reservation> {
        let permit = Arc::clone(&self.0.units).try_acquire_many_owned(units(bytes)?).ok()?;
        Some(self.reservation(permit))
    }

    fn reservation(&self, permit: OwnedSemaphorePermit) -> Reservation {
        let bytes = permit.num_permits() as u64 * UNIT;
        let used = self.0.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.0.peak.fetch_max(used, Ordering::Relaxed);
        Reservation { bytes, _permit: permit, budget: self.clone() }
    }

    /// Runs CPU work on one of the workers. It starts at once or as soon as a worker is free, whether the result is awaited
    /// or not: so work that others wait for goes on while its owner waits for something else. Drop the result to give up
    /// what has not begun.
    ///
    /// A panic in the work is an error of its result.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Job<T> {
        let (answer, job) = oneshot::channel();
        let work = move || {
            if !answer.is_closed() {
                let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(&*panic)));
                // Nobody waits for it any more: the work was given up while it ran.
                let _ = answer.send(result);
            }
        };
        if self.0.threads {
            self.enqueue(Box::new(work));
        } else {
            work();
        }
        Job(job)
    }

    fn enqueue(&self, work: Box<dyn FnOnce() + Send>) {
        let mut queue = self.queue();
        queue.waiting.push_back(work);
        if queue.workers < self.0.limits.workers.get() {
            queue.workers += 1;
            drop(queue);
            let worker = Worker { budget: self.clone(), counted: true };
            tokio::task::spawn_blocking(move || worker.work());
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while the queue is locked, and it would be whole if something did.
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Buffers that are not in use.
    pub(crate) fn idle(&self) -> &Idle {
        &self.0.idle
    }
}

/// One of the threads at work.
struct Worker {
    budget: Budget,
    counted: bool,
}

impl Worker {
    fn work(mut self) {
        loop {
            let mut queue = self.budget.queue();
            let Some(next) = queue.waiting.pop_front() else {
                // Under the same lock as the look at the queue, or work that comes in between would find no worker.
                queue.workers -= 1;
                drop(queue);
                self.counted = false;
                return;
            };
            drop(queue);
            next();
        }
    }
}

impl Drop for Worker {
    /// A runtime that shuts down drops workers that did not begin.
    fn drop(&mut self) {
        if self.counted {
            self.budget.queue().workers -= 1;
        }
    }
}

/// The result of work that a worker does.
#[derive(Debug)]
pub(crate) struct Job<T>(oneshot::Receiver<Result<T>>);

impl<T> Future for Job<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| {
            answer.unwrap_or_else(|_| Err(Error::new(ErrorKind::Cancelled, "the runtime shut down during the work")))
        })
    }
}

/// Bytes of the budget, until dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    bytes: u64,
    _permit: OwnedSemaphorePermit,
    budget: Budget,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self.0.used.load(Ordering::Relaxed);
        f.debug_struct("Budget").field("limits", &self.0.limits).field("used", &used).finish_non_exhaustive()
    }
}

/// `bytes` as semaphores count them.
pub(crate) fn units(bytes: usize) -> Option<u32> {
    u32::try_from(bytes.div_ceil(UNIT as usize)).ok()
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::new(ErrorKind::Other, "a worker panicked").with("panic", said.unwrap_or("(no message)"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc;

    use futures_util::FutureExt as _;

    use super::*;

    fn budget(bytes: u64, workers: usize) -> Budget {
        Budget::new(Limits { bytes, workers: workers.try_into().unwrap(), ..Limits::default() })
    }

    #[tokio::test]
    async fn bytes_are_served_in_order_and_given_back() {
        let budget = budget(100 << 10, 1);
        let first = budget.reserve(60 << 10).await.unwrap();
        assert!(budget.try_reserve(41 << 10).is_none());
        let small = budget.try_reserve(40 << 10).unwrap();
        let mut waiting = Box::pin(budget.reserve(70 << 10));
        assert!((&mut waiting).now_or_never().is_none());
        drop(small);
        assert!(budget.try_reserve(1).is_none(), "somebody waits for these bytes");
        drop(first);
        let second = waiting.await.unwrap();
        assert_eq!(budget.peak_bytes(), 100 << 10);
        drop(second);
        assert_eq!(budget.0.used.load(Ordering::Relaxed), 0);
        assert_eq!(budget.reserve(101 << 10).await.unwrap_err().kind(), ErrorKind::Exhausted);
    }

    #[tokio::test]
    async fn no_more_workers_than_allowed_and_work_starts_unasked() {
        let budget = budget(1 << 20, 3);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs: Vec<_> = (0..50)
            .map(|i| {
                let (running, most) = (Arc::clone(&running), Arc::clone(&most));
                budget.run(move || {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    running.fetch_sub(1, Ordering::SeqCst);
                    Ok(i)
                })
            })
            .collect();
        for (i, job) in jobs.into_iter().enumerate() {
            assert_eq!(job.await.unwrap(), i);
        }
        assert!((1..=3).contains(&most.load(Ordering::SeqCst)));

        let (sender, receiver) = mpsc::channel();
        let _unawaited = budget.run(move || Ok(sender.send(()).is_ok()));
        receiver.recv().unwrap();
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_worker_goes_on() {
        for budget in [budget(1 << 20, 1), Budget::inline(Limits::default())] {
            let error = budget.run(|| -> Result<()> { panic!("boom {}", 1) }).await.unwrap_err();
            assert!(error.to_string().contains("boom 1"), "{error}");
            assert_eq!(budget.run(|| Ok(7)).await.unwrap(), 7);
        }
    }

    #[test]
    fn inline_work_is_done_when_asked_and_needs_no_runtime() {
        let done = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&done);
        let _job = Budget::inline(Limits::default()).run(move || Ok(counted.fetch_add(1, Ordering::SeqCst)));
        assert_eq!(done.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_runtime_that_shuts_down_takes_no_worker_with_it() {
        let budget = budget(1 << 20, 1);
        for _ in 0..3 {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (release, wait) = mpsc::channel::<()>();
            let entered = runtime.enter();
            let job = budget.run(move || Ok(wait.recv().is_err()));
            drop(entered);
            drop(release);
            drop(runtime);
            drop(job);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(async { budget.run(|| Ok(1)).await }).unwrap(), 1);
    }
}
