//! A restore drill of a PostgreSQL database: restored at the server into a database of its own, compared with what one
//! expects, timed against the objectives, dropped; the proof lies signed in the vault.
//!
//! ```text
//! cargo xtask example postgres_drill      starts a server with test data
//! DATABASE_URL=postgres://USER@HOST/DATABASE cargo run --features postgres --example postgres_drill
//! ```

use std::error::Error;

use backstay::engine::DrillReport;
use backstay::postgres::{Checks, PgConnect, PgDrill, PgDump, PgRestore};
use backstay::{Backstay, Keep, Keyring, LocalStore, Tier, Vault};
use jiff::ToSpan;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url =
        std::env::var("DATABASE_URL").map_err(|_| "set DATABASE_URL, or run `cargo xtask example postgres_drill`")?;
    let (server, place) = (url.parse::<PgConnect>()?, tempfile::tempdir()?);

    let vault =
        Vault::create(LocalStore::create(place.path().join("vault"))?).keyring(&Keyring::generate()?).build().await?;
    let tier = Tier::new("daily").keep(Keep::daily(30)).rpo(25.hours()).rto(15.minutes()).drill_every(7.days());
    let backstay = Backstay::builder("shop", vault)
        .export("db", PgDump::new(server.clone()).databases([server.database_name()]).count_rows())
        .tier(tier)
        .build()?;
    backstay.backup("daily").await?;

    // Row counts are compared with those at the cut; what else must hold is the application's to say.
    let restore = PgRestore::new(server);
    let checks = Checks::new()
        .query("tables", "select count(*) from pg_tables where schemaname !~ '^pg_|^information_schema$'")
        .at_least(1)
        .row_counts()
        .indexes_and_constraints();
    let report = backstay.drill("db").into(PgDrill::new(restore.clone(), checks.clone())).await?;
    println!("{report}\n\n{}\n", backstay.status().await?);
    if !report.passed() || !report.met() || !backstay.status().await?.is_good() {
        return Err("the drill should have passed".into());
    }

    // A drill that finds what nobody expected fails, says so in its proof, and the status tells.
    let checks = checks.query("orders of the next century", "select count(*) from generate_series(1, 3)").equals(0);
    let Err(failed) = backstay.drill("db").into(PgDrill::new(restore.clone(), checks)).await else {
        return Err("the drill should have failed".into());
    };
    let report: &DrillReport = failed.payload().ok_or("a failed drill has a report")?;
    println!("{report}");
    if report.passed() || backstay.status().await?.is_good() {
        return Err("a failed drill was taken for a good one".into());
    }
    if !restore.scratches().await?.is_empty() {
        return Err("a drill left a database behind".into());
    }
    Ok(())
}
