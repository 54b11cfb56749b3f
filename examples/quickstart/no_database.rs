//! In a build without databases.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;

use backstay::engine::{BackstayBuilder, VerifyRequest};
use backstay::{Backstay, PointId};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

pub(crate) struct Database(Infallible);

impl Database {
    pub(crate) fn at(_: &str) -> Result<Self> {
        Err("`--postgres` takes a build with `--features postgres`".into())
    }

    pub(crate) fn protected_by(&self, _: BackstayBuilder) -> BackstayBuilder {
        match self.0 {}
    }

    pub(crate) fn checked_by(&self, _: VerifyRequest) -> VerifyRequest {
        match self.0 {}
    }

    pub(crate) async fn restore(&self, _: &Backstay, _: &PointId) -> Result<String> {
        match self.0 {}
    }
}

impl fmt::Display for Database {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}
