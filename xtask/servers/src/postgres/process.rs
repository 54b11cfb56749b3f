//! Processes of PostgreSQL: they run as a user of their own, and by no setting of ours.

use std::path::Path;
use std::process::Command;

use crate::place::Account;
use crate::process::dying_with_us;

/// A command that runs `program` as the server's user.
pub(super) fn as_server(program: &Path) -> Command {
    // This signal is a shut-down at once.
    let mut command = dying_with_us(program, "QUIT", Account::postgres());
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    command
}
