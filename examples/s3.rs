//! A vault in a bucket of S3 that somebody empties: every point comes back as of before.
//!
//! ```text
//! cargo xtask example s3                  on a server of the tests
//! cargo run --features aws --example s3   on the one that AWS_ENDPOINT_URL, AWS_REGION and the rest of the environment name
//! ```
//!
//! It makes a bucket of its own with the `aws` program, which stays with all versions in it, and ends non-zero if anything is
//! not as it should be.

use std::error::Error;
use std::process::{Command, ExitCode};

use backstay::aws::{RolePolicy, S3Store};
use backstay::store::{ListEntry, ListOptions, ObjectStore as _, ObjectStoreExt as _, Prefix};
use backstay::vault::Role;
use backstay::{Backstay, Depth, Directory, Keep, Keyring, Tier, Vault};
use backstay_testkit::tree;
use futures_util::TryStreamExt as _;

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
    let (data, back) = (folder.path().join("data"), folder.path().join("back"));
    tree::awkward(&data)?;
    let bucket = format!("backstay-{}", std::process::id());
    aws(&["s3", "mb", &format!("s3://{bucket}")])?;

    println!("1. What the doctor says of a new bucket, and what the set-up would do");
    let store = S3Store::from_env(&bucket).await?;
    println!("{}", store.doctor().await?);
    println!("{}", store.setup().await?);
    // Not every server has all of it; versions they have.
    aws(&["s3api", "put-bucket-versioning", "--bucket", &bucket, "--versioning-configuration", "Status=Enabled"])?;
    let store = S3Store::from_env(&bucket).await?;
    expect(store.capabilities().versions, "the bucket keeps no versions")?;

    println!("\n2. What a backup host may do, and nothing else");
    println!("{:#}", RolePolicy::new(Role::Writer, &bucket).longest_lock_days(35).identity());

    println!("\n3. A vault and two points");
    let keys = Keyring::create(folder.path().join("keys"))?;
    let vault = Vault::create(store.clone()).keyring(&keys).build().await?;
    let backstay = Backstay::builder("this-host", vault)
        .export("files", Directory::new(&data))
        .tier(Tier::new("daily").keep(Keep::daily(30)))
        .build()?;
    let first = backstay.backup("daily").await?.id;
    std::fs::write(data.join("NEW.txt"), "written after the first point\n")?;
    let second = backstay.backup("daily").await?.id;
    println!("{}", backstay.status().await?);
    aws(&["s3", "ls", "--recursive", &format!("s3://{bucket}/points/")])?;
    let well = store.now().await?;

    println!("\n4. Somebody empties the bucket");
    // A second is as fine as a server tells times.
    while store.now().await?.as_second() <= well.as_second() + 1 {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    aws(&["s3", "rm", "--quiet", "--recursive", &format!("s3://{bucket}/")])?;
    let left: Vec<ListEntry> = store.list(&Prefix::new("")?, &ListOptions::default()).try_collect().await?;
    expect(left.is_empty(), "the bucket is not empty")?;
    expect(Vault::open(store.clone()).keyring(&keys).build().await.is_err(), "an emptied vault was opened")?;

    println!("\n5. Everything is there as of {well}");
    let then = Vault::open_read_only(store.as_of(well)?).keyring(&keys).build().await?;
    for point in [&first, &second] {
        then.verify(point).depth(Depth::Decoded).await?;
    }
    let plan = then.restore(&second).component("files").into(Directory::new(&back)).plan().await?;
    plan.apply().await?;
    let differences = tree::diff(&data, &back)?;
    expect(differences.is_empty(), &format!("it differs: {differences:?}"))?;
    println!("the newest point came back equal");
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
