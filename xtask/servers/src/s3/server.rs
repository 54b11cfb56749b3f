//! What all of them have.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::daemon::{Daemon, How};
use crate::place::{Folder, new_password, random};

/// A server that speaks an API of AWS, in the clear on 127.0.0.1, and the keys of its first user.
pub struct Server {
    // Before the folder that it writes to: fields are dropped in order.
    daemon: Daemon,
    home: Arc<Folder>,
    keys: Keys,
}

/// Of one user. Letters and digits.
#[derive(Clone)]
pub(crate) struct Keys {
    pub(crate) access: String,
    pub(crate) secret: String,
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self { access: "administrator".to_owned(), secret: new_password() }
    }
}

impl Server {
    /// Starts one that keeps its files in `home`.
    pub(crate) fn start(name: &str, home: Arc<Folder>, keys: Keys, how: How) -> Self {
        // Several may share a folder.
        let log = home.path().join(format!("log-{:08x}", u32::from_ne_bytes(random())));
        let mut daemon = Daemon::new(name, log, how);
        daemon.start();
        Self { daemon, home, keys }
    }

    /// Its address: `http://127.0.0.1:PORT`. Buckets are named in the path, not in the host.
    pub fn endpoint(&self) -> String {
        self.endpoint_by(self.port())
    }

    /// As [`endpoint`](Self::endpoint), by another port of 127.0.0.1: a [`Proxy`](crate::proxy::Proxy) may listen there.
    pub fn endpoint_by(&self, port: u16) -> String {
        format!("http://127.0.0.1:{port}")
    }

    /// The name of the first user, who may do all.
    pub fn access_key(&self) -> &str {
        &self.keys.access
    }

    /// The first user's secret.
    pub fn secret_key(&self) -> &str {
        &self.keys.secret
    }

    /// The environment by which AWS's own clients reach it as the first user.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        self.env_of(self.access_key(), self.secret_key())
    }

    /// The environment by which AWS's own clients reach it as the user of these keys.
    pub fn env_of(&self, access_key: &str, secret_key: &str) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", access_key.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", secret_key.to_owned()),
        ]
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(crate) fn home(&self) -> &Arc<Folder> {
        &self.home
    }
}

impl Deref for Server {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Daemon {
        &mut self.daemon
    }
}

/// Without the secret.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.daemon.fmt(f)
    }
}

/// A new folder in `home`.
pub(crate) fn folder_in(home: &Path, name: &str) -> PathBuf {
    let path = home.join(name);
    std::fs::create_dir(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    path
}
