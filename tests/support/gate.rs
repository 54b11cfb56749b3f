//! A store that waits before every call until it is let go: programs interleaved at every store call.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use backstay::store::{
    BoxStream, Capabilities, DeleteOutcome, GetOptions, GetOutcome, HeadOptions, Key, ListEntry, ListOptions, Lock,
    MemoryStore, ObjectMeta, ObjectRef, ObjectStore, Prefix, PutOptions, Upload, UploadRef,
};
use backstay::{Clock, Result, SystemClock};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::oneshot;

/// Who waits where. Programs are told apart by number.
#[derive(Clone, Default)]
pub struct Gates(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    waiting: Vec<(usize, oneshot::Sender<()>)>,
    open: bool,
    answers_wait: bool,
    sizes_lie: bool,
    cannot_create: bool,
    etags_prove_nothing: bool,
}

impl Gates {
    /// The store as a program sees it.
    pub fn store(&self, store: &MemoryStore, program: usize) -> Gated {
        Gated { store: store.clone(), gates: self.clone(), program }
    }

    /// Every call waits a second time when it is done, before its caller hears of it.
    pub fn hold_answers(&self) {
        self.0.lock().expect("no panic under the lock").answers_wait = true;
    }

    /// Every object is announced as empty.
    pub fn announce_nothing(&self) {
        self.0.lock().expect("no panic under the lock").sizes_lie = true;
    }

    /// The store says that it has no create-if-absent.
    pub fn cannot_create(&self) {
        self.0.lock().expect("no panic under the lock").cannot_create = true;
    }

    /// No etag can be foretold, as on a store that makes them of more than the content.
    pub fn etags_prove_nothing(&self) {
        self.0.lock().expect("no panic under the lock").etags_prove_nothing = true;
    }

    /// Lets everything go from now on.
    pub fn open(&self) {
        let mut state = self.0.lock().expect("no panic under the lock");
        state.open = true;
        let waiting = std::mem::take(&mut state.waiting);
        // Whoever does not wait any more was cancelled.
        waiting.into_iter().for_each(|(_, go)| go.send(()).unwrap_or_default());
    }

    /// Waits until nobody can go on but through a gate. The programs that wait, in order.
    pub async fn settled(&self) -> Vec<usize> {
        // Under a paused clock the sleep ends when every task waits for something else.
        SystemClock.sleep(Duration::from_millis(1)).await;
        let mut programs: Vec<usize> = self.0.lock().expect("no panic").waiting.iter().map(|(who, _)| *who).collect();
        programs.sort_unstable();
        programs.dedup();
        programs
    }

    /// Lets each program that waits take a step.
    pub async fn step_all(&self) {
        self.settled().await.into_iter().for_each(|program| self.step(program));
    }

    /// Lets the oldest call of this program take its next step.
    pub fn step(&self, program: usize) {
        let mut state = self.0.lock().expect("no panic under the lock");
        if let Some(at) = state.waiting.iter().position(|(who, _)| *who == program) {
            state.waiting.remove(at).1.send(()).unwrap_or_default();
        }
    }

    /// Runs to its end what this program does beside the race, such as opening its vault.
    pub async fn pass<T: Send + 'static>(&self, program: usize, work: impl Future<Output = T> + Send + 'static) -> T {
        let work = tokio::spawn(work);
        while !work.is_finished() {
            self.settled().await.into_iter().filter(|who| *who == program).for_each(|who| self.step(who));
        }
        work.await.expect("no panic")
    }

    /// Lets one program take steps, as many as it can of `steps`; how many it took.
    pub async fn take(&self, program: usize, steps: usize) -> usize {
        for taken in 0..steps {
            if !self.settled().await.contains(&program) {
                return taken;
            }
            self.step(program);
        }
        self.settled().await;
        steps
    }

    /// Lets `first` take `k` steps, then all others go to their end, then `first` again. Whether it was overtaken: it had
    /// steps left.
    pub async fn overtake(&self, first: usize, k: usize) -> bool {
        let (mut taken, mut overtaken) = (0, false);
        loop {
            let waiting = self.settled().await;
            let other = waiting.iter().copied().find(|who| *who != first);
            let waits = waiting.contains(&first);
            overtaken |= waits && taken == k;
            let chosen = if waits && taken < k { Some(first) } else { other.or(waits.then_some(first)) };
            let Some(chosen) = chosen else { return overtaken };
            taken += usize::from(chosen == first);
            self.step(chosen);
        }
    }

    async fn wait(&self, program: usize) {
        let (go, gone) = oneshot::channel();
        {
            let mut state = self.0.lock().expect("no panic under the lock");
            if state.open {
                return;
            }
            state.waiting.push((program, go));
        }
        drop(gone.await);
    }
}

/// A program's side of the store.
#[derive(Clone)]
pub struct Gated {
    store: MemoryStore,
    gates: Gates,
    program: usize,
}

impl Gated {
    async fn through<T>(&self, call: impl Future<Output = T>) -> T {
        self.gates.wait(self.program).await;
        let done = call.await;
        if self.gates.0.lock().expect("no panic under the lock").answers_wait {
            self.gates.wait(self.program).await;
        }
        done
    }
}

#[async_trait]
impl ObjectStore for Gated {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.store.capabilities();
        capabilities.create_if_absent = !self.gates.0.lock().expect("no panic under the lock").cannot_create;
        capabilities
    }

    async fn put(&self, key: &Key, data: Bytes, options: &PutOptions) -> Result<ObjectMeta> {
        self.through(self.store.put(key, data, options)).await
    }

    async fn upload(&self, key: &Key, options: &PutOptions) -> Result<Box<dyn Upload>> {
        self.through(self.store.upload(key, options)).await
    }

    fn uploads(&self, prefix: &Prefix) -> BoxStream<'static, Result<UploadRef>> {
        self.store.uploads(prefix)
    }

    async fn abort_upload(&self, upload: &UploadRef) -> Result<()> {
        self.through(self.store.abort_upload(upload)).await
    }

    async fn now(&self) -> Result<jiff::Timestamp> {
        self.store.now().await
    }

    async fn get(&self, key: &Key, options: &GetOptions) -> Result<GetOutcome> {
        let mut got = self.through(self.store.get(key, options)).await?;
        if self.gates.0.lock().expect("no panic under the lock").sizes_lie {
            got.meta.size = 0;
        }
        Ok(got)
    }

    async fn head(&self, key: &Key, options: &HeadOptions) -> Result<ObjectMeta> {
        self.through(self.store.head(key, options)).await
    }

    fn etag_of(&self, data: &Bytes) -> Option<String> {
        let nothing = self.gates.0.lock().expect("no panic under the lock").etags_prove_nothing;
        self.store.etag_of(data).filter(|_| !nothing)
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> BoxStream<'static, Result<ListEntry>> {
        let (this, prefix, options) = (self.clone(), prefix.clone(), options.clone());
        // What a listing shows is what there is when it is answered.
        let listed = async move { this.through(this.store.list(&prefix, &options).collect::<Vec<_>>()).await };
        listed.into_stream().flat_map(stream::iter).boxed()
    }

    async fn delete(&self, what: &[ObjectRef]) -> Result<Vec<DeleteOutcome>> {
        self.through(self.store.delete(what)).await
    }

    async fn protect(&self, what: &ObjectRef, lock: &Lock) -> Result<()> {
        self.through(self.store.protect(what, lock)).await
    }
}

impl fmt::Debug for Gated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Gated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gated({}, {})", self.program, self.store)
    }
}
