//! A backup host is stolen, with its keys and with its access to the store. The thief tries everything; then the owner
//! looks what is left. Real folders, no server.
//!
//! ```text
//! cargo run --example stolen_host
//! ```
//!
//! It ends non-zero if the thief reads, changes or deletes anything, or if one earlier point does not restore.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backstay::engine::PruneAction;
use backstay::store::{Key, ListEntry, ListOptions, ObjectStore, Prefix, PutOptions};
use backstay::vault::{Purpose, Role, RoleKeys};
use backstay::{
    Backstay, Clock, Depth, Directory, ErrorKind, Keep, Keyring, LocalStore, PointId, SystemClock, Tier, Vault,
};
use backstay_testkit::RightsStore;
use futures_util::TryStreamExt;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let place = tempfile::tempdir()?;
    let (data, folder) = (place.path().join("data"), place.path().join("vault"));
    fs::create_dir(&data)?;

    println!(
        "1. At home: a keyring and a vault. On the host: a writer's keys, and a store that lets it list and create"
    );
    let mut keyring = Keyring::create(place.path().join("keys"))?;
    Vault::create(LocalStore::create(&folder)?).keyring(&keyring).build().await?;
    keyring.issue(Role::Writer, &"host-7".parse()?)?.save(place.path().join("host-7"))?;
    // A bucket's policy does this; here a layer that denies whatever the role need not do.
    let host_store = RightsStore::new(Arc::new(LocalStore::open(&folder)?), Role::Writer);
    let keys = RoleKeys::open(place.path().join("host-7"))?;

    println!("2. Three nights, one of them held for the auditors");
    let mut nights = Vec::new();
    for night in 1..=3 {
        fs::write(data.join("ledger"), format!("the books of night {night}\n"))?;
        let id = host(&host_store, &keys, &data).await?.backup("daily").await?.id;
        let copy = place.path().join(format!("night-{night}"));
        fs::copy(data.join("ledger"), &copy)?;
        nights.push((id, copy));
    }
    home(&folder, &data, &keyring).await?.vault().hold(&nights[0].0, &"audit".parse()?, "the auditors want it").await?;
    let theft = next_second().await;

    println!("3. The thief, with the host's keys on the host's store");
    let before = all_keys(&host_store).await?;
    reads_nothing(&host_store, &keys, &before).await?;
    changes_nothing(&host_store, &before).await?;
    plants(&host_store, &keys, &nights[0].0).await?;
    fs::write(data.join("ledger"), "pay me\n")?;
    let planted = host(&host_store, &keys, &data).await?.backup("daily").await?.id;
    println!("   adds a point of his own: {}", planted.run);

    println!("4. At home: from the moment of the theft the host's key is worth nothing");
    let signers = fs::read_to_string(place.path().join("keys/allowed_signers"))?;
    let of_writer = "backstay-point-v1,backstay-history-v1\"";
    let until = format!("{of_writer},valid-before=\"{theft}\"");
    fs::write(place.path().join("keys/allowed_signers"), signers.replace(of_writer, &until))?;
    let owner = home(&folder, &data, &Keyring::open(place.path().join("keys"))?).await?;
    for key in &before {
        expect(folder.join(key.as_str()).exists(), &format!("{key} is gone"))?;
    }
    let untrusted = owner.vault().points().get(&planted).await.err().ok_or("the thief's point counts")?;
    println!("   {untrusted}");
    let plan = owner.prune("daily").plan().await?;
    println!("   {} things to look at, none of which changes anything", plan.strange.len());
    expect(!plan.strange.is_empty(), "nothing strange was found")?;
    for (id, _) in &nights {
        let kept = plan.steps.iter().any(|step| step.id == *id && step.action == PruneAction::Keep);
        expect(kept, &format!("{id} would go: {}", *plan))?;
    }
    plan.apply().await?;

    println!("5. Every night restores");
    for (id, copy) in &nights {
        owner.verify(id).depth(Depth::Decoded).await?;
        let target = place.path().join(format!("restored-{}", id.run));
        owner.restore(id).into(Directory::new(&target)).plan().await?.apply().await?;
        let same = fs::read(copy)? == fs::read(target.join("ledger"))?;
        expect(same, "restored, but different")?;
        println!("   {}: {}", id.run, fs::read_to_string(target.join("ledger"))?.trim());
    }
    println!("\nThe thief could add, and nothing else. Now make the host new keys, and find out how he came in.");
    Ok(())
}

/// The program on the host: it makes points.
async fn host(store: &RightsStore, keys: &RoleKeys, data: &Path) -> Result<Backstay> {
    let vault = Vault::open_as(Role::Writer, store.clone()).keys(keys).build().await?;
    Ok(Backstay::builder("acme", vault).export("files", Directory::new(data)).tier(tier()).build()?)
}

