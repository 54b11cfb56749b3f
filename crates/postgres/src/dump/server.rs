//! The server as a whole: its version, who it is, its databases.

use backstay_core::Result;
use serde::Deserialize;

use super::databases::Listed;
use crate::connect::Session;

/// What a server says of itself.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Server {
    /// `server_version_num`.
    pub(super) version: u32,
    /// The version in words.
    pub(super) version_text: String,
    /// Whether it replays what another server writes.
    pub(super) standby: bool,
    may_identify: bool,
    may_read_passwords: bool,
}

impl Server {
    pub(super) async fn ask(session: &Session) -> Result<Self> {
        session
            .row(
                "SELECT current_setting('server_version_num')::int AS version,
                        current_setting('server_version') AS version_text,
                        pg_is_in_recovery() AS standby,
                        has_function_privilege('pg_control_system()', 'EXECUTE') AS may_identify,
                        has_table_privilege('pg_authid', 'SELECT') AS may_read_passwords",
                &[],
            )
            .await
    }

    pub(super) fn major(&self) -> u32 {
        self.version / 10_000
    }

    /// Whether passwords of roles are read, if they are wanted.
    pub(super) fn may_read_passwords(&self) -> bool {
        self.may_read_passwords
    }

    /// The system identifier; none if the role may not read it.
    pub(super) async fn identity(&self, session: &Session) -> Result<Option<String>> {
        #[derive(Deserialize)]
        struct Identity {
            id: String,
        }
        if !self.may_identify {
            return Ok(None);
        }
        let sql = "SELECT system_identifier::text AS id FROM pg_control_system()";
        Ok(Some(session.row::<Identity>(sql, &[]).await?.id))
    }

    /// All its databases. What is left of a `DROP DATABASE` that was interrupted has a limit of -2.
    pub(super) async fn databases(&self, session: &Session) -> Result<Vec<Listed>> {
        let sql = "SELECT datname AS name, datistemplate AS template, datallowconn AND datconnlimit <> -2 AS open
                   FROM pg_database ORDER BY 1";
        session.rows(sql, &[]).await
    }
}
