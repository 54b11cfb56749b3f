//! The way out: stored objects become an item's plain bytes again, each step on bytes that the step before has proved.
//!
//! ```text
//! fetch, BLAKE3 of the part -> open -> find frames -> decompress -> plain BLAKE3 -> reader
//! (parallel)                  (parallel) in order     (parallel)    in order, the last frame withheld
//! ```

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use tokio::sync::{OnceCell, mpsc};

use crate::budget::{Budget, Job, Reservation};
use crate::buffer::{Buffer, Lane, Lease};
use crate::digest::Blake3;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{ByteStream, ObjectStore};
use crate::task::Task;
use crate::vault::fetch::{StoredItem, WAITING, fetch_all};
use crate::vault::frame::{MAX_PLAIN, packed_capacity};
use crate::vault::open::{Form, Reading};
use crate::vault::seal::Identity;
use crate::vault::seek_table::{FOOTER, SeekTable};
use crate::vault::stored::{PART, StoredObject};
use crate::vault::unpack::{Plain, Unpacker};
use crate::vault::whole_object::WholeObjects;

/// End of the compressed stream that is read for the table of frames; longer tables are read again.
const TABLE_GUESS: u64 = 64 << 10;

/// Reads one item.
#[derive(Debug)]
pub(crate) struct ItemReader {
    /// What errors call it.
    name: String,
    item: Arc<StoredItem>,
    identity: Option<Identity>,
    bytes: u64,
    blake3: Option<Blake3>,
    budget: Budget,
    index: OnceCell<(Form, SeekTable)>,
    /// Whether [`stream`](Self::stream) proves the SHA-256 of each object, too.
    whole_objects: bool,
}

impl ItemReader {
    /// A reader of the item that `objects` hold in one of `places`, of `bytes` plain bytes with the digest `blake3`. Where no
    /// digest is recorded, the digests of the stored parts are the proof. Without an identity the item must be bare.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if the description of the objects contradicts itself.
    pub(crate) fn new(
        name: impl Into<String>,
        places: Vec<Arc<dyn ObjectStore>>,
        objects: Vec<StoredObject>,
        identity: Option<Identity>,
        (bytes, blake3): (u64, Option<Blake3>),
        budget: &Budget,
    ) -> Result<Self> {
        let name = name.into();
        let item = StoredItem::new(places, objects).map_err(|error| error.with("item", &name))?;
        let (item, budget, index) = (Arc::new(item), budget.clone(), OnceCell::new());
        Ok(Self { name, item, identity, bytes, blake3, budget, index, whole_objects: false })
    }

    /// Has [`stream`](Self::stream) prove the signed SHA-256 of each object on the way: at the stream's end nothing that is
    /// stored of the item is unproved.
    pub(crate) fn proving_objects(self) -> Self {
        Self { whole_objects: true, ..self }
    }

    /// The whole content. Waits until the budget has room for it. The last chunk comes only when length and digest of the
    /// whole are proved.
    ///
    /// # Errors
    /// Here and in the stream [`Corrupt`](ErrorKind::Corrupt) with the place, [`Denied`](ErrorKind::Denied) if the identity
    /// does not open it, and what the store answers.
    pub(crate) async fn stream(&self) -> Result<ByteStream> {
        let lanes = Lanes::reserve(self).await?;
        let (item, budget) = (Arc::clone(&self.item), self.budget.clone());
        let (identity, recorded) = (self.identity.clone(), (self.bytes, self.blake3));
        let objects = self.whole_objects.then(|| WholeObjects::new(&item));
        Ok(self.deliver(move |out| async move {
            let Lanes { parts, packed, plain } = lanes;
            let first = item.fetch(0, parts.buffer().await?, &budget).await?;
            let form = Form::of(&first, item.bytes(), identity.as_ref()).map_err(|error| item.place(0, error))?;
            let range = 0..form.len;
            let (reading, work) = Reading::new(item, form, range, Some(first), parts, budget.clone(), objects);
            let (frames, jobs) = mpsc::channel(budget.limits().workers.get());
            let unpacker = Unpacker::whole(reading, packed, plain, budget.clone(), recorded.0, frames);
            tokio::try_join!(work, unpacker.run(), prove(jobs, recorded, budget, out)).map(|_| ())
        }))
    }

