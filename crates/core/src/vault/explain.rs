//! What the store denies, in the words of roles: which right is missing, and who has it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::future::BoxFuture;
use futures_util::{StreamExt, TryFutureExt};
use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};
use crate::store::{
    BoxStream, Capabilities, DeleteOutcome, GetOptions, GetOutcome, HeadOptions, Key, ListEntry, ListOptions, Location,
    Lock, ObjectMeta, ObjectRef, ObjectStore, Prefix, PutMode, PutOptions, Thaw, ThawState, Upload, UploadRef,
};
use crate::vault::role::{Right, Role};

/// The store of a vault. It adds to errors of the kind [`Denied`](ErrorKind::Denied) what a person must know to mend them,
/// and changes nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Explained(Arc<dyn ObjectStore>);

impl Explained {
    pub(crate) fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self(store)
    }
}

fn explain(error: Error, right: Right, key: &str) -> Error {
    // One that was not even accepted lacks no right: the store has said what is wrong with it.
    if error.kind() != ErrorKind::Denied || error.context("credential").is_some() {
        return error;
    }
    let place = key.split_inclusive('/').next().unwrap_or_default();
    let missing = if place.is_empty() { right.to_string() } else { format!("{right} {place}") };
    let who = match Role::having(right, key).as_slice() {
        [] => "no role has it".to_owned(),
        roles => format!("roles that have it: {}", roles.join(", ")),
    };
    error.advise(format!("the store's credential lacks the right \"{missing}\"; {who}")).with("right", missing)
}

fn writing(options: &PutOptions) -> Right {
    if options.mode == PutMode::Overwrite { Right::Overwrite } else { Right::Create }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ObjectStore for Explained {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn etag_of(&self, content: &Bytes) -> Option<String> {
        self.0.etag_of(content)
    }

    async fn put(&self, key: &Key, data: Bytes, options: &PutOptions) -> Result<ObjectMeta> {
        self.0.put(key, data, options).await.map_err(|error| explain(error, writing(options), key.as_str()))
    }

    async fn upload(&self, key: &Key, options: &PutOptions) -> Result<Box<dyn Upload>> {
        let right = writing(options);
        let upload = self.0.upload(key, options).await.map_err(|error| explain(error, right, key.as_str()))?;
        Ok(Box::new(ExplainedUpload { upload, right, key: key.clone() }))
    }

    fn uploads(&self, prefix: &Prefix) -> BoxStream<'static, Result<UploadRef>> {
        let place = prefix.as_str().to_owned();
        let explained = move |line: Result<_>| line.map_err(|error| explain(error, Right::Get, &place));
        self.0.uploads(prefix).map(explained).boxed()
    }

    async fn abort_upload(&self, upload: &UploadRef) -> Result<()> {
        self.0.abort_upload(upload).await.map_err(|error| explain(error, Right::Abort, upload.key.as_str()))
    }

    async fn now(&self) -> Result<Timestamp> {
        self.0.now().await
    }

    async fn get(&self, key: &Key, options: &GetOptions) -> Result<GetOutcome> {
        self.0.get(key, options).await.map_err(|error| explain(error, Right::Get, key.as_str()))
    }

    async fn head(&self, key: &Key, options: &HeadOptions) -> Result<ObjectMeta> {
        self.0.head(key, options).await.map_err(|error| explain(error, Right::Get, key.as_str()))
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> BoxStream<'static, Result<ListEntry>> {
        let place = prefix.as_str().to_owned();
        let explained = move |line: Result<_>| line.map_err(|error| explain(error, Right::List, &place));
        self.0.list(prefix, options).map(explained).boxed()
    }

    async fn delete(&self, what: &[ObjectRef]) -> Result<Vec<DeleteOutcome>> {
        let first = what.first().map_or("", |object| object.key.as_str());
        let mut outcomes = self.0.delete(what).await.map_err(|error| explain(error, Right::Delete, first))?;
        for outcome in &mut outcomes {
            let result = std::mem::replace(&mut outcome.result, Ok(()));
            outcome.result = result.map_err(|error| explain(error, Right::Delete, outcome.object.key.as_str()));
        }
        Ok(outcomes)
    }

    async fn protect(&self, what: &ObjectRef, lock: &Lock) -> Result<()> {
        self.0.protect(what, lock).await.map_err(|error| explain(error, Right::Lock, what.key.as_str()))
    }

    async fn thaw(&self, what: &ObjectRef, thaw: &Thaw) -> Result<ThawState> {
        self.0.thaw(what, thaw).await.map_err(|error| explain(error, Right::Get, what.key.as_str()))
    }

    fn locate(&self, key: &Key) -> Option<Location> {
        self.0.locate(key)
    }

    async fn copy_in(&self, from: &Location, to: &Key, options: &PutOptions) -> Result<Option<ObjectMeta>> {
        self.0.copy_in(from, to, options).await.map_err(|error| explain(error, writing(options), to.as_str()))
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Debug)]
struct ExplainedUpload {
    upload: Box<dyn Upload>,
    right: Right,
    key: Key,
}

#[async_trait]
impl Upload for ExplainedUpload {
    fn part(&mut self, data: Bytes) -> BoxFuture<'static, Result<()>> {
        let (right, key) = (self.right, self.key.clone());
        Box::pin(self.upload.part(data).map_err(move |error| explain(error, right, key.as_str())))
    }

    async fn complete(self: Box<Self>) -> Result<ObjectMeta> {
        self.upload.complete().await.map_err(|error| explain(error, self.right, self.key.as_str()))
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.upload.abort().await.map_err(|error| explain(error, Right::Abort, self.key.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_have_nothing_to_say_to_a_credential_that_was_not_accepted() {
        let denied = || Error::new(ErrorKind::Denied, "no").advise("the store's own advice");
        let lacking = explain(denied(), Right::Create, "items/a");
        assert_eq!(lacking.context("right"), Some("create items/"));
        assert!(!lacking.to_string().contains("own advice"), "{lacking}");
        let expired = explain(denied().with("credential", "not accepted"), Right::Create, "items/a");
        assert!(expired.to_string().contains("own advice"), "{expired}");
    }
}
