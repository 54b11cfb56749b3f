//! What went wrong, in Backstay's words: the one place that knows the SDK's errors and the servers' codes.

use std::error::Error as StdError;
use std::time::Duration;

use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
#[cfg(feature = "s3")]
use backstay_core::Error;
use backstay_core::ErrorKind;

#[cfg(feature = "s3_versions")]
mod dynamodb;
#[cfg(feature = "secrets")]
mod secrets;

#[cfg(feature = "secrets")]
pub(crate) use secrets::Carries;

/// A call of an API: what this library calls it, what Amazon does, and the right that it needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) api: &'static str,
    pub(crate) right: &'static str,
}

/// What was told of a failure, by the server or on the way to it.
#[derive(Debug, Default)]
pub(crate) struct Told {
    status: u16,
    code: String,
    message: String,
    /// The region that the bucket lies in, where the server says that another one was asked.
    #[cfg(feature = "s3")]
    region: Option<String>,
    wait: Option<Duration>,
    /// The server's name for the request: its operator finds it by that.
    request: Option<String>,
    /// Set if no answer came.
    lost: Option<(ErrorKind, &'static str)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Codes of the servers that we know, Amazon's first; in doubt the HTTP status decides.
const CODES: &[(&[&str], ErrorKind)] = &[
    (&["NoSuchKey", "NoSuchBucket", "NoSuchUpload", "NoSuchVersion", "NotFound"], ErrorKind::NotFound),
    (&["PreconditionFailed"], ErrorKind::Conflict),
    (&["ConditionalRequestConflict", "OperationAborted"], ErrorKind::Unavailable),
    (&["AccessDenied", "AllAccessDisabled", "AccountProblem", "NotSignedUp"], ErrorKind::Denied),
    (&["InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurity", "XAdminUserNotFound"], ErrorKind::Denied),
    (&["ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"], ErrorKind::Denied),
    (&["RequestTimeTooSkewed", "RequestExpired"], ErrorKind::Denied),
    (&["SlowDown", "ServiceUnavailable", "RequestLimitExceeded", "TooManyRequests"], ErrorKind::Throttled),
    (&["Throttling", "ThrottlingException", "RequestThrottled", "XMinioServerNotInitialized"], ErrorKind::Throttled),
    (&["InternalError", "InternalServerError"], ErrorKind::Unavailable),
    (&["RequestTimeout"], ErrorKind::Timeout),
    (&["BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"], ErrorKind::Corrupt),
    (&["InvalidObjectState"], ErrorKind::Archived),
    (&["ObjectLocked"], ErrorKind::Locked),
    (&["ObjectParentIsFile", "XMinioParentIsObject", "XMinioObjectExistsAsDirectory"], ErrorKind::Conflict),
    (&["QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"], ErrorKind::Exhausted),
    (&["PermanentRedirect", "TemporaryRedirect", "Redirect", "IllegalLocationConstraintException"], ErrorKind::Invalid),
    (&["AuthorizationHeaderMalformed", "InvalidBucketName", "KeyTooLong", "KeyTooLongError"], ErrorKind::Invalid),
    (&["NotImplemented"], ErrorKind::Unsupported),
];

/// What a bucket answers that was never told of encryption, access, locks, lifecycle, replication or a policy.
#[cfg(feature = "s3")]
const UNCONFIGURED: [&str; 6] = [
    "ServerSideEncryptionConfigurationNotFoundError",
    "NoSuchPublicAccessBlockConfiguration",
    "ObjectLockConfigurationNotFoundError",
    "NoSuchLifecycleConfiguration",
    "ReplicationConfigurationNotFoundError",
    "NoSuchBucketPolicy",
];

/// Who the credential is was not accepted; what it may do was not even looked at.
const NOT_ACCEPTED: &[(&str, &str, &str)] = &[
    ("InvalidAccessKeyId", "the server does not know the access key", "check the credential, and the endpoint"),
    ("XAdminUserNotFound", "the server does not know the access key", "check the credential, and the endpoint"),
    ("SignatureDoesNotMatch", "the secret key is not the access key's", "check the credential"),
    ("InvalidSecurity", "the credential is not valid", "check the credential"),
    ("ExpiredToken", "the credential has expired", "renew it: a role or profile does so by itself"),
    ("ExpiredTokenException", "the credential has expired", "renew it: a role or profile does so by itself"),
    ("TokenRefreshRequired", "the credential has expired", "renew it: a role or profile does so by itself"),
    ("InvalidToken", "the session token is not valid", "check the credential; a token belongs to one key"),
    ("RequestTimeTooSkewed", "this host's clock is too far from the server's", "set the clock, by NTP for instance"),
    ("RequestExpired", "this host's clock is too far from the server's", "set the clock, by NTP for instance"),
];

impl Told {
    pub(crate) fn of<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let mut told = error.raw_response().map(Self::answered).unwrap_or_default();
        if let SdkError::ServiceError(service) = &error {
            let meta = service.err().meta();
            told.code = meta.code().unwrap_or_default().to_owned();
            told.message = meta.message().unwrap_or_default().to_owned();
            return told;
        }
        told.lost = Some(match &error {
            SdkError::TimeoutError(_) => (ErrorKind::Timeout, "no answer in time"),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => (ErrorKind::Timeout, "no answer in time"),
            SdkError::DispatchFailure(failure) if failure.is_user() => {
                (ErrorKind::Invalid, "the request is not well formed")
            }
            SdkError::DispatchFailure(_) => (ErrorKind::Unavailable, "the server cannot be reached"),
            SdkError::ResponseError(_) if told.status >= 500 => (ErrorKind::Unavailable, "the server failed"),
            SdkError::ResponseError(_) => (ErrorKind::Other, "the answer cannot be understood"),
            _ => (ErrorKind::Invalid, "the request cannot be made"),
        });
        let source = error.into_source().ok();
        if let Some(source) = source.as_deref().filter(|source| chain(*source).contains("credential")) {
            told.lost = Some(without_credential(source));
        }
        told.source = source;
        told
    }

    /// What can be told of any answer, a HEAD's too, which has no body.
    fn answered(response: &HttpResponse) -> Self {
        let header = |name: &str| response.headers().get(name).map(str::to_owned);
        let seconds = |text: String| text.parse().ok().map(Duration::from_secs);
        Self {
            status: response.status().as_u16(),
            #[cfg(feature = "s3")]
            region: header("x-amz-bucket-region").or_else(|| element(response.body().bytes()?, "Region")),
            wait: header("retry-after").and_then(seconds),
            request: header("x-amz-request-id").or_else(|| header("x-amzn-requestid")),
            ..Self::default()
        }
    }

    /// What was told of one object among many.
    #[cfg(feature = "s3")]
    pub(crate) fn said(code: Option<&str>, message: Option<&str>) -> Self {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Self { code: text(code), message: text(message), ..Self::default() }
    }

    /// The same again, for another object: what the server said.
    #[cfg(feature = "s3")]
    pub(crate) fn again(&self) -> Self {
        Self { status: self.status, ..Self::said(Some(&self.code), Some(&self.message)) }
    }

    /// Whether a server is there, and could not do it at this moment.
    #[cfg(feature = "s3")]
    pub(crate) fn is_busy(&self) -> bool {
        self.lost.is_none() && self.kind().is_transient()
    }

    /// Whether the server gave this code. A HEAD has none.
    pub(crate) fn is(&self, code: &str) -> bool {
        self.code == code
    }

    /// Whether the bucket has no configuration of the kind asked for.
    #[cfg(feature = "s3")]
    pub(crate) fn is_unconfigured(&self) -> bool {
        UNCONFIGURED.contains(&self.code.as_str())
    }

    /// Whether a condition of the request did not hold.
    #[cfg(feature = "s3")]
    pub(crate) fn is_precondition(&self) -> bool {
        self.lost.is_none() && (self.status == 412 || self.is("PreconditionFailed"))
    }

    /// Whether the version asked for, if one was, is a delete marker.
    #[cfg(feature = "s3")]
    pub(crate) fn is_marker(&self) -> bool {
        self.status == 405
    }

    /// The region that the bucket lies in, if that is why the call failed.
    #[cfg(feature = "s3")]
    pub(crate) fn elsewhere(&self) -> Option<&str> {
        self.region.as_deref().filter(|_| self.is_elsewhere())
    }

    /// What kind of failure it is.
    pub(crate) fn kind(&self) -> ErrorKind {
        if let Some((kind, _)) = self.lost {
            return kind;
        }
        let message = self.message.to_lowercase();
        // Amazon and versitygw have no code of their own for what is locked, MinIO another status.
        let forbids = self.is("AccessDenied") || self.is("InvalidRequest");
        if forbids && (message.contains("object lock") || message.contains("worm")) {
            return ErrorKind::Locked;
        }
        if self.code.to_ascii_lowercase().starts_with("kms") {
            return ErrorKind::Conflict;
        }
        if let Some((_, kind)) = CODES.iter().find(|(codes, _)| codes.contains(&self.code.as_str())) {
            return *kind;
        }
        match self.status {
            301 | 307 | 400 | 405 | 411 | 413 | 414 | 416 => ErrorKind::Invalid,
            401 | 403 => ErrorKind::Denied,
            404 => ErrorKind::NotFound,
            408 => ErrorKind::Timeout,
            409 | 412 => ErrorKind::Conflict,
            429 | 503 => ErrorKind::Throttled,
            501 => ErrorKind::Unsupported,
            507 => ErrorKind::Exhausted,
            500.. => ErrorKind::Unavailable,
            _ => ErrorKind::Other,
        }
    }

    /// The error, with the place and what to do. `key` is empty where the call is for the bucket.
    #[cfg(feature = "s3")]
    pub(crate) fn error(self, call: Call, bucket: &str, key: &str) -> Error {
        let kind = self.kind();
        let (message, advice) = self.words(call, kind);
        let mut error = Error::new(kind, message).operation(call.name).with("bucket", bucket);
        if !key.is_empty() {
            error = error.with("key", key);
        }
        error = error.with("call", call.api);
        for (name, value) in [("status", self.status.to_string()), ("code", self.code.clone())] {
            if !value.is_empty() && value != "0" {
                error = error.with(name, value);
            }
        }
        if let Some(request) = self.request {
            error = error.with("request", request);
        }
        if kind == ErrorKind::Denied && (not_accepted(&self.code).is_some() || self.lost.is_some()) {
            error = error.with("credential", "not accepted");
        }
        if let Some(advice) = advice {
            error = error.advise(advice);
        }
        if let Some(wait) = self.wait {
            error = error.wait(wait);
        }
        if let Some(source) = self.source {
            error = error.because(source);
        }
        // The SDK has tried again as often as it may.
        if error.is_retryable() { error.no_more_retries() } else { error }
    }

    #[cfg(feature = "s3")]
    fn words(&self, call: Call, kind: ErrorKind) -> (String, Option<String>) {
        if let Some((_, message, advice)) = not_accepted(&self.code) {
            return ((*message).to_owned(), Some((*advice).to_owned()));
        }
        if let Some((kind, message)) = self.lost {
            let advice = match kind {
                ErrorKind::Denied => {
                    Some("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role".to_owned())
                }
                ErrorKind::Unavailable | ErrorKind::Timeout => Some("check the endpoint and the network".to_owned()),
                _ => None,
            };
            return (message.to_owned(), advice);
        }
        let said = match self.message.trim().trim_end_matches('.') {
            "" => format!("the server answered {}", self.status),
            said => said.to_owned(),
        };
        match kind {
            ErrorKind::NotFound if self.is("NoSuchBucket") => {
                ("there is no such bucket".into(), Some("check its name, the endpoint and the account".into()))
            }
            ErrorKind::NotFound if self.is("NoSuchUpload") => {
                ("the upload is gone: it was completed or aborted".into(), None)
            }
            ErrorKind::NotFound => ("there is no such object".into(), None),
            ErrorKind::Denied => (
                format!("the credential may not {}", call.right),
                Some(format!(
                    "allow {} in its policy; a bucket of another account is refused too unless its owner is named",
                    call.right
                )),
            ),
            ErrorKind::Invalid if self.is_elsewhere() => match &self.region {
                Some(region) => (
                    format!("the bucket lies in the region {region}"),
                    Some(format!("say so: `.region({region:?})`, or AWS_REGION={region}")),
                ),
                None => (format!("the bucket lies elsewhere: {said}"), Some("check its region and endpoint".into())),
            },
            ErrorKind::Archived => (
                format!("the object lies in an archive class: {said}"),
                Some("thaw it first, and read it when that is done: hours, or days".into()),
            ),
            ErrorKind::Throttled => (format!("the server asks for fewer calls: {said}"), None),
            ErrorKind::Conflict if self.code.to_ascii_lowercase().starts_with("kms") => (
                format!("the key service refuses its key: {said}"),
                Some("look at the key: is it there, enabled, and may this credential use it?".into()),
            ),
            _ => (said, None),
        }
    }

    #[cfg(feature = "s3")]
    fn is_elsewhere(&self) -> bool {
        let codes = ["PermanentRedirect", "TemporaryRedirect", "Redirect", "IllegalLocationConstraintException"];
        matches!(self.status, 301 | 307)
            || codes.contains(&self.code.as_str())
            || self.is("AuthorizationHeaderMalformed")
            || (self.status == 400 && self.code.is_empty() && self.region.is_some())
    }
}

fn not_accepted(code: &str) -> Option<&'static (&'static str, &'static str, &'static str)> {
    NOT_ACCEPTED.iter().find(|(known, ..)| *known == code)
}

/// The text of an element of an XML document that has it once.
#[cfg(feature = "s3")]
fn element(body: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once('<').map(|(value, _)| value.to_owned())
}

/// Why there is no credential to sign with: the SDK tells it by words alone.
pub(crate) fn without_credential(error: &(dyn StdError + 'static)) -> (ErrorKind, &'static str) {
    let said = chain(error);
    let says = |words: &str| said.contains(words);
    if says("timed out") || says("timeout") {
        (ErrorKind::Timeout, "who gives the credential did not answer in time")
    } else if says("dispatch failure") {
        (ErrorKind::Unavailable, "who gives the credential cannot be reached")
    } else {
        (ErrorKind::Denied, "there is no credential")
    }
}

/// Everything that a chain of errors says.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

#[cfg(all(test, feature = "s3"))]
mod tests;
