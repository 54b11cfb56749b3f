//! A vault in Azure Blob Storage: made, looked at, written to, proved and read back.
//!
//! ```text
//! cargo xtask example azure               on an emulator of its own
//! AZURE_STORAGE_CONNECTION_STRING=... AZURE_CONTAINER=backups cargo run --features azure --example azure
//! ```
//!
//! In the container it leaves a vault of one point, under a prefix of its own.

use std::error::Error;

use backstay::azure::BlobStore;
use backstay::doctor::Health;
use backstay::store::{ObjectStore, ObjectStoreExt, Prefix};
use backstay::vault::Role;
use backstay::{Backstay, Depth, Directory, ErrorKind, Keep, Keyring, Secret, Tier, Vault};
use backstay_test_servers::azure::Azurite;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (text, emulator) = match std::env::var("AZURE_STORAGE_CONNECTION_STRING") {
        Ok(text) => (text, None),
        Err(_) => {
            let emulator = Azurite::start();
            (emulator.connection_string(), Some(emulator))
        }
    };
    let container = std::env::var("AZURE_CONTAINER").unwrap_or_else(|_| "backups".to_owned());
    // On a machine in Azure: BlobStore::builder(account, container).credential(Credential::managed_identity()).
    let store = BlobStore::from_connection_string(&Secret::new(text), container).build()?;
    store.create_container().await?;

    // What is wrong with the set-up, each with what makes it right. An emulator has little of what one wants.
    let report = store.doctor().await;
    println!("{report}\n");
    if report.worst() == Health::Critical {
        return Err("the container cannot be used".into());
    }

    // What a backup host has to be allowed: to add, and to see names. And what Azure cannot say.
    let account =
        "/subscriptions/SUBSCRIPTION/resourceGroups/GROUP/providers/Microsoft.Storage/storageAccounts/ACCOUNT";
    // One container holds many vaults, each under its prefix.
    let prefix = Prefix::new(format!("shop-{}-{}/", store.now().await?.as_millisecond(), std::process::id()))?;
    println!("{}\n", store.role_definition(Role::Writer, account, &prefix)?);

    let (files, target) = (tempfile::tempdir()?, tempfile::tempdir()?);
    std::fs::write(files.path().join("orders.csv"), "1,an anchor\n2,a line\n".repeat(500_000))?;
    let keyring = Keyring::generate()?;
    let place = || store.clone().prefixed(prefix.clone());
    let vault = Vault::create(place()?).keyring(&keyring).build().await?;
    let backstay = Backstay::builder("shop", vault)
        .export("files", Directory::new(files.path()))
        .tier(Tier::new("daily").keep(Keep::daily(30)))
        .build()?;
    let point = backstay.backup("daily").await?;
    let proof = backstay.verify(&point.id).depth(Depth::Decoded).await?;
    println!("{} is proved to the depth {:?}", point.id, proof.reached.ok_or("nothing was proved")?);

    let reader = Vault::open_read_only(place()?).keyring(&keyring).build().await?;
    let plan = reader.restore(&point.id).into(Directory::new(target.path().join("back"))).plan().await?;
    println!("{plan}");
    plan.apply().await?;
    let read = |folder: &std::path::Path| std::fs::read(folder.join("orders.csv"));
    if read(files.path())? != read(&target.path().join("back"))? {
        return Err("what came back differs".into());
    }

    // A vault is made once: whoever comes second is told, and changes nothing.
    let second = Vault::create(place()?).keyring(&Keyring::generate()?).build().await;
    match second.map_err(|error| error.kind()) {
        Err(ErrorKind::AlreadyExists) => println!("\nthe place holds a vault, and a second one was refused"),
        other => return Err(format!("a second vault was answered with {other:?}").into()),
    }
    drop(emulator);
    Ok(())
}
