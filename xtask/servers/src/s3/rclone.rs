//! rclone: a store that takes conditional writes and ignores the condition.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::Command;

use crate::daemon::How;
use crate::place::Folder;
use crate::port::{answers, listens};
use crate::process::clean;
use crate::program::Program;
use crate::s3::server::{Keys, Server, folder_in};

/// A server of its own, to be refused.
#[derive(Debug)]
pub struct Rclone(Server);

impl Rclone {
    /// The program.
    pub fn program() -> Program {
        Program::new("rclone", "1.75.1")
    }

    /// Starts one.
    pub fn start() -> Self {
        let (home, keys) = (Folder::new("rclone-"), Keys::new());
        folder_in(home.path(), "data");
        let (path, for_command) = (home.path().to_owned(), keys.clone());
        let how = How {
            command: Box::new(move |port| command(&path, &for_command, port)),
            ready: Box::new(|pid, port| listens(pid, port) && answers(port, "/")),
        };
        Self(Server::start("rclone serve s3", home.into(), keys, how))
    }
}

fn command(home: &Path, keys: &Keys, port: u16) -> Command {
    let mut command = clean(&Rclone::program().file("bin/rclone"), home);
    command.args(["serve", "s3", "--addr", &format!("127.0.0.1:{port}")]);
    command.args(["--auth-key", &format!("{},{}", keys.access, keys.secret)]).arg(home.join("data"));
    command
}

impl Deref for Rclone {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

impl DerefMut for Rclone {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.0
    }
}
