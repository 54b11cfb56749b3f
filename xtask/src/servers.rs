//! `cargo xtask servers`: the servers that tests and examples talk to.

use std::io::{Write, stdout};
use std::panic::{UnwindSafe, catch_unwind};
use std::path::PathBuf;

use backstay_test_servers::azure::Azurite;
use backstay_test_servers::data;
use backstay_test_servers::moto::Moto;
use backstay_test_servers::postgres::{Server, majors, packaged};
use backstay_test_servers::python;
use backstay_test_servers::s3::{self, Minio, Rclone, Versitygw};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::families::{self, word};
use crate::result::{Doing, Result};

/// The database of the server that an example or a benchmark gets.
pub(crate) const DATABASE: &str = "shop";

/// Starts the test servers, prints their addresses as environment lines and stops them at Ctrl-C or SIGTERM. What happens
/// to its standard input does not matter: it may run in the background.
pub(crate) fn run(args: &[String]) -> Result<bool> {
    if let [first, ..] = args {
        return Err(format!("servers takes no arguments, got {first:?}").into());
    }
    for what in families::ensure(["postgres", "objects"])? {
        println!("# left out: {what}");
    }
    // Before any is started, so that none is left behind.
    let mut signals = Signals::new([SIGINT, SIGTERM]).doing("wait for Ctrl-C")?;
    let servers = majors().into_iter().map(|major| start(move || Server::start(major))).collect::<Result<Vec<_>>>()?;
    for server in &servers {
        println!("BACKSTAY_PG{}={}", server.major(), server.url("postgres"));
    }
    let (versitygw, minio) = start(|| (Versitygw::with_versions_and_users(), Minio::with_kms()))?;
    let (rclone, moto, azurite) = start(|| (Rclone::start(), Moto::start(), Azurite::start()))?;
    let s3: [(&str, &s3::Server); 4] =
        [("VERSITYGW", &versitygw), ("MINIO", &minio), ("RCLONE", &rclone), ("MOTO", &moto)];
    for (name, server) in s3 {
        println!("BACKSTAY_{name}={}", server.endpoint());
        println!("BACKSTAY_{name}_ACCESS_KEY={}", server.access_key());
        println!("BACKSTAY_{name}_SECRET_KEY={}", server.secret_key());
    }
    println!("BACKSTAY_AZURITE='{}'", azurite.connection_string());
    stdout().flush().doing("print")?;
    signals.forever().next();
    Ok(true)
}

/// The server that an example wants, which is its own.
pub(crate) enum ForExample {
    /// With a few megabytes of test data in [`DATABASE`].
    Postgres(Server),
    Versitygw(Versitygw),
    Minio(Minio),
    Moto(Moto),
    Azurite(Azurite),
}

impl ForExample {
    /// Starts the one that the example's name asks for, if it does.
    pub(crate) fn start(name: &str) -> Result<Option<Self>> {
        match word(name) {
            "postgres" => filled(2).map(Self::Postgres),
            // versitygw tells of a deleted version the time of its deletion, so that nothing is found as of before.
            "s3" => start(|| Self::Minio(Minio::start())),
            "dr" => start(|| Self::Versitygw(Versitygw::with_versions_and_users())),
            "secrets" | "terraform" => start(|| Self::Moto(Moto::start())),
            "azure" => start(|| Self::Azurite(Azurite::start())),
            _ => return Ok(None),
        }
        .map(Some)
    }

    /// How the example finds it.
    pub(crate) fn env(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Postgres(server) => vec![("DATABASE_URL", server.url(DATABASE))],
            Self::Versitygw(server) => server.env(),
            Self::Minio(server) => server.env(),
            Self::Moto(server) => server.env(),
            Self::Azurite(server) => vec![("AZURE_STORAGE_CONNECTION_STRING", server.connection_string())],
        }
    }

    /// The folder of the client programs that go with it.
    pub(crate) fn bin(&self) -> Option<PathBuf> {
        match self {
            Self::Postgres(server) => Some(server.bin()),
            // `aws`.
            Self::Versitygw(_) | Self::Minio(_) | Self::Moto(_) => Some(python::bin()),
            Self::Azurite(_) => None,
        }
    }
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
pub(crate) fn start<T>(how: impl FnOnce() -> T + UnwindSafe) -> Result<T> {
    catch_unwind(how).map_err(|_| "a server did not start, as told above".into())
}
