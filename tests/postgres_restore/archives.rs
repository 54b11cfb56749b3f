//! Archives in the wild, and damage in a vault.

use std::ops::Range;

use async_trait::async_trait;
use backstay::store::{BoxStream, ByteStream};
use backstay::{Backstay, Blake3, ErrorKind, Keep, Keyring, LocalStore, MemoryStore, Result, Tier, Vault};
use backstay_core::source::{ImportOptions, ItemInfo, ItemSource, ResourceImporter as _};
use backstay_postgres::{Checks, PgDrill, PgDump, PgRestore};
use backstay_test_servers::data;
use backstay_test_servers::postgres::{Server, majors};
use backstay_testkit::items::Items;
use futures_util::stream;

use super::world::{
    connect, databases, dumped, foreign, import, items_of, made_a_database, refused, restore, small, state,
};

#[tokio::test]
async fn a_foreign_archive_is_restored_without_facts() {
    for major in majors() {
        let server = Server::start(major);
        small(&server);
        for compress in [0, 6] {
            let into = format!("copy_{compress}");
            let items = items_of(foreign(&server, "small", compress));
            import(&restore(&server).into(&into), &items, &ImportOptions::default()).await.unwrap();
            let mut difference =
                data::difference(&data::fingerprint(&server, "small"), &data::fingerprint(&server, &into));
            // Only facts tell what was set for the database.
            difference.retain(|line| !line.contains("work_mem"));
            assert_eq!(difference, [""; 0]);
        }
    }
}

#[tokio::test]
async fn a_cut_or_damaged_archive_is_refused_before_anything_is_made() {
    for major in majors() {
        let server = Server::start(major);
        small(&server);
        for compress in [0, 6] {
            let good = foreign(&server, "small", compress);
            for end in [good.len() - 1, good.len() / 2, 300, 20, 4, 0] {
                let items = items_of(good[..end].to_vec());
                assert_eq!(refused(&server, &restore(&server), &items).await, ErrorKind::Corrupt, "{end}");
                let checked = restore(&server).check(&items).await.unwrap_err();
                assert_eq!(checked.kind(), ErrorKind::Corrupt, "{end}: {checked}");
            }
        }
        let good = foreign(&server, "small", 6);
        for at in [good.len() / 2, good.len() * 3 / 4, good.len() - 2_000] {
            let mut bad = good.clone();
            bad[at] ^= 4;
            assert_eq!(refused(&server, &restore(&server), &items_of(bad)).await, ErrorKind::Corrupt, "{at}");
        }
        assert_eq!(refused(&server, &restore(&server), &items_of(b"-- a script".to_vec())).await, ErrorKind::Corrupt);
        // A source that finds the damage late, as a vault does in a large item.
        let ours = dumped(&server, &["small"]).await;
        let length = ours.infos().iter().map(|item| item.bytes).max().unwrap();
        for end in [length - 1, length / 2] {
            let late = items_of(good.clone()).cut_after(end.min(good.len() as u64 - 1));
            assert_eq!(refused(&server, &restore(&server), &late).await, ErrorKind::Unavailable, "{end}");
            let late = Digested(ours.clone().cut_after(end));
            assert_eq!(refused(&server, &restore(&server), &late).await, ErrorKind::Unavailable, "ours, {end}");
        }
    }
}

/// Items whose digests are known beforehand, as a vault's are.
struct Digested(Items);

#[async_trait]
impl ItemSource for Digested {
    fn list(&self) -> BoxStream<'_, Result<ItemInfo>> {
        let digested = |item: ItemInfo| {
            let content = self.0.content(&item.name).unwrap();
            item.with_digest(Blake3::of(&content))
        };
        Box::pin(stream::iter(self.0.infos().into_iter().map(move |item| Ok(digested(item)))))
    }

    async fn open(&self, item: &ItemInfo) -> Result<ByteStream> {
        self.0.open(item).await
    }

    async fn open_range(&self, item: &ItemInfo, range: Range<u64>) -> Result<ByteStream> {
        self.0.open_range(item, range).await
    }
}

