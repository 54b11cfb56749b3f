//! A restore drill: a folder is protected, restored beside itself, checked and timed; then the vault is damaged, and the
//! next drill finds it.
//!
//! `cargo run --example drill`

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backstay::directory::{Directory, DirectoryDrill};
use backstay::engine::DrillReport;
use backstay::{Backstay, Keep, Keyring, LocalStore, Tier, Vault};
use jiff::ToSpan;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let place = tempfile::tempdir()?;
    let [data, vault, drills] = ["data", "vault", "drills"].map(|name| place.path().join(name));
    fs::create_dir_all(&data)?;
    fs::create_dir(&drills)?;
    fs::write(data.join("orders.csv"), "id,sum\n".to_owned() + &"1,100\n".repeat(100_000))?;

    // The tier says what is asked for: at most a day lost, an hour to come back, a drill a month.
    let keyring = Keyring::generate()?;
    let store = Vault::create(LocalStore::create(&vault)?).keyring(&keyring).build().await?;
    let backstay = Backstay::builder("shop", store)
        .export("files", Directory::new(&data))
        .tier(Tier::new("daily").keep(Keep::daily(30)).rpo(24.hours()).rto(1.hour()).drill_every(30.days()))
        .build()?;
    backstay.backup("daily").await?;
    if backstay.status().await?.is_good() {
        return Err("a drill is asked for, and there was none".into());
    }

    // What the restored must be like is the application's to say.
    let target = DirectoryDrill::new(&drills)
        .newest_within(Duration::from_secs(24 * 3600))
        .exists(["orders.csv"])
        .check("orders add up", |tree| {
            let text = fs::read_to_string(tree.join("orders.csv"))?;
            let orders = text.lines().skip(1).filter(|line| line.ends_with(",100")).count();
            if orders == 100_000 { Ok(format!("{orders} orders")) } else { Err(format!("only {orders} orders").into()) }
        });
    let report = backstay.drill("files").into(target.clone()).await?;
    println!("{report}\n\n{}\n", backstay.status().await?);
    if !report.passed() || !report.met() || !backstay.status().await?.is_good() {
        return Err("the drill should have passed".into());
    }

    // A disk goes bad, and nobody notices: the point is there, and its size is right.
    flip_a_byte(&vault.join("items"))?;
    let Err(failed) = backstay.drill("files").into(target).await else {
        return Err("the drill restored from damaged bytes".into());
    };
    let report: &DrillReport = failed.payload().ok_or("a failed drill has a report")?;
    let status = backstay.status().await?;
    println!("{report}\n\n{status}");
    if report.passed() || report.rto.is_some() || status.is_good() {
        return Err("the drill should have failed, and the status should say so".into());
    }
    if fs::read_dir(&drills)?.next().is_some() {
        return Err("a drill left something behind".into());
    }
    Ok(())
}

/// Changes one byte in the middle of the largest file.
fn flip_a_byte(folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { waiting.push(path) } else { files.push(path) }
        }
    }
    let size = |path: &PathBuf| fs::metadata(path).map_or(0, |meta| meta.len());
    let largest = files.into_iter().max_by_key(size).ok_or("no item is stored")?;
    let mut bytes = fs::read(&largest)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&largest, bytes)?;
    Ok(())
}
