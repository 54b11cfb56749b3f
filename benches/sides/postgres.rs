//! A database of a real server into a vault, proved, and back.

use std::path::Path;

use backstay::postgres::{PgConnect, PgDump, PgRestore};
use backstay::{Depth, Keyring, Limits, LocalStore, Vault};

use crate::Result;
use crate::backup::{self, COMPONENT};

pub(crate) fn dump(args: &[String]) -> Result<()> {
    let [url, folder] = args else { return Err("postgres_dump URL FOLDER".into()) };
    let (server, folder) = (url.parse::<PgConnect>()?, Path::new(folder));
    std::fs::create_dir_all(folder)?;
    crate::runtime()?.block_on(async {
        backup::into(exporter(server), LocalStore::create(folder.join("vault"))?, folder, Limits::default()).await
    })
}

/// The one database.
pub(crate) fn exporter(server: PgConnect) -> PgDump {
    let database = server.database_name().to_owned();
    PgDump::new(server).databases([database]).globals(false)
}

pub(crate) fn verify(args: &[String]) -> Result<()> {
    let [url, folder] = args else { return Err("postgres_verify URL FOLDER".into()) };
    let server: PgConnect = url.parse()?;
    crate::runtime()?.block_on(async {
        let vault = open(folder.as_ref()).await?;
        let point = vault.points().latest(COMPONENT).await?;
        let report = vault.verify(&point.id).check(COMPONENT, PgRestore::new(server)).await?;
        if report.reached == Some(Depth::Checked) { Ok(()) } else { Err("the archive was not read to its end".into()) }
    })
}

pub(crate) fn restore(args: &[String]) -> Result<()> {
    let [url, folder, into] = args else { return Err("postgres_restore URL FOLDER DATABASE".into()) };
    let server: PgConnect = url.parse()?;
    crate::runtime()?.block_on(async {
        let vault = open(folder.as_ref()).await?;
        let point = vault.points().latest(COMPONENT).await?;
        let importer = PgRestore::new(server).into(into).analyze(false);
        vault.restore(&point.id).into(importer).plan().await?.apply().await?;
        Ok(())
    })
}

async fn open(folder: &Path) -> Result<Vault> {
    let keyring = Keyring::open(folder.join("keys"))?;
    Ok(Vault::open_read_only(LocalStore::open(folder.join("vault"))?).keyring(&keyring).build().await?)
}
