//! Bad input: a clear error that names what and where, and nothing lost.

mod support;

use std::sync::Arc;

use backstay::store::Operation;
use backstay::vault::{AllowedSigners, Identity};
use backstay::{Backstay, Depth, Directory, ErrorKind, Keep, Keyring, LocalStore, MemoryStore, Tier, Vault};
use backstay_testkit::SeededRandom;
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use support::gate::Gates;
use support::{World, exporter, inline_budget, program, restored, signature_key};

const TEXT: &[u8] = b"forty-two rows and not one of them is to be lost";

/// A world with one point of one item, and the item's key.
async fn one_point() -> (World, backstay::PointId, String) {
    let world = World::new(7).await;
    let point = world.backstay(&[("rows", TEXT)]).await.backup("daily").await.expect("the backup works");
    let item = world.keys("items/").await.remove(0);
    (world, point.id, item)
}

#[tokio::test(start_paused = true)]
async fn damaged_items_are_named_by_verify_and_never_restored() {
    let (world, id, item) = one_point().await;
    let good = world.read(&item).await;
    let last = good.len() - 1;
    let cases: [(&str, Vec<u8>); 6] = [
        ("header flipped", flipped(&good, 3)),
        ("middle flipped", flipped(&good, good.len() / 2)),
        ("last byte flipped", flipped(&good, last)),
        ("truncated", good[..last].to_vec()),
        ("emptied", Vec::new()),
        ("lengthened", [good.as_slice(), b"x"].concat()),
    ];
    for (what, bytes) in cases {
        world.overwrite(&item, bytes).await;
        let vault = world.vault().await;
        let error = vault.verify(&id).depth(Depth::Stored).await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error}");
        assert!(error.to_string().contains(&item), "{what}: the object is not named: {error}");
        let error = restored(&vault, &id).await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error}");
    }
    world.remove(&item).await;
    let error = world.vault().await.verify(&id).depth(Depth::Listed).await.expect_err("missing");
    assert!(error.to_string().contains("missing") && error.to_string().contains(&item), "{error}");

    world.overwrite(&item, good).await;
    assert_eq!(restored(&world.vault().await, &id).await.expect("intact again")[0].1, TEXT);
}

#[tokio::test(start_paused = true)]
async fn missing_or_damaged_details_are_named() {
    let (world, id, _) = one_point().await;
    let details = world.keys("details/").await.remove(0);
    let good = world.read(&details).await;
    world.overwrite(&details, flipped(&good, good.len() / 2)).await;
    let error = restored(&world.vault().await, &id).await.expect_err("damaged details");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    world.remove(&details).await;
    let error = world.vault().await.verify(&id).await.expect_err("missing details");
    assert!(error.to_string().contains(&details), "{error}");
}

