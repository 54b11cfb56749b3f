//! SIGTERM, as a container gets it: commits nothing, thaws, ends non-zero.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use backstay::source::{Hook, HookContext};
use backstay::{Backstay, ErrorKind, Keep, Keyring, LocalStore, Result, Tier, Vault};
use backstay_testkit::mock::{ExportFault, ExportScript, MockExporter};

/// The folder that makes this program the child.
const FOLDER: &str = "BACKSTAY_SIGNAL_TEST_FOLDER";

/// Leaves a file for each thing that it does.
#[derive(Debug)]
struct Freeze(PathBuf);

impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("freeze")
    }
}

#[async_trait]
impl Hook for Freeze {
    async fn before(&self, _: &HookContext) -> Result<()> {
        std::fs::write(self.0.join("frozen"), "").expect("the folder is there");
        Ok(())
    }

    async fn after(&self, _: &HookContext) -> Result<()> {
        std::fs::write(self.0.join("thawed"), "").expect("the folder is there");
        Ok(())
    }
}

/// A backup program whose database never ends.
async fn child(folder: &Path) -> Result<ExitCode> {
    let keyring = Keyring::create(folder.join("keys"))?;
    let vault = Vault::create(LocalStore::create(folder.join("vault"))?).keyring(&keyring).build().await?;
    let hangs = ExportScript::new([("rows", "some")]).fault(ExportFault::Hang);
    let backstay = Backstay::builder("prod-eu", vault)
        .export("db", MockExporter::scripted(hangs))
        .hook(["db"], Freeze(folder.to_owned()))
        .tier(Tier::new("daily").keep(Keep::last(1)))
        .stop_on_signals()
        .build()?;
    match backstay.backup("daily").await {
        Err(error) if error.kind() == ErrorKind::Cancelled && error.to_string().contains("SIGTERM") => {
            Ok(ExitCode::from(3))
        }
        other => {
            eprintln!("not cancelled: {other:?}");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if let Some(folder) = std::env::var_os(FOLDER) {
        return runtime.block_on(child(folder.as_ref())).expect("the child runs");
    }
    let place = tempfile::tempdir().expect("a folder");
    let program = std::env::current_exe().expect("this program");
    let mut child =
        Command::new(program).env(FOLDER, place.path()).stderr(Stdio::inherit()).spawn().expect("the child starts");
    let frozen = || place.path().join("frozen").exists();
    runtime.block_on(until(frozen, "the child freezes"));
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("the signal is sent");
    let status = child.wait().expect("the child ends");
    assert_eq!(status.code(), Some(3), "{status}");
    assert!(place.path().join("thawed").exists(), "not thawed");
    let points = std::fs::read_dir(place.path().join("vault/points")).map_or(0, Iterator::count);
    assert_eq!(points, 0, "something was committed");
    // What a test harness would say; this one has its own `main`, to be parent and child.
    println!("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
    ExitCode::SUCCESS
}

#[expect(clippy::disallowed_methods, reason = "it waits for another process, whose time is the machine's")]
async fn until(condition: impl Fn() -> bool, what: &str) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}
