//! Faults of a store, scripted or drawn from a seed.

use std::time::Duration;

use backstay_core::ErrorKind;
use backstay_core::store::Operation;

mod body;
mod store;
mod upload;

pub use store::FaultyStore;

/// One way to go wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The call does nothing and fails.
    FailBefore(ErrorKind),
    /// The call does nothing and is asked to come again after this time.
    Throttle(Duration),
    /// A delete does nothing to its first object, whose outcome is this error.
    FailFirst(ErrorKind),
    /// The call is done, but its answer is lost: the caller gets this error.
    FailAfter(ErrorKind),
    /// The call does nothing and never answers.
    Hang,
    /// The call begins this much later, by the store's [clock](FaultyStore::with_clock). Other rules apply as well.
    Delay(Duration),
    /// A read gives this many bytes, or a listing this many lines, and then fails.
    BreakOff(u64, ErrorKind),
    /// A read gives the byte at this offset of the object with its lowest bit flipped.
    FlipBit(u64),
    /// A put or upload that should create overwrites.
    IgnoreCreate,
}

/// When which calls meet a fault. Every rule counts the calls that it matches, from 1; of the rules that apply to a call
/// the first one acts.
///
/// ```
/// use backstay_core::ErrorKind;
/// use backstay_core::store::Operation;
/// use backstay_testkit::fault::{Fault, Rule};
///
/// // The process dies at its seventh call: that one is done, but nothing after it.
/// let crash = [
///     Rule::new(Fault::FailAfter(ErrorKind::Other)).nth(7),
///     Rule::new(Fault::FailBefore(ErrorKind::Other)).from(8),
/// ];
/// // A writer may list and create, nothing else.
/// let role = [
///     Rule::new(Fault::FailBefore(ErrorKind::Denied)).overwrites(),
///     Rule::new(Fault::FailBefore(ErrorKind::Denied)).except([Operation::Put, Operation::List]),
/// ];
/// # let _ = (crash, role);
/// ```
#[derive(Clone, Debug)]
pub struct Rule {
    fault: Fault,
    operations: Vec<Operation>,
    excepted: Vec<Operation>,
    prefix: String,
    overwrites: bool,
    when: When,
}

#[derive(Clone, Debug)]
enum When {
    Always,
    Nth(u64),
    First(u64),
    From(u64),
    Chance { probability: f64, state: u64 },
}

/// What a rule looks at.
struct Call<'a> {
    operation: Operation,
    keys: &'a [&'a str],
    overwrites: bool,
}

impl Rule {
    /// Every call meets `fault`, until the rule is narrowed.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        let (operations, excepted) = (Vec::new(), Vec::new());
        Self { fault, operations, excepted, prefix: String::new(), overwrites: false, when: When::Always }
    }

    /// Only these calls.
    #[must_use]
    pub fn on(mut self, operations: impl IntoIterator<Item = Operation>) -> Self {
        self.operations.extend(operations);
        self
    }

    /// All but these calls.
    #[must_use]
    pub fn except(mut self, operations: impl IntoIterator<Item = Operation>) -> Self {
        self.excepted.extend(operations);
        self
    }

    /// Only calls that name a key, or list under a prefix, that begins so.
    #[must_use]
    pub fn under(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Only puts and uploads that may overwrite.
    #[must_use]
    pub fn overwrites(mut self) -> Self {
        self.overwrites = true;
        self
    }

    /// Only the `n`-th matching call, counted from 1.
    #[must_use]
    pub fn nth(mut self, n: u64) -> Self {
        self.when = When::Nth(n);
        self
    }

    /// Only the first `n` matching calls.
    #[must_use]
    pub fn first(mut self, n: u64) -> Self {
        self.when = When::First(n);
        self
    }

    /// The `n`-th matching call and all later ones.
    #[must_use]
    pub fn from(mut self, n: u64) -> Self {
        self.when = When::From(n);
        self
    }

    /// Each matching call with this probability, from 0 to 1, drawn from `seed`: the same calls in the same order meet the
    /// same faults.
    #[must_use]
    pub fn chance(mut self, probability: f64, seed: u64) -> Self {
        self.when = When::Chance { probability, state: seed };
        self
    }

    fn matches(&self, call: &Call<'_>) -> bool {
        (self.operations.is_empty() || self.operations.contains(&call.operation))
            && !self.excepted.contains(&call.operation)
            && (self.prefix.is_empty() || call.keys.iter().any(|key| key.starts_with(&self.prefix)))
            && (!self.overwrites || call.overwrites)
    }
}

impl When {
    /// Whether the `count`-th matching call is meant.
    fn applies(&mut self, count: u64) -> bool {
        match self {
            Self::Always => true,
            Self::Nth(n) => count == *n,
            Self::First(n) => count <= *n,
            Self::From(n) => count >= *n,
            Self::Chance { probability, state } => {
                // The upper 53 bits are all that a float between 0 and 1 can hold.
                ((split_mix(state) >> 11) as f64 / (1_u64 << 53) as f64) < *probability
            }
        }
    }
}

/// The next number of `SplitMix64` (Steele, Lea, Flood 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
