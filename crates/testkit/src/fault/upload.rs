//! An upload that goes wrong as its store is told.

use async_trait::async_trait;
use backstay_core::Result;
use backstay_core::store::{Key, ObjectMeta, Operation, Upload};
use bytes::Bytes;
use futures_core::future::BoxFuture;

use super::store::Script;

#[derive(Debug)]
pub(super) struct FaultyUpload {
    pub(super) upload: Box<dyn Upload>,
    pub(super) script: Script,
    pub(super) key: Key,
}

#[async_trait]
impl Upload for FaultyUpload {
    fn part(&mut self, data: Bytes) -> BoxFuture<'static, Result<()>> {
        let fate = self.script.call_one(Operation::Part, &self.key);
        let part = self.upload.part(data);
        Box::pin(async move { fate.around(part).await })
    }

    async fn complete(self: Box<Self>) -> Result<ObjectMeta> {
        self.script.call_one(Operation::Complete, &self.key).around(self.upload.complete()).await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.script.call_one(Operation::Abort, &self.key).around(self.upload.abort()).await
    }
}
