//! How the container and its account are set up, as far as a credential of the data plane can see.

use azure_core::http::{Body, headers::Headers};
use azure_storage_blob::models::{BlobClientDeleteOptions, BlockBlobClientUploadOptions, ImmutabilityPolicyMode};
use backstay_core::doctor::{DoctorReport, shell_word};
use backstay_core::store::{Key, ListEntry, ListOptions, ObjectStore as _, Operation, Prefix, VersionId};
use backstay_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures_util::TryStreamExt as _;

use super::meta::{header, quoted};
use super::put::expiry;
use super::unfinished::of_etag;
use super::{BlobStore, told};
use crate::error::is_status;

/// How long the probe's lock would hold if it did, and nobody could lift it.
const PROBE_LOCK: std::time::Duration = std::time::Duration::from_secs(60);

impl BlobStore {
    /// Looks at the set-up: whether the container answers, who may read it, versions, soft delete, immutability, the order of
    /// listings, the class that objects get. What the credential may not see is unknown, with the right that is missing.
    ///
    /// Only one thing is written: where [`locks`](super::BlobStoreBuilder::locks) was said, a blob under `backstay-doctor/`
    /// is locked for a minute in the mode that can be lifted, a delete of it is tried, and it is removed. An account that
    /// takes the lock and drops it in silence is found in no other way.
    pub async fn doctor(&self) -> DoctorReport {
        let mut report = DoctorReport::new(self.to_string());
        let flags = self.container_flags(&mut report).await;
        if report.of("container").is_some_and(|found| found.health == backstay_core::doctor::Health::Critical) {
            return report;
        }
        self.soft_delete(&mut report).await;
        self.account_kind(&mut report).await;
        self.blobs(&mut report).await;
        self.immutability(&mut report, flags.as_ref()).await;
        report
    }

    async fn container_flags(&self, report: &mut DoctorReport) -> Option<Headers> {
        let answer = match self.0.container.get_properties(None).await {
            Ok(answer) => answer,
            Err(error) => {
                let told = told(&error);
                let listed = self.list(&Prefix::all(), &ListOptions::default()).try_next().await.is_ok();
                match told.kind() {
                    ErrorKind::Denied if listed => report.unknown(
                        "container",
                        format!("it can be listed and not looked at: {told}"),
                        "allow Microsoft.Storage/storageAccounts/blobServices/containers/read",
                    ),
                    ErrorKind::NotFound => report.critical(
                        "container",
                        told.to_string(),
                        "BlobStore::create_container, or az storage container create",
                    ),
                    _ => report.critical("container", told.to_string(), "check account, endpoint and credential"),
                }
                return None;
            }
        };
        let headers = answer.headers().clone();
        report.fine("container", "answers");
        match header(&headers, "x-ms-blob-public-access") {
            None => report.fine("public access", "none"),
            Some(level) => report.risky(
                "public access",
                format!("everybody may read it: {level}"),
                format!(
                    "az storage container set-permission --account-name {} --name {} --public-access off",
                    shell_word(&self.0.account),
                    shell_word(&self.0.container_name)
                ),
            ),
        }
        Some(headers)
    }

    async fn soft_delete(&self, report: &mut DoctorReport) {
        let fix = format!(
            "az storage account blob-service-properties update --account-name {} --enable-delete-retention true \
             --delete-retention-days 14",
            shell_word(&self.0.account)
        );
        let found = match self.0.service.get_properties(None).await {
            Ok(answer) => answer.into_model().map_err(|error| told(&error)),
            Err(error) => Err(told(&error)),
        };
        match found.map(|found| found.delete_retention_policy) {
            Ok(Some(policy)) if policy.enabled == Some(true) => {
                report.fine("soft delete", format!("on, {} days", policy.days.unwrap_or_default()));
            }
            Ok(_) => report.missing("soft delete", "off: what is deleted is gone", fix),
            Err(error) => report.unknown(
                "soft delete",
                error.to_string(),
                "allow Microsoft.Storage/storageAccounts/blobServices/read, or look: az storage account \
                 blob-service-properties show",
            ),
        }
    }

    async fn account_kind(&self, report: &mut DoctorReport) {
        let headers = match self.0.container.get_account_info(None).await {
            Ok(answer) => answer.headers().clone(),
            Err(error) => {
                return report.unknown("account", told(&error).to_string(), "look at it: az storage account show");
            }
        };
        let kind = header(&headers, "x-ms-account-kind").unwrap_or("unknown kind");
        let sku = header(&headers, "x-ms-sku-name").unwrap_or("unknown redundancy");
        if header(&headers, "x-ms-is-hns-enabled").is_some_and(|is| is.eq_ignore_ascii_case("true")) {
            return report.critical(
                "account",
                "it has a hierarchical namespace, which lists in another order and keeps no versions",
                "use an account without one; it cannot be taken off",
            );
        }
        report.fine("account", format!("{kind}, {sku}"));
    }

