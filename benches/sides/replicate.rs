//! Replicating the vault of `backup_stream` into a second one.

use std::path::Path;

use backstay::engine::Replicator;
use backstay::{Keyring, LocalStore, Vault};

use crate::Result;

/// Makes the second vault, once and for all its points.
pub(crate) fn create(args: &[String]) -> Result<()> {
    let [from, to] = args else { return Err("replica_create FOLDER FOLDER".into()) };
    let (from, to) = (Path::new(from), Path::new(to));
    std::fs::create_dir_all(to)?;
    crate::runtime()?.block_on(async {
        let keys = Keyring::open(from.join("keys"))?;
        Vault::create(LocalStore::create(to.join("vault"))?)
            .keyring(&Keyring::create(to.join("keys"))?)
            .origin(keys.vault_id().clone(), keys.allowed_signers())
            .build()
            .await?;
        Ok(())
    })
}

pub(crate) fn local(args: &[String]) -> Result<()> {
    let [from, to] = args else { return Err("replicate_local FOLDER FOLDER".into()) };
    let (from, to) = (Path::new(from), Path::new(to));
    crate::runtime()?.block_on(async {
        let keys = Keyring::open(from.join("keys"))?;
        let origin = LocalStore::open(from.join("vault"))?;
        let origin = Vault::open_read_only(origin).trust(keys.allowed_signers().clone()).build().await?;
        let here = Vault::open(LocalStore::open(to.join("vault"))?)
            .keyring(&Keyring::open(to.join("keys"))?)
            .origin(keys.vault_id().clone(), keys.allowed_signers())
            .build()
            .await?;
        let report = Replicator::new(origin, here.clone()).plan().await?.apply().await?;
        println!("points={}", report.copied.len());
        println!("accounted_mib={}", here.budget().peak_bytes() >> 20);
        Ok(())
    })
}