#[tokio::test(start_paused = true)]
async fn items_swapped_between_points_are_refused() {
    let world = World::new(7).await;
    let backstay = world.backstay(&[("rows", TEXT)]).await;
    let first = backstay.backup("daily").await.expect("first").id;
    world.clock.advance(std::time::Duration::from_secs(60));
    let second = backstay.backup("daily").await.expect("second").id;
    let items = world.keys("items/").await;
    let (a, b) = (world.read(&items[0]).await, world.read(&items[1]).await);
    world.overwrite(&items[0], b).await;
    world.overwrite(&items[1], a).await;
    for id in [first, second] {
        let error = restored(backstay.vault(), &id).await.expect_err("swapped");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_manifest_moved_to_another_point_tier_or_source_is_refused() {
    let (world, id, _) = one_point().await;
    let manifest = format!("points/{id}.json");
    let signature = world.keys("sigs/").await.remove(0);
    let run = id.run.to_string();
    for place in [
        format!("prod-eu/daily/20260101t000000z-{}", "a".repeat(8)),
        format!("prod-eu/weekly/{run}"),
        format!("other/daily/{run}"),
    ] {
        let moved: backstay::PointId = place.parse().expect("a point's name");
        world.overwrite(&format!("points/{moved}.json"), world.read(&manifest).await).await;
        world.overwrite(&signature.replace(&id.to_string(), &place), world.read(&signature).await).await;
        let error = world.vault().await.points().get(&moved).await.expect_err(&place);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{place}: {error}");
        assert!(error.to_string().contains(&id.to_string()), "{place}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_manifest_of_another_vault_is_refused_even_with_the_same_keys() {
    let (world, id, _) = one_point().await;
    let other = World::new(8).await;
    for key in world.keys("points/").await.into_iter().chain(world.keys("sigs/").await) {
        other.overwrite(&key, world.read(&key).await).await;
    }
    let vault = Vault::open(other.store.clone())
        .keyring(&other.keyring)
        .trust(world.keyring.allowed_signers().clone())
        .sign_with(world.keyring.signing_key().clone())
        .build()
        .await
        .expect("it opens");
    let error = vault.points().get(&id).await.expect_err("of another vault");
    assert!(error.to_string().contains("written for vault"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn manifests_that_are_none_are_refused() {
    let (world, id, _) = one_point().await;
    let key = format!("points/{id}.json");
    let signer = world.keyring.signing_key();
    for (what, bytes) in [
        ("no JSON", b"PK\x03\x04".to_vec()),
        ("JSON of another kind", b"[1, 2, 3]".to_vec()),
        ("deep JSON", "[".repeat(100_000).into_bytes()),
    ] {
        // Even a signed one: the key's holder may be mistaken.
        world.overwrite(&key, bytes.clone()).await;
        let error = world.vault().await.points().get(&id).await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Untrusted, "{what}: {error}");
        let armored = signer.sign("backstay-point-v1", &bytes);
        let name = signature_key(&format!("sigs/{id}.point"), &bytes, &signer.public().id());
        world.overwrite(&name, armored.into_bytes()).await;
        let error = world.vault().await.points().get(&id).await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error}");
        assert!(error.to_string().contains(&key), "{what}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_manifest_of_a_gigabyte_is_refused_before_it_is_read() {
    let (world, id, _) = one_point().await;
    world.overwrite(&format!("points/{id}.json"), vec![b' '; 65 << 20]).await;
    let unread = Rule::new(Fault::BreakOff(0, ErrorKind::Unavailable)).on([Operation::Get]);
    let store = FaultyStore::new(Arc::new(world.store.clone())).with(unread);
    let vault = world.open(store, 5).await.expect("it opens");
    let error = vault.points().get(&id).await.expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");

    let gates = Gates::default();
    gates.open();
    gates.announce_nothing();
    let vault = world.open(gates.store(&world.store, 0), 5).await.expect("it opens");
    let error = vault.points().get(&id).await.expect_err("more than was announced");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_feature_refuses_the_vault() {
    let (world, ..) = one_point().await;
    let marker = String::from_utf8(world.read("backstay-1.json").await).expect("text");
    let with = |field: &str| marker.replace(&format!("\"{field}\": []"), &format!("\"{field}\": [\"chunks-v2\"]"));
    world.overwrite("backstay-1.json", with("requires_read")).await;
    let opened = Vault::open_read_only(world.store.clone()).keyring(&world.keyring).build().await;
    let error = opened.expect_err("unknown feature");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("chunks-v2"), "{error}");

    world.overwrite("backstay-1.json", with("requires_delete")).await;
    let reader = Vault::open_read_only(world.store.clone()).keyring(&world.keyring).build().await;
    reader.expect("reading is not concerned");
    let backstay = world.backstay(&[("rows", TEXT)]).await;
    let pruned = backstay.prune("daily").plan().await;
    assert_eq!(pruned.expect_err("unknown feature").kind(), ErrorKind::Unsupported);
    // A program that was open already asks again, when it plans and when it applies.
    world.overwrite("backstay-1.json", marker.clone()).await;
    let plan = backstay.prune("daily").plan().await.expect("a plan");
    world.overwrite("backstay-1.json", with("requires_read")).await;
    assert_eq!(backstay.prune("daily").plan().await.expect_err("to read").kind(), ErrorKind::Unsupported);
    world.overwrite("backstay-1.json", marker.replace(&world.keyring.vault_id().to_string(), &"a".repeat(26))).await;
    assert_ne!(world.read("backstay-1.json").await, marker.as_bytes());
    let error = plan.apply().await.expect_err("the place was exchanged");
    assert!(matches!(error.kind(), ErrorKind::Refused | ErrorKind::Corrupt), "{error}");
}

#[tokio::test(start_paused = true)]
async fn keys_that_do_not_fit_are_told_apart() {
    let (world, id, _) = one_point().await;
    let random = SeededRandom::new(99);
    let open = || Vault::open_read_only(world.store.clone()).id(world.keyring.vault_id().clone());
    let trust = || world.keyring.allowed_signers().clone();

    let stranger = open().trust(trust()).unlock_with(Identity::generate(&random)).build().await.expect("it opens");
    let error = restored(&stranger, &id).await.expect_err("a wrong key");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(error.to_string().contains("custodian"), "{error}");
    assert_eq!(stranger.verify(&id).await.expect("needs no key").reached, Some(Depth::Stored));

    let keyless = open().trust(trust()).build().await.expect("it opens");
    assert_eq!(restored(&keyless, &id).await.expect_err("no key").kind(), ErrorKind::Denied);

    let other = Keyring::generate_from(&random).expect("keys");
    let distrusting = open().trust(other.allowed_signers().clone()).build().await.expect("it opens");
    let error = distrusting.points().get(&id).await.expect_err("a foreign signer");
    assert_eq!(error.kind(), ErrorKind::Untrusted, "{error}");

    let line = trust().to_string();
    for (what, option) in
        [("expired", "valid-before=\"20200101Z\""), ("of another purpose", "namespaces=\"backstay-hold-v1\"")]
    {
        let (principal, key) = line.trim().split_once(' ').expect("a principal and a key");
        let key = &key[key.find("ssh-ed25519").expect("a key")..];
        let signers: AllowedSigners = format!("{principal} {option} {key}\n").parse().expect("signers");
        let vault = open().trust(signers).build().await.expect("it opens");
        let error = vault.points().get(&id).await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Untrusted, "{what}: {error}");
    }

    for signature in world.keys("sigs/").await {
        world.remove(&signature).await;
    }
    assert_eq!(world.vault().await.points().get(&id).await.expect_err("unsigned").kind(), ErrorKind::Untrusted);
}

#[tokio::test(start_paused = true)]
async fn a_place_without_the_vault_is_refused_and_stays_as_it_is() {
    let keyring = Keyring::generate().expect("keys");
    let store = MemoryStore::new();
    let error = Vault::open(store.clone()).keyring(&keyring).build().await.expect_err("no vault");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("mounted"), "{error}");

    let place = tempfile::tempdir().expect("a folder");
    let gone = place.path().join("not-mounted");
    LocalStore::open(&gone).expect_err("not mounted");
    assert!(!gone.exists());

    let world = World::new(7).await;
    let error = Vault::open(world.store.clone()).keyring(&keyring).build().await.expect_err("another vault");
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    let error = Vault::create(world.store.clone()).keyring(&keyring).build().await.expect_err("a vault is there");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_builder_reports_every_mistake_at_once() {
    let world = World::new(7).await;
    let built = Backstay::builder("Prod EU", world.vault().await)
        .export("db", exporter(&[]))
        .export("db", exporter(&[]))
        .export("Files", exporter(&[]))
        .tier(Tier::new("daily").covers(["dc"]))
        .tier(Tier::new("daily").keep(Keep::daily(1)))
        .build();
    let error = built.expect_err("full of mistakes").to_string();
    for part in ["Prod EU", "\"db\"", "Files", "\"dc\"", "two tiers"] {
        assert!(error.contains(part), "{part} is not told: {error}");
    }
    let error = Backstay::builder("prod-eu", world.vault().await).build().expect_err("nothing in it").to_string();
    assert!(error.contains("no component") && error.contains("no tier"), "{error}");

    let error = Vault::open(world.store.clone()).build().await.expect_err("no keys").to_string();
    assert!(error.contains("trusted") && error.contains("seal") && error.contains("signing key"), "{error}");
}

#[tokio::test]
async fn secrets_are_taken_only_into_a_vault_that_is_encrypted() {
    let build = |vault| {
        let tier = Tier::new("daily").keep(Keep::last(1));
        Backstay::builder("prod-eu", vault).export("secrets", exporter(&[("key", TEXT)]).secret()).tier(tier).build()
    };
    assert!(build(World::new(7).await.vault().await).is_ok());
    let world = World::without_vault(7);
    let plain = Vault::create(world.store.clone()).keyring(&world.keyring).danger_unencrypted().build().await;
    let error = build(plain.expect("a vault")).expect_err("anybody could read them").to_string();
    assert!(error.contains("\"secrets\"") && error.contains("not encrypted"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_component_without_items_is_a_failure_unless_allowed() {
    let world = World::new(7).await;
    let backstay = world.backstay(&[]).await;
    let error = backstay.backup("daily").await.expect_err("nothing to protect");
    assert!(error.to_string().contains("nothing to protect"), "{error}");
    assert_eq!(world.keys("points/").await, [""; 0]);
    backstay.backup("daily").allow_empty().await.expect("allowed");
}

#[tokio::test(start_paused = true)]
async fn names_of_items_may_be_anything() {
    let world = World::new(7).await;
    let long = "x".repeat(1000);
    let mut names = [
        long.as_str(),
        "../../etc/passwd",
        "/absolute",
        "a\0b",
        "line\nfeed",
        "é ü 日本 \u{2028}",
        "",
        " ",
        "a//b",
        ".",
    ];
    let items: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, TEXT)).collect();
    let backstay = world.backstay(&items).await;
    let id = backstay.backup("daily").await.expect("any name").id;
    let back = restored(backstay.vault(), &id).await.expect("they come back");
    names.sort_unstable();
    assert_eq!(back.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names);
    for key in world.keys("").await {
        assert!(!key.contains("passwd") && !key.contains("xxx"), "a name leaked into {key}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_items_of_one_name_fail_the_component() {
    let world = World::new(7).await;
    let error = world.backstay(&[("rows", TEXT), ("rows", TEXT)]).await.backup("daily").await.expect_err("twice");
    assert!(error.to_string().contains("this name"), "{error}");
}

#[tokio::test]
async fn a_source_that_is_not_there_fails_and_says_which() {
    let place = tempfile::tempdir().expect("a folder");
    let keyring = Keyring::generate().expect("keys");
    let vault =
        Vault::create(MemoryStore::new()).keyring(&keyring).budget(inline_budget()).build().await.expect("a vault");
    let backstay = Backstay::builder("prod-eu", vault)
        .export("files", Directory::new(place.path().join("gone")))
        .tier(Tier::new("daily").keep(Keep::daily(1)))
        .build()
        .expect("well formed");
    let error = backstay.backup("daily").await.expect_err("gone");
    assert!(error.to_string().contains("gone"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_full_or_denied_store_fails_the_run_and_what_was_there_stays() {
    let (world, id, _) = one_point().await;
    for kind in [ErrorKind::Exhausted, ErrorKind::Denied] {
        for prefix in ["runs/", "items/", "details/", "sigs/", "points/"] {
            let store = FaultyStore::new(Arc::new(world.store.clone()));
            let vault = world.open(store.clone(), 5).await.expect("it opens");
            store.add(Rule::new(Fault::FailBefore(kind)).on([Operation::Put]).under(prefix));
            let error = program(vault, exporter(&[("rows", TEXT)])).backup("daily").await.expect_err(prefix);
            assert_eq!(error.kind(), kind, "{prefix}: {error}");
            world.clock.advance(std::time::Duration::from_secs(60));
        }
    }
    let backstay = world.backstay(&[("rows", TEXT)]).await;
    assert_eq!(backstay.vault().points().latest("db").await.expect("the one of before").id, id);
    backstay.backup("daily").await.expect("with room and rights again");
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}
