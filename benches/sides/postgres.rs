//! A database of a real server into a vault, proved, and back.

use std::path::Path;

use backstay::postgres::{PgConnect, PgDump, PgRestore};
use backstay::{Backstay, Keep, Keyring, LocalStore, Tier, Vault};

use crate::Result;

const COMPONENT: &str = "db";

pub(crate) fn dump(args: &[String]) -> Result<()> {
    let [url, folder] = args else { return Err("postgres_dump URL FOLDER".into()) };
    let (server, folder) = (url.parse::<PgConnect>()?, Path::new(folder));
    let database = name_in(url)?;
    std::fs::create_dir_all(folder)?;
    runtime()?.block_on(async {
        let keyring = Keyring::create(folder.join("keys"))?;
        let vault = Vault::create(LocalStore::create(folder.join("vault"))?).keyring(&keyring).build().await?;
        let backstay = Backstay::builder("bench", vault)
            .export(COMPONENT, PgDump::new(server).databases([database]).globals(false))
            .tier(Tier::new("bench").keep(Keep::last(1)))
            .build()?;
        backstay.backup("bench").await?;
        Ok(())
    })
}

pub(crate) fn verify(args: &[String]) -> Result<()> {
    let [url, folder] = args else { return Err("postgres_verify URL FOLDER".into()) };
    let server: PgConnect = url.parse()?;
    runtime()?.block_on(async {
        let vault = open(folder.as_ref()).await?;
        let point = vault.points().latest(COMPONENT).await?;
        let report = vault.verify(&point.id).check(COMPONENT, PgRestore::new(server)).await?;
        match report.unproved.first() {
            Some(unproved) => Err(unproved.clone().into()),
            None => Ok(()),
        }
    })
}

pub(crate) fn restore(args: &[String]) -> Result<()> {
    let [url, folder, into] = args else { return Err("postgres_restore URL FOLDER DATABASE".into()) };
    let server: PgConnect = url.parse()?;
    runtime()?.block_on(async {
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

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// The database that a URL names.
fn name_in(url: &str) -> Result<&str> {
    let path = url.split('?').next().unwrap_or(url);
    path.rsplit_once('/').map(|(_, name)| name).filter(|name| !name.is_empty()).ok_or_else(|| "no database".into())
}
