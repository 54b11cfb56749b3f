//! MinIO: a second opinion on what S3 is, and the one that encrypts by keys of a key service.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::Command;

use crate::daemon::How;
use crate::place::Folder;
use crate::port::{answers, listens};
use crate::process::clean;
use crate::program::Program;
use crate::s3::server::{Keys, Server, folder_in};

/// A server of its own. It has error codes of its own for locks and checksums, and refuses storage classes.
#[derive(Debug)]
pub struct Minio(Server);

impl Minio {
    /// The one key that a server [with a key service](Self::with_kms) knows.
    pub const KMS_KEY: &str = "backstay-tests";

    /// The program.
    pub fn program() -> Program {
        Program::new("minio", "0.0.0-20260212201848-7aac2a2c5b7c")
    }

    /// Starts one that refuses server-side encryption.
    pub fn start() -> Self {
        Self::new(None)
    }

    /// Starts one that encrypts by [`KMS_KEY`](Self::KMS_KEY) where a request wants it: SSE-S3 and SSE-KMS.
    pub fn with_kms() -> Self {
        // 32 bytes in Base64. They protect nothing.
        Self::new(Some(format!("{}:{}=", Self::KMS_KEY, "k".repeat(43))))
    }

    fn new(kms: Option<String>) -> Self {
        let (home, keys) = (Folder::new("minio-"), Keys::new());
        folder_in(home.path(), "data");
        let (path, for_command) = (home.path().to_owned(), keys.clone());
        let how = How {
            command: Box::new(move |port| command(&path, &for_command, kms.as_deref(), port)),
            ready: Box::new(|pid, port| listens(pid, port) && answers(port, "/minio/health/cluster")),
        };
        Self(Server::start("MinIO", home.into(), keys, how))
    }
}

fn command(home: &Path, keys: &Keys, kms: Option<&str>, port: u16) -> Command {
    let mut command = clean(&Minio::program().file("bin/minio"), home);
    command.env("MINIO_ROOT_USER", &keys.access).env("MINIO_ROOT_PASSWORD", &keys.secret).env("MINIO_BROWSER", "off");
    command.envs(kms.map(|key| ("MINIO_KMS_SECRET_KEY", key)));
    command.args(["server", "--quiet", "--address", &format!("127.0.0.1:{port}")]).arg(home.join("data"));
    command
}

impl Deref for Minio {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

impl DerefMut for Minio {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.0
    }
}
