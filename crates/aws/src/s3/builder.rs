//! Puts a store together; what is wrong is told at once.

use std::collections::BTreeMap;

use aws_sdk_s3::types::{BucketVersioningStatus, ObjectLockEnabled};
use backstay_core::{ErrorKind, Result};

use super::bucket::{flaw, flaw_of_tags};
use super::store::{S3Store, Shared};
use super::{Encryption, store};
use crate::connect::{Connect, connect_methods, own_quota};
use crate::error::{Call, Told};

/// The classes that Amazon has: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html>.
const CLASSES: [&str; 7] =
    ["STANDARD", "INTELLIGENT_TIERING", "STANDARD_IA", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"];

const VERSIONING: Call = Call { name: "open store", api: "GetBucketVersioning", right: "s3:GetBucketVersioning" };
const LOCKS: Call =
    Call { name: "open store", api: "GetObjectLockConfiguration", right: "s3:GetBucketObjectLockConfiguration" };

/// Puts an [`S3Store`] together; [`build`](Self::build) reports everything that is wrong at once.
///
/// What is not said is found as AWS's own programs find it: environment, profile, web identity of a Kubernetes service
/// account, pod identity, instance role.
#[derive(Clone, Debug)]
#[must_use]
pub struct S3Builder {
    bucket: String,
    connect: Connect,
    path_style: Option<bool>,
    owner: Owner,
    encryption: Encryption,
    class: Option<String>,
    classes: Option<Vec<String>>,
    tags: BTreeMap<String, String>,
    requester_pays: bool,
    versions: Option<bool>,
    locks: Option<bool>,
}

/// Whose the bucket must be.
#[derive(Clone, Debug)]
enum Owner {
    /// Of the credential's own account, at Amazon; elsewhere it is not asked.
    Own,
    Account(String),
    Any,
}

connect_methods!(S3Builder);

impl S3Builder {
    pub(super) fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            connect: Connect::new("S3", "open store"),
            path_style: None,
            owner: Owner::Own,
            encryption: Encryption::default(),
            class: None,
            classes: None,
            tags: BTreeMap::new(),
            requester_pays: false,
            versions: None,
            locks: None,
        }
    }

    /// Whether the bucket is named in the path and not in the host. If not said: on any server but Amazon's.
    pub fn path_style(mut self, yes: bool) -> Self {
        self.path_style = Some(yes);
        self
    }

    /// The account that the bucket must belong to; each call is refused if it is another's, which has taken the name over.
    /// If not said, at Amazon it is the credential's own account. Few other servers look at it.
    pub fn owner(mut self, account: impl Into<String>) -> Self {
        self.owner = Owner::Account(account.into());
        self
    }

    /// Does not ask whose the bucket is.
    pub fn any_owner(mut self) -> Self {
        self.owner = Owner::Any;
        self
    }

    /// How the server encrypts what is put; as the bucket's default says, if not said.
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.encryption = encryption;
        self
    }

    /// The storage class of what is put without one of its own. It must be one that is read at once: items come to `GLACIER`
    /// or `DEEP_ARCHIVE` by lifecycle rules.
    pub fn storage_class(mut self, class: impl Into<String>) -> Self {
        self.class = Some(class.into());
        self
    }

    /// The storage classes that the server has; if not said, Amazon's at Amazon, none elsewhere.
    pub fn classes<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.classes = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Tags everything that is put. The credential needs `s3:PutObjectTagging`.
    pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// Says with each call that this side pays for it: what another's bucket may want.
    pub fn requester_pays(mut self) -> Self {
        self.requester_pays = true;
        self
    }

    /// Whether the bucket keeps versions, for a credential that may not look (`s3:GetBucketVersioning`). What is seen counts.
    pub fn versions(mut self, yes: bool) -> Self {
        self.versions = Some(yes);
        self
    }

    /// Whether the bucket has object lock, for a credential that may not look (`s3:GetBucketObjectLockConfiguration`). What
    /// is seen counts.
    pub fn locks(mut self, yes: bool) -> Self {
        self.locks = Some(yes);
        self
    }

    /// Opens the store: finds the credential, whose the bucket is and what it can do. Makes no bucket and changes nothing.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) with every mistake at once, or for another region; [`NotFound`](ErrorKind::NotFound)
    /// if there is no such bucket; [`Denied`](ErrorKind::Denied) without a credential that counts;
    /// [`Unavailable`](ErrorKind::Unavailable) and [`Timeout`](ErrorKind::Timeout).
    pub async fn build(self) -> Result<S3Store> {
        self.check()?;
        let found = self.connect.load().await?;
        let owner = match &self.owner {
            Owner::Account(account) => Some(account.clone()),
            Owner::Own if found.endpoint.is_none() => Some(found.account().await?),
            Owner::Own | Owner::Any => None,
        };
        let mut config = aws_sdk_s3::config::Builder::from(&found.config).retry_partition(own_quota());
        config = config.force_path_style(self.path_style.unwrap_or(found.endpoint.is_some()));
        if let Some(endpoint) = &found.endpoint {
            config = config.endpoint_url(endpoint);
        }
        let classes = self.classes.unwrap_or_else(|| match found.endpoint {
            None => CLASSES.map(str::to_owned).to_vec(),
            Some(_) => Vec::new(),
        });
        let mut capabilities = store::limits();
        capabilities.classes = classes;
        let mut shared = Shared {
            client: aws_sdk_s3::Client::from_conf(config.build()),
            signs_bodies: !found.endpoint.as_deref().is_none_or(is_safe),
            bucket: self.bucket,
            endpoint: found.endpoint,
            owner,
            payer: self.requester_pays.then_some(aws_sdk_s3::types::RequestPayer::Requester),
            encryption: self.encryption,
            class: self.class,
            tags: self.tags,
            capabilities,
            connect: self.connect,
            etags: std::sync::Mutex::default(),
            copies_unproved: std::sync::atomic::AtomicBool::default(),
        };
        look(&mut shared, self.versions, self.locks).await?;
        Ok(S3Store::new(shared))
    }

    /// Everything that can be told wrong without asking anybody.
    fn check(&self) -> Result<()> {
        let mut problems = Vec::new();
        let mut wrong = |text: Option<String>| problems.extend(text);
        wrong(flaw(&self.bucket).map(|flaw| format!("{:?} is not the name of a bucket: {flaw}", self.bucket)));
        wrong(flaw_of_tags(&self.tags));
        wrong(self.encryption.flaw().map(str::to_owned));
        if let Owner::Account(account) = &self.owner {
            wrong(account.is_empty().then(|| "the owner has no name".to_owned()));
        }
        if let Some(class @ ("GLACIER" | "DEEP_ARCHIVE")) = self.class.as_deref() {
            wrong(Some(format!(
                "{class} for everything: what is read all the time, such as the head of a vault, would have to be thawed \
                 first; let items move there by lifecycle rules"
            )));
        }
        if let (Some(class), Some(classes)) = (&self.class, &self.classes) {
            wrong((!classes.contains(class)).then(|| format!("{class:?} is none of the classes")));
        }
        self.connect.check(problems)
    }
}

