//! The day on which the vault is lost: a second one, filled before by a replicator, gives everything back, and the first is
//! rebuilt from it. Then the first is poisoned instead, and nothing of that gets into the second.
//!
//! ```text
//! cargo run --example lost_vault
//! ```
//!
//! It ends non-zero if anything is not as it should be.

use std::error::Error;
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use backstay::engine::{ReplicationReport, Replicator};
use backstay::{Backstay, Depth, Directory, ErrorKind, Keep, Keyring, LocalStore, PointId, Tier, Vault};
use backstay_testkit::tree;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Where everything lies. In earnest the two halves are in two places, and nobody has the keys of both.
struct Place {
    data: PathBuf,
    vault: PathBuf,
    keys: Keyring,
    replica: PathBuf,
    replica_keys: Keyring,
}

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
    let place = Place {
        data: path("data"),
        vault: path("vault"),
        keys: Keyring::create(path("keys"))?,
        replica: path("replica"),
        replica_keys: Keyring::create(path("replica-keys"))?,
    };
    tree::awkward(&place.data)?;

    println!("1. A vault with a point, and a replica of it");
    Vault::create(LocalStore::create(&place.vault)?).keyring(&place.keys).build().await?;
    Vault::create(LocalStore::create(&place.replica)?).keyring(&place.replica_keys).build().await?;
    let first = place.backstay().await?.backup("daily").await?.id;
    println!("{}", place.backstay().await?.status().await?);
    let plan = place.replicator().await?.plan().await?;
    println!("{plan}");
    plan.apply().await?;
    println!("{}", place.backstay().await?.status().await?);

    println!("\n2. The vault is emptied: everything restores from the replica alone");
    fs::remove_dir_all(&place.vault)?;
    let newest = place.left().await?.points().latest("files").await?.id;
    expect(newest == first, "the newest point is not the one that was copied")?;
    place.restore_equal(&place.left().await?, &newest, &path("from-replica")).await?;

    println!("\n3. The vault is rebuilt: replicated back, under its old ID");
    let rebuilt = Vault::create(LocalStore::create(&place.vault)?).keyring(&place.keys).build().await?;
    let report = Replicator::new(place.left().await?, rebuilt.clone()).plan().await?.apply().await?;
    expect(report.copied == [first.clone()], "the point did not come back")?;
    rebuilt.verify(&first).depth(Depth::Decoded).await?;
    place.restore_equal(&rebuilt, &first, &path("from-rebuilt")).await?;
    fs::write(place.data.join("NEW.txt"), "written after the loss\n")?;
    let second = place.backstay().await?.backup("daily").await?.id;

    println!("\n4. The vault is poisoned: its first point damaged, a forged one planted, before the next replication");
    let points = place.vault.join("points").join("this-host").join("daily");
    let forged = points.join("20990101t000000z-aaaaaaaa.json");
    fs::write(&forged, fs::read(points.join(format!("{}.json", second.run)))?)?;
    flip_each_file(&place.vault.join("items"))?;
    let plan = place.replicator().await?.plan().await?;
    println!("{plan}");
    let error = plan.apply().await.err().ok_or("damage was copied")?;
    println!("   {error}");
    let report: &ReplicationReport = error.payload().ok_or("no report came with the error")?;
    expect(error.kind() == ErrorKind::Partial && report.copied.is_empty(), "something bad was copied")?;
    let listed = place.left().await?.points().list(&first.source, &first.tier).await?;
    expect(listed == [first.clone()], "the replica shows what it should not have")?;
    place.left().await?.verify(&first).depth(Depth::Decoded).await?;
    println!("   the replica has what it had, intact");

    println!("\n5. A restore takes from the replica what is damaged in the vault");
    fs::remove_file(place.data.join("NEW.txt"))?;
    let vault = Vault::open_read_only(LocalStore::open(&place.vault)?).keyring(&place.keys).build().await?;
    let alone = vault.verify(&first).await.err().ok_or("the damage was not found")?;
    println!("   {alone}");
    let both = vault.with_replica("dr".parse()?, place.left().await?);
    place.restore_equal(&both, &first, &path("from-both")).await?;

    tree::make_removable(folder.path())?;
    println!("\nAll of it was as it should be.");
    Ok(())
}

impl Place {
    /// The backup program. It only reads the replica.
    async fn backstay(&self) -> Result<Backstay> {
        let vault = Vault::open(LocalStore::open(&self.vault)?).keyring(&self.keys).build().await?;
        Ok(Backstay::builder("this-host", vault)
            .export("files", Directory::new(&self.data))
            .tier(Tier::new("daily").keep(Keep::daily(7)).replicate_to("dr", Keep::daily(90)))
            .replica("dr", self.left().await?)
            .build()?)
    }

    /// The replicator's program, at home with the replica. It has no key that opens anything.
    async fn replicator(&self) -> Result<Replicator> {
        let trusted = self.keys.allowed_signers();
        let origin = Vault::open_read_only(LocalStore::open(&self.vault)?)
            .id(self.keys.vault_id().clone())
            .trust(trusted.clone())
            .build()
            .await?;
        let replica = Vault::open(LocalStore::open(&self.replica)?)
            .keyring(&self.replica_keys)
            .origin(self.keys.vault_id().clone(), trusted)
            .build()
            .await?;
        Ok(Replicator::new(origin, replica).keep("daily", Keep::daily(90)))
    }

    /// The replica, for whoever has a custodian's identity and nothing of the lost vault.
    async fn left(&self) -> Result<Vault> {
        Ok(Vault::open_read_only(LocalStore::open(&self.replica)?)
            .unlock_with(self.keys.custodian().clone())
            .trust(self.replica_keys.allowed_signers().clone())
            .origin(self.keys.vault_id().clone(), self.keys.allowed_signers())
            .build()
            .await?)
    }

    async fn restore_equal(&self, vault: &Vault, point: &PointId, target: &Path) -> Result<()> {
        vault.restore(point).into(Directory::new(target)).plan().await?.apply().await?;
        let mut differences = tree::diff(&self.data, target)?;
        // Files came and went in it meanwhile.
        differences.retain(|difference| !(difference.starts_with("\"\":") || difference.contains("NEW.txt")));
        expect(differences.is_empty(), &format!("restored, but different: {differences:?}"))?;
        println!("   restored {point} and compared file by file: equal");
        Ok(())
    }
}

fn expect(holds: bool, otherwise: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

/// Flips a bit in the middle of every file.
fn flip_each_file(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            flip_each_file(&entry.path())?;
            continue;
        }
        let mut file = fs::OpenOptions::new().read(true).write(true).open(entry.path())?;
        let (at, mut byte) = (SeekFrom::Start(entry.metadata()?.len() / 2), [0]);
        file.seek(at)?;
        file.read_exact(&mut byte)?;
        file.seek(at)?;
        file.write_all(&[byte[0] ^ 1])?;
    }
    Ok(())
}
