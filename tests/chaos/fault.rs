//! What goes wrong during one act.

use std::time::Duration;

use backstay::ErrorKind;
use backstay::store::Operation;
use backstay_testkit::fault::{Fault, Rule};

use super::Chaos;

#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    pub(super) rules: Vec<Rule>,
    /// At the replica.
    pub(super) there: Vec<Rule>,
    /// The process is dead after so many calls.
    pub(super) stops_at: Option<u64>,
    pub(super) dropped_after: Option<u64>,
}

const KINDS: [ErrorKind; 4] = [ErrorKind::Unavailable, ErrorKind::Timeout, ErrorKind::Throttled, ErrorKind::Other];

impl Chaos {
    /// Draws faults for one act. Calls take a millisecond or a few, so that two hosts meet in any order.
    pub(super) fn faults(&self) -> Faults {
        let (rules, stops_at) = match self.below(4) {
            0 => (vec![self.slow()], None),
            _ => self.rules(13),
        };
        // A process that stops at one store stops at both, which the other faults stand for.
        let (there, _) = self.rules(11);
        Faults { rules, there, stops_at, dropped_after: (self.below(4) == 0).then(|| self.below(120)) }
    }

    /// A process that stops after a few calls.
    pub(super) fn kill(&self) -> Faults {
        let nth = 3 + self.below(14);
        let rules = vec![Rule::new(Fault::FailBefore(ErrorKind::Other)).from(nth), self.slow()];
        Faults { rules, stops_at: Some(nth), ..Faults::default() }
    }

    fn slow(&self) -> Rule {
        Rule::new(Fault::Delay(Duration::from_millis(1 + self.below(4))))
    }

    fn rules(&self, kinds: u64) -> (Vec<Rule>, Option<u64>) {
        let kind = KINDS[self.below(4) as usize];
        let nth = 1 + self.below(30);
        let (chance, seed) = (0.05 + self.below(20) as f64 / 100.0, self.below(u64::MAX));
        let often = |fault| Rule::new(fault).chance(chance, seed);
        let reads = |fault: Fault| Rule::new(fault).on([Operation::Get]).nth(1 + nth / 4);
        let drawn = self.below(kinds);
        let mut rules = match drawn {
            0 => vec![Rule::new(Fault::FailBefore(kind)).nth(nth)],
            1 => vec![Rule::new(Fault::FailAfter(kind)).nth(nth)],
            2 => vec![Rule::new(Fault::FailAfter(kind)).on([Operation::Put]).nth(1 + nth / 4)],
            3 => vec![often(Fault::FailBefore(kind))],
            4 => vec![often(Fault::FailAfter(kind))],
            5 => vec![Rule::new(Fault::Throttle(Duration::from_secs(1))).nth(nth)],
            6 => vec![reads(Fault::BreakOff(self.below(300), kind))],
            7 => vec![reads(Fault::FlipBit(self.below(900)))],
            8 => vec![Rule::new(Fault::BreakOff(self.below(6), kind)).on([Operation::List]).nth(1 + nth / 3)],
            9 => vec![Rule::new(Fault::FailFirst(kind)).on([Operation::Delete]).nth(1 + nth / 6)],
            10 => vec![Rule::new(Fault::Delay(Duration::from_secs(60))).nth(nth)],
            // The process stops: its last call is carried out or not, and nothing after it.
            11 => vec![Rule::new(Fault::FailBefore(ErrorKind::Other)).from(nth)],
            _ => vec![
                Rule::new(Fault::FailAfter(ErrorKind::Other)).nth(nth),
                Rule::new(Fault::FailBefore(ErrorKind::Other)).from(nth + 1),
            ],
        };
        rules.push(self.slow());
        (rules, (drawn > 10).then_some(nth))
    }
}
