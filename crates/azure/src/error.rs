//! What the service, or the way to it, answers as one of our errors. The one table of it.

use std::time::Duration;

use azure_core::error::ErrorKind as AzureKind;
use azure_core::http::RawResponse;
use azure_core::http::headers::HeaderName;
use backstay_core::{Error, ErrorKind};

use crate::wire::causes;

use ErrorKind as Kind;

/// Codes of the service, the kind that each is, and what to do. A code that is not here is judged by its HTTP status.
///
/// <https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes> and `common-rest-api-error-codes`.
#[rustfmt::skip]
const CODES: &[(&str, ErrorKind, &str)] = &[
    ("BlobNotFound", Kind::NotFound, ""),
    ("ResourceNotFound", Kind::NotFound, ""),
    ("ContainerNotFound", Kind::NotFound, "make the container, or name another: nothing here makes one"),
    ("BlobAlreadyExists", Kind::AlreadyExists, ""),
    ("ContainerAlreadyExists", Kind::AlreadyExists, ""),
    // What a credential hears that may only create.
    ("UnauthorizedBlobOverwrite", Kind::AlreadyExists, ""),
    ("ConditionNotMet", Kind::Conflict, "look at the object again: it is another one"),
    ("TargetConditionNotMet", Kind::Conflict, "look at the object again: it is another one"),
    ("SourceConditionNotMet", Kind::Conflict, "look at the source again: it is another one"),
    ("SnapshotsPresent", Kind::Conflict, "delete the blob's snapshots too"),
    ("LeaseIdMissing", Kind::Busy, "somebody leases the blob or the container; wait, or break the lease"),
    ("LeaseIdMismatchWithBlobOperation", Kind::Busy, "somebody leases the blob; wait, or break the lease"),
    ("AuthenticationFailed", Kind::Denied, "check key or SAS, that it has not expired, and this machine's clock"),
    ("InvalidAuthenticationInfo", Kind::Denied, "check the credential: the token or its audience is not accepted"),
    ("NoAuthenticationInformation", Kind::Denied, "give a credential"),
    ("AuthorizationFailure", Kind::Denied, "check the account's firewall and the rights of the credential"),
    ("AuthorizationPermissionMismatch", Kind::Denied, "give the credential the right: RoleDefinition renders what each role needs"),
    ("AuthorizationProtocolMismatch", Kind::Denied, "the SAS asks for https"),
    ("AuthorizationSourceIPMismatch", Kind::Denied, "the SAS is for another address"),
    ("AuthorizationServiceMismatch", Kind::Denied, "the SAS is for another service"),
    ("AuthorizationResourceTypeMismatch", Kind::Denied, "the SAS is for other kinds of resources; a container's will do"),
    ("InsufficientAccountPermissions", Kind::Denied, "the account may not do this"),
    ("KeyBasedAuthenticationNotPermitted", Kind::Denied, "the account takes no keys and no SAS made of them; use Entra ID"),
    ("PublicAccessNotPermitted", Kind::Denied, "give a credential"),
    ("AccountIsDisabled", Kind::Denied, "enable the account"),
    ("BlobArchived", Kind::Archived, "thaw it first, and wait until it is"),
    ("BlobBeingRehydrated", Kind::Archived, "wait until it is thawed"),
    ("BlobImmutableDueToPolicy", Kind::Locked, ""),
    ("BlobImmutableDueToLegalHold", Kind::Locked, ""),
    ("Md5Mismatch", Kind::Corrupt, "send it again: it was changed on its way"),
    ("Crc64Mismatch", Kind::Corrupt, "send it again: it was changed on its way"),
    ("InvalidRange", Kind::Invalid, ""),
    ("InvalidPageRange", Kind::Invalid, ""),
    // Another upload, put or abort of the same key took the blocks.
    ("InvalidBlockList", Kind::NotFound, ""),
    ("BlockCountExceedsLimit", Kind::Exhausted, "blocks of other uploads lie there; they vanish after a week"),
    ("RequestBodyTooLarge", Kind::Invalid, "use smaller parts"),
    ("ServerBusy", Kind::Throttled, ""),
    ("TooManyRequests", Kind::Throttled, ""),
    ("IngressOverAccountLimit", Kind::Throttled, ""),
    ("EgressOverAccountLimit", Kind::Throttled, ""),
    ("OperationTimedOut", Kind::Timeout, ""),
    ("InternalError", Kind::Unavailable, ""),
    ("AccountBeingCreated", Kind::Unavailable, "wait until the account is there"),
    ("ContainerBeingDeleted", Kind::Unavailable, "wait until the container is gone, and make it again"),
    ("ContainerDisabled", Kind::Denied, "enable the container"),
    ("OperationNotAllowedOnRootBlob", Kind::Conflict, "it is the current version"),
    ("FeatureNotSupportedOnThisAccount", Kind::Unsupported, ""),
    ("NotImplemented", Kind::Unsupported, ""),
    ("APINotImplemented", Kind::Unsupported, ""),
];

