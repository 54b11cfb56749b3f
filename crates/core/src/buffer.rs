//! Large buffers that count against the budget and are used again: fresh memory costs as much as hashing it.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::budget::{Budget, Reservation, units};
use crate::error::{Error, ErrorKind, Result};

/// One step's buffers: room of its own for one, so that the step can always go on, and more while the budget has room.
///
/// A step waits only for its own room, which comes back when the step after it is done. So a chain of steps never
/// stands still, however many chains share the budget.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    own: Arc<Semaphore>,
    reserved: Arc<Reservation>,
    bytes: usize,
    budget: Budget,
}

impl Lane {
    /// Buffers of `bytes`. `reserved` holds what the lane's own one takes.
    pub(crate) fn new(reserved: &Arc<Reservation>, bytes: usize, budget: &Budget) -> Self {
        Self {
            own: Arc::new(Semaphore::new(units(bytes).map_or(0, |units| units as usize))),
            reserved: Arc::clone(reserved),
            bytes,
            budget: budget.clone(),
        }
    }

    /// The next empty buffer; waits for the lane's own while there is no other.
    pub(crate) async fn buffer(&self) -> Result<Buffer> {
        self.buffer_of(self.bytes).await
    }

    /// As [`buffer`](Self::buffer), where it is known that `bytes` suffice: the lane's own room may then hold several.
    pub(crate) async fn buffer_of(&self, bytes: usize) -> Result<Buffer> {
        let wanted = units(bytes).filter(|_| bytes <= self.bytes);
        let wanted = wanted.ok_or_else(|| Error::new(ErrorKind::Other, "a buffer was asked for that no lane has"))?;
        let lease = if let Ok(permit) = Arc::clone(&self.own).try_acquire_many_owned(wanted) {
            self.own_lease(permit)
        } else if let Some(extra) = self.budget.try_reserve(bytes) {
            Lease(Kind::Extra(extra))
        } else {
            let permit = Arc::clone(&self.own).acquire_many_owned(wanted).await;
            self.own_lease(permit.map_err(|error| Error::new(ErrorKind::Other, "the lane is closed").because(error))?)
        };
        let content = self.budget.idle().take(bytes, self.budget.limits().bytes);
        Ok(Buffer { counted: size(&content), content, lease: Some(lease), budget: self.budget.clone() })
    }

    fn own_lease(&self, permit: OwnedSemaphorePermit) -> Lease {
        Lease(Kind::Own { _permit: permit, _reserved: Arc::clone(&self.reserved) })
    }
}

/// Memory that counts against the budget until dropped or handed out.
#[derive(Debug)]
pub(crate) struct Buffer {
    content: Vec<u8>,
    /// What it counts for while it is in use, also while its content is lent to somebody.
    counted: u64,
    lease: Option<Lease>,
    budget: Budget,
}

