//! How a bucket is set up, and what would make it right.

mod lifecycle;

use aws_sdk_kms::types::KeyState;
use aws_sdk_s3::types::{
    BucketVersioningStatus, DeleteMarkerReplicationStatus, ObjectLockEnabled, ReplicationRuleStatus,
    ServerSideEncryption,
};
use backstay_core::doctor::DoctorReport;
use backstay_core::store::{Key, ObjectRef, ObjectStore as _, PutOptions};
use backstay_core::{ErrorKind, Result};
use bytes::Bytes;

use super::S3Store;
use super::head::HEAD;
use crate::error::{Call, Told};

pub(super) const VERSIONING: Call =
    Call { name: "doctor", api: "GetBucketVersioning", right: "s3:GetBucketVersioning" };
const ENCRYPTION: Call = Call { name: "doctor", api: "GetBucketEncryption", right: "s3:GetEncryptionConfiguration" };
const PUBLIC_ACCESS: Call =
    Call { name: "doctor", api: "GetPublicAccessBlock", right: "s3:GetBucketPublicAccessBlock" };
const LOCK: Call =
    Call { name: "doctor", api: "GetObjectLockConfiguration", right: "s3:GetBucketObjectLockConfiguration" };
const LIFECYCLE: Call =
    Call { name: "doctor", api: "GetBucketLifecycleConfiguration", right: "s3:GetLifecycleConfiguration" };
const REPLICATION: Call = Call { name: "doctor", api: "GetBucketReplication", right: "s3:GetReplicationConfiguration" };
const POLICY: Call = Call { name: "doctor", api: "GetBucketPolicy", right: "s3:GetBucketPolicy" };
const KEY: Call = Call { name: "doctor", api: "DescribeKey", right: "kms:DescribeKey" };

/// A request about the bucket, sent: `about!(store, get_bucket_policy)`.
macro_rules! about {
    ($store:expr, $call:ident $(, $field:ident($value:expr))?) => {{
        let shared = &$store.0;
        let call = shared.client.$call().bucket(&shared.bucket)$(.$field($value))?;
        call.set_expected_bucket_owner(shared.owner.clone()).send().await.map_err(Told::of)
    }};
}
pub(super) use about;

impl S3Store {
    /// Looks at how the bucket is set up: versions, encryption and its key, public access, locks, lifecycle, replication,
    /// policy. Where the store was told a class or an encryption it puts an empty object `doctor-probe-TIME`, looks whether
    /// both were kept, and deletes it for good; else it changes nothing. What this credential may not see is told as unknown, with
    /// the right that it takes.
    ///
    /// # Errors
    /// What the server answers where it says nothing about the bucket: that it is not there, cannot be reached, asks for
    /// fewer calls.
    pub async fn doctor(&self) -> Result<DoctorReport> {
        let mut report = DoctorReport::new(self.to_string());
        self.look_at_versions(&mut report).await?;
        self.look_at_encryption(&mut report).await?;
        self.look_at_public_access(&mut report).await?;
        self.look_at_locks(&mut report).await?;
        self.look_at_lifecycle(&mut report).await?;
        self.look_at_replication(&mut report).await?;
        self.look_at_policy(&mut report).await?;
        self.look_at_newest(&mut report).await?;
        Ok(report)
    }

    async fn look_at_versions(&self, report: &mut DoctorReport) -> Result<()> {
        const WHAT: &str = "versions";
        let told = about!(self, get_bucket_versioning);
        let Some(found) = self.seen(told, VERSIONING, WHAT, report)? else { return Ok(()) };
        match found.status() {
            Some(BucketVersioningStatus::Enabled) => report.fine(WHAT, "kept: what is overwritten or deleted can be brought back"),
            _ => report.missing(
                WHAT,
                "not kept: who may put or delete destroys for good",
                format!(
                    "`setup`, or: aws s3api put-bucket-versioning --bucket {} --versioning-configuration Status=Enabled",
                    self.0.bucket
                ),
            ),
        }
        Ok(())
    }

    async fn look_at_encryption(&self, report: &mut DoctorReport) -> Result<()> {
        const WHAT: &str = "encryption";
        let told = about!(self, get_bucket_encryption);
        let fix = "`setup`, or: aws s3api put-bucket-encryption; the vault's own encryption does not depend on it";
        let mut key = self.0.encryption.key().map(str::to_owned);
        match self.configured(told, ENCRYPTION, WHAT, report)? {
            Seen::Unknown => {}
            Seen::None => report.missing(WHAT, "the bucket has no default", fix),
            Seen::Some(found) => {
                let rules = found.server_side_encryption_configuration().map(|found| found.rules()).unwrap_or_default();
                let default = rules.iter().find_map(|rule| rule.apply_server_side_encryption_by_default());
                match default {
                    None => report.missing(WHAT, "the bucket has no default", fix),
                    Some(default) => {
                        let kms = *default.sse_algorithm() != ServerSideEncryption::Aes256;
                        report.fine(WHAT, format!("by default {}", default.sse_algorithm()));
                        key = key.or_else(|| default.kms_master_key_id().filter(|_| kms).map(str::to_owned));
                    }
                }
            }
        }
        match key {
            Some(key) => self.look_at_key(&key, report).await,
            None => Ok(()),
        }
    }

