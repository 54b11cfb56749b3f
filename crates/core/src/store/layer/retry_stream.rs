//! Streams that go on where they broke off.

use std::collections::HashSet;
use std::sync::Arc;

use futures_core::future::BoxFuture;
use futures_util::{StreamExt, stream};

use super::retry_policy::Policy;
use crate::Result;
use crate::store::{
    BoxStream, ByteStream, GetOptions, GetOutcome, ListEntry, ListOptions, ObjectMeta, ObjectStore, Prefix, UploadRef,
    VersionId,
};

/// The outcome with a body that is opened again at the byte where it broke off.
pub(super) fn body(store: Arc<dyn ObjectStore>, policy: Arc<Policy>, outcome: GetOutcome) -> GetOutcome {
    let GetOutcome { meta, range, body } = outcome;
    // Without an etag or a version the rest might be that of another content.
    if meta.etag.is_none() && meta.version.is_none() {
        return GetOutcome { meta, range, body };
    }
    let state = Body { store, policy, meta: meta.clone(), at: range.start, end: range.end, inner: body };
    let body =
        stream::try_unfold(state, |mut state| async move { Ok(state.next().await?.map(|chunk| (chunk, state))) });
    GetOutcome { meta, range, body: Box::pin(body) }
}

struct Body {
    store: Arc<dyn ObjectStore>,
    policy: Arc<Policy>,
    meta: ObjectMeta,
    at: u64,
    end: u64,
    inner: ByteStream,
}

impl Body {
    async fn next(&mut self) -> Result<Option<bytes::Bytes>> {
        let policy = Arc::clone(&self.policy);
        let mut attempts = policy.attempts();
        loop {
            let error = match self.inner.next().await {
                Some(Ok(chunk)) => {
                    self.at += chunk.len() as u64;
                    return Ok(Some(chunk));
                }
                None => return Ok(None),
                Some(Err(_)) if self.at >= self.end => return Ok(None),
                Some(Err(error)) => error,
            };
            if !attempts.again(&error).await {
                return Err(attempts.last(error));
            }
            let options = GetOptions {
                range: Some(self.at..self.end),
                version: self.meta.version.clone(),
                if_match: self.meta.etag.clone(),
                loan: None,
            };
            self.inner = match self.store.get(&self.meta.key, &options).await {
                Ok(outcome) => outcome.body,
                Err(error) => Box::pin(stream::iter([Err(error)])),
            };
        }
    }
}

/// A listing that is taken up again after the last key but one, without the lines that were told already.
pub(super) fn list(
    store: Arc<dyn ObjectStore>,
    policy: Arc<Policy>,
    prefix: Prefix,
    options: ListOptions,
) -> BoxStream<'static, Result<ListEntry>> {
    let inner = store.list(&prefix, &options);
    let before = options.start_after.clone();
    let told = HashSet::new();
    let state = Listing { store, policy, prefix, options, inner, before, last: None, told, again: false };
    Box::pin(stream::try_unfold(state, |mut state| async move { Ok(state.next().await?.map(|entry| (entry, state))) }))
}

struct Listing {
    store: Arc<dyn ObjectStore>,
    policy: Arc<Policy>,
    prefix: Prefix,
    options: ListOptions,
    inner: BoxStream<'static, Result<ListEntry>>,
    /// The name before `last`: where a listing begins again, because `last` may have more versions.
    before: Option<String>,
    last: Option<String>,
    /// The versions of `last` that were told.
    told: HashSet<Option<VersionId>>,
    /// Lines come that may have been told.
    again: bool,
}

impl Listing {
    async fn next(&mut self) -> Result<Option<ListEntry>> {
        let policy = Arc::clone(&self.policy);
        let mut attempts = policy.attempts();
        loop {
            match self.inner.next().await {
                Some(Ok(entry)) if self.is_new(&entry) => return Ok(Some(entry)),
                Some(Ok(_)) => {}
                None => return Ok(None),
                Some(Err(error)) => {
                    if !attempts.again(&error).await {
                        return Err(attempts.last(error));
                    }
                    let options = ListOptions { start_after: self.before.clone(), ..self.options.clone() };
                    self.inner = self.store.list(&self.prefix, &options);
                    self.again = true;
                }
            }
        }
    }

    fn is_new(&mut self, entry: &ListEntry) -> bool {
        let (name, version) = match entry {
            ListEntry::Object(meta) => (meta.key.as_str(), meta.version.clone()),
            ListEntry::Folder(folder) => (folder.as_str(), None),
        };
        match self.last.as_deref() {
            Some(last) if name == last => return self.told.insert(version),
            Some(last) if self.again && name < last => return false,
            _ => {}
        }
        self.again = false;
        self.before = self.last.replace(name.to_owned()).or_else(|| self.before.take());
        self.told = HashSet::from([version]);
        true
    }
}

/// Uploads come in no order, so only a listing that has told nothing yet is begun again.
pub(super) fn uploads(
    store: Arc<dyn ObjectStore>,
    policy: Arc<Policy>,
    prefix: Prefix,
) -> BoxStream<'static, Result<UploadRef>> {
    let first = async move {
        let begin = || -> BoxFuture<'_, _> {
            // The chain below asks once more after an end.
            let mut uploads = store.uploads(&prefix).fuse();
            Box::pin(async move {
                let first = uploads.next().await.transpose()?;
                Ok(stream::iter(first.map(Ok)).chain(uploads))
            })
        };
        match policy.run(begin).await {
            Ok(uploads) => uploads.left_stream(),
            Err(error) => stream::iter([Err(error)]).right_stream(),
        }
    };
    Box::pin(stream::once(first).flatten())
}
