//! Keys over the years: a second custodian, a new epoch, one who leaves, a key that is lost, and the morning on which only
//! the paper from the safe is left. Real folders, no server.
//!
//! ```text
//! cargo run --example key_rotation
//! ```
//!
//! It ends non-zero if somebody opens what is not for them, or cannot open what is.

use std::error::Error;
use std::fs;
use std::path::Path;

use backstay::vault::{AllowedSigners, Identity, Role, RoleKeys};
use backstay::{Backstay, Directory, ErrorKind, Keep, Keyring, LocalStore, PointId, SystemRandom, Tier, Vault};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let place = tempfile::tempdir()?;
    let (data, folder, keys) = (place.path().join("data"), place.path().join("vault"), place.path().join("keys"));
    fs::create_dir(&data)?;
    fs::write(data.join("ledger"), "the books\n")?;

    println!("1. A keyring, a vault, and a backup host with keys of its own");
    let mut keyring = Keyring::create(&keys)?;
    Vault::create(LocalStore::create(&folder)?).keyring(&keyring).build().await?;
    keyring.issue(Role::Writer, &"host-7".parse()?)?.save(place.path().join("host-7"))?;
    let first = back_up(place.path(), &data, &folder).await?;
    let home = open(&folder, &keyring).await?;
    println!("{}", custody(&home, &data).await?);

    println!("2. A paper in the safe and a colleague become custodians: one small new file each");
    let (paper, colleague) = (Identity::generate(&SystemRandom), Identity::generate(&SystemRandom));
    for (name, identity) in [("paper", &paper), ("colleague", &colleague)] {
        home.add_custodian(&name.parse()?, identity.recipient()).await?;
        home.check_custodian(&name.parse()?, identity).await?;
    }
    let trust = keyring.allowed_signers().clone();
    opens(&folder, &trust, &paper, &first, true).await?;
    println!("   the paper opens the point that is older than it\n{}", custody(&home, &data).await?);

    println!("3. The colleague leaves: his file goes, and a new epoch is sealed to those who stay");
    home.remove_custodian(&"colleague".parse()?).await?;
    opens(&folder, &trust, &colleague, &first, false).await?;
    let stay =
        [("keyring".parse()?, keyring.custodian().recipient().clone()), ("paper".parse()?, paper.recipient().clone())];
    let rotation = home.rotate(&"epoch-2".parse()?, &stay).await?;
    keyring.take_epoch(&rotation)?;
    println!("   {} {}", rotation.epoch.name, rotation.epoch.recipient);
    println!("   that line goes to the host by its own configuration: the vault is not asked whom to seal to");
    RoleKeys::open(place.path().join("host-7"))?.pin_epoch(&rotation.epoch)?;
    let second = back_up(place.path(), &data, &folder).await?;
    opens(&folder, &trust, &colleague, &second, false).await?;
    for point in [&first, &second] {
        opens(&folder, &trust, &paper, point, true).await?;
        opens(&folder, &trust, keyring.custodian(), point, true).await?;
    }
    println!("   old and new points open for who stayed");

    println!("4. The keyring's own identity is lost; the paper makes a new custodian");
    let keeper = keyring.issue(Role::Keeper, &"keeper".parse()?)?;
    let identity = keeper.custodian().ok_or("a keeper opens")?.clone();
    let builder = Vault::open_as(Role::Keeper, LocalStore::open(&folder)?).keys(&keeper);
    let vault = builder.unlock_with(paper.clone()).build().await?;
    vault.add_custodian(keeper.name(), identity.recipient()).await?;
    vault.check_custodian(keeper.name(), &identity).await?;
    vault.remove_custodian(&"keyring".parse()?).await?;
    for point in [&first, &second] {
        opens(&folder, &trust, &identity, point, true).await?;
        opens(&folder, &trust, keyring.custodian(), point, false).await?;
    }
    let alone = Vault::open_as(Role::Keeper, LocalStore::open(&folder)?).keys(&keeper).build().await?;
    let refused = alone.remove_custodian(keeper.name()).await.err().ok_or("the last way in was removed")?;
    println!("   the last way in is not removed: {refused}");

    println!("5. Break the glass: host and keyring burned. Left are the vault, `allowed_signers` and the paper");
    let signers = fs::read_to_string(keys.join("allowed_signers"))?;
    fs::remove_dir_all(&keys)?;
    fs::remove_dir_all(place.path().join("host-7"))?;
    fs::remove_dir_all(&data)?;
    let paper = Identity::parse(paper.to_text().expose())?;
    let vault =
        Vault::open_read_only(LocalStore::open(&folder)?).trust(signers.parse()?).unlock_with(paper).build().await?;
    let newest = vault.points().latest("files").await?;
    vault.restore(&newest.id).into(Directory::new(&data)).plan().await?.apply().await?;
    if newest.id != second || fs::read_to_string(data.join("ledger"))? != "the books\n" {
        return Err("something else came back".into());
    }
    println!("   restored: {}", fs::read_to_string(data.join("ledger"))?.trim());
    Ok(())
}

async fn open(folder: &Path, keyring: &Keyring) -> Result<Vault> {
    Ok(Vault::open(LocalStore::open(folder)?).keyring(keyring).build().await?)
}

/// What the host does every night, with nothing but its own keys.
async fn back_up(place: &Path, data: &Path, folder: &Path) -> Result<PointId> {
    let keys = RoleKeys::open(place.join("host-7"))?;
    let vault = Vault::open_as(Role::Writer, LocalStore::open(folder)?).keys(&keys).build().await?;
    Ok(program(vault, data)?.backup("daily").await?.id)
}

fn program(vault: Vault, data: &Path) -> Result<Backstay> {
    let tier = Tier::new("daily").keep(Keep::daily(30));
    Ok(Backstay::builder("acme", vault).export("files", Directory::new(data)).tier(tier).build()?)
}

/// What the status says of the custodians.
async fn custody(vault: &Vault, data: &Path) -> Result<String> {
    let warnings = program(vault.clone(), data)?.status().await?.custody;
    Ok(match warnings.as_slice() {
        [] => "   status: enough custodians have shown to be able to open the vault".to_owned(),
        some => some.iter().map(|line| format!("   status: {line}")).collect::<Vec<_>>().join("\n"),
    })
}

/// Whether an identity opens a point must be as it should.
async fn opens(
    folder: &Path,
    trust: &AllowedSigners,
    identity: &Identity,
    point: &PointId,
    should: bool,
) -> Result<()> {
    let builder = Vault::open_read_only(LocalStore::open(folder)?).trust(trust.clone()).unlock_with(identity.clone());
    let decoded = builder.build().await?.verify(point).depth(backstay::Depth::Decoded).await;
    match decoded {
        Ok(_) if should => Ok(()),
        Err(error) if !should && error.kind() == ErrorKind::Denied => Ok(()),
        Ok(_) => Err(format!("{point} opens for {}, who must not", identity.recipient()).into()),
        Err(error) => Err(error.into()),
    }
}
