//! Running a client program against a server.

use std::fmt;
use std::process::{ExitStatus, Stdio};

use backstay_core::{Error, ErrorKind, Result};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::Program;
use super::pass_file::PassFile;
use crate::connect::{PgConnect, Roots, Tls};

/// Lines of what a program said that are kept, the last ones, and the longest of them.
const LINES: usize = 50;
const LINE: usize = 2_000;

/// A program at work. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Child {
    name: String,
    child: tokio::process::Child,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    said: JoinHandle<Said>,
    _password: Option<PassFile>,
}

/// What a program said on standard error: the last lines of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) lines: Vec<String>,
    pub(crate) left_out: u64,
    /// The first line that tells an error, kept whatever came after it.
    pub(crate) error: Option<String>,
}

/// Starts `program`. It reads and writes pipes, and its environment has nothing of ours but what it needs.
///
/// # Errors
/// [`Other`](ErrorKind::Other) if it cannot be run, and what the source of the password answers.
pub(crate) async fn start(program: &Program, arguments: &[String], server: Option<&PgConnect>) -> Result<Child> {
    let name = program.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let mut command = Command::new(&program.path);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // Variables of libpq's that the caller's environment may have would decide where it connects, its locale in which
    // language the program speaks.
    command.env_clear().env("LC_ALL", "C").envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.envs(std::env::var_os("LD_LIBRARY_PATH").map(|path| ("LD_LIBRARY_PATH", path)));
    let mut password = None;
    if let Some(server) = server {
        password = server.password_now().await?.map(|secret| PassFile::new(&secret)).transpose()?;
        command.envs(variables(server, program)?);
        // Libpq would look for a file of its own where none is named.
        command.env("PGPASSFILE", password.as_ref().map_or("/dev/null".as_ref(), |file| file.path().as_os_str()));
    }
    let mut child = command.spawn().map_err(|error| {
        Error::new(ErrorKind::Other, "the program cannot be run").with("program", program.path.display()).because(error)
    })?;
    child.stdin.iter().for_each(enlarge);
    child.stdout.iter().for_each(enlarge);
    let said = tokio::spawn(listen(name.clone(), child.stderr.take()));
    Ok(Child { name, stdin: child.stdin.take(), stdout: child.stdout.take(), child, said, _password: password })
}

/// Room for much at once, or reader and writer wake each other up for every 64 KiB. A system that does not allow it works on
/// as it is.
#[cfg(target_os = "linux")]
fn enlarge(pipe: &impl std::os::fd::AsFd) {
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, 1 << 20);
}

#[cfg(not(target_os = "linux"))]
fn enlarge<T>(_: &T) {}

impl Child {
    /// Waits for its end.
    ///
    /// # Errors
    /// Any end but success, by what it said: see [`Said`].
    pub(crate) async fn end(mut self) -> Result<Said> {
        drop(self.stdin.take());
        drop(self.stdout.take());
        let status = self.child.wait().await.map_err(|error| {
            Error::new(ErrorKind::Other, "the program cannot be waited for").with("program", &self.name).because(error)
        })?;
        let said = self.said.await.unwrap_or_default();
        if status.success() { Ok(said) } else { Err(said.failure(&self.name, status)) }
    }
}

impl Said {
    /// The error of a program that told one, and yet ended as if nothing had happened.
    pub(crate) fn told_error(&self, name: &str) -> Result<()> {
        match &self.error {
            None => Ok(()),
            Some(line) => Err(Error::new(kind_of(&self.lines), format!("{name} succeeded, but told an error: {line}"))),
        }
    }

    /// The error of a program that ended so.
    fn failure(&self, name: &str, status: ExitStatus) -> Error {
        Error::new(kind_of(&self.lines), format!("{name} failed: {self}")).with("ended with", status)
    }
}

/// As one line; what was left out is told.
impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lines.is_empty() {
            return f.write_str("it said nothing");
        }
        if self.left_out > 0 {
            write!(f, "({} lines left out) ", self.left_out)?;
        }
        f.write_str(&self.lines.join("; "))
    }
}

/// What the program's words tell. Its own are English, because its locale is C. What it repeats of the server is in the
/// server's `lc_messages`, which only a super-user may choose: in another language it tells no kind.
fn kind_of(lines: &[String]) -> ErrorKind {
    let says = |words: &str| lines.iter().any(|line| line.contains(words));
    if says("due to conflict with recovery") {
        return ErrorKind::Conflict;
    }
    if says("password authentication failed") || says("permission denied") || says("no pg_hba.conf entry") {
        return ErrorKind::Denied;
    }
    if says("server closed the connection") || says("Connection refused") || says("terminating connection") {
        return ErrorKind::Unavailable;
    }
    if says("No space left on device") || says("Check free disk space") || says("too many clients") {
        return ErrorKind::Exhausted;
    }
    if says("canceling statement due to lock timeout") || says("could not obtain lock") {
        return ErrorKind::Busy;
    }
    ErrorKind::Other
}

