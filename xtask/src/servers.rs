//! `cargo xtask servers`: the servers that tests and examples talk to.

use std::io::{Write, stdout};
use std::panic::catch_unwind;

use backstay_test_servers::data;
use backstay_test_servers::postgres::{Server, majors, packaged};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::postgres;
use crate::result::{Doing, Result};

/// The database of the server that an example or a benchmark gets.
pub(crate) const DATABASE: &str = "shop";

/// Starts the test servers, prints their addresses as environment lines and stops them at Ctrl-C or SIGTERM. What happens
/// to its standard input does not matter: it may run in the background.
pub(crate) fn run(args: &[String]) -> Result<bool> {
    if let [first, ..] = args {
        return Err(format!("servers takes no arguments, got {first:?}").into());
    }
    for what in postgres::ensure()? {
        println!("# left out: {what}");
    }
    // Before any is started, so that none is left behind.
    let mut signals = Signals::new([SIGINT, SIGTERM]).doing("wait for Ctrl-C")?;
    let servers = majors().into_iter().map(|major| start(move || Server::start(major))).collect::<Result<Vec<_>>>()?;
    for server in &servers {
        println!("BACKSTAY_PG{}={}", server.major(), server.url("postgres"));
    }
    stdout().flush().doing("print")?;
    signals.forever().next();
    Ok(true)
}

/// Whether an example or a benchmark wants a server: the first word of its name says so.
pub(crate) fn is_for(name: &str) -> bool {
    name.split(['_', '.']).next() == Some("postgres")
}

/// The server that the example wants: one of its own, with a few megabytes of test data in [`DATABASE`].
pub(crate) fn for_example(name: &str) -> Result<Option<Server>> {
    is_for(name).then(|| filled(2)).transpose()
}

/// A server with about `megabytes` of test data in [`DATABASE`], of the major that the system's packages offer.
pub(crate) fn filled(megabytes: usize) -> Result<Server> {
    start(move || {
        let server = Server::start(packaged()[0]);
        data::fill(&server, DATABASE, megabytes);
        server
    })
}

/// What is for tests panics where it fails. It has told why by then.
fn start(how: impl FnOnce() -> Server + std::panic::UnwindSafe) -> Result<Server> {
    catch_unwind(how).map_err(|_| "a server did not start, as told above".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_says_who_wants_a_server() {
        for (name, wants) in
            [("postgres", true), ("postgres_drill", true), ("postgres.dump", true), ("postgresql", false)]
        {
            assert_eq!(is_for(name), wants, "{name}");
        }
    }
}
