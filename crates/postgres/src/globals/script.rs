//! The globals as a script for people without us.

use super::Globals;

/// No name of an object is in here: one with a line break in it would end the comment.
const HEADER: &str = "\
-- Roles, memberships, tablespaces and settings of a PostgreSQL server, as Backstay read them.
-- Run it as a super-user before databases are restored, and once more after that for settings of roles in them:
--     psql --file=globals.sql postgres

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;

";

impl Globals {
    /// As a script that `psql` runs at a server of the same version or a newer one.
    #[must_use]
    pub fn script(&self) -> String {
        let mut script = HEADER.to_owned();
        for statement in self.statements(self.server_version) {
            script.push_str(&statement.sql);
            script.push_str(";\n");
        }
        script
    }
}
