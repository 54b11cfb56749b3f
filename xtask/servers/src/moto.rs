//! moto: most of AWS, by its names and errors. What it answers about integrity and time proves nothing.

use std::ops::{Deref, DerefMut};

use crate::daemon::How;
use crate::place::Folder;
use crate::port::{answers, listens};
use crate::process::clean;
use crate::python;
use crate::s3::{Keys, Server};

/// A server of its own for all services, regions and accounts. Any keys do, and nothing is kept once it ends.
#[derive(Debug)]
pub struct Moto(Server);

impl Moto {
    /// Starts one.
    pub fn start() -> Self {
        let home = Folder::new("moto-");
        let path = home.path().to_owned();
        let how = How {
            command: Box::new(move |port| {
                let mut command = clean(&python::programs().file("bin/python"), &path);
                command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]);
                command
            }),
            ready: Box::new(|pid, port| listens(pid, port) && answers(port, "/moto-api/data.json")),
        };
        Self(Server::start("moto", home.into(), Keys::new(), how))
    }
}

impl Deref for Moto {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

impl DerefMut for Moto {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.0
    }
}