#[tokio::test]
async fn what_nothing_proves_is_told() {
    for major in majors() {
        let server = Server::start(major);
        small(&server);
        let unproved = |compress| {
            let items = items_of(foreign(&server, "small", compress));
            let restore = restore(&server);
            async move { restore.check(&items).await.unwrap().unproved.join("\n") }
        };
        assert!(unproved(0).await.contains("their.dump: nothing proves its data: it is not compressed"));
        assert!(unproved(6).await.contains("their.dump: nothing proves its definitions, only its data"));
    }
}

fn tier() -> Tier {
    Tier::new("daily").keep(Keep::last(3))
}

#[tokio::test]
async fn from_a_vault_any_damaged_bit_is_refused_before_anything_is_made() {
    let major = majors()[0];
    let server = Server::start(major);
    small(&server);
    // Of several parts: what begins well may be damaged farther on.
    let noise = "create table noise as select md5(i::text) || md5((-i)::text) as x from generate_series(1, 400000) i";
    server.psql("small", noise);
    let folder = tempfile::tempdir().unwrap();
    let keyring = Keyring::create(folder.path().join("keys")).unwrap();
    let place = folder.path().join("vault");
    let vault = Vault::create(LocalStore::create(&place).unwrap()).keyring(&keyring).build().await.unwrap();
    let dump = PgDump::new(connect(&server, "postgres")).programs_in(server.bin()).databases(["small"]).globals(false);
    let backstay = Backstay::builder("test", vault.clone()).export("db", dump).tier(tier()).build().unwrap();
    let dumped = backstay.backup("daily").await.unwrap();
    let point = dumped.id.clone();

    let whole = vault.verify(&point).check("db", restore(&server)).await.unwrap();
    assert!(!whole.unproved.iter().any(|text| text.contains("digest")), "{:?}", whole.unproved);
    let run = |restore: PgRestore| {
        let (vault, point) = (vault.clone(), point.clone());
        async move { vault.restore(&point).into(restore).plan().await?.apply().await }
    };
    let objects: Vec<_> = files(&place.join("items"));
    let largest = objects.iter().max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap();
    let good = std::fs::read(largest).unwrap();
    let before = state(&server);
    assert!(good.len() > 9 << 20, "one part only: {}", good.len());
    for at in (0..8).map(|i| i * (good.len() - 1) / 7) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(largest, bad).unwrap();
        let error = run(restore(&server).into("never")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{at}: {error}");
        assert_eq!(state(&server), before, "{at}");
    }
    assert!(!made_a_database(&server));
    std::fs::write(largest, good).unwrap();
    run(restore(&server).into("whole")).await.unwrap();
    assert!(made_a_database(&server), "the log would tell");
    assert_eq!(databases(&server), ["postgres", "small", "whole"]);
    let difference = data::difference(&data::fingerprint(&server, "small"), &data::fingerprint(&server, "whole"));
    assert_eq!(difference, [""; 0]);
    // Proved and then restored, it is the same bytes still.
    let drill = PgDrill::new(restore(&server), Checks::new().row_counts());
    let report = backstay.drill("db").into(drill).await.unwrap();
    assert_eq!((report.bytes, report.part), (dumped.bytes(), None), "all of it");
}

#[tokio::test]
async fn a_drill_of_one_database_proves_a_part_of_a_component_of_two() {
    let server = Server::start(majors()[0]);
    small(&server);
    server.psql("postgres", "create database other template small");
    let vault = Vault::create(MemoryStore::new()).keyring(&Keyring::generate().unwrap()).build().await.unwrap();
    let dump = PgDump::new(connect(&server, "postgres")).programs_in(server.bin()).databases(["small", "other"]);
    let backstay = Backstay::builder("test", vault).export("db", dump).tier(tier()).build().unwrap();
    backstay.backup("daily").await.unwrap();
    let checks = Checks::new().query("orders", "select count(*) from sales.orders").at_least(1);
    let report = backstay.drill("db").into(PgDrill::new(restore(&server).database("small"), checks)).await.unwrap();
    let part = report.part.expect("neither the globals, nor their script, nor the other one was restored");
    assert_eq!((part.restored, part.of), (1, 4), "{report}");
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}
