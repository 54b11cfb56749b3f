//! The data folder of a new server.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::place::{Account, base, lock, made, random, run};
use crate::postgres::process::as_server;

/// Fills `data`, an empty folder of the server's user, with a new cluster whose superuser `postgres` has this password.
///
/// `initdb` takes seconds, so it runs once per version and its result is copied.
pub(super) fn create(bin: &Path, data: &Path, password: &str) {
    copy(&template(bin), data);
    name_anew(bin, data);
    set_password(bin, data, password);
}

/// Fills `data` with a copy of a running server.
pub(super) fn copy_of(mut base_backup: Command, data: &Path) {
    run(base_backup.args(["--checkpoint=fast", "--wal-method=stream", "--no-sync", "--pgdata"]).arg(data));
    if let Some(account) = Account::postgres() {
        account.own(data);
    }
    fs::write(data.join("standby.signal"), "").expect("a standby says so by a file");
}

/// A folder that the server's user owns and nobody else enters.
pub(super) fn private(path: &Path) {
    fs::create_dir(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    fs::set_permissions(path, Permissions::from_mode(0o700)).expect("it is ours");
    if let Some(account) = Account::postgres() {
        account.own(path);
    }
}

fn template(bin: &Path) -> PathBuf {
    let version = run(Command::new(bin.join("postgres")).arg("--version"));
    let version = version.split_whitespace().nth(2).expect("`postgres (PostgreSQL) VERSION`");
    let templates = base().join("initdb");
    let template = made(&templates).join(version);
    let _alone = lock("initdb");
    if !template.exists() {
        let new = templates.join("new");
        if new.exists() {
            fs::remove_dir_all(&new).expect("what a dead test left can be removed");
        }
        private(&new);
        let mut initdb = as_server(&bin.join("initdb"));
        initdb.args([
            "--username=postgres",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]);
        // A method with passwords wants one; each server gets another before it starts.
        let password = tempfile::NamedTempFile::new_in(&templates).expect("a file");
        fs::write(password.path(), "never used").expect("a file");
        fs::set_permissions(password.path(), Permissions::from_mode(0o644)).expect("it is ours");
        run(initdb.arg("--pwfile").arg(password.path()).arg("--pgdata").arg(&new));
        fs::rename(&new, &template).expect("nobody else makes it");
    }
    template
}

fn copy(template: &Path, data: &Path) {
    run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(template.join(".")).arg(data));
}

/// Gives the cluster a system identifier of its own, so that servers can be told apart as real ones can.
///
/// It is the first field of the control file. Its checksum is wrong then, and so are the identifiers in the log's pages;
/// `pg_resetwal` makes both anew.
fn name_anew(bin: &Path, data: &Path) {
    let control = File::options().write(true).open(data.join("global/pg_control")).expect("a cluster has one");
    let identifier = u64::from_ne_bytes(random()) >> 1;
    control.write_all_at(&identifier.to_ne_bytes(), 0).expect("it is a file");
    run(as_server(&bin.join("pg_resetwal")).arg("--force").arg("--pgdata").arg(data));
}

fn set_password(bin: &Path, data: &Path, password: &str) {
    let mut single = as_server(&bin.join("postgres"));
    single.arg("--single").arg("-F").arg("-D").arg(data).arg("postgres");
    let sql = tempfile::tempfile().expect("a file");
    sql.write_all_at(format!("ALTER ROLE postgres PASSWORD '{password}'\n").as_bytes(), 0).expect("room");
    run(single.stdin(sql));
}