/// Whether nobody between here and there can change what is sent.
fn is_safe(endpoint: &str) -> bool {
    let host = endpoint.strip_prefix("http://").map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
    host.is_none_or(|host| {
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        host == "localhost" || host == "[::1]" || host.parse().is_ok_and(|host: std::net::Ipv4Addr| host.is_loopback())
    })
}

/// Looks at what the bucket can do, where the credential may; it also shows whether the bucket is there.
async fn look(shared: &mut Shared, versions: Option<bool>, locks: Option<bool>) -> Result<()> {
    let Shared { client, bucket, owner, .. } = &*shared;
    let versioning = || client.get_bucket_versioning().bucket(bucket).set_expected_bucket_owner(owner.clone());
    let impatient = aws_sdk_s3::Config::builder().retry_config(shared.connect.first_retries());
    let mut first = versioning().customize().config_override(impatient).send().await.map_err(Told::of);
    if first.as_ref().is_err_and(Told::is_busy) {
        first = versioning().send().await.map_err(Told::of);
    }
    let versions = match first {
        Ok(found) => found.status() == Some(&BucketVersioningStatus::Enabled),
        Err(told) => declared(told, VERSIONING, bucket, versions)?,
    };
    let lock = client.get_object_lock_configuration().bucket(bucket).set_expected_bucket_owner(owner.clone());
    let locks = match lock.send().await.map_err(Told::of) {
        Ok(found) => {
            let enabled = found.object_lock_configuration().and_then(|found| found.object_lock_enabled());
            enabled == Some(&ObjectLockEnabled::Enabled)
        }
        Err(told) if told.is("ObjectLockConfigurationNotFoundError") => false,
        Err(told) => declared(told, LOCKS, bucket, locks)?,
    };
    (shared.capabilities.versions, shared.capabilities.locks) = (versions, locks);
    Ok(())
}

/// What was declared, where the credential may not look or the server has no such thing.
fn declared(told: Told, call: Call, bucket: &str, declared: Option<bool>) -> Result<bool> {
    let error = told.error(call, bucket, "");
    let denied = error.kind() == ErrorKind::Denied && error.context("credential").is_none();
    // rclone answers 200, with a document that is about something else.
    if denied || matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Other) {
        match declared {
            Some(_) => tracing::debug!(%error, "what the bucket can do was not seen; what was declared counts"),
            // It would be used without its versions and locks, and deletions would leave all bytes behind.
            None => tracing::warn!(%error, "what the bucket can do was not seen, and is taken for absent"),
        }
        return Ok(declared.unwrap_or(false));
    }
    Err(error)
}

#[cfg(test)]
mod tests;
