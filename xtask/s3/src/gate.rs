//! What every call passes before it is done: it is counted, meets its fault, and needs a right.

use std::sync::Arc;

use hyper::HeaderMap;
use jiff::Timestamp;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::path::S3Path;

use crate::error::{Result, denied, fail};
use crate::fault::{Call, What};
use crate::op::Op;
use crate::policy::Facts;
use crate::query::{date, query};
use crate::world::{Shared, Slot, World};

pub(crate) struct Gate(pub(crate) Arc<Shared>);

#[async_trait::async_trait]
impl S3Auth for Gate {
    async fn get_secret_key(&self, access_key: &str) -> Result<SecretKey> {
        let world = self.0.world();
        let user = world.users.get(access_key).ok_or_else(|| {
            fail(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
        })?;
        Ok(SecretKey::from(user.secret.as_str()))
    }
}

#[async_trait::async_trait]
impl S3Access for Gate {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> Result<()> {
        let (delay, fault) = self.enter(context)?;
        if !delay.is_zero() {
            pause(delay).await;
        }
        match fault {
            // The layer outside answers, so any error will do.
            Some(What::Answer { done: false, .. } | What::Reset { done: false }) => Err(fail(500, "Fault", "")),
            Some(What::Hang { done: false }) => std::future::pending().await,
            _ => self.pass(context),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test server's delay passes in the machine's time, as its clients see it"
)]
async fn pause(time: std::time::Duration) {
    tokio::time::sleep(time).await;
}

impl Gate {
    /// Counts the call and finds what it meets.
    fn enter(&self, context: &mut S3AccessContext<'_>) -> Result<(std::time::Duration, Option<What>)> {
        let op = Op::named(context.s3_op().name());
        let access_key = match context.credentials() {
            Some(credentials) => credentials.access_key.clone(),
            None => return Err(denied("anonymous calls")),
        };
        let prefix = query(context.uri(), "prefix").unwrap_or_default();
        let key = match context.s3_path() {
            S3Path::Object { key, .. } => key.to_string(),
            _ => prefix,
        };
        let slot = context.extensions_mut().get::<Slot>().cloned().unwrap_or_default();
        let mut world = self.0.world();
        *world.calls.entry(op).or_default() += 1;
        let (delay, fault) = world.script.decide(&Call { op, key: &key, access_key: &access_key });
        let mut current = slot.lock();
        current.access_key = access_key;
        current.fault = fault.clone();
        Ok((delay, fault))
    }