    /// Reads every stored part and proves it, without opening any: that finds each damaged bit, and takes no key.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) with the place, and what the store answers.
    pub(crate) async fn prove_parts(&self) -> Result<()> {
        let Lanes { parts, .. } = Lanes::reserve(self).await?;
        let (out, mut fetched) = mpsc::channel(WAITING);
        let fetch = fetch_all(Arc::clone(&self.item), 0..self.item.parts(), None, parts, self.budget.clone(), out);
        let proved = async {
            while let Some(part) = fetched.recv().await {
                part.join().await??;
            }
            Ok(())
        };
        tokio::try_join!(fetch, proved).map(drop).map_err(|error| self.at(error))
    }

    /// The plain bytes `range`, read without the rest: the table of frames tells where they are.
    ///
    /// # Errors
    /// As [`stream`](Self::stream); [`Invalid`](ErrorKind::Invalid) for a range beyond the end.
    pub(crate) async fn range(&self, range: Range<u64>) -> Result<ByteStream> {
        if range.start > range.end || range.end > self.bytes {
            return Err(Error::new(ErrorKind::Invalid, "the range is not within the item")
                .with("item", &self.name)
                .with("range", format!("{range:?}"))
                .with("bytes", self.bytes));
        }
        if range.is_empty() {
            return Ok(Box::pin(stream::empty()));
        }
        let lanes = Lanes::reserve(self).await?;
        let (form, table) = self.index.get_or_try_init(|| self.read_index(&lanes)).await.map_err(|e| self.at(e))?;
        let span = table.span(&range);
        let (item, budget, form, bytes) = (Arc::clone(&self.item), self.budget.clone(), form.clone(), self.bytes);
        Ok(self.deliver(move |out| async move {
            let Lanes { parts, packed, plain } = lanes;
            let (reading, work) = Reading::new(item, form, span.packed, None, parts, budget.clone(), None);
            let (frames, jobs) = mpsc::channel(budget.limits().workers.get());
            let longest = bytes.min(span.skip + (range.end - range.start) + MAX_PLAIN as u64);
            let unpacker = Unpacker::frames(reading, packed, plain, budget, longest, frames);
            tokio::try_join!(work, unpacker.run(), trim(jobs, span.skip, range.end - range.start, out)).map(|_| ())
        }))
    }

    /// Form and table of frames, from the item's two ends.
    async fn read_index(&self, lanes: &Lanes) -> Result<(Form, SeekTable)> {
        let first = self.item.fetch(0, lanes.parts.buffer().await?, &self.budget).await?;
        let form = Form::of(&first, self.item.bytes(), self.identity.as_ref()).map_err(|e| self.item.place(0, e))?;
        drop(first);
        let mut end = self.read(lanes, &form, form.len.min(TABLE_GUESS)).await?;
        let len = SeekTable::len_from_footer(&end[end.len().saturating_sub(FOOTER)..])?;
        if len > end.len() as u64 {
            let damaged = || Error::new(ErrorKind::Corrupt, "the table of frames is longer than the item");
            end = self.read(lanes, &form, Some(len).filter(|len| *len <= form.len).ok_or_else(damaged)?).await?;
        }
        let table = SeekTable::decode(&end[end.len() - len as usize..])?;
        let (packed, plain) = table.totals();
        if packed + len != form.len || plain != self.bytes {
            return Err(Error::new(ErrorKind::Corrupt, "the table of frames does not add up to the item"));
        }
        Ok((form, table))
    }

    /// The last `len` bytes of the compressed stream.
    async fn read(&self, lanes: &Lanes, form: &Form, len: u64) -> Result<Vec<u8>> {
        let range = form.len - len..form.len;
        let parts = lanes.parts.clone();
        let (mut reading, work) =
            Reading::new(Arc::clone(&self.item), form.clone(), range, None, parts, self.budget.clone(), None);
        let collect = async {
            let mut out = Vec::new();
            while let Some(opened) = reading.next().await? {
                reading.pieces(&opened).into_iter().for_each(|piece| out.extend_from_slice(piece));
            }
            Ok(out)
        };
        tokio::try_join!(work, collect).map(|((), out)| out)
    }

    /// Starts `work` and hands out what it sends; its error ends the stream.
    fn deliver<W>(&self, work: impl FnOnce(mpsc::Sender<Chunk>) -> W) -> ByteStream
    where
        W: Future<Output = Result<()>> + Send + 'static,
    {
        let (out, chunks) = mpsc::channel(1);
        let work = work(out);
        let name = self.name.clone();
        let task = Task::spawn(async move { work.await.map_err(|error| error.with("item", name)) });
        let delivery = Delivery { chunks, task: Some(task), lease: None };
        Box::pin(stream::try_unfold(delivery, |mut delivery| async move {
            // The reader is done with the chunk before. What it kept of it is its own memory from now on.
            delivery.lease = None;
            if let Some((buffer, range)) = delivery.chunks.recv().await {
                let (bytes, lease) = buffer.hand_out();
                delivery.lease = lease;
                return Ok(Some((bytes.slice(range), delivery)));
            }
            match delivery.task.take() {
                Some(task) => task.join().await?.map(|()| None::<(Bytes, Delivery)>),
                None => Ok(None),
            }
        }))
    }

