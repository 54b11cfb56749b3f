//! The story, chapter by chapter.

use std::error::Error;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use backstay::engine::{PruneAction, VerifyReport};
use backstay::{Backstay, Clock, Depth, Directory, Keep, Keyring, LocalStore, PointId, SystemClock, Tier, Vault};
use backstay_testkit::tree;

use crate::database::Database;
use crate::progress::Progress;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Left out of the copy: what a build makes is no input.
const LEFT_OUT: &str = "target";

pub(crate) async fn tell(path: &Path, database: Option<&str>) -> Result<()> {
    let place = tempfile::Builder::new().prefix("backstay-quickstart-").tempdir()?.keep();
    let (data, keys, folder) = (place.join("data"), place.join("keys"), place.join("vault"));
    println!("1. A directory: {}", path.display());
    copy(path, &data)?;
    println!("   copied to {}, so that it can be lost", data.display());

    println!("2. A keyring in {} and a vault in {}", keys.display(), folder.display());
    let vault = Vault::create(LocalStore::create(&folder)?).keyring(&Keyring::create(&keys)?).build().await?;
    let database = database.map(Database::at).transpose()?;
    let mut builder = Backstay::builder("quickstart", vault).export("files", Directory::new(&data));
    if let Some(database) = &database {
        println!("   and {database} as a second component");
        builder = database.protected_by(builder);
    }
    let backstay = builder.tier(Tier::new("hourly").keep(Keep::last(1))).observe(Progress::new()).build()?;

    println!("3. A point: compressed, encrypted, signed");
    let first = back_up(&backstay).await?;
    let began = SystemClock.monotonic();
    let mut verify = backstay.verify(&first).depth(Depth::Decoded).check("files", Directory::new(&data));
    if let Some(database) = &database {
        verify = database.checked_by(verify);
    }
    let proof = verify.await?;
    let reached = proof.reached.ok_or("the point was not proved")?;
    println!("   verified to the depth \"{reached}\" in {:.1} s", seconds_since(began));
    proof.unproved.iter().for_each(|text| println!("   not proved: {text}"));

    println!("4. The directory is lost");
    fs::remove_dir_all(&data)?;
    restore(&backstay, &first, &data).await?;
    expect_equal(path, &data)?;
    if let Some(database) = &database {
        println!("   and the database into a new one, beside the live one");
        println!("{}", indent(&database.restore(&backstay, &first).await?));
    }

    println!("5. A byte of the vault is flipped");
    flip_a_byte_and_find_it(&backstay, &first, &folder).await?;

    println!("6. A file changes, and a second point is made");
    fs::write(data.join("NEW.txt"), "written between the points\n")?;
    let second = back_up(&backstay).await?;
    println!("{}", indent(&backstay.status().bytes().await?.to_string()));

    println!("7. Retention: the tier keeps the last point");
    prune(backstay, &first, &second, &folder).await?;

    by_hand(&second, &folder, &keys);
    println!("\nAll of it was as it should be. When you are done: rm -r {}", place.display());
    Ok(())
}

async fn back_up(backstay: &Backstay) -> Result<PointId> {
    let report = backstay.backup("hourly").await?;
    let (bytes, stored) = (report.bytes(), report.stored());
    let seconds = report.took.as_secs_f64();
    println!(
        "   {}: {} became {} ({:.0}%) in {seconds:.1} s, {} a second",
        report.id.run,
        size(bytes),
        size(stored),
        100.0 * stored as f64 / bytes.max(1) as f64,
        size((bytes as f64 / seconds.max(0.001)) as u64),
    );
    Ok(report.id)
}

async fn restore(backstay: &Backstay, point: &PointId, target: &Path) -> Result<()> {
    let began = SystemClock.monotonic();
    let plan = backstay.restore(point).component("files").into(Directory::new(target)).plan().await?;
    println!("{}", indent(&plan.import.to_string()));
    let report = plan.apply().await?;
    println!("{}", indent(&report.to_string()));
    println!("   in {:.1} s: the measured RTO", seconds_since(began));
    Ok(())
}

/// Compares what was copied with what was restored.
fn expect_equal(original: &Path, restored: &Path) -> Result<()> {
    let mut differences = tree::diff(original, restored)?;
    // The copy's own root is younger than the original's.
    let expected = [String::from("\"\":"), format!("{LEFT_OUT:?}:")];
    differences.retain(|difference| !expected.iter().any(|start| difference.starts_with(start)));
    if differences.is_empty() {
        println!("   compared file by file with the original: equal");
        return Ok(());
    }
    Err(format!("restored, but different:\n{}", differences.join("\n")).into())
}

