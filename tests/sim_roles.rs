//! Each act under exactly the rights of its role: it works, nothing else is asked for, and one right less is named.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use backstay::engine::Proof;
use backstay::vault::{Grant, Purpose, Right, Role, RoleKeys};
use backstay::{Backstay, Depth, ErrorKind, Keep, Keyring, Name, PointId, Result, Tier, Vault};
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use backstay_testkit::mock::MockImporter;
use backstay_testkit::{EventLog, RightsStore, SeededRandom};
use support::{World, exporter, inline_budget, program, restored};

const DAY: Duration = Duration::from_secs(24 * 3600);
const TEXT: &[u8] = b"content";

/// What somebody does with a vault that was opened for a role.
#[derive(Clone, Copy, Debug)]
enum Act {
    Backup,
    Verify(Depth),
    Record,
    Restore,
    Status,
    Tombstone,
    Delete,
    Undelete,
    Hold,
    Release,
    Accept,
    Retire,
    AddCustodian,
    CheckCustodian,
    RemoveCustodian,
    Rotate,
}

const ACTS: [(Role, Act); 23] = [
    (Role::Writer, Act::Backup),
    (Role::Verifier, Act::Verify(Depth::Listed)),
    (Role::Verifier, Act::Verify(Depth::Stored)),
    (Role::Verifier, Act::Verify(Depth::Decoded)),
    (Role::Verifier, Act::Verify(Depth::Checked)),
    (Role::Verifier, Act::Record),
    (Role::Verifier, Act::Status),
    (Role::Restorer, Act::Restore),
    (Role::Restorer, Act::Verify(Depth::Decoded)),
    (Role::Restorer, Act::Status),
    (Role::Pruner, Act::Tombstone),
    (Role::Pruner, Act::Delete),
    (Role::Pruner, Act::Undelete),
    (Role::Pruner, Act::Status),
    (Role::Keeper, Act::Hold),
    (Role::Keeper, Act::Release),
    (Role::Keeper, Act::Accept),
    (Role::Keeper, Act::Retire),
    (Role::Keeper, Act::AddCustodian),
    (Role::Keeper, Act::CheckCustodian),
    (Role::Keeper, Act::RemoveCustodian),
    (Role::Keeper, Act::Rotate),
    (Role::Keeper, Act::Status),
];

/// Grants that only the acts in `sim_rights` use: locks, copies, sweeps, uploads that nobody finishes and replication.
fn used_elsewhere(role: Role, grant: &Grant) -> bool {
    match role {
        Role::Replicator => true,
        Role::Keeper => grant.right == Right::Lock,
        Role::Pruner if grant.right == Right::Abort => true,
        Role::Pruner => grant.right == Right::Delete && ["copies/", "runs/"].contains(&grant.under),
        // Of failed runs only.
        Role::Writer => grant.under == "history/",
        _ => false,
    }
}

fn name(name: &str) -> Name {
    name.parse().expect("a name")
}

/// A vault with three points, the oldest with a hold and a proof, the second with a tombstone in its grace or after it.
struct Place {
    world: World,
    keyring: Keyring,
    points: Vec<PointId>,
}

impl Place {
    async fn new() -> Self {
        let world = World::new(3).await;
        let backstay = world.backstay(&[("rows", TEXT)]).await;
        let mut points = Vec::new();
        for _ in 0..4 {
            points.push(backstay.backup("daily").await.expect("a backup").id);
            world.clock.advance(DAY);
        }
        let vault = backstay.vault();
        vault.hold(&points[0], &name("audit"), "why").await.expect("held");
        backstay.verify(&points[1]).record().await.expect("proved");
        backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone for the second");
        let keyring = (*world.keyring).clone();
        Self { world, keyring, points }
    }

    /// Keys of a role; those that open are made custodians.
    async fn issue(&mut self, role: Role) -> RoleKeys {
        let keys = self.keyring.issue_from(role, &name("somebody"), &SeededRandom::new(9)).expect("issued");
        if let Some(identity) = keys.custodian() {
            let vault = self.world.vault().await;
            vault.add_custodian(&name("somebody"), identity.recipient()).await.expect("added");
        }
        keys
    }

