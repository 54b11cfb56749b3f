//! One running server.

use std::fmt::{self, Write as _};
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use rustix::process::Signal;

use crate::daemon::{Daemon, How};
use crate::place::Folder;
use crate::poll::until;
use crate::postgres::builder::{Builder, Primary};
use crate::postgres::process::as_server;

/// A server of its own on a free port of 127.0.0.1. Dropped, it is gone with its data.
pub struct Server {
    major: u32,
    bin: PathBuf,
    home: Folder,
    data: PathBuf,
    password: String,
    ca: Option<PathBuf>,
    daemon: Daemon,
}

impl Server {
    /// Starts a server of this major with the settings that most tests want.
    ///
    /// # Panics
    ///
    /// If the major is not there or the server does not start, with its log.
    pub fn start(major: u32) -> Self {
        Self::builder(major).start()
    }

    /// For a server with other settings.
    pub fn builder(major: u32) -> Builder {
        Builder::new(major)
    }

    /// Its major version.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// Its port on 127.0.0.1, the same for its whole life.
    pub fn port(&self) -> u16 {
        self.daemon.port()
    }

    /// The password of its superuser `postgres`: letters and digits.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// How the superuser reaches a database of it over TCP: in the clear, or checked against [`ca`](Self::ca) where the
    /// server speaks TLS.
    pub fn url(&self, database: &str) -> String {
        self.url_by(self.port(), database)
    }

    /// As [`url`](Self::url), by another port of 127.0.0.1: a [`Proxy`](crate::proxy::Proxy) may listen there.
    pub fn url_by(&self, port: u16, database: &str) -> String {
        let (password, database) = (&self.password, percent_encoded(database));
        let tls = match &self.ca {
            Some(ca) => format!("verify-full&sslrootcert={}", percent_encoded(&ca.to_string_lossy())),
            None => "disable".to_owned(),
        };
        format!("postgres://postgres:{password}@127.0.0.1:{port}/{database}?sslmode={tls}")
    }

    /// The certificate of the authority that signed the server's own, where it speaks TLS.
    pub fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    /// The folder of its Unix socket. Passwords are asked for there, too.
    pub fn socket_dir(&self) -> PathBuf {
        self.home.path().join("socket")
    }

    /// The folder of the client programs of its version.
    pub fn bin(&self) -> PathBuf {
        self.bin.clone()
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// A client program of its version that reaches `database` as the superuser by the environment alone. The password is
    /// in a file, never in the environment.
    pub fn client(&self, program: &str, database: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        command.env("PGHOST", self.socket_dir()).env("PGPORT", self.port().to_string());
        // A database name given as an argument may be read as a URL.
        command.env("PGUSER", "postgres").env("PGDATABASE", database);
        command.env("PGPASSFILE", self.home.path().join("passwords")).env("PGCLIENTENCODING", "UTF8");
        command
    }

    /// Runs SQL in `database`, statement by statement, and returns the rows without heading: columns parted by `|`, rows
    /// by newlines.
    ///
    /// # Panics
    ///
    /// At the first error, with its text.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        self.try_psql(database, sql).unwrap_or_else(|error| panic!("psql in {database:?}: {error}"))
    }

