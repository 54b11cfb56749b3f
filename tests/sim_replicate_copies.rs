//! Replication between stores that copy from one another: what is large does not pass the program, and is visible only if
//! it is what was signed.

mod support;

use std::sync::Arc;

use backstay::engine::{ReplicationReport, Replicator};
use backstay::store::{ObjectStore, ObjectStoreExt as _, Operation};
use backstay::{ErrorKind, Event, MemoryStore, PointId};
use backstay_testkit::EventLog;
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use support::copying::{Can, Copying, Server};
use support::pair::Pair;
use support::{large, restored};

/// A vault and its replica on one server, and a point with an item of more than a part and one of a few bytes.
struct Place {
    server: Server,
    pair: Pair,
    origin: Copying,
    replica: FaultyStore,
    point: PointId,
}

impl Place {
    async fn on(empty: fn() -> MemoryStore) -> Self {
        let (server, pair) = (Server::default(), Pair::on(1, empty).await);
        let items: [(&str, &[u8]); 2] = [("large", &large()), ("small", b"a row")];
        let point = pair.world.backstay(&items).await.backup("daily").await.expect("a well world").id;
        let origin = server.store("origin", pair.world.store.clone());
        let replica = FaultyStore::new(Arc::new(server.store("replica", pair.store.clone())));
        Self { server, pair, origin, replica, point }
    }

    async fn new() -> Self {
        Self::on(MemoryStore::new).await
    }

    async fn copy(&self, from: impl ObjectStore) -> backstay::Result<ReplicationReport> {
        self.pair.copy(from, self.replica.clone()).await
    }

    /// The key of the item that is larger than a part.
    async fn large_item(&self) -> String {
        for key in self.pair.world.keys("items/").await {
            if self.pair.world.read(&key).await.len() > 8 << 20 {
                return key;
            }
        }
        panic!("no item is larger than a part")
    }

    async fn is_whole(&self, why: &str) {
        let back = restored(&self.pair.left().await, &self.point).await.expect(why);
        assert!(back.iter().any(|(name, content)| name == "large" && *content == large()), "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_can_fetches_what_is_large_by_itself() {
    let place = Place::new().await;
    let key = place.large_item().await;
    // Whoever reads the large item meets a fault; the origin may not be written.
    let origin = FaultyStore::new(Arc::new(place.origin.clone().read_only()));
    origin.add(Rule::new(Fault::FailBefore(ErrorKind::Denied)).on([Operation::Get]).under(key));
    let log = EventLog::default();
    let (there, here) = (place.pair.origin(origin).await, place.pair.replica(place.replica.clone()).await);
    let replicator = Replicator::new(there.expect("it opens"), here.expect("it opens")).observe(log.clone());
    let report = replicator.plan().await.expect("a plan").apply().await.expect("copied");
    assert_eq!(report.copied, std::slice::from_ref(&place.point));
    let calls = |operation| place.replica.calls(operation);
    assert_eq!((calls(Operation::CopyIn), calls(Operation::Upload)), (1, 0), "the small ones are sooner sent");
    let mut stored = 0;
    for folder in ["items/", "details/"] {
        for key in place.pair.keys(folder).await {
            stored += place.pair.read(&key).await.len() as u64;
        }
    }
    assert_eq!(report.bytes, stored, "what the store copied counts too");
    let told = log.all().into_iter().filter_map(|event| match event {
        Event::CopyProgress { bytes, of, .. } => Some((bytes, of)),
        _ => None,
    });
    assert_eq!(told.last(), Some((stored, stored)));
    place.is_whole("copied by the store").await;
}

#[tokio::test(start_paused = true)]
async fn what_the_store_cannot_copy_is_streamed() {
    for (what, can) in [("it cannot prove it", Can::NotProve), ("it looks elsewhere", Can::LookElsewhere)] {
        let place = Place::new().await;
        place.server.can(can);
        assert_eq!(place.copy(place.origin.clone()).await.expect(what).copied.len(), 1, "{what}");
        assert_eq!(place.replica.calls(Operation::Upload), 1, "{what}");
        place.is_whole(what).await;
    }
}

/// A view of the past names no place: there another content may lie now.
#[tokio::test(start_paused = true)]
async fn what_is_read_as_of_a_moment_is_not_copied_as_of_now() {
    let place = Place::on(MemoryStore::versioned).await;
    let before = place.origin.now().await.expect("a time");
    place.pair.world.clock.advance(std::time::Duration::from_secs(60));
    place.pair.world.overwrite(&place.large_item().await, vec![0; 9 << 20]).await;
    let then = place.origin.clone().as_of(before).expect("it has versions");
    place.copy(then).await.expect("as it was");
    place.is_whole("as it was").await;
}

#[tokio::test(start_paused = true)]
async fn other_bytes_than_were_signed_are_told_and_never_visible() {
    for at_the_origin in [true, false] {
        let place = Place::new().await;
        let key = place.large_item().await;
        let good = place.pair.world.read(&key).await;
        if at_the_origin {
            let mut bytes = good.clone();
            bytes[50] ^= 1;
            place.pair.world.overwrite(&key, bytes).await;
        } else {
            place.server.can(Can::Damage);
        }
        let error = place.copy(place.origin.clone()).await.expect_err("it is damaged");
        assert_eq!(error.kind(), ErrorKind::Partial, "{error}");
        let report: &ReplicationReport = error.payload().expect("a report");
        assert!(report.copied.is_empty() && report.left[0].why.contains(&key), "{report:?}");
        assert!(!place.pair.keys("").await.contains(&key), "other bytes are visible");
        assert!(place.pair.keys("points/").await.is_empty());
        place.pair.world.overwrite(&key, good).await;
        place.server.can(Can::Prove);
        place.copy(place.origin.clone()).await.expect("it is mended");
        place.is_whole("mended").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_whose_answer_is_lost_is_looked_at() {
    let on_copies = |fault| Rule::new(fault).on([Operation::CopyIn]);
    let place = Place::new().await;
    place.replica.add(on_copies(Fault::FailAfter(ErrorKind::Timeout)));
    place.copy(place.origin.clone()).await.expect("it is there, and proved");
    assert_eq!(place.replica.calls(Operation::Upload), 0);
    place.is_whole("settled by a look").await;

    let place = Place::new().await;
    place.replica.add(on_copies(Fault::FailBefore(ErrorKind::Unavailable)).nth(1));
    let error = place.copy(place.origin.clone()).await.expect_err("nothing is there");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    place.copy(place.origin.clone()).await.expect("the next run goes on");
    place.is_whole("the next run").await;
}

/// Another replicator was faster; or who is none put as many other bytes there.
#[tokio::test(start_paused = true)]
async fn what_somebody_else_put_there_meanwhile_is_proved() {
    let place = Place::new().await;
    place.server.can(Can::BeOvertaken { by_a_twin: true });
    place.copy(place.origin.clone()).await.expect("what is there is what was signed");
    place.is_whole("by the twin").await;

    let place = Place::new().await;
    place.server.can(Can::BeOvertaken { by_a_twin: false });
    let error = place.copy(place.origin.clone()).await.expect_err("it is not what was signed");
    let report: &ReplicationReport = error.payload().expect("a report");
    let why = &report.left[0].why;
    assert!(why.contains("SHA-256") && why.contains(&place.large_item().await), "{why}");
    assert!(place.pair.keys("points/").await.is_empty());
}
