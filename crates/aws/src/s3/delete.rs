//! Deletes: a thousand at a time, each with its own outcome.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use backstay_core::clock::{Clock as _, SystemClock};
use backstay_core::store::{DeleteOutcome, ObjectRef, VersionId};
use backstay_core::{Error, ErrorKind, Result};

use super::store::{S3Store, to};
use crate::error::{Call, Told};

const DELETE: Call = Call { name: "delete", api: "DeleteObjects", right: "s3:DeleteObject" };
const DELETE_VERSION: Call = Call { name: "delete", api: "DeleteObjects", right: "s3:DeleteObjectVersion" };
/// So many go with one call.
const BATCH: usize = 1000;
/// What a server could not do at the moment, of a call that it answered, is asked for again after so many milliseconds each:
/// the SDK repeats calls that fail as a whole.
const BUSY_WAITS: [u64; 3] = [250, 1000, 4000];

/// The objects of an answer, by key and version.
type Answers = HashMap<(String, Option<String>), Option<Told>>;

impl S3Store {
    pub(super) async fn delete_objects(&self, what: &[ObjectRef]) -> Result<Vec<DeleteOutcome>> {
        let mut outcomes = Vec::with_capacity(what.len());
        for batch in what.chunks(BATCH) {
            match self.delete_all(batch).await {
                Ok(answers) => {
                    outcomes.extend(batch.iter().map(|object| {
                        let told = answers.get(&name(object));
                        DeleteOutcome::new(object.clone(), self.outcome(object, told))
                    }));
                }
                // What was said of earlier ones counts.
                Err(error) if !outcomes.is_empty() => {
                    let text = error.to_string();
                    outcomes.extend(batch.iter().map(|object| {
                        let error = self.fault(DELETE, error.kind(), text.clone(), object.key.as_str());
                        DeleteOutcome::new(object.clone(), Err(error.no_more_retries()))
                    }));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(outcomes)
    }

    async fn delete_all(&self, batch: &[ObjectRef]) -> Result<Answers> {
        let mut answers = self.delete_batch(batch).await?;
        for wait in BUSY_WAITS {
            let is_busy =
                |object: &&ObjectRef| matches!(answers.get(&name(object)), Some(Some(told)) if told.is_busy());
            let again: Vec<ObjectRef> = batch.iter().filter(is_busy).cloned().collect();
            if again.is_empty() {
                break;
            }
            SystemClock.sleep(Duration::from_millis(wait)).await;
            match self.delete_batch(&again).await {
                Ok(more) => answers.extend(more),
                // What was said of the others counts.
                Err(_) => break,
            }
        }
        Ok(answers)
    }

    async fn delete_batch(&self, batch: &[ObjectRef]) -> Result<Answers> {
        let objects = batch.iter().map(|object| {
            let (key, version) = name(object);
            ObjectIdentifier::builder().key(key).set_version_id(version).build()
        });
        let delete = objects
            .collect::<Result<Vec<_>, _>>()
            .and_then(|objects| Delete::builder().set_objects(Some(objects)).quiet(false).build());
        let delete = delete
            .map_err(|error| self.fault(DELETE, ErrorKind::Other, "the request cannot be made", "").because(error))?;
        let told = to!(self, delete_objects).delete(delete).send().await.map_err(Told::of);
        let answer = told.map_err(|told| self.error(told, call(&batch[0]), ""))?;
        let mut answers = Answers::new();
        for done in answer.deleted() {
            let key = done.key().unwrap_or_default().to_owned();
            answers.insert((key, done.version_id().filter(|id| !id.is_empty()).map(str::to_owned)), None);
        }
        for failed in answer.errors() {
            let key = failed.key().unwrap_or_default().to_owned();
            let version = failed.version_id().filter(|id| !id.is_empty()).map(str::to_owned);
            answers.insert((key, version), Some(Told::said(failed.code(), failed.message())));
        }
        Ok(answers)
    }

    fn outcome(&self, object: &ObjectRef, told: Option<&Option<Told>>) -> Result<()> {
        match told {
            Some(None) => Ok(()),
            Some(Some(told)) if told.kind() == ErrorKind::NotFound => Ok(()),
            Some(Some(told)) => Err(self.placed_delete(object, told.again())),
            None => {
                let message = "the server's answer does not name the object";
                Err(self.fault(call(object), ErrorKind::Other, message, object.key.as_str()))
            }
        }
    }

    fn placed_delete(&self, object: &ObjectRef, told: Told) -> Error {
        let error = self.error(told, call(object), object.key.as_str());
        match &object.version {
            Some(VersionId(id)) => error.with("version", id),
            None => error,
        }
    }
}

fn name(object: &ObjectRef) -> (String, Option<String>) {
    (object.key.as_str().to_owned(), object.version.as_ref().map(|version| version.0.clone()))
}

/// The right that it takes.
fn call(object: &ObjectRef) -> Call {
    if object.version.is_some() { DELETE_VERSION } else { DELETE }
}