/// What is answered to who was not let in at all. No right is lacking, and none would help.
const NOT_ACCEPTED: [&str; 8] = [
    "AuthenticationFailed",
    "InvalidAuthenticationInfo",
    "NoAuthenticationInformation",
    "AuthorizationProtocolMismatch",
    "AuthorizationSourceIPMismatch",
    "AuthorizationServiceMismatch",
    "AuthorizationResourceTypeMismatch",
    "KeyBasedAuthenticationNotPermitted",
];

/// What a call of the SDK failed with. The place is for the caller to add.
pub(crate) fn told(error: &azure_core::Error) -> Error {
    match error.kind() {
        AzureKind::HttpResponse { status, error_code, raw_response } => {
            answered(u16::from(*status), error_code.as_deref(), raw_response.as_deref())
        }
        AzureKind::Connection => Error::new(Kind::Unavailable, "the service cannot be reached")
            .advise("check the account's name, the endpoint and the network")
            .no_more_retries()
            .because(causes(error)),
        AzureKind::Io => {
            let text = causes(error);
            let kind =
                if text.contains("timed out") || text.contains("timeout") { Kind::Timeout } else { Kind::Unavailable };
            Error::new(kind, "the connection broke").no_more_retries().because(text)
        }
        AzureKind::Credential => Error::new(Kind::Denied, "there is no token")
            .with("credential", "not found")
            .advise("check the identity that the credential names")
            .because(causes(error)),
        AzureKind::DataConversion => Error::new(Kind::Other, "the answer cannot be understood").because(causes(error)),
        _ => Error::new(Kind::Other, "the call failed").because(causes(error)),
    }
}

/// The code of the service, where it answered.
pub(crate) fn code(error: &azure_core::Error) -> Option<&str> {
    match error.kind() {
        AzureKind::HttpResponse { raw_response: Some(answer), error_code, .. } => {
            header(answer, "x-ms-error-code").or(error_code.as_deref())
        }
        AzureKind::HttpResponse { error_code, .. } => error_code.as_deref(),
        _ => None,
    }
}

/// Whether the service answered with this status.
pub(crate) fn is_status(error: &azure_core::Error, status: u16) -> bool {
    error.http_status().is_some_and(|told| u16::from(told) == status)
}

fn answered(status: u16, code: Option<&str>, answer: Option<&RawResponse>) -> Error {
    let code = answer.and_then(|answer| header(answer, "x-ms-error-code")).or(code);
    let body = answer.map(|answer| String::from_utf8_lossy(answer.body()).into_owned()).unwrap_or_default();
    let (kind, advice) = kind_of(status, code, &body);
    // Its first line; what follows are an id and a time.
    let message = within(&body, "Message").and_then(|text| text.lines().next()).unwrap_or_default();
    let message = message.trim().trim_end_matches('.');
    let message = if message.is_empty() { canned(kind).to_owned() } else { message.to_owned() };
    let mut told = Error::new(kind, message).with("status", status);
    if let Some(code) = code {
        told = told.with("code", code);
    }
    if let Some(id) = answer.and_then(|answer| header(answer, "x-ms-request-id")) {
        told = told.with("request", id);
    }
    if !advice.is_empty() {
        told = told.advise(advice);
    }
    if code.is_some_and(|code| NOT_ACCEPTED.contains(&code)) {
        told = told.with("credential", "not accepted");
    }
    if told.is_retryable() {
        // The SDK has tried again for as long as it was told to.
        told = told.no_more_retries();
        let after = answer.and_then(|answer| header(answer, "retry-after")).and_then(|after| after.parse().ok());
        if let Some(after) = after {
            told = told.wait(Duration::from_secs(after));
        }
    }
    told
}

