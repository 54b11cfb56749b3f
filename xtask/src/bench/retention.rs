//! What deciding costs.

use super::compare::{RUNS, median};
use super::side::OurSide;
use crate::result::Result;

/// How long deciding over a million points takes, in seconds. Our side times it: making the points is no part of it.
pub(super) fn million() -> Result<f64> {
    let side = OurSide::build("retention_million")?;
    let seconds: Result<Vec<f64>> = (0..RUNS).map(|_| side.run::<&str>(&[])?.value("seconds")).collect();
    Ok(median(seconds?))
}
