//! versitygw: objects are files in a folder. Of all servers here it does most as AWS does.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::daemon::How;
use crate::place::{Folder, new_password, run};
use crate::port::{answers, listens};
use crate::process::clean;
use crate::program::Program;
use crate::s3::server::{Keys, Server, folder_in};

/// A gateway of its own. It drops storage classes and encryption headers in silence, and cannot have both a key `a` and a key
/// `a/b`.
#[derive(Debug)]
pub struct Versitygw(Server);

const PROGRAM: &str = "bin/versitygw";
// The folders of objects, of their versions, and of users.
const OBJECTS: &str = "objects";
const VERSIONS: &str = "versions";
const USERS: &str = "users";

impl Versitygw {
    /// The program.
    pub fn program() -> Program {
        Program::new("versitygw", "1.8.0")
    }

    /// Starts one without versions, locks and further users.
    pub fn start() -> Self {
        let home = Folder::new("versitygw-");
        folder_in(home.path(), OBJECTS);
        Self::over(home.into(), Keys::new())
    }

    /// Starts one whose buckets can have versions and object lock, and that knows [users](Self::user) with policies.
    pub fn with_versions_and_users() -> Self {
        let home = Folder::new("versitygw-");
        for name in [OBJECTS, VERSIONS, USERS] {
            folder_in(home.path(), name);
        }
        Self::over(home.into(), Keys::new())
    }

    /// Starts another gateway over the same folders with the same users, as two hosts over one file system would be.
    #[must_use]
    pub fn second(&self) -> Self {
        Self::over(Arc::clone(self.home()), self.keys().clone())
    }

    /// Flips the lowest bit of a byte of an object, as a failing disk does.
    ///
    /// # Panics
    ///
    /// If there is no such byte.
    pub fn flip_stored(&self, bucket: &str, key: &str, offset: usize) {
        let file = self.home().path().join(OBJECTS).join(bucket).join(key);
        let mut content = fs::read(&file).expect("the object is a file");
        content[offset] ^= 1;
        fs::write(&file, content).expect("our own folder");
    }

    /// Makes a user who may nothing until a bucket's policy names them as its principal. Returns access key and secret key;
    /// the former is the name.
    ///
    /// # Panics
    ///
    /// If there is one of this name, or the gateway was started without users.
    pub fn user(&self, name: &str) -> (String, String) {
        let secret = new_password();
        let mut admin = clean(&Self::program().file(PROGRAM), self.home().path());
        admin.args(["admin", "--allow-insecure", "--endpoint-url", &self.endpoint(), "create-user", "--role", "user"]);
        admin.args(["--access", name, "--secret", &secret]);
        admin.env("ADMIN_ACCESS_KEY", self.access_key()).env("ADMIN_SECRET_KEY", self.secret_key());
        run(&mut admin);
        (name.to_owned(), secret)
    }

    fn over(home: Arc<Folder>, keys: Keys) -> Self {
        let (path, for_command) = (home.path().to_owned(), keys.clone());
        let how = How {
            command: Box::new(move |port| command(&path, &for_command, port)),
            ready: Box::new(|pid, port| listens(pid, port) && answers(port, "/health")),
        };
        Self(Server::start("versitygw", home, keys, how))
    }
}

fn command(home: &Path, keys: &Keys, port: u16) -> Command {
    let [objects, versions, users] = [OBJECTS, VERSIONS, USERS].map(|name| home.join(name));
    let mut command = clean(&Versitygw::program().file(PROGRAM), home);
    command.env("ROOT_ACCESS_KEY", &keys.access).env("ROOT_SECRET_KEY", &keys.secret);
    command.args(["--port", &format!("127.0.0.1:{port}"), "--quiet", "--health", "/health"]);
    if fs::exists(&users).expect("our own folder") {
        command.arg("--iam-dir").arg(users);
    }
    command.arg("posix");
    if fs::exists(&versions).expect("our own folder") {
        command.arg("--versioning-dir").arg(versions);
    }
    command.arg(objects);
    command
}

impl Deref for Versitygw {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

impl DerefMut for Versitygw {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.0
    }
}