/// What a buffer holds of the budget.
#[derive(Debug)]
pub(crate) struct Lease(#[expect(dead_code, reason = "held for its drop")] Kind);

#[derive(Debug)]
enum Kind {
    Own { _permit: OwnedSemaphorePermit, _reserved: Arc<Reservation> },
    Extra(#[expect(dead_code, reason = "held for its drop")] Reservation),
}

impl Buffer {
    /// The content without a copy, for somebody who may keep it, and what it held of the budget. Drop the lease when they
    /// said that they are done: what they still keep is their own memory.
    pub(crate) fn hand_out(mut self) -> (Bytes, Option<Lease>) {
        let lease = self.lease.take();
        self.budget.idle().let_go(self.counted);
        (Bytes::from_owner(self), lease)
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.content
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.content
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let idle = self.budget.idle();
        if self.lease.is_some() {
            idle.let_go(self.counted);
        }
        // What was put in the place of its memory no lane would take again, and hardly counts.
        if size(&self.content) == self.counted {
            idle.put(std::mem::take(&mut self.content), self.budget.limits().bytes);
        }
    }
}

/// Buffers that wait for their next use. Together with those in use they stay within the budget.
#[derive(Debug, Default)]
pub(crate) struct Idle(Mutex<State>);

/// What a frame that does not shrink may need beyond its plain size.
const SLACK: usize = 64 << 10;

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Vec<u8>>,
    waiting_bytes: u64,
    live_bytes: u64,
}

impl Idle {
    fn take(&self, bytes: usize, limit: u64) -> Vec<u8> {
        // Few sizes, so that what one step leaves suits another. Memory beyond what is used is never touched.
        let capacity = bytes.saturating_sub(SLACK).next_power_of_two() + SLACK;
        let mut state = self.lock();
        let fits = |buffer: &Vec<u8>| (capacity..=capacity + SLACK).contains(&buffer.capacity());
        let taken = state.waiting.iter().rposition(fits).map(|at| state.waiting.swap_remove(at));
        state.waiting_bytes -= taken.as_ref().map_or(0, size);
        let buffer = taken.unwrap_or_else(|| Vec::with_capacity(capacity));
        state.live_bytes += size(&buffer);
        while state.waiting_bytes + state.live_bytes > limit {
            let Some(surplus) = state.waiting.pop() else { break };
            state.waiting_bytes -= size(&surplus);
        }
        buffer
    }

    /// A buffer is in use no longer, or is somebody else's memory now.
    fn let_go(&self, counted: u64) {
        let mut state = self.lock();
        state.live_bytes = state.live_bytes.saturating_sub(counted);
    }

    fn put(&self, mut buffer: Vec<u8>, limit: u64) {
        let bytes = size(&buffer);
        let mut state = self.lock();
        let fits = state.waiting_bytes + state.live_bytes + bytes <= limit;
        if fits && buffer.capacity() > 0 {
            buffer.clear();
            state.waiting_bytes += bytes;
            state.waiting.push(buffer);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing panics while it is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a buffer counts for; its slack is hardly ever used.
fn size(buffer: &Vec<u8>) -> u64 {
    buffer.capacity().saturating_sub(SLACK) as u64
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::limits::Limits;

    #[tokio::test]
    async fn a_lane_goes_on_with_its_own_buffer_when_the_budget_is_spent() {
        let budget = Budget::inline(Limits { bytes: 100 << 10, ..Limits::default() });
        let reserved = Arc::new(budget.reserve(80 << 10).await.unwrap());
        let lane = Lane::new(&reserved, 20 << 10, &budget);
        let own = lane.buffer().await.unwrap();
        let extra = lane.buffer().await.unwrap();
        let mut third = Box::pin(lane.buffer());
        assert!((&mut third).now_or_never().is_none());
        drop(own);
        drop(third.await.unwrap());
        assert_eq!(budget.peak_bytes(), 100 << 10);
        drop((extra, lane, reserved));
        assert!(budget.try_reserve(100 << 10).is_some(), "everything came back");
    }

    #[tokio::test]
    async fn what_is_handed_out_counts_until_its_lease_ends_and_its_memory_is_used_again() {
        let budget = Budget::inline(Limits { bytes: 100 << 10, ..Limits::default() });
        let reserved = Arc::new(budget.reserve(100 << 10).await.unwrap());
        let lane = Lane::new(&reserved, 50 << 10, &budget);
        let mut buffer = lane.buffer().await.unwrap();
        buffer.extend_from_slice(b"content");
        let place = buffer.as_ptr();
        let (bytes, lease) = buffer.hand_out();
        drop((lane, reserved));
        assert!(budget.try_reserve(1).is_none());
        drop(lease);
        assert!(budget.try_reserve(100 << 10).is_some());
        assert_eq!(bytes.slice(2..4), "nt"[..]);
        drop(bytes);
        let reserved = Arc::new(budget.reserve(100 << 10).await.unwrap());
        let lane = Lane::new(&reserved, 50 << 10, &budget);
        let again = lane.buffer().await.unwrap();
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[tokio::test]
    async fn memory_that_was_exchanged_for_other_is_not_kept() {
        let budget = Budget::inline(Limits::default());
        let lane = Lane::new(&Arc::new(budget.reserve(1 << 20).await.unwrap()), 1 << 20, &budget);
        for size in [1000, SLACK + 4000, 2 << 20] {
            for hand_out in [false, true] {
                let mut buffer = lane.buffer().await.unwrap();
                *buffer = Vec::with_capacity(size);
                match hand_out {
                    true => drop(buffer.hand_out()),
                    false => drop(buffer),
                }
                let idle = budget.idle().lock();
                assert_eq!((idle.waiting.len(), idle.waiting_bytes, idle.live_bytes), (0, 0, 0), "{size}, {hand_out}");
            }
        }
    }

    #[test]
    fn idle_memory_gives_way_to_other_sizes() {
        const MIB: usize = 1 << 20;
        let (idle, limit) = (Idle::default(), 4 << 20);
        let buffers: Vec<_> = (0..4).map(|_| idle.take(MIB, limit)).collect();
        for buffer in buffers {
            idle.let_go(size(&buffer));
            idle.put(buffer, limit);
        }
        assert_eq!(idle.lock().waiting_bytes, limit);
        let large = idle.take(2 * MIB + 1000, limit);
        assert_eq!(idle.lock().waiting_bytes, 2 << 20);
        assert_eq!(idle.lock().live_bytes, 2 << 20);
        idle.put(large, limit);
        assert_eq!(idle.lock().waiting_bytes, 2 << 20, "what was not let go finds no room");
    }
}