    /// What one blob shows: whether it has a version, and which class it got.
    async fn blobs(&self, report: &mut DoctorReport) {
        let fix = format!(
            "az storage account blob-service-properties update --account-name {} --enable-versioning true",
            shell_word(&self.0.account)
        );
        let first = match self.list(&Prefix::all(), &ListOptions::default()).try_next().await {
            Ok(Some(ListEntry::Object(first))) => first,
            Ok(_) => {
                return report.unknown("versions", "there is no blob to look at", "look again after the first backup");
            }
            Err(error) => return report.unknown("versions", error.to_string(), "allow listing the container"),
        };
        let head = self.properties(&first.key, None, Operation::Head).await;
        let version = match &head {
            Ok((meta, _)) => meta.version.is_some(),
            // A plain listing has no versions in it.
            Err(error) => return report.unknown("versions", error.to_string(), "allow reading blobs"),
        };
        match (version, self.0.versions) {
            (true, true) => report.fine("versions", "kept: what is overwritten or deleted can be brought back"),
            (true, false) => report.missing(
                "versions",
                "the account keeps them, and the store was not told",
                "say versions(true) to the builder, so that deletes take them too",
            ),
            (false, true) => report.risky("versions", "the store was told of versions, and a blob has none", fix),
            (false, false) => report.missing("versions", "not kept: who may put or delete destroys for good", fix),
        }
        if let Ok((meta, _)) = head {
            match meta.class.as_deref() {
                Some("Archive") => report.risky(
                    "class",
                    format!("{} is archived: reading it takes hours", meta.key),
                    "let only items/ be moved to Archive by lifecycle rules",
                ),
                Some(class) => report.fine("class", class),
                None => report.fine("class", "the account's own"),
            }
        }
    }

    /// Proves locks by trying to delete what is locked.
    async fn immutability(&self, report: &mut DoctorReport, flags: Option<&Headers>) {
        let what = "immutability";
        let fix = format!(
            "az storage container-rm migrate-vlw --storage-account {} --name {}",
            shell_word(&self.0.account),
            shell_word(&self.0.container_name)
        );
        let flag = flags.and_then(|flags| header(flags, "x-ms-immutable-storage-with-versioning-enabled"));
        let told_on = flag.is_some_and(|flag| flag.eq_ignore_ascii_case("true"));
        if !self.0.locks {
            return match told_on {
                true => report.missing(
                    what,
                    "the container has it, and the store was not told",
                    "say locks(true) to the builder",
                ),
                false => report.missing(what, "none: who may delete can delete everything", fix),
            };
        }
        match self.prove_lock().await {
            Ok(true) => report.fine(what, "proved: a locked blob could not be deleted"),
            Ok(false) => report.risky(
                what,
                "a lock was accepted and does not hold: the locked blob could be deleted",
                format!("{fix}, or use an account that keeps locks"),
            ),
            Err(error) if error.kind() == ErrorKind::Denied => {
                report.unknown(what, error.to_string(), "run the doctor with the keeper's or the pruner's credential");
            }
            Err(error) => report.risky(what, format!("a blob could not be locked: {error}"), fix),
        }
    }

    /// Whether a lock holds. Leaves nothing behind but what the service's own soft delete keeps.
    async fn prove_lock(&self) -> Result<bool> {
        let mut random = [0; 8];
        self.0.random.fill(&mut random);
        let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let key = Key::new(format!("backstay-doctor/{name}"))?;
        let blob = self.blob(&key);
        // Who may not delete must not leave a probe: a delete of nothing shows it.
        match blob.delete(Some(of_etag("0x0"))).await {
            Err(error) if is_status(&error, 404) || is_status(&error, 412) => {}
            Err(error) => return Err(told(&error)),
            Ok(_) => return Err(Error::new(ErrorKind::Other, "a blob that nobody made was deleted")),
        }
        let mut options = BlockBlobClientUploadOptions::default().if_not_exists();
        options.immutability_policy_expiry = Some(expiry(self.service_time().await? + PROBE_LOCK)?);
        options.immutability_policy_mode = Some(ImmutabilityPolicyMode::Unlocked);
        let made = blob.upload(Body::Bytes(Bytes::from_static(b"backstay doctor")).into(), Some(options)).await;
        let made = made.map_err(|error| told(&error))?;
        let version = made.version_id.clone();
        let mut delete = BlobClientDeleteOptions::default();
        // Where there are versions a delete of the blob only makes the locked one an older one: that one is tried.
        match &version {
            Some(version) => {
                let etag = made.etag.as_ref().map(ToString::to_string).unwrap_or_default();
                match blob.delete(Some(of_etag(&etag))).await {
                    Ok(_) => delete.version_id = Some(version.clone()),
                    Err(error) if told(&error).kind() == ErrorKind::Locked => {}
                    Err(error) => return Err(told(&error)),
                }
            }
            None => delete.if_match = made.etag.as_ref().map(|etag| quoted(etag.as_ref()).into()),
        }
        match blob.delete(Some(delete)).await {
            Ok(_) => return Ok(false),
            Err(error) if told(&error).kind() == ErrorKind::Locked => {}
            Err(error) => return Err(told(&error)),
        }
        let lift = azure_storage_blob::models::BlobClientDeleteImmutabilityPolicyOptions {
            version_id: version.clone(),
            ..Default::default()
        };
        blob.delete_immutability_policy(Some(lift)).await.map_err(|error| told(&error))?;
        match version {
            Some(version) => self.delete_version(&key, &VersionId(version), Operation::Delete).await?,
            None => drop(blob.delete(None).await.map_err(|error| told(&error))?),
        }
        Ok(true)
    }
}
