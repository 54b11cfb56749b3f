//! Where the password comes from.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use backstay_core::{Error, ErrorKind, Result, Secret};
use zeroize::Zeroizing;

use super::PgConnect;

/// A source of the password.
#[derive(Clone)]
pub(crate) enum Password {
    /// None was named. Libpq's own file is not looked for.
    Absent,
    Known(Secret<String>),
    File(PathBuf),
    Command(Vec<String>),
    Function(Arc<dyn Fn() -> Result<Secret<String>> + Send + Sync>),
    /// A file with a line for each server, as libpq's `~/.pgpass`.
    PassFile(PathBuf),
}

impl PgConnect {
    /// The password as it is now, if there is one.
    pub(crate) async fn password_now(&self) -> Result<Option<Secret<String>>> {
        let found = match &self.password {
            Password::Absent => return Ok(None),
            Password::Known(secret) => Ok(secret.clone()),
            Password::Function(get) => get(),
            Password::File(path) => read(path).and_then(|text| first_line(&text)),
            Password::Command(command) => printed(command).await,
            Password::PassFile(path) => return self.look_up(&read(path)?),
        };
        found.map(Some).map_err(|error| error.operation("get the password").with("server", self))
    }

    /// The line `host:port:database:user:password` that fits; `*` fits all, a backslash stands before `:` and itself.
    fn look_up(&self, text: &str) -> Result<Option<Secret<String>>> {
        // Libpq looks a socket in the default folder up as localhost.
        let port = self.port.to_string();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let fields = fields(line);
            let [host, line_port, database, user, password] = &fields[..] else { continue };
            let fits = |field: &str, value: &str| field == "*" || field == value;
            let is_host = fits(host, &self.host) || (self.is_socket() && host.as_str() == "localhost");
            if is_host && fits(line_port, &port) && fits(database, &self.database) && fits(user, &self.user) {
                return Ok(Some(Secret::new(password.to_string())));
            }
        }
        Ok(None)
    }
}

fn read(path: &Path) -> Result<Zeroizing<String>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            _ => ErrorKind::Other,
        };
        Error::new(kind, "the password's file cannot be read").with("file", path.display()).because(error)
    })?;
    Ok(Zeroizing::new(text))
}

async fn printed(command: &[String]) -> Result<Secret<String>> {
    let [program, arguments @ ..] = command else {
        return Err(Error::new(ErrorKind::Invalid, "the command for the password is empty"));
    };
    let failed = |what: String| Error::new(ErrorKind::Other, what).with("program", program);
    let mut started = tokio::process::Command::new(program);
    let output = started.args(arguments).stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.map_err(|error| failed("the command for the password cannot be run".into()).because(error))?;
    let text = Zeroizing::new(output.stdout);
    if !output.status.success() {
        // What it printed may hold the password, and so may what it said.
        return Err(failed(format!("the command for the password ended with {}", output.status)));
    }
    let text = std::str::from_utf8(&text).map_err(|_| failed("the password is not UTF-8".into()))?;
    first_line(text)
}

fn first_line(text: &str) -> Result<Secret<String>> {
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Secret::new(line.to_owned())),
        _ => Err(Error::new(ErrorKind::Invalid, "the password is empty")),
    }
}

fn fields(line: &str) -> Vec<Zeroizing<String>> {
    let mut fields = vec![Zeroizing::new(String::new())];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let last = fields.len() - 1;
        match c {
            '\\' => fields[last].extend(chars.next()),
            // The password is the last one, whatever is in it.
            ':' if last < 4 => fields.push(Zeroizing::new(String::new())),
            c => fields[last].push(c),
        }
    }
    fields
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("Absent"),
            Self::Known(secret) => secret.fmt(f),
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Command(command) => write!(f, "Command({})", command.first().map_or("", String::as_str)),
            Self::Function(_) => f.write_str("Function(..)"),
            Self::PassFile(path) => write!(f, "PassFile({})", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn now(server: &PgConnect) -> Result<Option<String>> {
        Ok(server.password_now().await?.map(|secret| secret.expose().clone()))
    }

    #[tokio::test]
    async fn each_source_is_asked_anew() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        let server = PgConnect::new("db").password_file(&file);
        assert_eq!(now(&server).await.unwrap_err().kind(), ErrorKind::NotFound);
        for password in ["first", "second"] {
            std::fs::write(&file, format!("{password}\n")).unwrap();
            assert_eq!(now(&server).await.unwrap().as_deref(), Some(password));
        }
        let printed = PgConnect::new("db").password_command(["sh", "-c", "echo from a program"]);
        assert_eq!(now(&printed).await.unwrap().as_deref(), Some("from a program"));
        let given = PgConnect::new("db").password_with(|| Ok(Secret::new("a token".to_owned())));
        assert_eq!(now(&given).await.unwrap().as_deref(), Some("a token"));
        assert_eq!(now(&PgConnect::new("db")).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_a_program_said_is_never_told() {
        let failing = PgConnect::new("db").password_command(["sh", "-c", "echo hunter2; echo hunter2 >&2; exit 3"]);
        let error = format!("{:?}", now(&failing).await.unwrap_err());
        assert!(error.contains("exit status: 3") && !error.contains("hunter2"), "{error}");
    }

    #[tokio::test]
    async fn a_pass_file_is_read_as_libpq_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pgpass");
        std::fs::write(&file, "# a comment\ndb:5432:orders:other:no\ndb:*:*:back\\:up:a\\\\b:c\n*:*:*:*:rest\n")
            .unwrap();
        let server = |user: &str| {
            let mut server = PgConnect::new("db").user(user);
            server.password = Password::PassFile(file.clone());
            server
        };
        assert_eq!(now(&server("back:up")).await.unwrap().as_deref(), Some("a\\b:c"));
        assert_eq!(now(&server("somebody")).await.unwrap().as_deref(), Some("rest"));
    }
}
