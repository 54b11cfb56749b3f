//! Each code that a server can give, and the kind that a program sees.

use super::*;

const PUT: Call = Call { name: "put", api: "PutObject", right: "s3:PutObject" };

fn told(status: u16, code: &str, message: &str) -> Told {
    Told { status, code: code.to_owned(), message: message.to_owned(), ..Told::default() }
}

#[test]
fn codes_have_the_kind_that_fits() {
    let table = [
        (404, "NoSuchKey", "", ErrorKind::NotFound),
        (404, "NoSuchBucket", "", ErrorKind::NotFound),
        (404, "NoSuchUpload", "", ErrorKind::NotFound),
        (404, "", "", ErrorKind::NotFound),
        (412, "PreconditionFailed", "", ErrorKind::Conflict),
        (409, "ConditionalRequestConflict", "", ErrorKind::Unavailable),
        (409, "BucketNotEmpty", "", ErrorKind::Conflict),
        (403, "AccessDenied", "Access Denied", ErrorKind::Denied),
        (403, "AccessDenied", "Access Denied because object protected by object lock.", ErrorKind::Locked),
        (400, "InvalidRequest", "Object is WORM protected and cannot be overwritten", ErrorKind::Locked),
        (400, "InvalidRequest", "Missing required header", ErrorKind::Invalid),
        (403, "", "", ErrorKind::Denied),
        (403, "InvalidAccessKeyId", "", ErrorKind::Denied),
        (404, "XAdminUserNotFound", "", ErrorKind::Denied),
        (403, "SignatureDoesNotMatch", "", ErrorKind::Denied),
        (400, "ExpiredToken", "", ErrorKind::Denied),
        (403, "RequestTimeTooSkewed", "", ErrorKind::Denied),
        (503, "SlowDown", "", ErrorKind::Throttled),
        (503, "", "", ErrorKind::Throttled),
        (429, "", "", ErrorKind::Throttled),
        (500, "InternalError", "", ErrorKind::Unavailable),
        (502, "", "", ErrorKind::Unavailable),
        (400, "RequestTimeout", "", ErrorKind::Timeout),
        (400, "BadDigest", "", ErrorKind::Corrupt),
        (400, "XAmzContentChecksumMismatch", "", ErrorKind::Corrupt),
        (400, "XAmzContentSHA256Mismatch", "", ErrorKind::Corrupt),
        (403, "InvalidObjectState", "", ErrorKind::Archived),
        (301, "PermanentRedirect", "", ErrorKind::Invalid),
        (400, "AuthorizationHeaderMalformed", "", ErrorKind::Invalid),
        (400, "InvalidBucketName", "", ErrorKind::Invalid),
        (400, "KeyTooLongError", "", ErrorKind::Invalid),
        (416, "InvalidRange", "", ErrorKind::Invalid),
        (400, "KMS.DisabledException", "", ErrorKind::Conflict),
        (404, "kms:KeyNotFound", "", ErrorKind::Conflict),
        (501, "NotImplemented", "", ErrorKind::Unsupported),
        (507, "XMinioStorageFull", "", ErrorKind::Exhausted),
        (409, "ObjectParentIsFile", "", ErrorKind::Conflict),
        (418, "Teapot", "", ErrorKind::Other),
    ];
    for (status, code, message, kind) in table {
        assert_eq!(told(status, code, message).kind(), kind, "{status} {code} {message}");
    }
}

#[test]
fn an_error_says_what_where_and_what_to_do() {
    let error = told(403, "AccessDenied", "Access Denied").error(PUT, "acme", "items/a");
    assert_eq!(
        error.to_string(),
        "put: the credential may not s3:PutObject (bucket: acme, key: items/a, call: PutObject, status: 403, code: \
         AccessDenied); allow s3:PutObject in its policy; a bucket of another account is refused too unless its owner \
         is named"
    );
    let expired = told(400, "ExpiredToken", "The provided token has expired.").error(PUT, "acme", "");
    assert_eq!((expired.context("credential"), expired.context("key")), (Some("not accepted"), None));
    assert!(expired.to_string().contains("expired"), "{expired}");
}

#[test]
fn a_wrong_region_is_answered_by_the_right_one() {
    for (status, code) in [(301, "PermanentRedirect"), (400, "AuthorizationHeaderMalformed"), (301, ""), (400, "")] {
        let told = Told { region: Some("eu-west-1".to_owned()), ..told(status, code, "") };
        let error = told.error(PUT, "acme", "");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("AWS_REGION=eu-west-1"), "{error}");
    }
    let body = b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-north-1</Region></Error>";
    assert_eq!(element(body, "Region").as_deref(), Some("eu-north-1"));
}

#[test]
fn what_the_sdk_gave_up_on_is_not_tried_again() {
    let told = Told { wait: Some(Duration::from_secs(7)), ..told(503, "SlowDown", "Please reduce your request rate.") };
    let error = told.error(PUT, "acme", "k");
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Throttled, Some(Duration::from_secs(7))));
    assert!(!error.is_retryable());
}