/// The program at home: one person with every key.
async fn home(folder: &Path, data: &Path, keyring: &Keyring) -> Result<Backstay> {
    let vault = Vault::open(LocalStore::open(folder)?).keyring(keyring).build().await?;
    Ok(Backstay::builder("acme", vault).export("files", Directory::new(data)).tier(tier()).build()?)
}

/// By age: whoever can only add points pushes none out.
fn tier() -> Tier {
    Tier::new("daily").keep(Keep::within(jiff::Span::new().days(30)))
}

async fn reads_nothing(store: &RightsStore, keys: &RoleKeys, there: &[Key]) -> Result<()> {
    for key in there {
        denied(store.get(key, &backstay::store::GetOptions::default()).await, &format!("read {key}"))?;
    }
    let reader = Vault::open_read_only(store.clone()).keys(keys).build().await;
    println!("   reads: {}", denied(reader, "opened the vault to read")?);
    Ok(())
}

async fn changes_nothing(store: &RightsStore, there: &[Key]) -> Result<()> {
    for key in there {
        denied(store.put(key, "pay me".into(), &PutOptions::overwrite()).await, &format!("overwrote {key}"))?;
        let again = store.put(key, "pay me".into(), &PutOptions::default()).await;
        expect(again.is_err(), &format!("created {key} again"))?;
        for outcome in store.delete(&[key.clone().into()]).await? {
            denied(outcome.result, &format!("deleted {key}"))?;
        }
    }
    println!("   overwrites and deletes: all {} objects stay as they are", there.len());
    Ok(())
}

/// Puts a tombstone and a release, signed by the stolen key and in the right places, and some rubbish.
async fn plants(store: &RightsStore, keys: &RoleKeys, point: &PointId) -> Result<()> {
    let vault = Vault::open_as(Role::Writer, store.clone()).keys(keys).build().await?;
    let release = vault.release(point, &"audit".parse()?, "let it go").await;
    println!("   releases by the library: {}", denied(release, "released a hold")?);
    println!("   undeletes: {}", denied(vault.undelete(point).await, "took a deletion back")?);
    let key = keys.signing_key().ok_or("a writer signs")?;
    for (mark, purpose) in [("deleted", Purpose::Delete), ("release-audit", Purpose::Release)] {
        let document =
            format!("{{\"vault\": \"{}\", \"point\": \"{point}\", \"reason\": \"pay me\"}}", keys.vault_id());
        let signature = key.sign(purpose.namespace(), document.as_bytes());
        let digest = short_digest(document.as_bytes());
        let place = format!("sigs/{point}.{mark}.{digest}.{}.sig", key.public().id());
        store.put(&place.parse()?, signature.into(), &PutOptions::default()).await?;
        store.put(&format!("points/{point}.{mark}").parse()?, document.into(), &PutOptions::default()).await?;
    }
    store.put(&"points/acme/daily/rubbish".parse()?, "pay me".into(), &PutOptions::default()).await?;
    println!("   plants a tombstone, a release and rubbish: the store takes them");
    Ok(())
}

/// The digest in a signature's name, as FORMAT.md tells it to everybody: 26 characters of the base32 of the SHA-256.
fn short_digest(bytes: &[u8]) -> String {
    let digest = backstay::Sha256::of(bytes).0;
    let bit = |index: usize| usize::from(digest[index / 8] >> (7 - index % 8) & 1);
    let digit = |start: usize| (start..start + 5).fold(0, |digit, index| digit << 1 | bit(index));
    (0..26).map(|i| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[digit(i * 5)])).collect()
}

async fn all_keys(store: &dyn ObjectStore) -> Result<Vec<Key>> {
    let listing: Vec<ListEntry> = store.list(&Prefix::all(), &ListOptions::default()).try_collect().await?;
    let keys =
        listing.into_iter().filter_map(|entry| if let ListEntry::Object(meta) = entry { Some(meta.key) } else { None });
    Ok(keys.collect())
}

fn denied<T>(result: backstay::Result<T>, otherwise: &str) -> Result<backstay::Error> {
    match result {
        Err(error) if error.kind() == ErrorKind::Denied => Ok(error),
        Err(error) => Err(format!("not denied, but: {error}").into()),
        Ok(_) => Err(format!("the thief {otherwise}").into()),
    }
}

fn expect(holds: bool, otherwise: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

/// Waits until the clock shows another second, which is as fine as validity is told, and gives it as `allowed_signers` has it.
async fn next_second() -> String {
    SystemClock.sleep(Duration::from_millis(1100)).await;
    SystemClock.now().strftime("%Y%m%d%H%M%SZ").to_string()
}