    fn at(&self, error: Error) -> Error {
        error.with("item", &self.name)
    }
}

/// A decompressed frame, and what of it the reader gets.
type Chunk = (Buffer, Range<usize>);

struct Delivery {
    chunks: mpsc::Receiver<Chunk>,
    task: Option<Task<Result<()>>>,
    lease: Option<Lease>,
}

/// The buffers of the steps.
struct Lanes {
    parts: Lane,
    packed: Lane,
    plain: Lane,
}

impl Lanes {
    async fn reserve(reader: &ItemReader) -> Result<Self> {
        let at_most = |limit: usize, bytes: u64| usize::try_from(bytes).unwrap_or(limit).clamp(1, limit);
        let part = at_most(PART, reader.item.bytes());
        let plain = at_most(MAX_PLAIN, reader.bytes);
        let packed = packed_capacity(plain);
        let budget = &reader.budget;
        let reserved: Arc<Reservation> = Arc::new(budget.reserve(part + plain + packed).await?);
        let lane = |bytes| Lane::new(&reserved, bytes, budget);
        Ok(Self { parts: lane(part), packed: lane(packed), plain: lane(plain) })
    }
}

/// Proves length and digest of the whole, and withholds the last frame until they hold.
async fn prove(
    mut frames: mpsc::Receiver<Plain>,
    (bytes, blake3): (u64, Option<Blake3>),
    budget: Budget,
    out: mpsc::Sender<Chunk>,
) -> Result<()> {
    let mut hasher = blake3::Hasher::new();
    let mut seen = 0;
    let mut last = None;
    while let Some(job) = next(&mut frames).await? {
        let plain = job.await?;
        let hash = move || {
            hasher.update(&plain);
            Ok((hasher, plain))
        };
        let (updated, plain) = budget.run(hash).await?;
        hasher = updated;
        seen += plain.len() as u64;
        if seen == bytes {
            // No other frame follows, or it is refused: so nothing waits for this buffer.
            last = Some(plain);
        } else {
            send(&out, plain, None).await?;
        }
    }
    if seen != bytes || blake3.is_some_and(|blake3| Blake3(*hasher.finalize().as_bytes()) != blake3) {
        return Err(Error::new(ErrorKind::Corrupt, "the content has another length or digest than recorded")
            .with("recorded", bytes)
            .with("found", seen));
    }
    match last {
        Some(plain) if !plain.is_empty() => send(&out, plain, None).await,
        _ => Ok(()),
    }
}

/// Passes on `len` bytes after the first `skip`.
async fn trim(mut frames: mpsc::Receiver<Plain>, skip: u64, len: u64, out: mpsc::Sender<Chunk>) -> Result<()> {
    let (mut skip, mut left) = (skip as usize, len);
    while let Some(job) = next(&mut frames).await? {
        let plain = job.await?;
        let end = plain.len().min(skip.saturating_add(usize::try_from(left).unwrap_or(usize::MAX)));
        let range = skip.min(end)..end;
        skip = 0;
        left -= range.len() as u64;
        send(&out, plain, Some(range)).await?;
    }
    if left == 0 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Corrupt, "the frames hold fewer bytes than their table says").with("missing", left))
}

/// The next frame; none when all were found and what follows them is proved.
async fn next(frames: &mut mpsc::Receiver<Plain>) -> Result<Option<Job<Buffer>>> {
    match frames.recv().await {
        Some(Plain::Frame(job)) => Ok(Some(job)),
        Some(Plain::End) => Ok(None),
        None => Err(early()),
    }
}

/// The step before ended; its own error is the one that counts.
fn early() -> Error {
    Error::new(ErrorKind::Cancelled, "an earlier step failed")
}

async fn send(out: &mpsc::Sender<Chunk>, plain: Buffer, range: Option<Range<usize>>) -> Result<()> {
    let range = range.unwrap_or(0..plain.len());
    out.send((plain, range)).await.map_err(|_| Error::new(ErrorKind::Cancelled, "the reader is gone"))
}