    /// A key that is disabled or goes to its end takes every object with it.
    async fn look_at_key(&self, key: &str, report: &mut DoctorReport) -> Result<()> {
        const WHAT: &str = "key";
        let found = self.0.connect.load().await?;
        let mut config = aws_sdk_kms::config::Builder::from(&found.config);
        if let Some(endpoint) = self.0.connect.endpoint_of_all() {
            config = config.endpoint_url(endpoint);
        }
        let client = aws_sdk_kms::Client::from_conf(config.build());
        let told = client.describe_key().key_id(key).send().await;
        let told = match told.map_err(Told::of) {
            Err(told) if told.is("NotFoundException") => {
                report.critical(
                    WHAT,
                    format!("there is no key {key}"),
                    "put the bucket's default right; what it encrypted is lost",
                );
                return Ok(());
            }
            other => other,
        };
        let Some(found) = self.seen(told, KEY, WHAT, report)? else { return Ok(()) };
        let meta = found.key_metadata();
        match meta.and_then(|meta| meta.key_state()) {
            Some(KeyState::Enabled) => report.fine(WHAT, format!("{key} is enabled")),
            Some(KeyState::PendingDeletion | KeyState::PendingReplicaDeletion) => report.critical(
                WHAT,
                format!("{key} is being deleted: every object that it encrypted goes with it"),
                format!("aws kms cancel-key-deletion --key-id {key}; aws kms enable-key --key-id {key}"),
            ),
            Some(state) => report.critical(
                WHAT,
                format!("{key} is {state}: nothing can be read or put"),
                format!("aws kms enable-key --key-id {key}"),
            ),
            None => report.unknown(WHAT, format!("the state of {key} was not told"), "ask aws kms describe-key"),
        }
        Ok(())
    }

    async fn look_at_public_access(&self, report: &mut DoctorReport) -> Result<()> {
        const WHAT: &str = "public access";
        let told = about!(self, get_public_access_block);
        let fix = "`setup`, or: aws s3api put-public-access-block with all four set";
        match self.configured(told, PUBLIC_ACCESS, WHAT, report)? {
            Seen::Unknown => {}
            Seen::None => {
                report.missing(WHAT, "nothing keeps a policy or ACL from opening the bucket to everybody", fix)
            }
            Seen::Some(found) => {
                let block = found.public_access_block_configuration();
                let all = block.is_some_and(|block| {
                    let four = [
                        block.block_public_acls(),
                        block.ignore_public_acls(),
                        block.block_public_policy(),
                        block.restrict_public_buckets(),
                    ];
                    four.iter().all(|set| *set == Some(true))
                });
                match all {
                    true => report.fine(WHAT, "blocked"),
                    false => report.risky(WHAT, "blocked in part", fix),
                }
            }
        }
        Ok(())
    }

    async fn look_at_locks(&self, report: &mut DoctorReport) -> Result<()> {
        const WHAT: &str = "object lock";
        let told = about!(self, get_object_lock_configuration);
        let fix = "`setup`, then `Tier::lock`: without locks an administrator's credential deletes everything";
        match self.configured(told, LOCK, WHAT, report)? {
            Seen::Unknown => {}
            Seen::None => report.missing(WHAT, "objects cannot be locked", fix),
            Seen::Some(found) => {
                let found = found.object_lock_configuration();
                match found.and_then(|found| found.object_lock_enabled()) {
                    Some(ObjectLockEnabled::Enabled) => report.fine(WHAT, "objects can be locked"),
                    _ => report.missing(WHAT, "objects cannot be locked", fix),
                }
            }
        }
        Ok(())
    }

    async fn look_at_replication(&self, report: &mut DoctorReport) -> Result<()> {
        const WHAT: &str = "replication";
        let told = about!(self, get_bucket_replication);
        match self.configured(told, REPLICATION, WHAT, report)? {
            Seen::Unknown => {}
            Seen::None => report.fine(WHAT, "none by the platform; `Replicator` copies without it"),
            Seen::Some(found) => {
                let rules = found.replication_configuration().map(|found| found.rules()).unwrap_or_default();
                let enabled: Vec<_> =
                    rules.iter().filter(|rule| *rule.status() == ReplicationRuleStatus::Enabled).collect();
                let travels = |rule: &&&aws_sdk_s3::types::ReplicationRule| {
                    let markers = rule.delete_marker_replication().and_then(|markers| markers.status());
                    markers == Some(&DeleteMarkerReplicationStatus::Enabled)
                };
                match enabled.iter().find(travels) {
                    Some(rule) => report.risky(
                        WHAT,
                        format!(
                            "the rule {:?} copies deletions too: who empties this bucket empties that one",
                            rule.id()
                        ),
                        "disable the replication of delete markers",
                    ),
                    None => report.fine(WHAT, format!("{} rules, no deletion travels", enabled.len())),
                }
            }
        }
        Ok(())
    }

