//! Secrets of AWS Secrets Manager: protected, lost in two ways, brought back, checked.
//!
//! ```text
//! cargo xtask example secrets             starts a server that plays AWS
//! AWS_PROFILE=sandbox cargo run --features aws --example secrets
//! ```
//!
//! With AWS's own program `aws` it makes two secrets, `backstay-example/db` and `backstay-example/api`, and deletes them at its
//! end. It ends non-zero if anything is not as it should be.

use std::error::Error;
use std::io::Write;
use std::process::{Command, ExitCode, Stdio};

use backstay::aws::secrets::SecretChoice;
use backstay::aws::{Secrets, SecretsManager, SecretsRestore};
use backstay::source::ImportAction;
use backstay::{Backstay, Clock, ErrorKind, Keep, Keyring, LocalStore, SystemClock, Tier, Vault};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const DB: &str = "backstay-example/db";
const API: &str = "backstay-example/api";

#[tokio::main]
async fn main() -> ExitCode {
    if let Err(error) = make() {
        eprintln!("the secrets were not made: {error}");
        return ExitCode::FAILURE;
    }
    let told = story().await;
    for name in [DB, API] {
        // One that the story lost is no matter.
        let _ = aws(&["delete-secret", "--secret-id", name, "--force-delete-without-recovery"], "");
    }
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nthe story broke off: {error}");
            ExitCode::FAILURE
        }
    }
}

fn make() -> Result<()> {
    aws(&["create-secret", "--name", DB, "--secret-string", "file:///dev/stdin"], "first")?;
    aws(&["put-secret-value", "--secret-id", DB, "--secret-string", "file:///dev/stdin"], "second")?;
    aws(&["create-secret", "--name", API, "--secret-string", "file:///dev/stdin"], "token").map(drop)
}

async fn story() -> Result<()> {
    let place = tempfile::tempdir()?;
    println!("1. Into a vault that is encrypted; another one would be refused");
    let manager = SecretsManager::builder().build().await?;
    let chosen = SecretChoice::prefix("backstay-example/");
    let vault =
        Vault::create(LocalStore::create(place.path().join("vault"))?).keyring(&Keyring::generate()?).build().await?;
    let backstay = Backstay::builder("shop", vault)
        .export("secrets", Secrets::new(&manager).choose(chosen.clone()))
        .tier(Tier::new("daily").keep(Keep::daily(30)))
        .build()?;
    let point = backstay.backup("daily").await?;
    println!("{}\n", backstay.explain(&point.id).await?);

    println!("2. One is deleted, and is in its recovery window; the other one is gone");
    aws(&["delete-secret", "--secret-id", API, "--recovery-window-in-days", "7"], "")?;
    aws(&["delete-secret", "--secret-id", DB, "--force-delete-without-recovery"], "")?;
    let restore = SecretsRestore::new(&manager);
    let plan = backstay.restore(&point.id).component("secrets").into(restore.clone()).plan().await?;
    println!("{plan}\n");
    let report = plan.apply().await?;
    println!("{report}\n");
    expect(report.import.problems.is_empty(), "not both are restored")?;
    expect(read(DB, "AWSCURRENT")? == "second" && read(DB, "AWSPREVIOUS")? == "first", "the database's are not back")?;
    expect(read(API, "AWSCURRENT")? == "token", "the token is not back")?;

    println!("3. Somebody changes one: it stays as it is, unless told");
    aws(&["put-secret-value", "--secret-id", API, "--secret-string", "file:///dev/stdin"], "newer")?;
    let plan = backstay.restore(&point.id).component("secrets").into(restore.clone()).plan().await?;
    println!("{plan}\n");
    expect(plan.import.count(ImportAction::Conflict) == 1, "it is no conflict")?;
    match plan.apply().await {
        Err(error) if error.kind() == ErrorKind::Partial => println!("{error}\n"),
        other => return Err(format!("what was not restored is no error: {other:?}").into()),
    }
    expect(read(API, "AWSCURRENT")? == "newer", "the newer one was replaced")?;

    println!("4. Beside it");
    let beside = restore.rename(API, "backstay-example/beside");
    let plan = backstay.restore(&point.id).component("secrets").into(beside).plan().await?;
    println!("{plan}\n");
    expect(plan.import.count(ImportAction::Create) == 1, "the old token would not be made beside the new one")?;

    println!("5. Replicas and rotation");
    println!("{}", manager.check_replicas(&chosen, &[]).await?);
    println!("{}", manager.rotation(&chosen, SystemClock.now()).await?);
    Ok(())
}

fn expect(holds: bool, otherwise: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

fn read(name: &str, stage: &str) -> Result<String> {
    let arguments = ["get-secret-value", "--secret-id", name, "--version-stage", stage];
    aws(&[&arguments[..], &["--query", "SecretString", "--output", "text"]].concat(), "")
}

/// Runs `aws secretsmanager`. A value goes by its input: arguments can be seen by all.
fn aws(arguments: &[&str], input: &str) -> Result<String> {
    let mut command = Command::new("aws");
    command.arg("secretsmanager").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("`aws`, AWS's own program: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("aws {}: {}", arguments[0], String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
