//! Backing up: a file as one item, a directory as a component.

use std::num::NonZeroUsize;
use std::path::Path;

use backstay::source::ResourceExporter;
use backstay::{Backstay, Budget, Directory, Keep, Keyring, Limits, LocalStore, Tier, Vault};

use crate::Result;
use crate::file::FileExporter;

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
    let budget = Budget::new(limits);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let keyring = Keyring::create(folder.join("keys"))?;
        let store = LocalStore::create(folder.join("vault"))?;
        let vault = Vault::create(store).keyring(&keyring).budget(budget.clone()).build().await?;
        let backstay = Backstay::builder("bench", vault)
            .export("input", exporter)
            .tier(Tier::new("bench").keep(Keep::last(1)))
            .build()?;
        backstay.backup("bench").await?;
        println!("accounted_mib={}", budget.peak_bytes() >> 20);
        Ok(())
    })
}
