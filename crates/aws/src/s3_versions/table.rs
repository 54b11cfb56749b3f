//! The DynamoDB table in which Terraform keeps its locks, and the digests by which it knows its states.

use std::collections::HashMap;
use std::fmt;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use backstay_core::Result;

use crate::connect::{Connect, connect_methods, own_quota};
use crate::error::{Call, Told};
use crate::s3::S3Store;

/// As its SDK names it.
const SERVICE: &str = "DynamoDB";
const OPEN: &str = "open lock table";

const GET: Call = Call { name: "look at the lock table", api: "GetItem", right: "dynamodb:GetItem" };
const LOCK: Call = Call { name: "lock", api: "PutItem", right: "dynamodb:PutItem" };
const UNLOCK: Call = Call { name: "unlock", api: "DeleteItem", right: "dynamodb:DeleteItem" };
const DIGEST: Call = Call { name: "keep the digest", api: "PutItem", right: "dynamodb:PutItem" };

// Names of Terraform's own: https://developer.hashicorp.com/terraform/language/backend/s3
const ID: &str = "LockID";
const INFO: &str = "Info";
const DIGEST_OF: &str = "Digest";
/// The code for a condition that does not hold.
const UNMET: &str = "ConditionalCheckFailedException";

/// The `dynamodb_table` of a Terraform backend. For each state it has up to two items: the lock, while somebody holds it,
/// and the MD5 of the state, without which Terraform refuses what it reads.
///
/// ```no_run
/// # async fn open(store: backstay_aws::S3Store) -> backstay_core::Result<()> {
/// use backstay_aws::{LockTable, VersionedObjects};
///
/// let locks = LockTable::beside(&store, "terraform-locks").build().await?;
/// let states = VersionedObjects::terraform(store, "network/terraform.tfstate".parse()?).lock_table(locks);
/// # let _ = states;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct LockTable {
    client: Client,
    name: String,
}

/// How a [`LockTable`] is reached. What is not said is found as AWS's own programs find it.
#[derive(Clone, Debug)]
#[must_use]
pub struct LockTableBuilder {
    name: String,
    connect: Connect,
}

impl LockTable {
    /// A table, by a way of its own.
    pub fn builder(name: impl Into<String>) -> LockTableBuilder {
        LockTableBuilder { name: name.into(), connect: Connect::new(SERVICE, OPEN) }
    }

    /// A table in the region of the store, with its credential.
    pub fn beside(store: &S3Store, name: impl Into<String>) -> LockTableBuilder {
        LockTableBuilder {
            name: name.into(),
            connect: Connect { service: SERVICE, operation: OPEN, endpoint: None, ..store.connect().clone() },
        }
    }

    /// What the lock of a state says, if it is held.
    pub(super) async fn lock(&self, id: &str) -> Result<Option<String>> {
        self.get(id, INFO).await
    }

    /// The digest of a state, if one is kept.
    pub(super) async fn digest(&self, id: &str) -> Result<Option<String>> {
        self.get(id, DIGEST_OF).await
    }

    async fn get(&self, id: &str, attribute: &str) -> Result<Option<String>> {
        let call = self.client.get_item().table_name(&self.name).key(ID, text(id)).consistent_read(true);
        let found = call.send().await.map_err(|error| Told::of(error).table_error(GET, &self.name, id))?;
        let Some(item) = found.item() else { return Ok(None) };
        Ok(Some(item.get(attribute).and_then(|value| value.as_s().ok()).cloned().unwrap_or_default()))
    }

    /// Takes the lock; if somebody else holds it, that one's words are the answer. Whatever comes of it, `may_be_ours` says
    /// whether there is something to give back.
    pub(super) async fn take(&self, id: &str, info: &str, may_be_ours: &mut bool) -> Result<Option<String>> {
        *may_be_ours = true;
        let call = self.client.put_item().table_name(&self.name).item(ID, text(id)).item(INFO, text(info));
        let Err(told) = call.condition_expression("attribute_not_exists(LockID)").send().await.map_err(Told::of) else {
            return Ok(None);
        };
        let (held, error) = (told.is(UNMET), told.table_error(LOCK, &self.name, id));
        if !held && !error.kind().is_unsure() {
            *may_be_ours = false;
            return Err(error);
        }
        // An attempt may have taken it whose answer was lost.
        match self.lock(id).await? {
            Some(there) if there == info => Ok(None),
            there if held => {
                *may_be_ours = false;
                Ok(Some(there.unwrap_or_default()))
            }
            _ => Err(error),
        }
    }

    /// Gives the lock back, if it is this one.
    pub(super) async fn release(&self, id: &str, info: &str) -> Result<()> {
        let call = self.client.delete_item().table_name(&self.name).key(ID, text(id));
        let call = call.condition_expression("Info = :ours").expression_attribute_values(":ours", text(info));
        let Err(told) = call.send().await.map_err(Told::of) else { return Ok(()) };
        // It went with an attempt whose answer was lost, or is somebody else's by now.
        if told.is(UNMET) {
            return Ok(());
        }
        let error = told.table_error(UNLOCK, &self.name, id);
        let is_gone = async || self.lock(id).await.is_ok_and(|there| there.as_deref() != Some(info));
        if error.kind().is_unsure() && is_gone().await { Ok(()) } else { Err(error) }
    }

    /// Keeps another digest, if the one that is kept is the one that was seen.
    pub(super) async fn put_digest(&self, id: &str, new: &str, old: Option<&str>) -> Result<()> {
        let item = HashMap::from([(ID.to_owned(), text(id)), (DIGEST_OF.to_owned(), text(new))]);
        let call = self.client.put_item().table_name(&self.name).set_item(Some(item));
        let call = match old {
            None => call.condition_expression("attribute_not_exists(Digest)"),
            Some(old) => {
                let seen =
                    if old.is_empty() { "attribute_not_exists(Digest) OR Digest = :old" } else { "Digest = :old" };
                call.condition_expression(seen).expression_attribute_values(":old", text(old))
            }
        };
        let Err(told) = call.send().await.map_err(Told::of) else { return Ok(()) };
        let (unmet, error) = (told.is(UNMET), told.table_error(DIGEST, &self.name, id));
        // The answer may be lost.
        if (unmet || error.kind().is_unsure()) && self.digest(id).await?.as_deref() == Some(new) {
            return Ok(());
        }
        Err(error)
    }
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

connect_methods!(LockTableBuilder);

impl LockTableBuilder {
    /// Opens the table, and reads an item that nobody has: it shows whether the table is there and may be read.
    ///
    /// # Errors
    /// [`Invalid`](backstay_core::ErrorKind::Invalid) with every mistake at once, or without a region;
    /// [`NotFound`](backstay_core::ErrorKind::NotFound) if there is no such table; [`Denied`](backstay_core::ErrorKind::Denied),
    /// with the right that is missing.
    pub async fn build(self) -> Result<LockTable> {
        self.connect.check(Vec::new())?;
        let found = self.connect.load().await?;
        let mut config = aws_sdk_dynamodb::config::Builder::from(&found.config).retry_partition(own_quota());
        if let Some(endpoint) = &found.endpoint {
            config = config.endpoint_url(endpoint);
        }
        let table = LockTable { client: Client::from_conf(config.build()), name: self.name };
        table.lock("backstay-looks-whether-it-may").await?;
        Ok(table)
    }
}

impl fmt::Display for LockTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for LockTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockTable").field("name", &self.name).finish_non_exhaustive()
    }
}