async fn flip_a_byte_and_find_it(backstay: &Backstay, point: &PointId, folder: &Path) -> Result<()> {
    let stored = backstay.vault().points().get(point).await?;
    let object = stored.manifest.components[0].objects.first().ok_or("the point has no object")?.clone();
    let file = folder.join(object.key.as_str());
    flip(&file, object.bytes / 2)?;
    let found = backstay.verify(point).depth(Depth::Stored).await;
    flip(&file, object.bytes / 2)?;
    let error = found.err().ok_or("the flipped byte was not noticed")?;
    let report: &VerifyReport = error.payload().ok_or("the damage was not reported")?;
    report.findings.iter().for_each(|finding| println!("   found: {finding}"));
    if report.findings.iter().all(|finding| finding.key.as_ref() != Some(&object.key)) {
        return Err("another object was blamed".into());
    }
    backstay.verify(point).depth(Depth::Stored).await?;
    println!("   flipped back: intact again");
    Ok(())
}

async fn prune(backstay: Backstay, first: &PointId, second: &PointId, folder: &Path) -> Result<()> {
    let plan = backstay.prune("hourly").plan().await?;
    println!("{}", indent(&plan.to_string()));
    expect_action(&plan.steps, first, PruneAction::Tombstone)?;
    expect_action(&plan.steps, second, PruneAction::Keep)?;
    plan.apply().await?;
    println!("   applied: the old point bears a tombstone and can be brought back for 24 hours");

    let before = bytes_under(folder)?;
    let plan = backstay.prune("hourly").danger_no_grace().plan().await?;
    println!("{}", indent(&plan.to_string()));
    expect_action(&plan.steps, first, PruneAction::Delete)?;
    plan.apply().await?;
    let after = bytes_under(folder)?;
    println!("   applied without grace: the vault went from {} to {}", size(before), size(after));
    let left = backstay.vault().points().list(&second.source, &second.tier).await?;
    if left != [second.clone()] {
        return Err(format!("expected the second point alone, found {left:?}").into());
    }
    backstay.verify(second).depth(Depth::Decoded).await?;
    println!("   the point that stays is intact");
    Ok(())
}

fn expect_action(steps: &[backstay::engine::PruneStep], id: &PointId, action: PruneAction) -> Result<()> {
    match steps.iter().find(|step| step.id == *id) {
        Some(step) if step.action == action => Ok(()),
        other => Err(format!("expected {action} for {id}, the plan says {other:?}").into()),
    }
}

fn by_hand(point: &PointId, folder: &Path, keys: &Path) {
    let (folder, keys) = (folder.display(), keys.display());
    println!("\nThe vault opens without us (FORMAT.md tells all of it):");
    println!("   cd {folder}");
    println!("   (umask 077; age -d -i {keys}/custodian.txt keys/*.age > {keys}/epoch.txt)");
    println!("   cat items/{point}/*/000000-files.zst.age* | age -d -i {keys}/epoch.txt | zstd -d | tar -t");
}

/// Copies everything but [`LEFT_OUT`], with all its attributes.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    let copied = Command::new("cp").arg("-a").args(entries(from)?).arg(to).status()?;
    if copied.success() { Ok(()) } else { Err(format!("{} cannot be copied", from.display()).into()) }
}

fn entries(of: &Path) -> Result<Vec<PathBuf>> {
    let all = fs::read_dir(of)?.collect::<io::Result<Vec<_>>>()?;
    let kept = all.into_iter().filter(|entry| entry.file_name() != LEFT_OUT).map(|entry| entry.path());
    Ok(kept.collect())
}

fn flip(file: &Path, at: u64) -> Result<()> {
    let mut file = fs::OpenOptions::new().read(true).write(true).open(file)?;
    let mut byte = [0];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut byte)?;
    file.seek(SeekFrom::Start(at))?;
    file.write_all(&[byte[0] ^ 1])?;
    Ok(())
}

fn bytes_under(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        sum += if entry.file_type()?.is_dir() { bytes_under(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(sum)
}

fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

fn seconds_since(began: Duration) -> f64 {
    (SystemClock.monotonic() - began).as_secs_f64()
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("   {line}")).collect::<Vec<_>>().join("\n")
}
