//! What a request says of the object that it makes, and what becomes of it in a bucket.

use jiff::{SignedDuration, Timestamp};
use s3s::dto;

use crate::bucket::Stored;
use crate::clock::from_s3;
use crate::error::{Result, fail};
use crate::object::{About, Class, Encryption, Lock, Retention};

/// The headers that a put, a copy and the beginning of an upload have in common.
pub(crate) struct Said {
    pub(crate) about: About,
    pub(crate) class: Option<dto::StorageClass>,
    pub(crate) encryption: Option<dto::ServerSideEncryption>,
    pub(crate) mode: Option<dto::ObjectLockMode>,
    pub(crate) until: Option<dto::Timestamp>,
    pub(crate) hold: Option<dto::ObjectLockLegalHoldStatus>,
}

/// Takes them out of an input.
macro_rules! said_of {
    ($input:expr) => {
        $crate::said::Said {
            about: $crate::object::About {
                cache_control: $input.cache_control.take(),
                content_disposition: $input.content_disposition.take(),
                content_encoding: $crate::said::true_encoding($input.content_encoding.take()),
                content_language: $input.content_language.take(),
                content_type: $input.content_type.take(),
                expires: $input.expires.take(),
                metadata: $input.metadata.take(),
                tags: $crate::query::tags($input.tagging.as_deref()),
                encryption: $crate::object::Encryption {
                    algorithm: None,
                    key: $input.ssekms_key_id.take(),
                    context: $input.ssekms_encryption_context.take(),
                    bucket_key: $input.bucket_key_enabled.take(),
                },
                ..Default::default()
            },
            class: $input.storage_class.take(),
            encryption: $input.server_side_encryption.take(),
            mode: $input.object_lock_mode.take(),
            until: $input.object_lock_retain_until_date.take(),
            hold: $input.object_lock_legal_hold_status.take(),
        }
    };
}
pub(crate) use said_of;

/// `aws-chunked` is of the transfer, not of the object.
pub(crate) fn true_encoding(encoding: Option<String>) -> Option<String> {
    let encoding = encoding?;
    let kept: Vec<_> = encoding.split(',').map(str::trim).filter(|it| *it != "aws-chunked" && !it.is_empty()).collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

const CLASSES: [&str; 7] =
    ["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"];

impl Said {
    pub(crate) fn locks(&self) -> bool {
        self.mode.is_some() || self.until.is_some() || self.hold.is_some()
    }

    /// What an object has that is made so in this bucket now.
    pub(crate) fn settle(self, bucket: &Stored, now: Timestamp) -> Result<About> {
        let class = class(self.class.as_ref().map(dto::StorageClass::as_str))?;
        let lock = lock(bucket, now, self.mode.as_ref(), self.until.as_ref(), self.hold.as_ref())?;
        let mut encryption = encryption(bucket, self.encryption, self.about.encryption);
        if bucket.settings.drops_encryption {
            encryption = Encryption::default();
        }
        let class = if bucket.settings.drops_class { Class::default() } else { class };
        Ok(About { class, lock, encryption, ..self.about })
    }
}

pub(crate) fn class(name: Option<&str>) -> Result<Class> {
    match name {
        None | Some("STANDARD") => Ok(Class::default()),
        Some(name) if CLASSES.contains(&name) => Ok(Class { name: Some(name.to_owned()), ..Class::default() }),
        Some(_) => Err(fail(400, "InvalidStorageClass", "The storage class you specified is not valid")),
    }
}

/// The bucket's default where the request says nothing, and SSE-S3 where the bucket says nothing.
fn encryption(bucket: &Stored, asked: Option<dto::ServerSideEncryption>, said: Encryption) -> Encryption {
    let rule = bucket.config.encryption.as_ref().and_then(|config| config.rules.first());
    let default = rule.and_then(|rule| rule.apply_server_side_encryption_by_default.as_ref());
    let (algorithm, mut encryption) = match (asked, default) {
        (Some(algorithm), _) => (algorithm.as_str().to_owned(), said),
        (None, Some(default)) => {
            let bucket_key = rule.and_then(|rule| rule.bucket_key_enabled);
            let key = default.kms_master_key_id.clone();
            (default.sse_algorithm.as_str().to_owned(), Encryption { key, bucket_key, ..Encryption::default() })
        }
        (None, None) => ("AES256".to_owned(), Encryption::default()),
    };
    if algorithm.starts_with("aws:kms") {
        let own = || format!("arn:aws:kms:{}:{}:key/aws/s3", bucket.settings.region, bucket.settings.owner);
        encryption.key.get_or_insert_with(own);
    }
    encryption.algorithm = Some(algorithm);
    encryption
}

fn lock(
    bucket: &Stored,
    now: Timestamp,
    mode: Option<&dto::ObjectLockMode>,
    until: Option<&dto::Timestamp>,
    hold: Option<&dto::ObjectLockLegalHoldStatus>,
) -> Result<Lock> {
    if !bucket.settings.lock {
        return match (mode, until, hold) {
            (None, None, None) => Ok(Lock::default()),
            _ => Err(fail(400, "InvalidRequest", "Bucket is missing Object Lock Configuration")),
        };
    }
    let retention = match (mode, until) {
        (Some(mode), Some(until)) => Some(retention(mode.as_str(), from_s3(until), now)?),
        (None, None) => bucket.config.default_retention.as_ref().map(|default| by_default(default, now)),
        _ => {
            let message = "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied";
            return Err(fail(400, "InvalidArgument", message));
        }
    };
    Ok(Lock { retention, hold: hold.map(|hold| hold.as_str() == "ON") })
}

/// A retention that is asked for.
pub(crate) fn retention(mode: &str, until: Timestamp, now: Timestamp) -> Result<Retention> {
    let compliance = match mode {
        "COMPLIANCE" => true,
        "GOVERNANCE" => false,
        _ => return Err(fail(400, "InvalidArgument", "Unknown wormMode directive.")),
    };
    match until > now {
        true => Ok(Retention { compliance, until }),
        false => Err(fail(400, "InvalidArgument", "The retain until date must be in the future!")),
    }
}

fn by_default(default: &dto::DefaultRetention, now: Timestamp) -> Retention {
    let days = default.days.unwrap_or_default() + 365 * default.years.unwrap_or_default();
    let compliance = default.mode.as_ref().is_some_and(|mode| mode.as_str() == "COMPLIANCE");
    Retention { compliance, until: now + SignedDuration::from_hours(24 * i64::from(days)) }
}
