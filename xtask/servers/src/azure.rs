//! Azurite: Azure Blob Storage. It has no versions, no undelete and no immutability, and takes their headers in silence.

use std::fmt;
use std::io::Write;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::daemon::{Daemon, How};
use crate::place::Folder;
use crate::port::{answers, is_fine, listens, request};
use crate::process::clean;
use crate::program::Program;
use crate::tls;

/// A server of its own with one account.
pub struct Azurite {
    // Before the folder that it writes to: fields are dropped in order.
    daemon: Daemon,
    ca: Option<PathBuf>,
    _home: Folder,
}

impl Azurite {
    /// Its account, which it knows by itself.
    pub const ACCOUNT: &str = "devstoreaccount1";
    /// The account's key. Azurite's documentation tells it to everyone.
    pub const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

    /// The program.
    pub fn program() -> Program {
        Program::new("azurite", "3.35.0")
    }

    /// Starts one that speaks HTTP.
    pub fn start() -> Self {
        Self::new(false)
    }

    /// Starts one that speaks HTTPS, by a certificate of an authority of its own ([`ca`](Self::ca)), and takes bearer tokens
    /// besides the key. It checks their audience, issuer and times; signatures it does not.
    pub fn with_oauth() -> Self {
        Self::new(true)
    }

    /// The account's address: `http://127.0.0.1:PORT/devstoreaccount1`, or `https`.
    pub fn endpoint(&self) -> String {
        self.endpoint_by(self.port())
    }

    /// As [`endpoint`](Self::endpoint), by another port of 127.0.0.1: a [`Proxy`](crate::proxy::Proxy) may listen there.
    pub fn endpoint_by(&self, port: u16) -> String {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{port}/{}", Self::ACCOUNT)
    }

    /// How Azure's own clients take address, account and key in one.
    pub fn connection_string(&self) -> String {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        let (account, key) = (Self::ACCOUNT, Self::KEY);
        format!(
            "DefaultEndpointsProtocol={scheme};AccountName={account};AccountKey={key};BlobEndpoint={};",
            self.endpoint()
        )
    }

    /// The certificate of the authority that signed the server's own, where it speaks HTTPS.
    pub fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    fn new(oauth: bool) -> Self {
        let home = Folder::new("azurite-");
        let path = home.path().to_owned();
        let ca = oauth.then(|| tls::create(&path, &path, None));
        let authority = ca.clone();
        let how = How {
            command: Box::new(move |port| command(&path, oauth, port)),
            ready: Box::new(move |pid, port| {
                let answers = || match &authority {
                    Some(ca) => answers_tls(port, ca),
                    None => answers(port, "/"),
                };
                listens(pid, port) && answers()
            }),
        };
        let mut daemon = Daemon::new("Azurite", home.path().join("log"), how);
        daemon.start();
        Self { daemon, ca, _home: home }
    }
}

fn command(home: &Path, oauth: bool, port: u16) -> Command {
    let mut command = clean(Path::new("node"), home);
    command.arg(Azurite::program().file("node_modules/azurite/dist/src/blob/main.js"));
    command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--silent", "--disableTelemetry"]);
    // Clients of today ask for versions of the API that are newer than it is, and want nothing new of them.
    command.arg("--skipApiVersionCheck").arg("--location").arg(home.join("data"));
    if oauth {
        command.args(["--oauth", "basic", "--cert"]).arg(home.join("server.crt"));
        command.arg("--key").arg(home.join("server.key"));
    }
    command
}

fn answers_tls(port: u16, ca: &Path) -> bool {
    let mut client = Command::new("openssl");
    client.args(["s_client", "-quiet", "-verify_return_error", "-connect", &format!("127.0.0.1:{port}"), "-CAfile"]);
    let client = client.arg(ca).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut client = client.expect("openssl runs: it made the certificate");
    // One that found no server has ended.
    let _ = client.stdin.as_mut().expect("a pipe").write_all(request("/").as_bytes());
    is_fine(&client.wait_with_output().expect("our child").stdout)
}

impl Deref for Azurite {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

impl DerefMut for Azurite {
    fn deref_mut(&mut self) -> &mut Daemon {
        &mut self.daemon
    }
}

impl fmt::Debug for Azurite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.daemon.fmt(f)
    }
}
