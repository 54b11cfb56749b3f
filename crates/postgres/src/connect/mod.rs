//! How a server is reached.

mod env;
mod password;
mod service;
mod session;
mod tls;
mod url;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use backstay_core::{Error, ErrorKind, Result, Secret};

pub(crate) use password::Password;
pub(crate) use session::Session;
pub use tls::{Roots, Tls};

/// How a server is reached: by parts, a URL, the environment or a service file.
///
/// TLS with a verified certificate is the default; a Unix socket has none. The password never gets into arguments,
/// environments, logs or errors: client programs read it from a file that only they can open.
///
/// ```
/// use backstay_postgres::{PgConnect, Tls};
///
/// let server: PgConnect = "postgres://backup@db.example/postgres".parse()?;
/// assert_eq!(server.to_string(), "backup@db.example:5432/postgres");
///
/// let socket = PgConnect::new("/run/postgresql").user("backup").password_file("/run/secrets/pg");
/// let loopback = PgConnect::new("127.0.0.1").port(5433).tls(Tls::DangerPlain);
/// # Ok::<(), backstay_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PgConnect {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) password: Password,
    pub(crate) tls: Tls,
    pub(crate) connect_timeout: Duration,
    pub(crate) application_name: String,
}

impl PgConnect {
    /// The server on this host, or with its socket in this folder, at port 5432; as the user `postgres`.
    #[must_use]
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port: 5432,
            user: "postgres".to_owned(),
            database: "postgres".to_owned(),
            password: Password::Absent,
            tls: Tls::default(),
            connect_timeout: Duration::from_secs(10),
            application_name: "backstay".to_owned(),
        }
    }

    /// As libpq's variables say: `PGHOST`, `PGPORT`, `PGUSER`, `PGDATABASE`, `PGPASSWORD`, `PGPASSFILE`, `PGSERVICE`,
    /// `PGSERVICEFILE`, `PGSSLMODE`, `PGSSLROOTCERT`, `PGCONNECT_TIMEOUT`, `PGAPPNAME`.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a variable that cannot be meant, [`NotFound`](ErrorKind::NotFound) for a service.
    pub fn from_env() -> Result<Self> {
        env::from(&|name| std::env::var(name).ok())
    }

    /// As this section of the service file says: `PGSERVICEFILE`, else `~/.pg_service.conf`.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for the file or the section, [`Invalid`](ErrorKind::Invalid) for what is in it.
    pub fn service(name: &str) -> Result<Self> {
        service::read(name, &|name| std::env::var(name).ok())
    }

    /// Another port.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Who connects.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = user.into();
        self
    }

    /// The database that is connected to, to look around; which ones are dumped is said elsewhere.
    #[must_use]
    pub fn database(mut self, database: impl Into<String>) -> Self {
        self.database = database.into();
        self
    }

    /// The password itself.
    #[must_use]
    pub fn password(mut self, password: Secret<String>) -> Self {
        self.password = Password::Known(password);
        self
    }

    /// The first line of this file, read anew at each connection: what a secret store rotates.
    #[must_use]
    pub fn password_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.password = Password::File(path.into());
        self
    }

    /// The first line that this program prints, run anew at each connection.
    #[must_use]
    pub fn password_command<S: Into<String>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        self.password = Password::Command(command.into_iter().map(Into::into).collect());
        self
    }

    /// What this function gives, called anew at each connection: a token that lives for minutes.
    #[must_use]
    pub fn password_with(mut self, get: impl Fn() -> Result<Secret<String>> + Send + Sync + 'static) -> Self {
        self.password = Password::Function(Arc::new(get));
        self
    }

    /// How the connection is secured.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// How long a connection may take to be made; 10 seconds if not said.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The name that `pg_stat_activity` shows; `backstay` if not said.
    #[must_use]
    pub fn application_name(mut self, name: impl Into<String>) -> Self {
        self.application_name = name.into();
        self
    }

    /// The database that is connected to.
    #[must_use]
    pub fn database_name(&self) -> &str {
        &self.database
    }

    /// Whether it is a socket of this host, given by the folder that it lies in.
    pub(crate) fn is_socket(&self) -> bool {
        self.host.starts_with('/') || self.host.starts_with('@')
    }

    /// The same server, another of its databases.
    pub(crate) fn with_database(&self, database: &str) -> Self {
        self.clone().database(database)
    }

    /// Sets what libpq calls `name`. Says whether it knows it.
    fn set(&mut self, name: &str, value: &str) -> Result<bool> {
        // What stands there may be a piece of a password that ended too early.
        let number = |what: &str| Error::new(ErrorKind::Invalid, format!("{what} is no number that it can be"));
        match name {
            "host" | "hostaddr" => self.host = one_host(value)?,
            "port" => self.port = value.parse().map_err(|_| number("the port"))?,
            "user" => self.user = value.to_owned(),
            "dbname" => self.database = value.to_owned(),
            "password" => self.password = Password::Known(Secret::new(value.to_owned())),
            "passfile" => self.password = Password::PassFile(value.into()),
            "sslmode" => self.tls = Tls::of_mode(value, self.tls.roots())?,
            "sslrootcert" => self.tls = self.tls.with_roots(Roots::named(value)),
            "connect_timeout" => {
                self.connect_timeout = Duration::from_secs(value.parse().map_err(|_| number("connect_timeout"))?);
            }
            "application_name" => self.application_name = value.to_owned(),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn one_host(value: &str) -> Result<String> {
    if value.contains(',') {
        return Err(Error::new(ErrorKind::Unsupported, "a list of hosts is not understood")
            .with("host", value)
            .advise("name the one server to back up: a backup must know which it reads"));
    }
    Ok(value.to_owned())
}

/// Who, where and which database; no secret.
impl fmt::Display for PgConnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}/{}", self.user, self.host, self.port, self.database)
    }
}
