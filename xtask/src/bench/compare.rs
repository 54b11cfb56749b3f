//! Two ways to do the same work, run in turns.

use std::fmt::{self, Display};
use std::time::Duration;

use crate::result::Result;

/// How often each side runs. Odd, so that the median is a run that happened.
pub(super) const RUNS: usize = 5;

/// One run: a fresh process that ended in fsync.
pub(super) struct Run {
    pub(super) took: Duration,
    /// The most memory that the process ever held, in KiB, where it says so.
    pub(super) peak_kib: Option<u64>,
}

/// Medians of both sides, in MiB of plain content per second.
pub(super) struct Ratio {
    ours: f64,
    theirs: f64,
    /// The highest of all our runs.
    peak_mib: u64,
}

/// Lets both sides do `bytes` of work in turns; whoever is second goes first next time.
pub(super) fn alternate(
    bytes: u64,
    mut ours: impl FnMut() -> Result<Run>,
    mut theirs: impl FnMut() -> Result<Run>,
) -> Result<Ratio> {
    let (mut our_runs, mut their_runs) = (Vec::new(), Vec::new());
    let mut ours = || on_warm_memory(&mut ours);
    let mut theirs = || on_warm_memory(&mut theirs);
    for round in 0..RUNS {
        if round % 2 == 1 {
            their_runs.push(theirs()?);
        }
        our_runs.push(ours()?);
        if round % 2 == 0 {
            their_runs.push(theirs()?);
        }
        if let ([.., a], [.., b]) = (our_runs.as_slice(), their_runs.as_slice()) {
            eprintln!("  {:.2} s ours, {:.2} s theirs", a.took.as_secs_f64(), b.took.as_secs_f64());
        }
    }
    let rate = |runs: &[Run]| {
        let seconds = median(runs.iter().map(|run| run.took.as_secs_f64()).collect());
        bytes as f64 / (1 << 20) as f64 / seconds
    };
    let peak_kib = our_runs.iter().filter_map(|run| run.peak_kib).max().ok_or("our side did not tell its peak")?;
    Ok(Ratio { ours: rate(&our_runs), theirs: rate(&their_runs), peak_mib: peak_kib.div_ceil(1024) })
}

/// Neither side shall pay for memory that the host of a virtual machine has to find first: it is four times as slow, and
/// which side meets it is chance.
fn on_warm_memory(run: &mut impl FnMut() -> Result<Run>) -> Result<Run> {
    const TOUCHED: usize = 2 << 30;
    drop(std::hint::black_box(vec![1_u8; TOUCHED]));
    run()
}

/// The middle value; NaN of none.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ours, theirs, peak_mib } = self;
        write!(f, "{:.2} ours={ours:.1} theirs={theirs:.1} unit=MiB/s peak_mib={peak_mib}", ours / theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_of_rates_by_their_medians() {
        let runs = |milliseconds: [u64; RUNS], peaks: [u64; RUNS]| {
            let mut next = milliseconds.into_iter().zip(peaks);
            move || {
                let (took, peak) = next.next().ok_or("too many runs")?;
                Ok(Run { took: Duration::from_millis(took), peak_kib: Some(peak) })
            }
        };
        let ours = runs([900, 500, 100, 501, 499], [1024, 5000, 1, 1, 1]);
        let theirs = runs([1000, 1000, 9000, 10, 1000], [1 << 20; RUNS]);
        let ratio = alternate(100 << 20, ours, theirs).unwrap();
        assert_eq!(ratio.to_string(), "2.00 ours=200.0 theirs=100.0 unit=MiB/s peak_mib=5");
    }

    #[test]
    fn a_side_that_fails_gives_no_figure() {
        let good = || Ok(Run { took: Duration::from_secs(1), peak_kib: Some(1) });
        let silent = || Ok(Run { took: Duration::from_secs(1), peak_kib: None });
        assert!(alternate(1, good, || Err("pipe broke".into())).is_err());
        assert!(alternate(1, || Err("not there".into()), good).is_err());
        assert!(alternate(1, silent, good).is_err());
    }
}