    async fn open(&self, role: Role, keys: &RoleKeys, store: RightsStore, act: Act) -> Result<Vault> {
        let builder = Vault::open_as(role, store).keys(keys).clock(self.world.clock.clone());
        let builder = builder.random(SeededRandom::new(11)).budget(inline_budget());
        match act {
            Act::Verify(Depth::Decoded | Depth::Checked) => builder.unlock_with(self.keyring.custodian().clone()),
            _ => builder,
        }
        .build()
        .await
    }

    async fn act(&self, vault: Vault, act: Act) -> Result<()> {
        let point = &self.points[0];
        match act {
            Act::Backup => program(vault, exporter(&[("rows", TEXT)])).backup("daily").await.map(drop),
            Act::Verify(Depth::Checked) => vault.verify(point).check("db", MockImporter::default()).await.map(drop),
            Act::Verify(depth) => vault.verify(point).depth(depth).await.map(drop),
            Act::Record => vault.verify(point).record().await.map(drop),
            Act::Restore => {
                let newest = vault.points().latest("db").await?;
                assert_eq!(restored(&vault, &newest.id).await?[0].1, TEXT);
                Ok(())
            }
            Act::Status => without_exporters(vault).status().await.map(drop),
            Act::Tombstone => {
                self.world.remove(&format!("points/{}.hold-audit", self.points[0])).await;
                let report = without_exporters(vault).prune("daily").plan().await?.apply().await?;
                assert_eq!(report.tombstoned, [self.points[0].clone()]);
                Ok(())
            }
            Act::Delete => {
                let report = without_exporters(vault).prune("daily").danger_no_grace().plan().await?.apply().await?;
                assert_eq!(report.deleted, [self.points[1].clone()]);
                Ok(())
            }
            Act::Undelete => vault.undelete(&self.points[1]).await,
            Act::Hold => vault.hold(point, &name("second"), "why").await,
            Act::Release => vault.release(point, &name("audit"), "seen").await,
            Act::Accept => vault.accept(point, "it is good").await,
            Act::Retire => vault.retire(&name("prod-eu"), &name("db"), "gone").await,
            Act::AddCustodian => vault.add_custodian(&name("paper"), self.keyring.custodian().recipient()).await,
            Act::CheckCustodian => vault.check_custodian(&name("keyring"), self.keyring.custodian()).await,
            Act::RemoveCustodian => vault.remove_custodian(&name("keyring")).await.map(drop),
            Act::Rotate => {
                let custodians = [(name("paper"), self.keyring.custodian().recipient().clone())];
                vault.rotate(&name("epoch-2"), &custodians).await.map(drop)
            }
        }
    }
}

/// A program that makes no points: it names its tiers and no exporters.
fn without_exporters(vault: Vault) -> Backstay {
    let tier = Tier::new("daily").covers(["db"]).keep(Keep::last(2));
    Backstay::builder("prod-eu", vault).tier(tier).build().expect("well formed")
}

/// Does an act in a fresh place, with the role's rights but for one.
async fn run(role: Role, act: Act, without: Option<&Grant>) -> (RightsStore, Result<()>) {
    let mut place = Place::new().await;
    let keys = place.issue(role).await;
    let store = RightsStore::new(Arc::new(place.world.store.clone()), role);
    let store = match without {
        Some(grant) => store.without(grant),
        None => store,
    };
    let result = match place.open(role, &keys, store.clone(), act).await {
        Ok(vault) => place.act(vault, act).await,
        Err(error) => Err(error),
    };
    (store, result)
}

