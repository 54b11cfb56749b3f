//! Two gateways over one folder, as two hosts with one bucket: one winner of each key, no point lost.

mod support;

use std::sync::Arc;

use backstay::aws::S3Store;
use backstay::store::{ObjectStore, ObjectStoreExt as _, PutOptions};
use backstay::{Backstay, Depth, ErrorKind, Keep, Keyring, Tier, Vault};
use backstay_test_servers::s3::Versitygw;
use bytes::Bytes;
use futures_util::future::join_all;
use support::s3::{Kind, make, open};

const WRITERS: usize = 16;
const KEYS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_writers_at_two_gateways_have_one_winner_for_each_key() {
    let first = Versitygw::with_versions_and_users();
    let second = first.second();
    make(&first, &[("acme", Kind::Versioned)]);
    let stores: Arc<[S3Store; 2]> = Arc::new([open(&first, "acme").await, open(&second, "acme").await]);
    for n in 0..KEYS {
        let put = |writer: usize| {
            let stores = Arc::clone(&stores);
            async move {
                let key = format!("race/{n}").parse().expect("a key");
                let data = Bytes::from(format!("writer {writer}"));
                stores[writer % 2].put(&key, data, &PutOptions::default()).await.map(|_| writer)
            }
        };
        let results = join_all((0..WRITERS).map(|writer| tokio::spawn(put(writer)))).await;
        let (won, lost): (Vec<_>, Vec<_>) =
            results.into_iter().map(|done| done.expect("no panic")).partition(Result::is_ok);
        let winners: Vec<usize> = won.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1, "{winners:?} all made race/{n}");
        for error in lost.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
        }
        let key = format!("race/{n}").parse().expect("a key");
        let stands = stores[0].get_bytes(&key, 100).await.expect("it stands");
        assert_eq!(stands, format!("writer {}", winners[0]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_that_back_up_at_once_lose_no_point() {
    let first = Versitygw::with_versions_and_users();
    let second = first.second();
    make(&first, &[("acme", Kind::Versioned)]);
    let keyring = Keyring::generate().expect("fresh keys");
    Vault::create(open(&first, "acme").await).keyring(&keyring).build().await.expect("a vault");
    let mut programs = Vec::new();
    for server in [&first, &second] {
        let vault = Vault::open(open(server, "acme").await).keyring(&keyring).build().await.expect("it opens");
        let program = Backstay::builder("prod-eu", vault)
            .export("db", support::exporter(&[("rows", &[b'x'; 100_000])]))
            .tier(Tier::new("daily").keep(Keep::last(100)))
            .build();
        programs.push(program.expect("well formed"));
    }
    let run = |program: Backstay| async move {
        let mut made = Vec::new();
        for _ in 0..6 {
            made.push(program.backup("daily").await.expect("a backup").id);
        }
        made
    };
    let made = join_all(programs.iter().cloned().map(|program| tokio::spawn(run(program)))).await;
    let mut made: Vec<_> = made.into_iter().flat_map(|done| done.expect("no panic")).collect();
    made.sort();
    let vault = programs[0].vault();
    let mut listed = vault.points().list(&made[0].source, &made[0].tier).await.expect("a listing");
    listed.sort();
    assert_eq!(listed, made);
    for point in &made {
        vault.verify(point).depth(Depth::Decoded).await.expect("whole");
    }
}
