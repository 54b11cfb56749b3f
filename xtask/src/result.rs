//! Errors of the tasks: a sentence for the person at the terminal.

use std::error::Error;
use std::fmt::Display;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Says what was being done when it failed.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl Display) -> Result<T>;
}

impl<T, E: Display> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl Display) -> Result<T> {
        self.map_err(|error| format!("{what}: {error}").into())
    }
}
