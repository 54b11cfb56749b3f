//! A server's process: on a port of its own, and gone when we are.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::process::Signal;

use crate::poll::{until, within_a_minute};
use crate::port::free_port;
use crate::process::{kill_all, signal, spawn};

/// A process that serves a port of 127.0.0.1, the same for its whole life. Dropped, it is killed; where a test fails, the end
/// of its log is shown.
pub struct Daemon {
    name: String,
    log: PathBuf,
    how: How,
    port: u16,
    child: Option<Child>,
}

/// How a daemon is started, and how it is known to take requests.
pub(crate) struct How {
    /// What starts it on a port.
    pub(crate) command: Box<dyn Fn(u16) -> Command + Send + Sync>,
    /// Whether the process of this id takes requests on this port.
    pub(crate) ready: Box<dyn Fn(u32, u16) -> bool + Send + Sync>,
}

impl Daemon {
    /// One that does not run yet. `name` is for people.
    pub(crate) fn new(name: &str, log: PathBuf, how: How) -> Self {
        Self { name: name.to_owned(), log, how, port: 0, child: None }
    }

    /// Starts it on a free port.
    pub(crate) fn start(&mut self) {
        let mut tries = 0..5;
        loop {
            self.port = free_port();
            match self.launch() {
                Ok(()) => return,
                // Someone else took the port in between.
                Err(log) if is_port_taken(&log) && tries.next().is_some() => {}
                Err(log) => panic!("{} does not start:\n{log}", self.name),
            }
        }
    }

    /// Its port on 127.0.0.1, the same for its whole life.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The id of its process.
    ///
    /// # Panics
    ///
    /// If it was stopped or killed.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Ends it in good order. Its data stay.
    pub fn stop(&mut self) {
        self.end_by(Signal::TERM);
    }

    /// Kills it and all its processes at once, as a power cut would. Its data stay.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            kill_all(&mut child);
        }
    }

    /// Starts it again after [`kill`](Self::kill) or [`stop`](Self::stop), on the same port, and waits until it takes
    /// requests.
    ///
    /// # Panics
    ///
    /// If it runs already, or does not start.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "{self:?} runs already");
        if let Err(log) = self.launch() {
            panic!("{self:?} does not start again:\n{log}");
        }
    }

    pub(crate) fn end_by(&mut self, how: Signal) {
        if let Some(mut child) = self.child.take() {
            signal(&child, how);
            until("a server that ends", || child.try_wait().expect("it is our child"));
        }
    }

    /// The log, if it does not start.
    fn launch(&mut self) -> Result<(), String> {
        let before = self.log().len();
        let log = File::options().create(true).append(true).open(&self.log).expect("a log");
        let mut command = (self.how.command)(self.port);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        // A key pressed in the terminal is meant for the tests, who end it themselves.
        command.process_group(0);
        let mut child = spawn(command);
        let ready = within_a_minute(|| match child.try_wait().expect("it is our child") {
            Some(_) => Some(false),
            None => (self.how.ready)(child.id(), self.port).then_some(true),
        });
        if ready != Some(true) {
            kill_all(&mut child);
            return Err(self.log().split_off(before));
        }
        self.child = Some(child);
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the log of {self:?} ends with:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on port {}", self.name, self.port)
    }
}

/// As PostgreSQL, Go, Python and Node.js put it.
fn is_port_taken(log: &str) -> bool {
    let log = log.to_lowercase();
    log.contains("address already in use") || log.contains("could not bind") || log.contains("eaddrinuse")
}
