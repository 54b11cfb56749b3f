//! `cargo xtask servers`: the servers that tests and examples talk to.

use crate::result::Result;

/// Starts the test servers, prints their addresses as environment lines and stops them when it ends.
///
/// No test needs a server at present, so it starts none and says so, as a comment to whoever reads environment lines.
pub(crate) fn run(args: &[String]) -> Result<bool> {
    if let [first, ..] = args {
        return Err(format!("servers takes no arguments, got {first:?}").into());
    }
    println!("# no test needs a server at present: none was started");
    Ok(true)
}