/// Variables that libpq reads; none of them is a secret.
fn variables(server: &PgConnect, program: &Program) -> Result<Vec<(&'static str, String)>> {
    let mut variables = vec![
        ("PGHOST", server.host.clone()),
        ("PGPORT", server.port.to_string()),
        ("PGUSER", server.user.clone()),
        ("PGDATABASE", server.database.clone()),
        ("PGAPPNAME", server.application_name.clone()),
        ("PGCONNECT_TIMEOUT", server.connect_timeout.as_secs().max(2).to_string()),
        ("PGCLIENTENCODING", "UTF8".to_owned()),
    ];
    let mode = match &server.tls {
        _ if server.is_socket() => "disable",
        Tls::DangerPlain => "disable",
        Tls::DangerUnverified => "require",
        Tls::VerifyFull(roots) => {
            variables.push(("PGSSLROOTCERT", roots_for(roots, program)?));
            "verify-full"
        }
    };
    variables.push(("PGSSLMODE", mode.to_owned()));
    Ok(variables)
}

/// Files with all that a machine trusts, as distributions have them.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/opt/homebrew/etc/ca-certificates/cert.pem",
];

fn roots_for(roots: &Roots, program: &Program) -> Result<String> {
    match roots {
        Roots::File(path) => Ok(path.display().to_string()),
        // Libpq knows the machine's own roots from version 16 on.
        Roots::System if program.version.major >= 16 => Ok("system".to_owned()),
        Roots::System => {
            let bundle = BUNDLES.iter().find(|path| std::path::Path::new(path).is_file());
            bundle.map(ToString::to_string).ok_or_else(|| {
                Error::new(ErrorKind::NotFound, "no file with the machine's root certificates was found")
                    .advise("name one by `Tls::VerifyFull(Roots::File(..))`")
            })
        }
    }
}

/// Reads to the end whatever comes: a program whose words nobody reads stands still.
async fn listen(name: String, stderr: Option<ChildStderr>) -> Said {
    let mut said = Said::default();
    let Some(stderr) = stderr else { return said };
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    let warning = format!("{name}: warning:");
    loop {
        line.clear();
        match next_line(&mut reader, &mut line).await {
            Ok(true) => {
                if said.lines.len() == LINES {
                    said.lines.remove(0);
                    said.left_out += 1;
                }
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                // A warning may name anything, a table called "error:" too.
                if said.error.is_none() && line.contains("error:") && !line.starts_with(&warning) {
                    said.error = Some(line.clone());
                }
                said.lines.push(line);
            }
            Ok(false) | Err(_) => return said,
        }
    }
}

/// The beginning of the next line; the rest of a long one is passed over.
async fn next_line(reader: &mut BufReader<ChildStderr>, line: &mut Vec<u8>) -> std::io::Result<bool> {
    let mut any = false;
    loop {
        let bytes = reader.fill_buf().await?;
        if bytes.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(bytes.len(), |end| end + 1);
        line.extend_from_slice(&bytes[..taken.min(LINE.saturating_sub(line.len()))]);
        reader.consume(taken);
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::find::Version;

    async fn run(script: &str) -> Result<Said> {
        let program = Program { path: "/bin/sh".into(), version: Version { major: 18, minor: 0 } };
        start(&program, &["-c".to_owned(), script.to_owned()], None).await?.end().await
    }

    #[tokio::test]
    async fn whatever_a_program_says_does_not_hold_it_up_and_the_last_words_are_kept() {
        let said =
            run("i=0; while [ $i -lt 3000 ]; do echo \"warning $i: $PATH\" >&2; i=$((i+1)); done").await.unwrap();
        assert_eq!((said.lines.len(), said.left_out), (LINES, 3000 - LINES as u64));
        assert!(said.lines[LINES - 1].starts_with("warning 2999"));
        let long = run("head -c 100000 /dev/zero | tr '\\0' x >&2").await.unwrap();
        assert_eq!(long.lines[0].len(), LINE);
    }

    #[tokio::test]
    async fn any_end_but_success_is_an_error_with_the_programs_words() {
        let error =
            run("echo 'pg_dump: error: server closed the connection unexpectedly' >&2; exit 1").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("sh failed: pg_dump: error: server closed"), "{error}");
        let killed = run("kill -9 $$").await.unwrap_err();
        assert!(killed.to_string().contains("signal: 9"), "{killed}");
    }

    #[tokio::test]
    async fn an_error_among_thousands_of_warnings_is_kept_and_a_warning_is_none() {
        let said = run("echo 'sh: error: a row' >&2; yes 'sh: warning: \"error:\"' | head -n 500 >&2").await.unwrap();
        assert_eq!(said.error.as_deref(), Some("sh: error: a row"));
        assert!(said.told_error("sh").unwrap_err().to_string().contains("told an error: sh: error: a row"));
        let warned = run("yes 'sh: warning: \"error:\"' | head -n 500 >&2").await.unwrap();
        assert!(warned.told_error("sh").is_ok());
    }

    #[tokio::test]
    async fn the_environment_has_only_what_is_needed() {
        let said = run("env >&2").await.unwrap();
        let names: Vec<&str> =
            said.lines.iter().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        let known = ["LC_ALL", "PATH", "LD_LIBRARY_PATH", "PWD", "SHLVL", "_", "OLDPWD"];
        assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
        assert!(said.lines.iter().any(|line| line == "LC_ALL=C"), "its errors are found by English words: {said}");
    }
}
