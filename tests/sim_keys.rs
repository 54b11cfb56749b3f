//! Epochs and custodians over the years: rotated, added, removed, lost; and the morning on which only a paper is left.

mod support;

use std::time::Duration;

use backstay::vault::{AllowedSigners, Epoch, Identity, Role, RoleKeys};
use backstay::{Backstay, ErrorKind, Keep, Keyring, Name, PointId, Tier, Vault};
use backstay_testkit::SeededRandom;
use support::pair::Pair;
use support::{World, exporter, inline_budget, program, restored};

const DAY: Duration = Duration::from_secs(24 * 3600);
const TEXT: &[u8] = b"content";

fn name(name: &str) -> Name {
    name.parse().expect("a name")
}

fn identity(seed: u64) -> Identity {
    Identity::generate(&SeededRandom::new(seed))
}

async fn open(world: &World, keyring: &Keyring) -> Vault {
    let builder = Vault::open(world.store.clone()).keyring(keyring).clock(world.clock.clone());
    builder.random(SeededRandom::new(77)).budget(inline_budget()).build().await.expect("it opens")
}

/// What a custodian has on the worst day: the vault, the trusted signers, one identity.
async fn reader(world: &World, trust: &AllowedSigners, identity: &Identity) -> Vault {
    let builder = Vault::open_read_only(world.store.clone()).trust(trust.clone()).unlock_with(identity.clone());
    builder.clock(world.clock.clone()).budget(inline_budget()).build().await.expect("it opens")
}

async fn opens(world: &World, trust: &AllowedSigners, identity: &Identity, point: &PointId) -> bool {
    match restored(&reader(world, trust, identity).await, point).await {
        Ok(items) => {
            assert_eq!(items[0].1, TEXT);
            true
        }
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::Denied | ErrorKind::NotFound), "{error:?}");
            false
        }
    }
}

/// A world whose writer is another host, with a point in the first epoch.
async fn with_a_writer() -> (World, Keyring, RoleKeys, PointId) {
    let world = World::new(3).await;
    let mut keyring = (*world.keyring).clone();
    let writer = keyring.issue_from(Role::Writer, &name("host-7"), &SeededRandom::new(9)).expect("issued");
    let point = back_up(&world, &writer).await;
    (world, keyring, writer, point)
}

async fn back_up(world: &World, writer: &RoleKeys) -> PointId {
    world.clock.advance(DAY);
    let builder = Vault::open_as(Role::Writer, world.store.clone()).keys(writer).clock(world.clock.clone());
    let vault = builder.budget(inline_budget()).build().await.expect("it opens");
    program(vault, exporter(&[("rows", TEXT)])).backup("daily").await.expect("a backup").id
}

