//! The S3 server of our own, quick enough that clients are measured and not the server.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use backstay_test_servers::python::ALONE;

use super::side::built;
use crate::result::{Doing, Result};

/// The bucket that it starts with.
pub(super) const BUCKET: &str = "bench";

/// The server's program.
pub(super) struct OwnS3(PathBuf);

/// A server in a process of its own. It ends when this is dropped.
pub(super) struct Serving {
    child: Child,
    /// How clients find it.
    pub(super) env: Vec<(String, String)>,
}

impl OwnS3 {
    pub(super) fn build() -> Result<Self> {
        built("backstay-test-s3", "serve").map(Self)
    }

    pub(super) fn start(&self) -> Result<Serving> {
        let mut command = Command::new(&self.0);
        command.arg(BUCKET).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().doing("start the S3 server")?;
        let output = child.stdout.take().ok_or("the S3 server has no output")?;
        let mut env = alone();
        for line in BufReader::new(output).lines() {
            let line = line.doing("read the S3 server's environment")?;
            let Some((name, value)) = line.split_once('=') else { break };
            env.push((name.to_owned(), value.to_owned()));
        }
        Ok(Serving { child, env })
    }
}

/// By no setting of whoever runs this.
pub(super) fn alone() -> Vec<(String, String)> {
    ALONE.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if let Err(error) = self.child.wait() {
            eprintln!("the S3 server: {error}");
        }
    }
}
