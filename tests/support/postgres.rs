//! PostgreSQL in a simulated world: the server is real, the vault is in memory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use backstay::postgres::{DatabaseFacts, PgConnect, PgDump};
use backstay::source::{ExportReport, ExportRequest, ResourceExporter};
use backstay::{Backstay, BackupReport, Error, Event, Keep, Observer, Result, Tier};
use backstay_test_servers::postgres::Server;
use backstay_testkit::items::Items;

use super::World;

pub fn connect(server: &Server) -> PgConnect {
    connect_by(server, server.port())
}

/// By another port: a proxy may listen there.
pub fn connect_by(server: &Server, port: u16) -> PgConnect {
    server.url_by(port, "postgres").parse().expect("a URL")
}

/// All databases, by the programs of the server's own version.
pub fn dump(server: &Server) -> PgDump {
    PgDump::new(connect(server)).programs_in(server.bin())
}

/// A database `name` with a table of so many rows of a kilobyte.
pub fn fill(server: &Server, name: &str, rows: u32) {
    server.psql("postgres", &format!("CREATE DATABASE \"{name}\""));
    server.psql(
        name,
        &format!("CREATE TABLE big AS SELECT i, repeat(md5(i::text), 30) AS text FROM generate_series(1, {rows}) AS i"),
    );
}

pub async fn export(dump: &PgDump) -> (Items, Result<ExportReport>) {
    let items = Items::new("db", "postgres.dump");
    let request = ExportRequest::new(
        "db".parse().expect("a name"),
        "test/manual/20261120t064200z-abcdefgh".parse().expect("an id"),
        backstay::jiff::Timestamp::UNIX_EPOCH,
    );
    let report = dump.export(&request, &items).await;
    (items, report)
}

pub fn names(items: &Items) -> Vec<String> {
    items.infos().into_iter().map(|item| item.name).collect()
}

pub fn facts(items: &Items, database: &str) -> DatabaseFacts {
    let name = format!("databases/{database}");
    let item = items.infos().into_iter().find(|item| item.name == name).expect("an item");
    DatabaseFacts::of(&item.facts).expect("facts").expect("of a database")
}

/// What `pg_restore` says of an archive that it reads to its end.
pub fn pg_restore(server: &Server, arguments: &[&str], archive: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("archive");
    fs::write(&file, archive).expect("room");
    let mut command = server.client("pg_restore", "postgres");
    let output = command.args(arguments).arg(&file).stdin(Stdio::null()).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A folder with a `pg_dump` that is this shell script; `$REAL` is the server's own.
pub fn scripted(server: &Server, script: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let real = server.bin().join("pg_dump");
    let text = format!(
        "#!/bin/sh\nREAL='{}'; HERE='{}'; BIN='{}'\n[ \"$1\" = --version ] && exec \"$REAL\" --version\n{script}\n",
        real.display(),
        folder.path().display(),
        server.bin().display(),
    );
    write_program(&folder.path().join("pg_dump"), &text);
    folder
}

pub fn write_program(path: &Path, text: &str) {
    fs::write(path, text).expect("room");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("ours");
}

pub async fn backstay(world: &World, dump: PgDump, observer: impl Observer) -> Backstay {
    Backstay::builder("prod-eu", world.vault().await)
        .export("db", dump)
        .tier(Tier::new("daily").keep(Keep::last(9)))
        .observe(observer)
        .build()
        .expect("well formed")
}

/// The report of a partial point.
pub fn partial(error: &Error) -> &BackupReport {
    error.payload().unwrap_or_else(|| panic!("no point was made: {error}"))
}

/// Does something once, in the middle of an item: when its first 8 MiB are written. The dump stands still meanwhile.
#[derive(Clone, Debug)]
pub struct Strike {
    blow: Arc<Mutex<Blow>>,
}

struct Blow(Option<Box<dyn FnOnce() + Send>>);

impl std::fmt::Debug for Blow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Blow")
    }
}

impl Strike {
    pub fn with(blow: impl FnOnce() + Send + 'static) -> Self {
        Self { blow: Arc::new(Mutex::new(Blow(Some(Box::new(blow))))) }
    }

    pub fn fell(&self) -> bool {
        self.blow.lock().expect("no panic").0.is_none()
    }
}

impl Observer for Strike {
    fn event(&self, event: &Event) {
        if matches!(event, Event::ItemProgress { .. }) {
            let blow = self.blow.lock().expect("no panic").0.take();
            if let Some(blow) = blow {
                blow();
            }
        }
    }
}

/// Processes of `pg_dump` that talk to this port.
pub fn pg_dumps(port: u16) -> Vec<u32> {
    let ours = |pid: &u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let wanted = format!("PGPORT={port}");
        name.trim() == "pg_dump" && environment.split(|byte| *byte == 0).any(|pair| pair == wanted.as_bytes())
    };
    processes().into_iter().filter(ours).collect()
}

pub fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("Linux");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

pub fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("small")).expect("not 0");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is ours");
}

pub fn path(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().to_owned()
}
