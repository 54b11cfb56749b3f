//! What a test sees of the server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use crate::bucket::{Bucket, Stored};
use crate::fault::Fault;
use crate::object::Content;
use crate::op::Op;
use crate::policy::Policy;
use crate::run::Running;
use crate::world::{Shared, User, World};

/// A server on loopback, on threads of its own. It stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    running: Running,
    keys: Keys,
}

/// What a user signs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The access key.
    pub access_key: String,
    /// The secret. It guards nothing that is worth it.
    pub secret_key: String,
}

/// The server itself.
impl Server {
    /// Starts one, without buckets, whose only user may do everything.
    #[must_use]
    pub fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let running = Running::start(Arc::clone(&shared));
        let keys = Keys { access_key: String::new(), secret_key: String::new() };
        let mut server = Self { shared, running, keys };
        server.keys = server.user("admin");
        server
    }

    /// `http://127.0.0.1:PORT`, for path style.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// The keys of the user who may do everything.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The environment by which AWS's own clients reach it as the user who may do everything.
    #[must_use]
    pub fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_REGION", crate::REGION.to_owned()),
            ("AWS_DEFAULT_REGION", crate::REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", self.keys.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.keys.secret_key.clone()),
        ]
    }

    /// Stops listening and drops all connections. What is stored stays.
    pub fn down(&self) {
        self.running.listen(false);
    }

    /// Listens again, at the same address.
    pub fn up(&self) {
        self.running.listen(true);
    }
}

/// Users.
impl Server {
    /// A new user, who may do everything until [`allow`](Self::allow) says what.
    #[must_use]
    pub fn user(&self, name: &str) -> Keys {
        let keys = Keys { access_key: format!("AKIA-{name}"), secret_key: format!("the-secret-key-of-{name}") };
        let user = User { secret: keys.secret_key.clone(), policy: None };
        let before = self.shared.world().users.insert(keys.access_key.clone(), user);
        assert!(before.is_none(), "there is a user {name} already");
        keys
    }

    /// From now on the user may do what this IAM policy says and nothing else.
    ///
    /// # Panics
    ///
    /// If the policy has what AWS or this server does not know, and says what.
    pub fn allow(&self, user: &Keys, policy: &str) {
        let policy = Policy::parse(policy).unwrap_or_else(|wrong| panic!("the policy is no good: {wrong}\n{policy}"));
        let mut world = self.shared.world();
        let user = world.users.get_mut(&user.access_key).expect("a user of this server");
        user.policy = Some(policy);
    }

    /// The user may do everything again.
    pub fn allow_everything(&self, user: &Keys) {
        self.shared.world().users.get_mut(&user.access_key).expect("a user of this server").policy = None;
    }
}

/// Faults and counts.
impl Server {
    /// Adds a fault. See [`Fault`].
    pub fn fault(&self, fault: Fault) {
        self.shared.world().script.add(fault);
    }

    /// Takes all faults away.
    pub fn heal(&self) {
        self.shared.world().script.clear();
    }

    /// How many calls of this operation came in with a good signature, whatever became of them.
    #[must_use]
    pub fn calls(&self, operation: Op) -> u64 {
        self.shared.world().calls.get(&operation).copied().unwrap_or_default()
    }

    /// How many calls came in.
    #[must_use]
    pub fn all_calls(&self) -> u64 {
        self.shared.world().calls.values().sum()
    }

    /// Counts from zero again. Faults go on counting.
    pub fn reset_calls(&self) {
        self.shared.world().calls.clear();
    }
}

/// Time.
impl Server {
    /// The server's time, in whole seconds: what it says in `Date` and `Last-Modified`, and what ends locks and thaws.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.world().clock.now()
    }

    /// Lets time pass, for its clients as well: their signatures stay good, though nobody moves their clocks.
    pub fn advance(&self, time: Duration) {
        let time = SignedDuration::try_from(time).expect("less than forever");
        self.shared.world().clock.passed += time;
    }

    /// From now on the server's clock is ahead of its clients' by this, or behind them if it is negative. More than 15
    /// minutes, and signatures are refused with `RequestTimeTooSkewed`. (The SDK learns the server's time from any answer
    /// and signs by it from then on, so that each of its clients sees a skew once.)
    pub fn skew(&self, ahead: SignedDuration) {
        self.shared.world().clock.skew = ahead;
    }
}