fn kind_of(status: u16, code: Option<&str>, body: &str) -> (ErrorKind, &'static str) {
    let known = CODES.iter().find(|(known, _, _)| Some(*known) == code);
    if let Some((_, kind, advice)) = known {
        return (*kind, advice);
    }
    match (status, code) {
        (403, Some("CannotVerifyCopySource")) => (Kind::Denied, "let the credential read the source"),
        (404, Some("CannotVerifyCopySource")) => (Kind::NotFound, "the source of the copy is not there"),
        // Codes of locks differ by what locks; all have the word.
        (409 | 412, Some(code)) if code.contains("Immutab") => (Kind::Locked, ""),
        // Azurite's word for another content than its MD5 promised.
        (400, Some("InvalidOperation")) if body.contains("MD5") => {
            (Kind::Corrupt, "send it again: it was changed on its way")
        }
        (400 | 405 | 411 | 413 | 414, _) => (Kind::Invalid, ""),
        (401 | 403, _) => (Kind::Denied, "check the credential and its rights"),
        (404 | 410, _) => (Kind::NotFound, ""),
        (408, _) => (Kind::Timeout, ""),
        (409 | 412, _) => (Kind::Conflict, ""),
        (416, _) => (Kind::Invalid, ""),
        (429, _) => (Kind::Throttled, ""),
        (501, _) => (Kind::Unsupported, ""),
        (507, _) => (Kind::Exhausted, ""),
        (500..=599, _) => (Kind::Unavailable, ""),
        _ => (Kind::Other, ""),
    }
}

fn canned(kind: ErrorKind) -> &'static str {
    match kind {
        Kind::NotFound => "there is no such blob or container",
        Kind::AlreadyExists => "the key is taken",
        Kind::Denied => "the service refuses",
        Kind::Throttled => "the service asks for fewer calls",
        Kind::Archived => "the object is archived",
        Kind::Locked => "the object is locked",
        _ => "the service answered with an error",
    }
}

fn header<'a>(answer: &'a RawResponse, name: &'static str) -> Option<&'a str> {
    answer.headers().get_optional_str(&HeaderName::from_static(name)).filter(|value| !value.is_empty())
}

