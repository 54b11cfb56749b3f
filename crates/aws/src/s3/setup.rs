//! What makes a bucket right.

use std::fmt;

use aws_sdk_s3::types::{
    BucketVersioningStatus, ObjectLockConfiguration, ObjectLockEnabled, PublicAccessBlockConfiguration,
    ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
    VersioningConfiguration,
};
use backstay_core::doctor::{DoctorReport, Health};
use backstay_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::S3Store;
use super::doctor::about;
use crate::error::{Call, Told};

/// What would be done to a bucket, and why. Nothing is done before [`apply`](Self::apply).
#[derive(Debug)]
#[must_use = "nothing is set before it is applied"]
pub struct SetupPlan {
    store: S3Store,
    /// What was found.
    pub report: DoctorReport,
    /// What would be done, in this order.
    pub steps: Vec<SetupStep>,
}

/// A change of a bucket's set-up. None of them deletes or opens anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SetupStep {
    /// Versions are kept from now on. It can be suspended, never taken back.
    KeepVersions,
    /// Objects can be locked. It cannot be taken back, and versions cannot be suspended any more.
    AllowLocks,
    /// Objects are encrypted with a key of the server's own, or with the store's key.
    Encrypt,
    /// No policy or ACL can open the bucket to everybody.
    BlockPublicAccess,
}

impl S3Store {
    /// Plans what would make the bucket right, from what [`doctor`](Self::doctor) finds. Lifecycle rules and policies are not
    /// set but rendered, by [`Backstay::lifecycle`](backstay_core::engine::Backstay::lifecycle) and
    /// [`RolePolicy`](super::RolePolicy): they may hold rules of others.
    ///
    /// # Errors
    /// As [`doctor`](Self::doctor).
    pub async fn setup(&self) -> Result<SetupPlan> {
        let report = self.doctor().await?;
        let lacks =
            |what: &str| report.of(what).is_some_and(|found| matches!(found.health, Health::Missing | Health::Risky));
        let steps = SetupStep::ALL.into_iter().filter(|step| lacks(step.subject())).collect();
        Ok(SetupPlan { store: self.clone(), report, steps })
    }
}

impl SetupPlan {
    /// Leaves a step out, such as locks on a bucket whose versions somebody wants to suspend later.
    pub fn without(mut self, step: SetupStep) -> Self {
        self.steps.retain(|planned| *planned != step);
        self
    }

    /// Does it, and looks again. Done twice it does nothing.
    ///
    /// A store that is open sees versions and locks as they were when it was opened: open it again.
    ///
    /// # Errors
    /// What the server answers, after the steps that went well; [`Denied`](ErrorKind::Denied) with the right that is lacking.
    pub async fn apply(self) -> Result<DoctorReport> {
        for step in &self.steps {
            step.take(&self.store).await.map_err(|error| error.with("step", step))?;
        }
        self.store.doctor().await
    }
}

impl SetupStep {
    /// In the order in which they depend on each other.
    const ALL: [Self; 4] = [Self::KeepVersions, Self::AllowLocks, Self::Encrypt, Self::BlockPublicAccess];

    /// What the doctor calls what it mends.
    fn subject(self) -> &'static str {
        match self {
            Self::KeepVersions => "versions",
            Self::AllowLocks => "object lock",
            Self::Encrypt => "encryption",
            Self::BlockPublicAccess => "public access",
        }
    }

    async fn take(self, store: &S3Store) -> Result<()> {
        let (told, api, right) = match self {
            Self::KeepVersions => {
                let set = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
                let told = about!(store, put_bucket_versioning, versioning_configuration(set)).map(drop);
                (told, "PutBucketVersioning", "s3:PutBucketVersioning")
            }
            Self::AllowLocks => {
                let set = ObjectLockConfiguration::builder().object_lock_enabled(ObjectLockEnabled::Enabled).build();
                let told = about!(store, put_object_lock_configuration, object_lock_configuration(set)).map(drop);
                (told, "PutObjectLockConfiguration", "s3:PutBucketObjectLockConfiguration")
            }
            Self::Encrypt => {
                let set = default_encryption(store)?;
                let told = about!(store, put_bucket_encryption, server_side_encryption_configuration(set)).map(drop);
                (told, "PutBucketEncryption", "s3:PutEncryptionConfiguration")
            }
            Self::BlockPublicAccess => {
                let set = PublicAccessBlockConfiguration::builder()
                    .block_public_acls(true)
                    .ignore_public_acls(true)
                    .block_public_policy(true)
                    .restrict_public_buckets(true)
                    .build();
                let told = about!(store, put_public_access_block, public_access_block_configuration(set)).map(drop);
                (told, "PutPublicAccessBlock", "s3:PutBucketPublicAccessBlock")
            }
        };
        told.map_err(|told| store.error(told, Call { name: "setup", api, right }, ""))
    }
}

fn default_encryption(store: &S3Store) -> Result<ServerSideEncryptionConfiguration> {
    let key = store.0.encryption.key();
    let algorithm = if key.is_some() { ServerSideEncryption::AwsKms } else { ServerSideEncryption::Aes256 };
    let built = ServerSideEncryptionByDefault::builder()
        .sse_algorithm(algorithm)
        .set_kms_master_key_id(key.map(str::to_owned))
        .build()
        .and_then(|default| {
            let rule = ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(default);
            ServerSideEncryptionConfiguration::builder().rules(rule.bucket_key_enabled(key.is_some()).build()).build()
        });
    built.map_err(|error| Error::new(ErrorKind::Invalid, "the request cannot be made").because(error))
}

impl fmt::Display for SetupPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.steps.is_empty() {
            return write!(f, "{}: nothing to set", self.store);
        }
        write!(f, "{}:", self.store)?;
        self.steps.iter().try_for_each(|step| write!(f, "\n  {step}"))
    }
}

impl fmt::Display for SetupStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeepVersions => "keep versions (can be suspended, not taken back)",
            Self::AllowLocks => "allow object locks (cannot be taken back)",
            Self::Encrypt => "encrypt by default",
            Self::BlockPublicAccess => "block public access",
        })
    }
}