#[tokio::test(start_paused = true)]
async fn a_rotation_shuts_out_of_new_points_and_leaves_the_old_ones_readable() {
    let (world, mut keyring, mut writer, old) = with_a_writer().await;
    let (left, paper) = (identity(21), identity(22));
    let vault = open(&world, &keyring).await;
    vault.add_custodian(&name("left"), left.recipient()).await.expect("while she was here");

    let custodians =
        [(name("keyring"), keyring.custodian().recipient().clone()), (name("paper"), paper.recipient().clone())];
    let rotation = vault.rotate(&name("epoch-2"), &custodians).await.expect("rotated");
    let between = back_up(&world, &writer).await;
    keyring.take_epoch(&rotation).expect("it is sealed to the keyring");
    writer.pin_epoch(&rotation.epoch).expect("a writer seals");
    let new = back_up(&world, &writer).await;

    let trust = keyring.allowed_signers();
    let manifest = reader(&world, trust, &paper).await.points().get(&new).await.expect("signed").manifest;
    assert_eq!(manifest.epoch, Some(rotation.epoch.clone()));
    for (who, identity, sees) in [
        ("the keyring", keyring.custodian(), [true, true, true]),
        ("who left", &left, [true, true, false]),
        ("the paper", &paper, [false, false, true]),
    ] {
        for (point, sees) in [&old, &between, &new].into_iter().zip(sees) {
            assert_eq!(opens(&world, trust, identity, point).await, sees, "{who}: {point}");
        }
    }
    let again = open(&world, &keyring).await.rotate(&name("epoch-2"), &custodians).await.expect_err("it was used");
    assert_eq!(again.kind(), ErrorKind::AlreadyExists, "{again}");
    for wrong in [&custodians[..0], &[custodians[0].clone(), custodians[0].clone()]] {
        let error = vault.rotate(&name("epoch-3"), wrong).await.expect_err("nobody, or one twice");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_custodian_opens_old_points_of_every_epoch_by_one_small_file_each() {
    let (world, mut keyring, mut writer, old) = with_a_writer().await;
    let custodians = [(name("keyring"), keyring.custodian().recipient().clone())];
    let rotation = open(&world, &keyring).await.rotate(&name("epoch-2"), &custodians).await.expect("rotated");
    keyring.take_epoch(&rotation).expect("it is sealed to the keyring");
    writer.pin_epoch(&rotation.epoch).expect("a writer seals");
    let new = back_up(&world, &writer).await;

    let (vault, paper) = (open(&world, &keyring).await, identity(22));
    let before = world.keys("").await.len();
    vault.add_custodian(&name("paper"), paper.recipient()).await.expect("added");
    assert_eq!(world.keys("").await.len(), before + 2);
    vault.check_custodian(&name("paper"), &paper).await.expect("both open");
    let proved = vault.custodians().await.expect("a list");
    assert_eq!(proved.iter().filter(|custodian| custodian.proved.is_some()).count(), 2);
    for point in [&old, &new] {
        assert!(opens(&world, keyring.allowed_signers(), &paper, point).await, "{point}");
    }

    vault.remove_custodian(&name("paper")).await.expect("another can open both");
    assert!(!world.keys("keys/").await.iter().any(|key| key.contains("paper")));
    for point in [&old, &new] {
        assert!(!opens(&world, keyring.allowed_signers(), &paper, point).await, "{point}");
    }
    let error = vault.remove_custodian(&name("paper")).await.expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_last_custodian_is_not_removed_whatever_else_lies_there() {
    let (world, keyring, _, old) = with_a_writer().await;
    // A planted file, and one of somebody whose identity is not at hand: neither proves that another can open.
    world.overwrite(&format!("keys/{}.planted.age", keyring.epoch().name), vec![b'x'; 200]).await;
    let vault = open(&world, &keyring).await;
    vault.add_custodian(&name("paper"), identity(22).recipient()).await.expect("added");
    let error = vault.remove_custodian(&name("keyring")).await.expect_err("nobody here opens by the others' files");
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(opens(&world, keyring.allowed_signers(), keyring.custodian(), &old).await);
}

#[tokio::test(start_paused = true)]
async fn in_a_replica_a_custodian_of_the_origin_is_none_of_its_own() {
    let (pair, points) = Pair::with_points(3, 1, TEXT).await;
    let (theirs, ours) = (pair.world.keyring.epoch().clone(), pair.keyring.epoch().clone());
    assert_ne!(theirs.name, ours.name, "both keyrings made their first epoch");
    let (ann, paper) = (identity(21), identity(22));
    let origin = pair.world.vault().await;
    for (who, identity) in [("ann", &ann), ("paper", &paper)] {
        origin.add_custodian(&name(who), identity.recipient()).await.expect("added");
    }
    let replica = pair.replica(pair.store.clone()).await.expect("it opens");
    replica.add_custodian(&name("paper"), paper.recipient()).await.expect("added");
    pair.replicate().await;
    let keys = pair.keys("keys/").await;
    let key = |epoch: &Epoch, who: &str| format!("keys/{}.{who}.age", epoch.name);
    assert!(keys.contains(&key(&theirs, "keyring")) && keys.contains(&key(&ours, "keyring")), "{keys:?}");

    // Who is custodian of the origin alone is none of the epochs that the replica was opened with.
    let [removed, checked] =
        [replica.remove_custodian(&name("ann")).await.map(drop), replica.check_custodian(&name("ann"), &ann).await];
    for error in [removed.expect_err("none of ours"), checked.expect_err("none of ours")] {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert_eq!(error.context("not touched"), Some(theirs.name.as_str()), "{error}");
    }
    assert_eq!(pair.keys("keys/").await, keys);
    // Who is both is removed from the replica's own, and the answer says what stays.
    let removal = replica.remove_custodian(&name("paper")).await.expect("the keyring opens it");
    assert_eq!((removal.removed, removal.untouched), (vec![ours.name.clone()], vec![theirs.name.clone()]));
    assert!(pair.keys("keys/").await.contains(&key(&theirs, "paper")));
    // The way that the error advises: opened with the origin's epoch.
    let builder = Vault::open(pair.store.clone()).id(pair.keyring.vault_id().clone()).encrypt_to(theirs.clone());
    let builder = builder.trust(pair.keyring.allowed_signers().clone()).sign_with(pair.keyring.signing_key().clone());
    let builder = builder.unlock_with(pair.world.keyring.custodian().clone()).clock(pair.world.clock.clone());
    let with_theirs = builder.budget(inline_budget()).build().await.expect("it opens");
    let removal = with_theirs.remove_custodian(&name("ann")).await.expect("another opens it");
    assert_eq!((removal.removed, removal.untouched), (vec![theirs.name.clone()], vec![]));
    origin.remove_custodian(&name("ann")).await.expect("at the origin first");
    pair.replicate().await;
    let keys = pair.keys("keys/").await;
    assert!(!keys.iter().any(|key| key.contains(".ann.")) && keys.contains(&key(&ours, "keyring")), "{keys:?}");
    assert_eq!(restored(&pair.left().await, &points[0]).await.expect("the others open it")[0].1, TEXT);
}

#[tokio::test(start_paused = true)]
async fn a_lost_custodian_is_replaced_by_who_is_left() {
    let (world, mut keyring, writer, old) = with_a_writer().await;
    let paper = identity(22);
    open(&world, &keyring).await.add_custodian(&name("paper"), paper.recipient()).await.expect("in good time");
    let new = back_up(&world, &writer).await;

    // The keyring's own identity is lost. The paper comes out of the safe, and a keeper's signing key is issued anew.
    let keeper = keyring.issue_from(Role::Keeper, &name("keeper"), &SeededRandom::new(31)).expect("issued");
    let builder = Vault::open_as(Role::Keeper, world.store.clone()).keys(&keeper).unlock_with(paper.clone());
    let vault = builder.clock(world.clock.clone()).budget(inline_budget()).build().await.expect("it opens");
    let fresh = identity(41);
    vault.add_custodian(&name("fresh"), fresh.recipient()).await.expect("the paper opens the epoch");
    vault.check_custodian(&name("fresh"), &fresh).await.expect("it opens");
    vault.remove_custodian(&name("keyring")).await.expect("the paper opens by its own file");
    for point in [&old, &new] {
        assert!(opens(&world, keyring.allowed_signers(), &fresh, point).await, "{point}");
        assert!(!opens(&world, keyring.allowed_signers(), keyring.custodian(), point).await, "{point}");
    }
}

#[tokio::test(start_paused = true)]
async fn break_glass_takes_the_vault_the_trusted_signers_and_one_paper() {
    let (world, keyring, _, old) = with_a_writer().await;
    let paper = identity(22);
    open(&world, &keyring).await.add_custodian(&name("paper"), paper.recipient()).await.expect("in good time");
    // Out of the safe: two texts, as a person keeps them. Everything else burned.
    let (text, signers) = (paper.to_text(), keyring.allowed_signers().to_string());
    let (identity, trust) = (Identity::parse(text.expose()).expect("age's"), signers.parse().expect("ssh's"));
    let vault = reader(&world, &trust, &identity).await;
    let newest = vault.points().latest("db").await.expect("a point");
    assert_eq!(newest.id, old);
    assert_eq!(restored(&vault, &newest.id).await.expect("it opens")[0].1, TEXT);
}

#[tokio::test(start_paused = true)]
async fn status_warns_of_too_few_custodians_and_of_proofs_that_are_old() {
    let (world, keyring, ..) = with_a_writer().await;
    let warnings = async |world: &World| {
        let tier = Tier::new("daily").keep(Keep::last(2));
        let backstay = Backstay::builder("prod-eu", open(world, &keyring).await).export("db", exporter(&[])).tier(tier);
        let status = backstay.build().expect("well formed").status().await.expect("a status");
        assert_eq!(
            status.custody.iter().filter(|line| status.to_string().contains(*line)).count(),
            status.custody.len()
        );
        status.custody
    };
    let [nobody] = <[String; 1]>::try_from(warnings(&world).await).expect("one warning");
    assert!(nobody.contains("no custodian has shown"), "{nobody}");

    let vault = open(&world, &keyring).await;
    vault.check_custodian(&name("keyring"), keyring.custodian()).await.expect("it opens");
    let paper = identity(22);
    vault.add_custodian(&name("paper"), paper.recipient()).await.expect("added");
    world.overwrite(&format!("keys/{}.planted.age", keyring.epoch().name), vec![b'x'; 200]).await;
    let [only] = <[String; 1]>::try_from(warnings(&world).await).expect("a file alone is no custodian");
    assert!(only.contains("only keyring"), "{only}");

    world.clock.advance(DAY);
    vault.check_custodian(&name("paper"), &paper).await.expect("it opens");
    assert_eq!(warnings(&world).await, [""; 0]);
    world.clock.advance(DAY * 90);
    assert_eq!(warnings(&world).await, [""; 0], "90 days are no more than 90 days");
    world.clock.advance(Duration::from_secs(1));
    let [old] = <[String; 1]>::try_from(warnings(&world).await).expect("one warning");
    assert!(old.contains(keyring.epoch().name.as_str()) && old.contains("90 days"), "{old}");

    // A new epoch has custodians of its own to prove.
    let custodians = [(name("keyring"), keyring.custodian().recipient().clone())];
    let mut rotated = keyring.clone();
    let rotation = vault.rotate(&name("epoch-2"), &custodians).await.expect("rotated");
    rotated.take_epoch(&rotation).expect("it is sealed to the keyring");
    open(&world, &rotated).await.check_custodian(&name("keyring"), rotated.custodian()).await.expect("both open");
    let tier = Tier::new("daily").keep(Keep::last(2));
    let backstay = Backstay::builder("prod-eu", open(&world, &rotated).await).export("db", exporter(&[])).tier(tier);
    let custody = backstay.build().expect("well formed").status().await.expect("a status").custody;
    assert_eq!(custody.len(), 1, "{custody:?}");
    assert!(custody[0].starts_with("epoch-2: only keyring"), "{custody:?}");
}

#[tokio::test(start_paused = true)]
async fn a_keyrings_folder_takes_a_new_epoch_and_keeps_the_old_one() {
    let place = tempfile::tempdir().expect("a folder");
    let path = place.path().join("keys");
    let mut keyring = Keyring::create(&path).expect("made");
    let store = backstay::MemoryStore::new();
    Vault::create(store.clone()).keyring(&keyring).build().await.expect("made");
    let vault = Vault::open(store).keyring(&keyring).build().await.expect("it opens");
    let mine = (name("keyring"), keyring.custodian().recipient().clone());
    let other = [(name("paper"), identity(22).recipient().clone())];
    let rotation = vault.rotate(&name("without-us"), &other).await.expect("rotated");
    assert_eq!(keyring.take_epoch(&rotation).expect_err("not for us").kind(), ErrorKind::NotFound);
    let rotation = vault.rotate(&name("epoch-2"), &[mine]).await.expect("rotated");
    keyring.take_epoch(&rotation).expect("taken");
    keyring.take_epoch(&rotation).expect("twice is once");
    let read = Keyring::open(&path).expect("it reads");
    let names: Vec<String> = read.epochs().iter().map(|epoch| epoch.name.to_string()).collect();
    assert_eq!(names, [format!("epoch-1-{:.8}", keyring.vault_id().as_str()), "epoch-2".to_owned()]);
    assert_eq!(read.epoch(), &rotation.epoch);
}