fn within<'a>(xml: &'a str, element: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{element}>"))?;
    rest.split_once(&format!("</{element}>")).map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use azure_core::http::StatusCode;
    use azure_core::http::headers::Headers;

    use super::*;

    fn answer(status: u16, code: &'static str, body: &'static str) -> azure_core::Error {
        let mut headers = Headers::new();
        if !code.is_empty() {
            headers.insert("x-ms-error-code", code);
        }
        headers.insert("x-ms-request-id", "the-id");
        headers.insert("retry-after", "7");
        let status = StatusCode::from(status);
        let raw = RawResponse::from_bytes(status, headers, body.as_bytes());
        AzureKind::HttpResponse { status, error_code: None, raw_response: Some(Box::new(raw)) }.into_error()
    }

    #[test]
    fn each_answer_is_of_the_kind_that_fits() {
        let table = [
            (404, "BlobNotFound", Kind::NotFound),
            (404, "ContainerNotFound", Kind::NotFound),
            (404, "", Kind::NotFound),
            (409, "BlobAlreadyExists", Kind::AlreadyExists),
            (403, "UnauthorizedBlobOverwrite", Kind::AlreadyExists),
            (412, "ConditionNotMet", Kind::Conflict),
            (412, "LeaseIdMissing", Kind::Busy),
            (403, "AuthenticationFailed", Kind::Denied),
            (403, "AuthorizationPermissionMismatch", Kind::Denied),
            (401, "InvalidAuthenticationInfo", Kind::Denied),
            (403, "", Kind::Denied),
            (409, "BlobArchived", Kind::Archived),
            (409, "BlobBeingRehydrated", Kind::Archived),
            (409, "BlobImmutableDueToPolicy", Kind::Locked),
            (409, "ContainerImmutabilityPolicyOfSomeKind", Kind::Locked),
            (400, "Md5Mismatch", Kind::Corrupt),
            (416, "InvalidRange", Kind::Invalid),
            (400, "InvalidHeaderValue", Kind::Invalid),
            (400, "OutOfRangeInput", Kind::Invalid),
            (503, "ServerBusy", Kind::Throttled),
            (429, "", Kind::Throttled),
            (500, "OperationTimedOut", Kind::Timeout),
            (500, "InternalError", Kind::Unavailable),
            (503, "", Kind::Unavailable),
            (501, "APINotImplemented", Kind::Unsupported),
            (403, "CannotVerifyCopySource", Kind::Denied),
            (404, "CannotVerifyCopySource", Kind::NotFound),
            (418, "", Kind::Other),
        ];
        for (status, code, expected) in table {
            assert_eq!(told(&answer(status, code, "")).kind(), expected, "{status} {code}");
        }
        let md5 = "<Error><Message>Provided contentMD5 doesn't match.</Message></Error>";
        assert_eq!(told(&answer(400, "InvalidOperation", md5)).kind(), Kind::Corrupt);
        for (kind, expected) in [(AzureKind::Connection, Kind::Unavailable), (AzureKind::Io, Kind::Unavailable)] {
            assert_eq!(told(&azure_core::Error::with_message(kind, "x")).kind(), expected);
        }
        let late = azure_core::Error::with_message(AzureKind::Io, "operation timed out");
        assert_eq!(told(&late).kind(), Kind::Timeout);
        assert_eq!(told(&azure_core::Error::with_message(AzureKind::Credential, "x")).kind(), Kind::Denied);
    }

    #[test]
    fn the_message_is_the_first_line_and_names_what_support_asks_for() {
        let body = "<?xml?><Error><Code>BlobNotFound</Code><Message>The specified blob does not exist.\nRequestId:x\nTime:y\
                    </Message></Error>";
        let told = told(&answer(404, "BlobNotFound", body));
        assert_eq!(
            told.to_string(),
            "The specified blob does not exist (status: 404, code: BlobNotFound, request: the-id)"
        );
    }

    /// A vault names the right that is lacking, unless the store says that the credential itself was not accepted.
    #[test]
    fn who_was_not_let_in_lacks_no_right() {
        let told = |status, code| told(&answer(status, code, ""));
        let expired = told(403, "AuthenticationFailed");
        assert_eq!(expired.context("credential"), Some("not accepted"));
        assert_eq!(told(403, "AuthorizationPermissionMismatch").context("credential"), None);
        for code in NOT_ACCEPTED {
            assert!(CODES.iter().any(|(known, kind, _)| (*known, *kind) == (code, Kind::Denied)), "{code}");
        }
        let none = super::told(&azure_core::Error::with_message(AzureKind::Credential, "x"));
        assert_eq!(none.context("credential"), Some("not found"));
    }

    #[test]
    fn the_sdk_has_retried_so_nobody_else_does() {
        let busy = told(&answer(503, "ServerBusy", ""));
        assert!(!busy.is_retryable());
        assert_eq!(busy.retry_after(), Some(Duration::from_secs(7)));
    }

    #[test]
    fn no_query_of_a_url_is_told() {
        let error = azure_core::Error::with_message(AzureKind::Io, "for url (https://a/b?sig=SECRET)");
        assert!(!format!("{:?}", told(&error)).contains("SECRET"));
    }
}