/// Buckets, and what is in them.
impl Server {
    /// Makes a bucket. One of this name that is there goes, with all that is in it.
    pub fn create_bucket(&self, name: &str, bucket: Bucket) {
        let mut world = self.shared.world();
        let now = world.clock.now();
        world.buckets.insert(name.to_owned(), Stored::new(bucket, now));
    }

    /// Removes a bucket, with all that is in it, locked or not.
    pub fn remove_bucket(&self, name: &str) {
        let removed = self.shared.world().buckets.remove(name);
        assert!(removed.is_some(), "there is no bucket {name}");
    }

    /// Puts an empty object at each key, past policies, faults and counts.
    pub fn put_empty(&self, bucket: &str, keys: impl IntoIterator<Item = String>) {
        let mut world = self.shared.world();
        let content = Content::empty();
        for key in keys {
            world.add(bucket, &key, content.clone()).expect("the bucket exists");
        }
    }

    /// Puts an object of this chunk so many times, past policies, faults and counts: it may be larger than memory.
    pub fn put_repeated(&self, bucket: &str, key: &str, chunk: Vec<u8>, times: usize) {
        let mut world = self.shared.world();
        let (size, chunk) = (chunk.len() as u64 * times as u64, Bytes::from(chunk));
        let content = Content { data: Arc::new(vec![chunk; times]), size, ..Content::empty() };
        world.add(bucket, key, content).expect("the bucket exists");
    }

    /// The keys that a listing shows.
    #[must_use]
    pub fn keys_in(&self, bucket: &str) -> Vec<String> {
        let world = self.shared.world();
        let bucket = stored(&world, bucket);
        bucket.objects.keys().filter(|key| bucket.current(key).is_some()).cloned().collect()
    }

    /// The ids of the unfinished uploads, each with its key.
    #[must_use]
    pub fn uploads_in(&self, bucket: &str) -> Vec<(String, String)> {
        let world = self.shared.world();
        stored(&world, bucket).uploads.iter().map(|(id, upload)| (upload.key.clone(), id.clone())).collect()
    }

    /// How many parts of unfinished uploads it has.
    #[must_use]
    pub fn parts_in(&self, bucket: &str) -> usize {
        let world = self.shared.world();
        stored(&world, bucket).uploads.values().map(|upload| upload.parts.len()).sum()
    }

    /// The bytes of the newest version of a key, if there is one that is no delete marker.
    #[must_use]
    pub fn bytes_of(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        let world = self.shared.world();
        stored(&world, bucket).current(key).map(|(_, content)| content.data.concat())
    }

    /// Flips the lowest bit of a stored byte, past all checksums.
    ///
    /// # Panics
    ///
    /// If there is no such byte.
    pub fn flip_stored(&self, bucket: &str, key: &str, offset: u64) {
        let mut world = self.shared.world();
        let bucket = world.buckets.get_mut(bucket).expect("the bucket exists");
        let content = bucket.find_mut(key, None).ok().and_then(|(version, _)| version.content.as_mut());
        let content: &mut Content = content.expect("the key exists");
        let mut data = content.data.concat();
        data[usize::try_from(offset).expect("an offset in memory")] ^= 1;
        content.data = Arc::new(vec![data.into()]);
    }

    /// Moves an object to a storage class, as a lifecycle does.
    ///
    /// # Panics
    ///
    /// If there is no such object or class.
    pub fn move_to_class(&self, bucket: &str, key: &str, class: &str) {
        self.shared.world().set_class(bucket, key, class).expect("an object and a class that exist");
    }

    /// Ends the thaw that `RestoreObject` began: the object can be read for the days that were asked for.
    ///
    /// # Panics
    ///
    /// If nobody asked for it.
    pub fn thawed(&self, bucket: &str, key: &str) {
        self.shared.world().thawed(bucket, key).expect("an object that exists");
    }
}

fn stored<'a>(world: &'a World, bucket: &str) -> &'a Stored {
    world.buckets.get(bucket).unwrap_or_else(|| panic!("there is no bucket {bucket}"))
}
