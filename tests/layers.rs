//! The retry layer over a store that fails as told, and the faults themselves.

#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use backstay_core::clock::{Clock, Random};
use backstay_core::store::layer::{Retry, RetryOptions};
use backstay_core::store::{
    GetOptions, ListEntry, ListOptions, MemoryStore, ObjectStore, ObjectStoreExt, Operation, Prefix, PutOptions,
};
use backstay_core::{ErrorKind, Result};
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use futures_util::{FutureExt, TryStreamExt};
use jiff::Timestamp;

/// A clock that jumps over every wait and keeps it.
#[derive(Debug, Default)]
struct Jump(Mutex<Vec<Duration>>);

#[async_trait]
impl Clock for Jump {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().unwrap().iter().sum()
    }

    async fn sleep(&self, duration: Duration) {
        self.0.lock().unwrap().push(duration);
    }
}

/// Draws the longest wait every time.
#[derive(Debug)]
struct Longest;

impl Random for Longest {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0xff);
    }
}

struct World {
    faulty: FaultyStore,
    clock: Arc<Jump>,
    retry: Retry,
}

fn world_over(store: Arc<dyn ObjectStore>, rules: impl IntoIterator<Item = Rule>, options: RetryOptions) -> World {
    let faulty = rules.into_iter().fold(FaultyStore::new(store), FaultyStore::with);
    let clock = Arc::new(Jump::default());
    let retry = Retry::with_clock(Arc::new(faulty.clone()), options, clock.clone(), Arc::new(Longest));
    World { faulty, clock, retry }
}

fn world(rules: impl IntoIterator<Item = Rule>) -> World {
    world_over(Arc::new(MemoryStore::new()), rules, RetryOptions::default())
}

fn key(name: &str) -> backstay_core::store::Key {
    name.parse().unwrap()
}

fn before(kind: ErrorKind) -> Rule {
    Rule::new(Fault::FailBefore(kind))
}

#[tokio::test]
async fn calls_that_fail_for_the_moment_are_made_again_and_wait_longer_each_time() {
    let World { faulty, clock, retry } = world([before(ErrorKind::Unavailable).first(4)]);
    retry.put_new(&key("a"), "x").await.unwrap();
    assert_eq!(faulty.calls(Operation::Put), 5);
    assert_eq!(*clock.0.lock().unwrap(), [200, 400, 800, 1600].map(Duration::from_millis));
}

#[tokio::test]
async fn what_it_gave_up_on_is_marked_and_nothing_else() {
    let World { faulty, retry, .. } =
        world([before(ErrorKind::Timeout).on([Operation::Head]), before(ErrorKind::Denied).on([Operation::Now])]);
    let gave_up = retry.exists(&key("a")).await.unwrap_err();
    assert_eq!((gave_up.kind(), gave_up.is_retryable()), (ErrorKind::Timeout, false));
    assert_eq!((gave_up.context("attempts"), faulty.calls(Operation::Head)), (Some("5"), 5));
    let denied = retry.now().await.unwrap_err();
    assert_eq!((denied.context("attempts"), faulty.calls(Operation::Now)), (None, 1));
}

#[tokio::test]
async fn the_total_time_and_a_named_wait_are_kept() {
    let mut options = RetryOptions::default();
    options.total = Duration::from_millis(1000);
    let World { faulty, retry, .. } =
        world_over(Arc::new(MemoryStore::new()), [before(ErrorKind::Unavailable)], options.clone());
    retry.now().await.unwrap_err();
    assert_eq!(faulty.calls(Operation::Now), 3, "200 and 400 ms fit into a second, 800 more do not");

    for (wait, attempts) in [(900, 2), (1100, 1)] {
        let asks = Rule::new(Fault::Throttle(Duration::from_millis(wait)));
        let World { faulty, clock, retry } = world_over(Arc::new(MemoryStore::new()), [asks], options.clone());
        assert_eq!(retry.now().await.unwrap_err().kind(), ErrorKind::Throttled);
        assert_eq!(faulty.calls(Operation::Now), attempts);
        assert!(clock.0.lock().unwrap().iter().all(|waited| waited.as_millis() == u128::from(wait)));
    }
}

#[tokio::test]
async fn the_budget_is_shared_by_all_calls_and_earned_back_by_success() {
    let mut options = RetryOptions::default();
    options.budget = 6;
    let World { faulty, retry, .. } =
        world_over(Arc::new(MemoryStore::new()), [before(ErrorKind::Unavailable)], options);
    for (call, made) in [(1, 5), (2, 8), (3, 9)] {
        retry.clone().now().await.unwrap_err();
        assert_eq!(faulty.calls(Operation::Now), made, "call {call}");
    }
    faulty.heal();
    for _ in 0..10 {
        retry.now().await.unwrap();
    }
    faulty.add(before(ErrorKind::Unavailable));
    faulty.reset_calls();
    retry.now().await.unwrap_err();
    assert_eq!(faulty.calls(Operation::Now), 2, "ten successes pay for one retry");
}