    async fn look_at_policy(&self, report: &mut DoctorReport) -> Result<()> {
        const WHAT: &str = "policy";
        let told = about!(self, get_bucket_policy);
        let fix = "deny puts without If-None-Match, as `RolePolicy::bucket` renders it for a writer";
        match self.configured(told, POLICY, WHAT, report)? {
            Seen::Unknown => {}
            Seen::None => report.missing(WHAT, "none: only identities say who may replace objects", fix),
            Seen::Some(found) => match found.policy().unwrap_or_default() {
                policy if policy.contains("s3:if-none-match") => {
                    report.fine(WHAT, "puts must be create-only for somebody")
                }
                _ => report.missing(WHAT, "it lets objects be replaced as far as identities do", fix),
            },
        }
        Ok(())
    }

    /// A class or an encryption that was asked for and that the server dropped without a word shows in what was put.
    async fn look_at_newest(&self, report: &mut DoctorReport) -> Result<()> {
        const WHAT: &str = "what is asked for";
        let (class, sealed) = (self.0.class.as_deref(), self.0.encryption.headers().algorithm);
        if class.is_none() && sealed.is_none() {
            return Ok(());
        }
        let key = Key::new(format!("doctor-probe-{}", self.now().await?.as_millisecond()))?;
        let probe = match self.put(&key, Bytes::new(), &PutOptions::default()).await {
            Err(error) if error.kind() == ErrorKind::Denied => {
                report.unknown(
                    WHAT,
                    "this credential may not put a probe",
                    "ask with one that may put, get and delete",
                );
                return Ok(());
            }
            // A conflict is that of a key which is disabled or goes to its end.
            Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Unsupported | ErrorKind::Conflict) => {
                report.critical(
                    WHAT,
                    format!("the server refuses it: {error}"),
                    "leave it out, use a server that has it, or put the key right: no backup gets through",
                );
                return Ok(());
            }
            put => put?.version.map_or_else(|| key.clone().into(), |version| ObjectRef::version(key.clone(), version)),
        };
        let found = self.head_version(HEAD, &key, None).await;
        let deleted = self.delete(&[probe]).await;
        let deleted = deleted.and_then(|outcomes| outcomes.into_iter().try_for_each(|outcome| outcome.result));
        if let Err(error) = deleted {
            report.unknown("probe", format!("{key} stays: {error}"), "delete it, each of its versions");
        }
        let found = match found {
            Err(error) if error.kind() == ErrorKind::Denied => {
                report.unknown(WHAT, "this credential may not look at a probe", "ask with one that may");
                return Ok(());
            }
            found => found?,
        };
        let mut lost = Vec::new();
        if class.is_some_and(|class| found.storage_class().map_or("STANDARD", |kept| kept.as_str()) != class) {
            lost.push("the storage class");
        }
        if sealed.is_some_and(|sealed| found.server_side_encryption() != Some(&sealed)) {
            lost.push("the encryption");
        }
        match lost.is_empty() {
            true => report.fine(WHAT, "class and encryption are kept"),
            false => report.risky(
                WHAT,
                format!("{} dropped without a word", lost.join(" and ")),
                "leave it out, or use a server that has it",
            ),
        }
        Ok(())
    }

    /// What can be seen; none where this credential may not look, or the server has no such thing, which is told.
    fn seen<T>(
        &self,
        told: std::result::Result<T, Told>,
        call: Call,
        what: &str,
        report: &mut DoctorReport,
    ) -> Result<Option<T>> {
        match self.configured(told, call, what, report)? {
            Seen::Some(found) => Ok(Some(found)),
            Seen::None | Seen::Unknown => Ok(None),
        }
    }

    fn configured<T>(
        &self,
        told: std::result::Result<T, Told>,
        call: Call,
        what: &str,
        report: &mut DoctorReport,
    ) -> Result<Seen<T>> {
        let told = match told {
            Ok(found) => return Ok(Seen::Some(found)),
            Err(told) => told,
        };
        if told.is_unconfigured() {
            return Ok(Seen::None);
        }
        let error = self.error(told, call, "");
        match error.kind() {
            ErrorKind::Denied if error.context("credential").is_none() => {
                report.unknown(what, "this credential may not look", format!("allow {}", call.right));
            }
            ErrorKind::Unsupported | ErrorKind::Invalid => {
                report.unknown(what, "the server has no such thing", "look whether it has one of its own");
            }
            // Some servers answer with a document that is about something else.
            ErrorKind::Other => {
                report.unknown(what, format!("the answer cannot be understood: {error}"), "ask the server itself")
            }
            _ => return Err(error),
        }
        Ok(Seen::Unknown)
    }
}

enum Seen<T> {
    Some(T),
    /// Nothing is configured.
    None,
    /// Told as unknown.
    Unknown,
}
