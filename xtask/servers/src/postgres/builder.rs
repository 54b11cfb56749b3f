//! How a server is to be.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::place::{Account, Folder, new_password};
use crate::postgres::server::Server;
use crate::postgres::{bin, can_tls, cluster};
use crate::tls;

/// A server that is about to be started.
pub struct Builder {
    major: u32,
    settings: Vec<(String, String)>,
    tls: bool,
    disk: Option<PathBuf>,
    primary: Option<Primary>,
}

/// What a standby has to know of its primary.
pub(super) struct Primary {
    pub(super) base_backup: std::process::Command,
    pub(super) conninfo: String,
    pub(super) password: String,
}

impl Builder {
    pub(super) fn new(major: u32) -> Self {
        Self { major, settings: Vec::new(), tls: false, disk: None, primary: None }
    }

    /// A line of `postgresql.conf`. The value is quoted here.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Speaks TLS over TCP and nothing else. The certificate is for 127.0.0.1 and localhost, by an authority of its own:
    /// [`Server::ca`].
    ///
    /// # Panics
    ///
    /// If this major [cannot](can_tls).
    #[must_use]
    pub fn tls(mut self) -> Self {
        assert!(can_tls(self.major), "PostgreSQL {} here is built without TLS: ask `can_tls` first", self.major);
        self.tls = true;
        self
    }

    /// Keeps its data in a new folder `data` in `disk`, which must be there and which the user of the server must be able
    /// to reach: [`folder`](crate::folder()) makes such ones.
    #[must_use]
    pub fn data_on(mut self, disk: impl AsRef<Path>) -> Self {
        self.disk = Some(disk.as_ref().to_owned());
        self
    }

    /// A hot standby of `primary`, with its passwords.
    #[must_use]
    pub fn standby_of(mut self, primary: &Server) -> Self {
        assert_eq!(self.major, primary.major(), "a standby has its primary's major");
        self.primary = Some(primary.as_primary());
        self
    }

    /// Starts it and waits until it takes connections.
    ///
    /// # Panics
    ///
    /// If it does not start, with its log.
    pub fn start(mut self) -> Server {
        let bin = bin(self.major);
        let home = Folder::new(&format!("pg{}-", self.major));
        let data = self.disk.as_deref().unwrap_or(home.path()).join("data");
        let sockets = home.path().join("socket");
        cluster::private(&data);
        fs::create_dir(&sockets).expect("a folder");
        if let Some(account) = Account::postgres() {
            account.own(&sockets);
        }
        let primary = self.primary.take();
        let mut server = Server::new(self.major, bin, home, data);
        match primary {
            Some(primary) => {
                server.set_password(primary.password);
                cluster::copy_of(primary.base_backup, server.data());
                self.settings.push(("primary_conninfo".to_owned(), primary.conninfo));
            }
            None => {
                server.set_password(new_password());
                cluster::create(&server.bin(), server.data(), server.password());
            }
        }
        if self.tls {
            let ca = tls::create(server.data(), server.home(), Account::postgres());
            server.set_ca(ca);
        }
        fs::write(server.data().join("pg_hba.conf"), self.access()).expect("room");
        fs::write(server.data().join("postgresql.conf"), self.configuration(&sockets)).expect("room");
        server.start_first();
        server
    }

    fn access(&self) -> String {
        let host = if self.tls { "hostssl" } else { "host" };
        let mut lines = String::new();
        for (kind, address) in [("local", ""), (host, "127.0.0.1/32")] {
            for databases in ["all", "replication"] {
                writeln!(lines, "{kind} {databases} all {address} scram-sha-256").expect("a string");
            }
        }
        lines
    }

    /// All but the port, which is found and named when it starts.
    fn configuration(&self, sockets: &Path) -> String {
        let sockets = sockets.to_str().expect("we named it");
        let own = [
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", sockets),
            ("max_connections", "100"),
            ("password_encryption", "scram-sha-256"),
            ("fsync", "off"),
            ("log_min_messages", "info"),
            ("log_line_prefix", "%m [%p] %q%a "),
            // What a killed server leaves in shared memory would stay there; files go with its folder.
            ("dynamic_shared_memory_type", "mmap"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
        ];
        let own = own.into_iter().chain(self.tls.then_some(("ssl", "on")));
        let theirs = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        // The last line of a name counts.
        own.chain(theirs).fold(String::new(), |mut lines, (name, value)| {
            writeln!(lines, "{name} = '{}'", value.replace('\'', "''")).expect("a string");
            lines
        })
    }
}
