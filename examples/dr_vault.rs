//! A second vault in another bucket, as it would be in another region or account: pulled from there, and all that is left
//! when the first one is gone.
//!
//! ```text
//! cargo xtask example dr_vault                   on a server of the tests
//! cargo run --features aws --example dr_vault    on the one that AWS_ENDPOINT_URL and the rest of the environment name
//! ```
//!
//! It makes two buckets with the `aws` program, which stay with what is in them, and ends non-zero if anything is not as it
//! should be.

use std::error::Error;
use std::process::{Command, ExitCode};

use backstay::aws::S3Store;
use backstay::engine::Replicator;
use backstay::vault::Role;
use backstay::{Backstay, Directory, Keep, Keyring, Tier, Vault};
use backstay_testkit::tree;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    match story().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nthe story broke off: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn story() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    tree::awkward(path("data"))?;
    let name = |what: &str| format!("backstay-{what}-{}", std::process::id());
    let (here, there) = (name("eu-west-1"), name("eu-central-1"));
    for bucket in [&here, &there] {
        aws(&["s3", "mb", &format!("s3://{bucket}")])?;
    }

    println!("1. A vault here, and a replica there with keys of its own");
    let keys = Keyring::create(path("keys"))?;
    let mut keys_there = Keyring::create(path("keys-there"))?;
    let vault = Vault::create(S3Store::from_env(&here).await?).keyring(&keys).build().await?;
    let (origin, signers) = (keys.vault_id().clone(), keys.allowed_signers().clone());
    let replica = Vault::create(S3Store::from_env(&there).await?).keyring(&keys_there);
    let replica = replica.origin(origin.clone(), &signers).build().await?;
    let backstay = Backstay::builder("this-host", vault)
        .export("files", Directory::new(path("data")))
        .tier(Tier::new("daily").keep(Keep::daily(30)).replicate_to("dr", Keep::daily(90)))
        .replica("dr", replica)
        .build()?;
    let point = backstay.backup("daily").await?.id;
    println!("{}", backstay.status().await?);

    println!("\n2. The replicator runs there, may only read here, and pulls");
    let copier = keys_there.issue(Role::Replicator, &"copier".parse()?)?;
    let from = Vault::open_read_only(S3Store::from_env(&here).await?).trust(signers.clone()).build().await?;
    let to = Vault::open_as(Role::Replicator, S3Store::from_env(&there).await?).keys(&copier);
    let plan = Replicator::new(from, to.origin(origin, &signers).build().await?).plan().await?;
    println!("{plan}");
    expect(plan.apply().await?.copied == [point.clone()], "the point was not copied")?;
    println!("{}", backstay.status().await?);

    println!("\n3. The first vault is lost, bucket and all");
    aws(&["s3", "rb", "--force", &format!("s3://{here}")])?;
    expect(backstay.verify(&point).await.is_err(), "the vault is still there")?;

    println!("\n4. A restore from the second alone, with the first one's keys from the safe");
    let left = Vault::open_read_only(S3Store::from_env(&there).await?)
        .unlock_with(keys.custodian().clone())
        .trust(keys_there.allowed_signers().clone())
        .origin(keys.vault_id().clone(), &signers)
        .build()
        .await?;
    let newest = left.points().latest("files").await?.id;
    expect(newest == point, "the newest point is another one")?;
    left.restore(&newest).component("files").into(Directory::new(path("back"))).plan().await?.apply().await?;
    let differences = tree::diff(path("data"), path("back"))?;
    expect(differences.is_empty(), &format!("it differs: {differences:?}"))?;
    println!("{newest} came back equal");
    Ok(())
}

fn aws(args: &[&str]) -> Result<()> {
    let output = Command::new("aws").args(args).output()?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    expect(output.status.success(), &format!("aws {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr)))
}

fn expect(holds: bool, otherwise: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}
