//! Restoring the one item of `backup_stream`.

use std::path::Path;

use backstay::{Keyring, LocalStore, Vault};

use crate::Result;
use crate::file::FileImporter;

pub(crate) fn stream(args: &[String]) -> Result<()> {
    let [folder, file] = args else { return Err("restore_stream FOLDER FILE".into()) };
    let folder = Path::new(folder);
    crate::runtime()?.block_on(async {
        let keyring = Keyring::open(folder.join("keys"))?;
        let vault = Vault::open_read_only(LocalStore::open(folder.join("vault"))?).keyring(&keyring).build().await?;
        let point = vault.points().latest("input").await?;
        vault.restore(&point.id).into(FileImporter::new(file)).plan().await?.apply().await?;
        Ok(())
    })
}
