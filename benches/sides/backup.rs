//! Backing up: a file as one item, a directory as a component.

use std::num::NonZeroUsize;
use std::path::Path;

use backstay::source::ResourceExporter;
use backstay::store::ObjectStore;
use backstay::{Backstay, Budget, Directory, Keep, Keyring, Limits, LocalStore, Tier, Vault};

use crate::Result;
use crate::file::FileExporter;

/// What is backed up.
pub(crate) const COMPONENT: &str = "input";

pub(crate) fn stream(args: &[String]) -> Result<()> {
    let [file, folder, workers @ ..] = args else { return Err("backup_stream FILE FOLDER [WORKERS]".into()) };
    let mut limits = Limits::default();
    if let [workers, ..] = workers {
        limits.workers = workers.parse::<NonZeroUsize>()?;
    }
    back_up(FileExporter::new(file), folder.as_ref(), limits)
}

pub(crate) fn directory(args: &[String]) -> Result<()> {
    let [directory, folder] = args else { return Err("backup_directory DIRECTORY FOLDER".into()) };
    back_up(Directory::new(directory), folder.as_ref(), Limits::default())
}

fn back_up(exporter: impl ResourceExporter, folder: &Path, limits: Limits) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    crate::runtime()?.block_on(async {
        let store = LocalStore::create(folder.join("vault"))?;
        into(exporter, store, folder, limits).await
    })
}

/// What `exporter` gives into a new vault in `store`, with the keys in `folder`.
pub(crate) async fn into(
    exporter: impl ResourceExporter,
    store: impl ObjectStore,
    folder: &Path,
    limits: Limits,
) -> Result<()> {
    let budget = Budget::new(limits);
    let keyring = Keyring::create(folder.join("keys"))?;
    let vault = Vault::create(store).keyring(&keyring).budget(budget.clone()).build().await?;
    let backstay = Backstay::builder("bench", vault)
        .export(COMPONENT, exporter)
        .tier(Tier::new("bench").keep(Keep::last(1)))
        .build()?;
    backstay.backup("bench").await?;
    println!("accounted_mib={}", budget.peak_bytes() >> 20);
    Ok(())
}
