//! A database as a second component.

use std::error::Error;
use std::fmt;

use backstay::engine::{BackstayBuilder, VerifyRequest};
use backstay::jiff::SignedDuration;
use backstay::postgres::{Checks, PgConnect, PgDump, PgRestore};
use backstay::{Backstay, PointId};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const NAME: &str = "database";

pub(crate) struct Database(PgConnect);

impl Database {
    pub(crate) fn at(url: &str) -> Result<Self> {
        Ok(Self(url.parse()?))
    }

    pub(crate) fn protected_by(&self, builder: BackstayBuilder) -> BackstayBuilder {
        builder.export(NAME, PgDump::new(self.0.clone()).databases([self.0.database_name()]))
    }

    pub(crate) fn checked_by(&self, verify: VerifyRequest) -> VerifyRequest {
        verify.check(NAME, PgRestore::new(self.0.clone()))
    }

    /// Into a new database, which is looked at and dropped.
    pub(crate) async fn restore(&self, backstay: &Backstay, point: &PointId) -> Result<String> {
        let restore = PgRestore::new(self.0.clone()).expires_after(SignedDuration::from_hours(1));
        let plan = backstay.restore(point).component(NAME).into(restore.clone()).plan().await?;
        let restored = restore.restored(&plan.import)?;
        plan.apply().await?;
        let checks = Checks::new().indexes_and_constraints().run(&restored, None).await;
        restore.discard(restored.database_name()).await?;
        if checks.passed() { Ok(checks.to_string()) } else { Err(checks.to_string().into()) }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the database {}", self.0)
    }
}