#[tokio::test(start_paused = true)]
async fn each_act_needs_exactly_the_rights_of_its_role_and_names_the_one_that_is_missing() {
    let mut used: BTreeSet<(Role, Grant)> = BTreeSet::new();
    for (role, act) in ACTS {
        let (store, result) = run(role, act, None).await;
        result.unwrap_or_else(|error| panic!("{role} {act:?}: {error:?}"));
        assert_eq!(store.denied(), [""; 0], "{role} {act:?} asked for more than it has");
        for grant in store.used() {
            used.insert((role, grant));
            let (store, result) = run(role, act, Some(&grant)).await;
            // What is written for later readers keeps no act from being done.
            let signs_history = matches!(act, Act::Delete) && (grant.right, grant.under) == (Right::Create, "sigs/");
            if grant.under == "history/" || signs_history {
                result.unwrap_or_else(|error| panic!("{role} {act:?} without history: {error:?}"));
                continue;
            }
            let error = result.map(|()| format!("{role} {act:?} does without {grant}")).expect_err("one right less");
            assert!(matches!(error.kind(), ErrorKind::Denied | ErrorKind::Partial), "{role} {act:?}: {error:?}");
            let text = format!("{error:?}");
            assert!(text.contains(&format!("lacks the right \"{}", grant.right)), "{role} {act:?} {grant}: {text}");
            assert!(text.contains(grant.under) && text.contains(role.name()), "{role} {act:?} {grant}: {text}");
            assert!(!store.denied().is_empty());
        }
    }
    for role in Role::ALL {
        for grant in role.grants().iter().filter(|grant| !used_elsewhere(role, grant)) {
            assert!(used.contains(&(role, *grant)), "no act of the {role} needs {grant}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_role_does_not_do_what_another_is_for_although_the_store_would_let_it() {
    for (role, act) in ACTS.iter().flat_map(|(_, act)| Role::ALL.map(|role| (role, *act))) {
        let purpose = match act {
            Act::Backup => Purpose::Point,
            Act::Record => Purpose::Proof,
            Act::Delete | Act::Tombstone | Act::Undelete => Purpose::Delete,
            Act::Hold => Purpose::Hold,
            Act::Release => Purpose::Release,
            Act::Accept => Purpose::Accept,
            Act::Retire => Purpose::Retire,
            Act::AddCustodian | Act::CheckCustodian | Act::RemoveCustodian | Act::Rotate => Purpose::Canary,
            Act::Verify(_) | Act::Restore | Act::Status => continue,
        };
        if purpose.roles().contains(&role) {
            continue;
        }
        let mut place = Place::new().await;
        let keys = place.issue(role).await;
        let before = place.world.keys("").await;
        // Every right and every key of the keyring: only the role is another.
        let builder = Vault::open_as(role, place.world.store.clone()).keyring(&place.keyring).keys(&keys);
        let vault = builder.clock(place.world.clock.clone()).budget(inline_budget()).build().await.expect("it opens");
        let error = match act {
            // A program with exporters is refused when it is built, or else when it backs up.
            Act::Backup => {
                let backstay = Backstay::builder("prod-eu", vault).export("db", exporter(&[("rows", TEXT)]));
                let backstay = backstay.tier(Tier::new("daily").keep(Keep::last(2))).build().expect("well formed");
                backstay.backup("daily").await.map(drop).expect_err("not a writer")
            }
            Act::Tombstone | Act::Delete => {
                let backstay = without_exporters_of(role, vault);
                backstay.prune("daily").danger_no_grace().plan().await.map(drop).expect_err("not a pruner")
            }
            act => place.act(vault, act).await.expect_err("another role's"),
        };
        assert_eq!(error.kind(), ErrorKind::Denied, "{role} {act:?}: {error}");
        let text = error.to_string();
        for word in [role.name(), purpose.roles()[0].name(), purpose.namespace()] {
            assert!(text.contains(word), "{role} {act:?}: {word} in {text}");
        }
        assert_eq!(place.world.keys("").await, before, "{role} {act:?} left something");
    }
}

/// A writer's program must have exporters.
fn without_exporters_of(role: Role, vault: Vault) -> Backstay {
    match role {
        Role::Writer => program(vault, exporter(&[("rows", TEXT)])),
        _ => without_exporters(vault),
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_key_is_asked_for_when_the_vault_is_opened_and_all_at_once() {
    let world = World::new(3).await;
    for role in Role::ALL {
        let error = Vault::open_as(role, world.store.clone()).build().await.expect_err("no keys at all");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = error.to_string();
        assert!(text.contains(&format!("opened as {role}")) && text.contains("no trusted signers"), "{text}");
        assert_eq!(text.contains("no signing key"), !role.purposes().is_empty(), "{text}");
        // A pruner without an epoch prunes, and leaves no log.
        let needs_epoch = role.seals() && role != Role::Pruner;
        assert_eq!(text.contains("nothing to seal to"), needs_epoch, "{text}");
        assert_eq!(text.contains("no custodian's identity"), role.opens(), "{text}");
    }
    // A key that is trusted for less than the role does.
    let mut keyring = (*world.keyring).clone();
    let writer = keyring.issue_from(Role::Writer, &name("host-7"), &SeededRandom::new(9)).expect("issued");
    let keeper = Vault::open_as(Role::Keeper, world.store.clone()).keyring(&keyring).keys(&writer);
    let error = keeper.build().await.expect_err("a writer's key");
    for purpose in Role::Keeper.purposes() {
        assert!(error.to_string().contains(purpose.namespace()), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_trusted_for_points_alone_does_nothing_else() {
    let mut place = Place::new().await;
    let writer = place.issue(Role::Writer).await;
    // Opened for everything: the key alone decides.
    let builder = Vault::open(place.world.store.clone()).keyring(&place.keyring).keys(&writer);
    let vault = builder.clock(place.world.clock.clone()).budget(inline_budget()).build().await.expect("it opens");
    let before = place.world.keys("").await;
    for act in [Act::Record, Act::Undelete, Act::Hold, Act::Release, Act::Accept, Act::Retire, Act::AddCustodian] {
        let error = place.act(vault.clone(), act).await.expect_err("not for points");
        assert_eq!(error.kind(), ErrorKind::Denied, "{act:?}: {error}");
        assert!(error.to_string().contains("not trusted for this"), "{error}");
    }
    let pruned = program(vault.clone(), exporter(&[])).prune("daily").plan().await;
    assert_eq!(pruned.expect_err("not for points").kind(), ErrorKind::Denied);
    assert_eq!(place.world.keys("").await, before, "nothing was even begun");
    program(vault, exporter(&[("rows", TEXT)])).backup("daily").await.expect("this it may");
}

#[tokio::test(start_paused = true)]
async fn marks_signed_by_a_writers_key_change_nothing_and_are_told() {
    let mut place = Place::new().await;
    let writer = place.issue(Role::Writer).await;
    let key = writer.signing_key().expect("a writer signs");
    let (world, kept) = (&place.world, &place.points[3]);
    // The documents that true marks have, of this vault and point, with the stolen key's signature.
    let digest = backstay::Sha256::of(&world.read(&format!("points/{kept}.json")).await);
    let mark = |says: serde_json::Value| {
        serde_json::json!({
            "vault": world.keyring.vault_id(), "point": kept.to_string(), "manifest": digest.to_string(),
            "says": says, "at": backstay::Clock::now(&world.clock), "reason": "a thief's"
        })
    };
    let work = serde_json::json!({"not_before": "2026-01-01T00:00:00Z", "objects": [], "bytes": 0});
    let held = world.json(&format!("points/{}.hold-audit", place.points[0])).await;
    assert!(held["manifest"].is_string(), "the shape is that of true marks: {held}");
    let forged = [
        ("deleted", Purpose::Delete, mark(serde_json::json!({"deletion": work}))),
        ("hold-evil", Purpose::Hold, mark(serde_json::json!({"hold": {"name": "evil"}}))),
        ("accepted", Purpose::Accept, mark(serde_json::json!("acceptance"))),
    ];
    for (what, purpose, document) in &forged {
        let bytes = serde_json::to_vec_pretty(document).expect("JSON");
        let place = support::signature_key(&format!("sigs/{kept}.{what}"), &bytes, &key.public().id());
        world.overwrite(&place, key.sign(purpose.namespace(), &bytes)).await;
        world.overwrite(&format!("points/{kept}.{what}"), bytes).await;
    }
    let log = EventLog::default();
    let builder = Vault::open(world.store.clone()).keyring(&place.keyring).clock(world.clock.clone());
    let vault = builder.budget(inline_budget()).build().await.expect("it opens");
    let backstay = Backstay::builder("prod-eu", vault)
        .export("db", exporter(&[]))
        .tier(Tier::new("daily").keep(Keep::last(2)))
        .observe(log.clone())
        .build()
        .expect("well formed");
    let plan = backstay.prune("daily").danger_no_grace().plan().await.expect("a plan");
    let step = plan.steps.iter().find(|step| step.id == *kept).expect("a step");
    assert_eq!(step.action, backstay::engine::PruneAction::Keep, "{plan}");
    assert!(!step.reason.contains("evil"), "{plan}");
    let told = |strange: &[String]| {
        ["deleted", "hold-evil"]
            .iter()
            .all(|what| strange.iter().any(|text| text.contains(what) && text.contains("not trusted")))
    };
    assert!(told(&plan.strange), "{plan}");
    let status = backstay.status().await.expect("a status");
    assert!(told(&status.strange) && !status.is_good(), "{status}");
    assert_eq!(log.count("tampering"), plan.strange.len() + status.strange.len());
}

#[tokio::test(start_paused = true)]
async fn a_stolen_key_signs_no_more_from_the_moment_it_is_distrusted() {
    let mut place = Place::new().await;
    let writer = place.issue(Role::Writer).await;
    let store = RightsStore::new(Arc::new(place.world.store.clone()), Role::Writer);
    let vault = place.open(Role::Writer, &writer, store, Act::Backup).await.expect("it opens");
    let backstay = program(vault, exporter(&[("rows", TEXT)]));
    let before = backstay.backup("daily").await.expect("while it was ours").id;
    place.world.clock.advance(DAY);
    // A person ends its validity in the file; the thief goes on, with whatever clock he likes.
    let theft = backstay::Clock::now(&place.world.clock).strftime("%Y%m%d%H%M%SZ").to_string();
    place.world.clock.advance(DAY);
    let after = backstay.backup("daily").await.expect("the thief's host still takes its own key for good").id;
    let text = place.keyring.allowed_signers().to_string();
    let of_writer = "backstay-point-v1,backstay-history-v1\"";
    assert!(text.contains(of_writer), "{text}");
    let text = text.replace(of_writer, &format!("{of_writer},valid-before=\"{theft}\""));
    let reader = Vault::open_read_only(place.world.store.clone())
        .trust(text.parse().expect("allowed signers"))
        .unlock_with(place.keyring.custodian().clone());
    let reader = reader.budget(inline_budget()).build().await.expect("it opens");
    assert_eq!(restored(&reader, &before).await.expect("signed in time")[0].1, TEXT);
    let error = reader.points().get(&after).await.expect_err("signed too late");
    assert!(error.kind() == ErrorKind::Untrusted && error.to_string().contains("no longer valid"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn lost_answers_of_a_writer_are_settled_without_reading() {
    let mut place = Place::new().await;
    let writer = place.issue(Role::Writer).await;
    for nth in 1..=7 {
        let lost = Rule::new(Fault::FailAfter(ErrorKind::Timeout)).on([backstay::store::Operation::Put]).nth(nth);
        let faulty = FaultyStore::new(Arc::new(place.world.store.clone())).with(lost);
        let store = RightsStore::new(Arc::new(faulty.clone()), Role::Writer);
        let vault = place.open(Role::Writer, &writer, store.clone(), Act::Backup).await.expect("it opens");
        program(vault, exporter(&[("rows", TEXT)])).backup("daily").await.expect("settled by listing");
        assert_eq!(store.denied(), [""; 0]);
        place.world.clock.advance(DAY);
    }
}

#[tokio::test(start_paused = true)]
async fn a_proof_is_signed_for_its_point_tells_no_names_and_goes_with_it() {
    let world = World::new(3).await;
    let backstay = world.backstay(&[("secret-rows", TEXT)]).await;
    let points = [backstay.backup("daily").await.expect("a backup").id, {
        world.clock.advance(DAY);
        backstay.backup("daily").await.expect("a backup").id
    }];
    backstay.verify(&points[0]).depth(Depth::Decoded).record().await.expect("intact");
    world.clock.advance(DAY);
    let item = world.keys(&format!("items/{}", points[0])).await.remove(0);
    world.remove(&item).await;
    backstay.verify(&points[0]).depth(Depth::Decoded).record().await.expect_err("damaged");
    let proofs: Vec<Proof> = backstay.vault().proofs(&points[0]).await.expect("a list");
    let found: Vec<_> = proofs.iter().map(|proof| (proof.reached, proof.damages)).collect();
    assert_eq!(found, [(Some(Depth::Decoded), 0), (None, 1)]);
    assert_eq!(proofs[1].damaged[0].as_str(), item);
    for key in world.keys("proofs/").await {
        assert!(!String::from_utf8_lossy(&world.read(&key).await).contains("secret-rows"));
    }
    // Moved to another point, a proof proves nothing.
    for key in world.keys(&format!("proofs/{}", points[0])).await {
        let moved = key.replace(&points[0].to_string(), &points[1].to_string());
        world.overwrite(&moved, world.read(&key).await).await;
    }
    for key in world.keys(&format!("sigs/{}.proof", points[0])).await {
        let moved = key.replace(&points[0].to_string(), &points[1].to_string());
        world.overwrite(&moved, world.read(&key).await).await;
    }
    assert_eq!(backstay.vault().proofs(&points[1]).await.expect("a list"), []);
}
