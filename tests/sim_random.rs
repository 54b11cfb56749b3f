//! Programs drawn from a seed: several hosts, wrong clocks, random faults. After every act the promises hold.
//!
//! `BACKSTAY_SEEDS` says how many seeds are run, `BACKSTAY_SEED` replays one.

mod chaos;
mod support;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use backstay::{Clock, SystemClock};
use chaos::Chaos;

/// Acts of one program; most of them are done twice, with faults and then without.
const TURNS: u64 = 4;
const SEEDS: u64 = 1000;

/// What is left of a program: everything in the store, and every call that was made.
type Trace = (Vec<(String, Vec<u8>)>, Vec<String>);

fn run(seed: u64) -> Trace {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let mut chaos = Chaos::new(seed).await;
        for _ in 0..TURNS {
            chaos.turn().await;
        }
        chaos.finish().await;
        chaos.trace().await
    })
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// A panic says which seed it was.
fn told(seed: u64) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(seed))) {
        eprintln!("seed {seed} failed; replay it with: BACKSTAY_SEED={seed} cargo test --test sim_random");
        resume_unwind(panic);
    }
}

#[test]
fn promises_hold_in_random_programs_under_random_faults() {
    if let Some(seed) = number("BACKSTAY_SEED") {
        return told(seed);
    }
    let seeds = number("BACKSTAY_SEEDS").unwrap_or(SEEDS);
    let (next, began) = (AtomicU64::new(0), SystemClock.monotonic());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds) {
                    told(seed);
                }
            });
        }
    });
    let took = SystemClock.monotonic().saturating_sub(began);
    // Not by `println!`, which shows nothing of a test that passes.
    let rate = seeds as f64 / took.as_secs_f64().max(1e-9);
    writeln!(std::io::stdout(), "{seeds} seeds, {rate:.1} a second").expect("stdout takes it");
}

#[test]
fn a_seed_replays_bit_for_bit() {
    for seed in [3, 11, 42] {
        let ((stored, calls), (stored_again, calls_again)) = (run(seed), run(seed));
        assert!(calls.len() > 100 && stored.len() > 20, "{} calls, {} objects", calls.len(), stored.len());
        if let Some(at) = calls.iter().zip(&calls_again).position(|(a, b)| a != b) {
            panic!("seed {seed}: call {at} differs: {} and {}", calls[at], calls_again[at]);
        }
        assert_eq!(calls.len(), calls_again.len(), "seed {seed}");
        assert!(stored == stored_again, "seed {seed}: the same calls left other bytes");
    }
    assert_ne!(run(3).1, run(4).1, "two seeds are two programs");
}
