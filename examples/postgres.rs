//! A PostgreSQL server: protected, looked into, restored beside itself, checked.
//!
//! ```text
//! cargo xtask example postgres            starts a server with test data
//! DATABASE_URL=postgres://USER@HOST/DATABASE cargo run --features postgres --example postgres
//! ```
//!
//! At the server it makes one new database and drops it again.

use std::error::Error;

use backstay::postgres::{Checks, PgConnect, PgDump, PgRestore};
use backstay::{Backstay, Depth, ErrorKind, Keep, Keyring, LocalStore, Secret, Tier, Vault};
use jiff::{SignedDuration, ToSpan};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("DATABASE_URL").map_err(|_| "set DATABASE_URL, or run `cargo xtask example postgres`")?;
    let server: PgConnect = url.parse()?;
    let database = server.database_name().to_owned();
    let place = tempfile::tempdir()?;

    // One item for the database, and roles, tablespaces and settings of the server as items of their own.
    let vault =
        Vault::create(LocalStore::create(place.path().join("vault"))?).keyring(&Keyring::generate()?).build().await?;
    let backstay = Backstay::builder("shop", vault)
        .export("db", PgDump::new(server.clone()).databases([&database]).count_rows())
        .tier(Tier::new("daily").keep(Keep::daily(30)).rpo(25.hours()))
        .build()?;
    let point = backstay.backup("daily").await?;
    println!("{}\n", backstay.explain(&point.id).await?);

    // Decrypted, decompressed, and parsed to its end by `pg_restore`. It restores nothing.
    let restore = PgRestore::new(server.clone()).database(&database).expires_after(SignedDuration::from_hours(1));
    let proof = backstay.verify(&point.id).check("db", restore.clone()).await?;
    println!("proved to the depth {:?}\n", proof.reached.ok_or("nothing was proved")?);
    if proof.reached != Some(Depth::Checked) {
        return Err("the archive was not parsed to its end".into());
    }

    // Into a new database beside the live one. Whether it takes its place is somebody's decision.
    let plan = backstay.restore(&point.id).component("db").into(restore.clone()).plan().await?;
    println!("{plan}\n");
    let restored = restore.restored(&plan.import)?;
    println!("{}\n", plan.apply().await?);
    let checks = Checks::new()
        .query("tables", "select count(*) from pg_tables where schemaname !~ '^pg_|^information_schema$'")
        .at_least(1)
        .indexes_and_constraints()
        .run(&restored, None)
        .await;
    println!("{checks}\n\nTo take it into use:");
    for statement in PgRestore::swap_statements(restored.database_name(), &database, "aside") {
        println!("  {statement};");
    }
    restore.discard(restored.database_name()).await?;
    if !checks.passed() {
        return Err("the restored database is not what it should be".into());
    }

    // What cannot be dumped makes no point, and says why.
    let locked_out = server.password(Secret::new("not it".to_owned()));
    let broken = Backstay::builder("shop", backstay.vault().clone())
        .export("db", PgDump::new(locked_out).databases([&database]))
        .tier(Tier::new("daily").keep(Keep::daily(30)))
        .build()?;
    match broken.backup("daily").await {
        Err(error) if error.kind() == ErrorKind::Denied => println!("\nand with a wrong password: {error}"),
        other => return Err(format!("a wrong password gave {other:?}").into()),
    }
    Ok(())
}