/// The first attempt is done and its answer lost, or another writer was faster: the layer cannot know which.
#[tokio::test]
async fn a_create_after_a_lost_answer_is_not_called_somebody_elses() {
    let World { faulty, retry, .. } = world([Rule::new(Fault::FailAfter(ErrorKind::Timeout)).nth(1)]);
    let unsure = retry.put_new(&key("a"), "mine").await.unwrap_err();
    assert_eq!((unsure.kind(), unsure.is_retryable()), (ErrorKind::Timeout, false));
    assert_eq!((unsure.context("then"), unsure.context("key")), (Some("already exists"), Some("a")));
    assert_eq!(faulty.calls(Operation::Put), 2);
    // Without a lost answer it is somebody else's, and says so.
    assert_eq!(retry.put_new(&key("a"), "x").await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    // Any other refusal after a lost answer does not mean that nothing happened.
    let World { retry, .. } =
        world([Rule::new(Fault::FailAfter(ErrorKind::Unavailable)).nth(1), before(ErrorKind::Denied).from(2)]);
    let unsure = retry.put_new(&key("a"), "mine").await.unwrap_err();
    assert_eq!((unsure.kind(), unsure.context("then")), (ErrorKind::Unavailable, Some("denied")));
    // An overwrite can simply be done again.
    let World { retry, .. } = world([Rule::new(Fault::FailAfter(ErrorKind::Timeout)).nth(1)]);
    retry.put(&key("a"), "x".into(), &PutOptions::overwrite()).await.unwrap();
}

#[tokio::test]
async fn a_read_that_breaks_off_goes_on_at_its_byte_and_never_with_another_content() {
    let broken = |n| Rule::new(Fault::BreakOff(300, ErrorKind::Unavailable)).on([Operation::Get]).first(n);
    let content: Vec<u8> = (0..1000_u32).map(|i| (i % 251) as u8).collect();
    let World { faulty, retry, .. } = world([broken(3)]);
    retry.put_new(&key("a"), content.clone()).await.unwrap();
    assert_eq!(retry.get_bytes(&key("a"), 1000).await.unwrap(), content);
    assert_eq!(faulty.calls(Operation::Get), 4);

    let World { faulty, retry, .. } = world([broken(1)]);
    retry.put_new(&key("a"), content).await.unwrap();
    let mut body = retry.get(&key("a"), &GetOptions::range(100..900)).await.unwrap().body;
    assert_eq!(body.try_next().await.unwrap().unwrap().len(), 300);
    faulty.put(&key("a"), vec![0; 1000].into(), &PutOptions::overwrite()).await.unwrap();
    assert_eq!(body.try_next().await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_listing_that_breaks_off_tells_every_line_once() {
    async fn lines(store: &dyn ObjectStore, options: &ListOptions) -> Result<Vec<ListEntry>> {
        store.list(&Prefix::all(), options).try_collect().await
    }
    let memory = MemoryStore::versioned();
    for name in ["a/1", "a/2", "b", "c/1", "d"] {
        for _ in 0..3 {
            memory.put(&key(name), "x".into(), &PutOptions::overwrite()).await.unwrap();
        }
    }
    let after_a = ListOptions::after("a/1");
    for options in [ListOptions::default(), ListOptions::folders(), ListOptions::versions(), after_a] {
        let whole = lines(&memory, &options).await.unwrap();
        for at in 0..=whole.len() as u64 {
            let rule = Rule::new(Fault::BreakOff(at, ErrorKind::Unavailable)).first(1);
            let World { retry, .. } = world_over(Arc::new(memory.clone()), [rule], RetryOptions::default());
            assert_eq!(lines(&retry, &options).await.unwrap(), whole, "{options:?} broken off at {at}");
        }
    }
    let World { retry, .. } = world([before(ErrorKind::Unavailable).on([Operation::List])]);
    assert!(!lines(&retry, &ListOptions::default()).await.unwrap_err().is_retryable());
}

#[tokio::test]
async fn uploads_deletes_and_locks_are_retried_and_parts_are_not() {
    let all_but_parts = before(ErrorKind::Unavailable).except([Operation::Part, Operation::Complete]);
    for n in 1..=3 {
        let World { faulty, retry, .. } = world([all_but_parts.clone().nth(n)]);
        let mut upload = retry.upload(&key("u"), &PutOptions::default()).await.unwrap();
        upload.part("x".into()).await.unwrap();
        assert_eq!(retry.uploads(&Prefix::all()).try_collect::<Vec<_>>().await.unwrap().len(), 1);
        upload.complete().await.unwrap();
        retry.delete(&[key("u").into(), key("v").into()]).await.unwrap();
        assert!(!faulty.exists(&key("u")).await.unwrap());
    }
    let World { faulty, retry, .. } = world([before(ErrorKind::Unavailable).on([Operation::Part])]);
    let mut upload = retry.upload(&key("u"), &PutOptions::default()).await.unwrap();
    assert!(upload.part("x".into()).await.unwrap_err().is_retryable(), "the layer did not give up: it did not try");
    assert_eq!(faulty.calls(Operation::Part), 1);
}

#[tokio::test]
async fn of_many_deletes_only_those_that_failed_are_made_again() {
    let [a, b, c] = ["a", "b", "c"].map(key);
    let all = [a.clone().into(), b.clone().into(), c.clone().into()];
    let World { faulty, retry, .. } =
        world([Rule::new(Fault::FailFirst(ErrorKind::Unavailable)).on([Operation::Delete]).first(2)]);
    retry.put_new(&a, "").await.unwrap();
    let outcomes = retry.delete(&all).await.unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()) && !retry.exists(&a).await.unwrap());
    assert!(outcomes.iter().map(|outcome| &outcome.object).eq(&all));
    assert_eq!(faulty.calls(Operation::Delete), 3);

    faulty.add(Rule::new(Fault::FailFirst(ErrorKind::Unavailable)).on([Operation::Delete]));
    let outcomes = retry.delete(&all).await.unwrap();
    let error = outcomes[0].result.as_ref().unwrap_err();
    assert!(!error.is_retryable() && outcomes[1].result.is_ok() && outcomes[2].result.is_ok());
}

#[tokio::test]
async fn faults_do_what_they_say_and_seeds_replay() {
    let faulty = FaultyStore::new(Arc::new(MemoryStore::new()));
    faulty.put_new(&key("p/a"), "1234").await.unwrap();
    faulty.add(Rule::new(Fault::FlipBit(2)).on([Operation::Get]));
    faulty.add(Rule::new(Fault::Hang).on([Operation::Head]));
    faulty.add(before(ErrorKind::Denied).overwrites());
    faulty.add(before(ErrorKind::Other).under("q/"));
    assert_eq!(faulty.get_bytes(&key("p/a"), 4).await.unwrap(), "1224");
    let range = faulty.get(&key("p/a"), &GetOptions::range(2..3)).await.unwrap();
    assert_eq!(range.body.try_collect::<Vec<_>>().await.unwrap().concat(), b"2");
    assert!(faulty.exists(&key("p/a")).now_or_never().is_none());
    assert_eq!(
        faulty.put(&key("p/b"), "".into(), &PutOptions::overwrite()).await.unwrap_err().kind(),
        ErrorKind::Denied
    );
    assert_eq!(faulty.put_new(&key("q/b"), "").await.unwrap_err().kind(), ErrorKind::Other);
    faulty.put_new(&key("p/b"), "").await.unwrap();
    assert_eq!((faulty.calls(Operation::Put), faulty.all_calls()), (4, 7));

    let draw = |seed| async move {
        let faulty = FaultyStore::new(Arc::new(MemoryStore::new()));
        faulty.add(before(ErrorKind::Timeout).chance(0.3, seed));
        let mut failed = Vec::new();
        for i in 0..200 {
            failed.extend(faulty.now().await.is_err().then_some(i));
        }
        failed
    };
    assert_eq!(draw(1).await, draw(1).await);
    assert_ne!(draw(1).await, draw(2).await);
    assert!((30..90).contains(&draw(1).await.len()));
}

#[tokio::test]
async fn a_crash_at_the_kth_call_leaves_nothing_to_be_done_after_it() {
    for k in 1..=4 {
        let faulty = FaultyStore::new(Arc::new(MemoryStore::new()));
        faulty.add(Rule::new(Fault::FailAfter(ErrorKind::Other)).nth(k));
        faulty.add(before(ErrorKind::Other).from(k + 1));
        for i in 1..=4 {
            let put = faulty.put_new(&key(&format!("k{i}")), "").await;
            assert_eq!(put.is_ok(), i < k);
        }
        faulty.heal();
        let left: Vec<_> = faulty.list(&Prefix::all(), &ListOptions::default()).try_collect().await.unwrap();
        assert_eq!(left.len() as u64, k);
    }
}