    /// As [`psql`](Self::psql), with the error's text as an `Err`.
    pub fn try_psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut rows = self.psql_with(&["--no-align"], database, sql)?;
        rows.truncate(rows.trim_end_matches('\n').len());
        Ok(rows)
    }

    /// Rows of `N` columns, whatever text they hold.
    pub(crate) fn rows<const N: usize>(&self, database: &str, sql: &str) -> Vec<[String; N]> {
        let options = ["--no-align", "--field-separator-zero", "--record-separator-zero"];
        let text = self.psql_with(&options, database, sql).unwrap_or_else(|e| panic!("psql in {database:?}: {e}"));
        let cells: Vec<&str> = text.split_terminator('\0').collect();
        cells.chunks(N).map(|row| std::array::from_fn(|i| row[i].to_owned())).collect()
    }

    fn psql_with(&self, options: &[&str], database: &str, sql: &str) -> Result<String, String> {
        let mut psql = self.client("psql", database);
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--set=ON_ERROR_STOP=1"]).args(options);
        psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = psql.spawn().unwrap_or_else(|e| panic!("psql does not run: {e}"));
        let mut stdin = child.stdin.take().expect("it is a pipe");
        let output = thread::scope(|scope| {
            // It stops reading at an error, and says itself why.
            scope.spawn(move || stdin.write_all(sql.as_bytes()).ok());
            child.wait_with_output().expect("it is our child")
        });
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).expect("we asked for UTF-8")),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// The id of the process that all others of the server descend from.
    ///
    /// # Panics
    ///
    /// If it was stopped or killed.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// Kills it and all its processes at once, as a power cut would. Its data stay.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Ends it in good order, cutting open connections. Its data stay.
    pub fn stop(&mut self) {
        self.daemon.end_by(Signal::INT);
    }

    /// Starts it again after [`kill`](Self::kill) or [`stop`](Self::stop), on the same port, and waits until it takes
    /// connections.
    ///
    /// # Panics
    ///
    /// If it runs already, or does not start.
    pub fn start_again(&mut self) {
        self.daemon.start_again();
    }

    /// Waits until this standby has replayed all that `primary` has written so far.
    ///
    /// # Panics
    ///
    /// If it does not within a minute.
    pub fn catch_up_with(&self, primary: &Self) {
        let lsn = primary.psql("postgres", "SELECT pg_current_wal_lsn()");
        let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}'");
        until("a standby that catches up", || (self.psql("postgres", &sql) == "t").then_some(()));
    }

    /// One that does not run yet, and whose data folder may be filled until it does.
    pub(super) fn new(major: u32, bin: PathBuf, home: Folder, data: PathBuf) -> Self {
        let daemon = Daemon::new(&format!("PostgreSQL {major}"), home.path().join("log"), how(&bin, &data));
        Self { major, bin, home, data, password: String::new(), ca: None, daemon }
    }

    pub(super) fn set_password(&mut self, password: String) {
        let file = self.home.path().join("passwords");
        fs::write(&file, format!("*:*:*:postgres:{password}\n")).expect("room");
        fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("it is ours");
        self.password = password;
    }

    pub(super) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(super) fn set_ca(&mut self, ca: PathBuf) {
        self.ca = Some(ca);
    }

    pub(super) fn as_primary(&self) -> Primary {
        let (sockets, port, password) = (self.socket_dir(), self.port(), self.password.clone());
        let conninfo = format!("host={} port={port} user=postgres password={password}", sockets.display());
        Primary { base_backup: self.client("pg_basebackup", "postgres"), conninfo, password }
    }

    /// Starts it for the first time.
    pub(super) fn start_first(&mut self) {
        self.daemon.start();
    }

    /// A killed server leaves its mark in the system's shared memory, which would stay after the data are gone.
    fn forget_shared_memory(&self) {
        let told = fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        if let Some(id) = told.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)) {
            // It may be gone, and it is small.
            let _ = Command::new("ipcrm").args(["-m", id]).output();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.daemon.end_by(Signal::QUIT);
        self.forget_shared_memory();
        if !self.data.starts_with(self.home.path()) {
            // The disk is the test's; it may be gone already.
            let _ = fs::remove_dir_all(&self.data);
        }
    }
}

/// Without the password.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL {} on port {}", self.major, self.port())
    }
}

/// How the programs in `bin` serve what is in `data`, and when they do.
fn how(bin: &Path, data: &Path) -> How {
    let (program, told, data) = (bin.join("postgres"), data.join("postmaster.pid"), data.to_owned());
    How {
        command: Box::new(move |port| {
            let mut command = as_server(&program);
            command.arg("-D").arg(&data).arg("-p").arg(port.to_string());
            command
        }),
        ready: Box::new(move |pid, _| {
            let told = fs::read_to_string(&told).unwrap_or_default();
            let mut lines = told.lines();
            // A file that a killed server left names another process.
            let ours = lines.next() == Some(&pid.to_string());
            ours && lines.nth(6).is_some_and(|state| state.trim() == "ready")
        }),
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => encoded.push(char::from(byte)),
            _ => write!(encoded, "%{byte:02X}").expect("a string"),
        }
        encoded
    })
}
