//! Memory that a caller lends to a read: a store that reads in place needs none of its own, and nothing is copied.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Memory on loan to one read. A store may take it and answer with one chunk that lies in it; layers see that chunk as any
/// other.
#[derive(Clone)]
pub(crate) struct Loan(Arc<Mutex<State>>);

enum State {
    Offered(Vec<u8>),
    Taken,
    Filled(Arc<Vec<u8>>),
}

impl Loan {
    /// Lends memory; what it holds is forgotten.
    pub(crate) fn offer(mut memory: Vec<u8>) -> Self {
        memory.clear();
        Self(Arc::new(Mutex::new(State::Offered(memory))))
    }

    /// The memory, empty, if it has room for so many bytes and nobody took it before.
    pub(crate) fn take(&self, bytes: usize) -> Option<Vec<u8>> {
        let mut state = self.lock();
        match &mut *state {
            State::Offered(memory) if memory.capacity() >= bytes => {
                let memory = std::mem::take(memory);
                *state = State::Taken;
                Some(memory)
            }
            _ => None,
        }
    }

    /// Offers what was taken again: the read failed.
    pub(crate) fn give_back(&self, mut memory: Vec<u8>) {
        memory.clear();
        *self.lock() = State::Offered(memory);
    }

    /// The one chunk of the answer that was read into what was taken.
    pub(crate) fn fill(&self, memory: Vec<u8>) -> Bytes {
        let memory = Arc::new(memory);
        *self.lock() = State::Filled(Arc::clone(&memory));
        Bytes::from_owner(Shared(memory))
    }

    /// The memory again, and what of `first`, the first chunk of the answer, does not lie in it already.
    pub(crate) fn end(self, mut first: Bytes) -> (Vec<u8>, Bytes) {
        match std::mem::replace(&mut *self.lock(), State::Taken) {
            State::Offered(memory) => (memory, first),
            // The store kept it.
            State::Taken => (Vec::new(), first),
            State::Filled(shared) => {
                // A layer may have passed on something else.
                let is_it = (first.as_ptr(), first.len()) == (shared.as_ptr(), shared.len());
                if is_it {
                    // Gives its share of the memory up.
                    first = Bytes::new();
                }
                let mut memory = Arc::try_unwrap(shared).unwrap_or_else(|kept| kept.to_vec());
                if !is_it {
                    memory.clear();
                }
                (memory, first)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Loan {
    // What was read may be long, and plain.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Loan")
    }
}

struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a store does that reads in place.
    fn read(loan: &Loan, content: &[u8]) -> Bytes {
        let mut memory = loan.take(content.len()).unwrap();
        memory.extend_from_slice(content);
        loan.fill(memory)
    }

    fn lent() -> Loan {
        Loan::offer(Vec::with_capacity(100))
    }

    #[test]
    fn what_was_read_in_place_is_not_copied() {
        let memory = Vec::with_capacity(100);
        let place = memory.as_ptr();
        let loan = Loan::offer(memory);
        let chunk = read(&loan, b"content");
        let (memory, rest) = loan.end(chunk);
        assert_eq!((memory.as_ptr(), &memory[..], &rest[..]), (place, &b"content"[..], &b""[..]));
    }

    #[test]
    fn a_store_that_takes_no_loan_sends_chunks() {
        let (memory, rest) = lent().end(Bytes::from_static(b"content"));
        assert_eq!((memory.capacity(), &memory[..], &rest[..]), (100, &b""[..], &b"content"[..]));
    }

    #[test]
    fn a_chunk_that_a_layer_changed_counts_and_not_what_was_read() {
        for changed in [&b"c0ntent"[..], b"con"] {
            let loan = lent();
            drop(read(&loan, b"content"));
            let (memory, rest) = loan.end(Bytes::from_static(changed));
            assert_eq!((&memory[..], &rest[..]), (&b""[..], changed));
        }
    }

    #[test]
    fn what_a_layer_keeps_stays_as_it_was() {
        let loan = lent();
        let chunk = read(&loan, b"content");
        let kept = chunk.clone();
        let (mut memory, _) = loan.end(chunk);
        memory[0] = b'C';
        assert_eq!((&memory[..], &kept[..]), (&b"Content"[..], &b"content"[..]));
    }

    #[test]
    fn what_was_read_is_in_no_debug_text() {
        let loan = lent();
        let options = crate::store::GetOptions { loan: Some(loan.clone()), ..Default::default() };
        let before = format!("{options:?}");
        let _chunk = read(&loan, b"content");
        assert_eq!(format!("{options:?}"), before);
    }

    #[test]
    fn it_is_lent_to_one_read_and_only_if_it_suffices() {
        let loan = lent();
        assert!(loan.take(1 << 20).is_none());
        let memory = loan.take(100).unwrap();
        assert!(loan.take(1).is_none());
        loan.give_back(memory);
        assert_eq!(loan.take(100).unwrap().capacity(), 100);
        assert_eq!(loan.end(Bytes::from_static(b"content")).1, "content");
    }
}
