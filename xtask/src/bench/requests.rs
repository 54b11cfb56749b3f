//! What questions cost in requests, as an object store answers them: a thousand keys a page.

use super::side::OurSide;
use crate::result::Result;

/// The status of a tier with a hundred thousand points.
pub(super) fn status() -> Result<f64> {
    value("status")
}

/// What could bring a component of it back.
pub(super) fn options() -> Result<f64> {
    value("options")
}

fn value(question: &str) -> Result<f64> {
    OurSide::build("requests_100k")?.run::<&str>(&[])?.value(question)
}
