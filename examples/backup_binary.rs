//! A backup binary: `backup_binary init|backup|status|prune|verify|restore`, configured by three environment variables.
//!
//! ```text
//! PROTECT=/srv/data VAULT=/mnt/backup KEYS=/etc/backstay cargo run --example backup_binary init
//! ```

use std::env::{args, var};

use backstay::{Backstay, Depth, Directory, Keep, Keyring, LocalStore, Tier, Vault};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let usage = "usage: PROTECT=FOLDER VAULT=FOLDER KEYS=FOLDER backup_binary init|backup|status|verify|prune|restore";
    let Some(command) = args().nth(1) else {
        println!("{usage}");
        return Ok(());
    };
    let (Ok(protect), Ok(place), Ok(keys)) = (var("PROTECT"), var("VAULT"), var("KEYS")) else {
        return Err(usage.into());
    };
    if command == "init" {
        let vault = Vault::create(LocalStore::create(&place)?).keyring(&Keyring::create(&keys)?).build().await?;
        println!("made {vault}\nkeep a copy of {keys} in a safe place: without it nothing can be restored");
        return Ok(());
    }
    let (store, keyring) = (LocalStore::open(&place)?, Keyring::open(&keys)?);
    if let "verify" | "restore" = command.as_str() {
        // Writes nothing, so a disk that is mounted read-only will do.
        let vault = Vault::open_read_only(store).keyring(&keyring).build().await?;
        let newest = vault.points().latest("files").await?.id;
        if command == "verify" {
            println!("{:?}", vault.verify(&newest).depth(Depth::Decoded).await?.reached);
            return Ok(());
        }
        let target = args().nth(2).ok_or("restore into which folder?")?;
        let plan = vault.restore(&newest).into(Directory::new(target)).plan().await?;
        println!("{plan}");
        println!("{:?}", plan.apply().await?);
        return Ok(());
    }
    let vault = Vault::open(store).keyring(&keyring).build().await?;
    let backstay = Backstay::builder("my-host", vault)
        .export("files", Directory::new(&protect))
        .tier(Tier::new("daily").keep(Keep::daily(30).weekly(8)))
        .stop_on_signals()
        .build()?;
    match command.as_str() {
        "backup" => println!("{}", backstay.backup("daily").await?.id),
        "status" => println!("{}", backstay.status().await?),
        "prune" => println!("{:?}", backstay.prune("daily").plan().await?.apply().await?),
        other => return Err(format!("{other:?} is none of init, backup, status, verify, prune, restore").into()),
    }
    Ok(())
}
