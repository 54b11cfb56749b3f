//! A database of a real server into a vault, proved, and back.

use std::path::Path;

use backstay::postgres::{PgConnect, PgDump, PgRestore};
use backstay::{Backstay, Depth, Keep, Keyring, LocalStore, Tier, Vault};

use crate::Result;

const COMPONENT: &str = "db";

pub(crate) fn dump(args: &[String]) -> Result<()> {
    let [url, folder] = args else { return Err("postgres_dump URL FOLDER".into()) };
    let (server, folder) = (url.parse::<PgConnect>()?, Path::new(folder));
    std::fs::create_dir_all(folder)?;
    runtime()?.block_on(async {
        let keyring = Keyring::create(folder.join("keys"))?;
        let vault = Vault::create(LocalStore::create(folder.join("vault"))?).keyring(&keyring).build().await?;
        let backstay = Backstay::builder("bench", vault)
            .export(COMPONENT, PgDump::new(server.clone()).databases([server.database_name()]).globals(false))
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
        if report.reached == Some(Depth::Checked) { Ok(()) } else { Err("the archive was not read to its end".into()) }
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