    /// Refuses a wrong time, owner or region, and what the policy does not allow.
    fn pass(&self, context: &mut S3AccessContext<'_>) -> Result<()> {
        let slot = context.extensions_mut().get::<Slot>().cloned().unwrap_or_default();
        let world = self.0.world();
        check_time(&world, context)?;
        let op = Op::named(context.s3_op().name());
        let (bucket, key) = match context.s3_path() {
            S3Path::Root => ("*", None),
            S3Path::Bucket { bucket } => (&**bucket, None),
            S3Path::Object { bucket, key } => (&**bucket, Some(&**key)),
        };
        check_place(&world, context, bucket)?;
        let facts = facts(&world, op, context, bucket);
        let access_key = {
            let mut current = slot.lock();
            current.facts.clone_from(&facts);
            current.access_key.clone()
        };
        // The keys that it deletes are in its body.
        if op == Op::DeleteObjects {
            return Ok(());
        }
        let key = key.filter(|_| !op.of_bucket());
        for action in actions(op, context) {
            if !world.may(&access_key, action, bucket, key, &facts) {
                return Err(denied(action));
            }
        }
        Ok(())
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn check_time(world: &World, context: &S3AccessContext<'_>) -> Result<()> {
    let in_header = header(context.headers(), "x-amz-date").and_then(date);
    match (in_header, query(context.uri(), "X-Amz-Date").as_deref().and_then(date)) {
        (Some(signed), _) if !world.clock.accepts(signed) => Err(fail(
            403,
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
        )),
        (None, Some(signed)) if world.clock.accepts(signed) || signed < world.clock.now() => Ok(()),
        (None, Some(_)) => Err(fail(403, "AccessDenied", "Request is not valid yet")),
        _ => Ok(()),
    }
}

fn check_place(world: &World, context: &S3AccessContext<'_>, bucket: &str) -> Result<()> {
    let Ok(bucket) = world.bucket(bucket) else { return Ok(()) };
    let owner = header(context.headers(), "x-amz-expected-bucket-owner");
    if owner.is_some_and(|owner| owner != bucket.settings.owner) {
        return Err(fail(403, "AccessDenied", "Access Denied"));
    }
    let wanted = &bucket.settings.region;
    // Credential=KEY/DAY/REGION/s3/aws4_request
    let scope = header(context.headers(), "authorization").and_then(|text| text.split("Credential=").nth(1));
    match scope.and_then(|scope| scope.split('/').nth(2)) {
        Some(region) if region != wanted => {
            let message =
                format!("The authorization header is malformed; the region '{region}' is wrong; expecting '{wanted}'");
            let mut error = fail(400, "AuthorizationHeaderMalformed", message);
            let mut headers = HeaderMap::new();
            if let Ok(value) = wanted.parse() {
                headers.insert("x-amz-bucket-region", value);
            }
            error.set_headers(headers);
            Err(error)
        }
        _ => Ok(()),
    }
}

/// The rights that a call needs. What it says in headers beside the main thing needs rights of its own.
fn actions(op: Op, context: &S3AccessContext<'_>) -> Vec<&'static str> {
    let version = query(context.uri(), "versionId").is_some();
    let mut actions = vec![op.action(version)];
    if matches!(op, Op::PutObject | Op::CreateMultipartUpload | Op::CopyObject) {
        for (name, action) in [
            ("x-amz-object-lock-mode", "s3:PutObjectRetention"),
            ("x-amz-object-lock-legal-hold", "s3:PutObjectLegalHold"),
            ("x-amz-tagging", "s3:PutObjectTagging"),
        ] {
            if context.headers().contains_key(name) {
                actions.push(action);
            }
        }
    }
    if header(context.headers(), "x-amz-bypass-governance-retention") == Some("true") {
        actions.push("s3:BypassGovernanceRetention");
    }
    actions
}

/// What a policy's conditions see of a call.
fn facts(world: &World, op: Op, context: &S3AccessContext<'_>, bucket: &str) -> Facts {
    let mut facts = Facts::new();
    let mut say = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            facts.insert(key.to_owned(), value);
        }
    };
    // The loopback stands for TLS: a policy that denies plain HTTP is not in the way of tests.
    say("aws:SecureTransport", Some("true".to_owned()));
    say("s3:TlsVersion", Some("1.3".to_owned()));
    say("s3:signatureversion", Some("AWS4-HMAC-SHA256".to_owned()));
    let signed_url = query(context.uri(), "X-Amz-Signature").is_some();
    say("s3:authType", Some(if signed_url { "REST-QUERY-STRING" } else { "REST-HEADER" }.to_owned()));
    say("aws:PrincipalAccount", Some(crate::ACCOUNT.to_owned()));
    say("s3:ResourceAccount", world.bucket(bucket).ok().map(|bucket| bucket.settings.owner.clone()));
    // True for what makes an object, false for the parts and the beginning of one.
    let creates = match op {
        Op::PutObject | Op::CopyObject | Op::CompleteMultipartUpload => Some("true"),
        Op::CreateMultipartUpload | Op::UploadPart | Op::UploadPartCopy => Some("false"),
        _ => None,
    };
    say("s3:ObjectCreationOperation", creates.map(str::to_owned));
    // Not of unfinished uploads: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
    if matches!(op, Op::ListObjectsV2 | Op::ListObjectVersions) {
        for (name, key) in [("prefix", "s3:prefix"), ("delimiter", "s3:delimiter"), ("max-keys", "s3:max-keys")] {
            say(key, query(context.uri(), name));
        }
    }
    say("s3:VersionId", query(context.uri(), "versionId"));
    for (name, key) in [
        ("if-match", "s3:if-match"),
        ("if-none-match", "s3:if-none-match"),
        ("x-amz-content-sha256", "s3:x-amz-content-sha256"),
        ("x-amz-copy-source", "s3:x-amz-copy-source"),
        ("x-amz-metadata-directive", "s3:x-amz-metadata-directive"),
        ("x-amz-object-lock-legal-hold", "s3:object-lock-legal-hold"),
        ("x-amz-object-lock-mode", "s3:object-lock-mode"),
        ("x-amz-object-lock-retain-until-date", "s3:object-lock-retain-until-date"),
        ("x-amz-server-side-encryption", "s3:x-amz-server-side-encryption"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "s3:x-amz-server-side-encryption-aws-kms-key-id"),
        ("x-amz-storage-class", "s3:x-amz-storage-class"),
        ("x-amz-website-redirect-location", "s3:x-amz-website-redirect-location"),
    ] {
        say(key, header(context.headers(), name).map(str::to_owned));
    }
    let until = header(context.headers(), "x-amz-object-lock-retain-until-date").and_then(|it| it.parse().ok());
    if let Some(until) = until {
        facts.extend(lock_facts(None, until, world.clock.now()));
    }
    facts
}

/// The same of a retention, which a call may have in its body.
pub(crate) fn lock_facts(mode: Option<&str>, until: Timestamp, now: Timestamp) -> Facts {
    // A day that has begun counts.
    let days = (until.duration_since(now).as_secs().max(0) + 86_399) / 86_400;
    let mut facts = Facts::new();
    facts.insert("s3:object-lock-remaining-retention-days".to_owned(), days.to_string());
    if let Some(mode) = mode {
        facts.insert("s3:object-lock-mode".to_owned(), mode.to_owned());
        facts.insert("s3:object-lock-retain-until-date".to_owned(), until.to_string());
    }
    facts
}
