//! Errors as S3 tells them.

use hyper::StatusCode;
use s3s::{S3Error, S3ErrorCode};

pub(crate) type Result<T> = s3s::S3Result<T>;

/// An error with any code, of which s3s does not know all.
pub(crate) fn fail(status: u16, code: &str, message: impl Into<String>) -> S3Error {
    let code = S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::InternalError);
    let mut error = S3Error::with_message(code, message.into());
    error.set_status_code(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    error
}

pub(crate) fn denied(action: &str) -> S3Error {
    fail(403, "AccessDenied", format!("User is not authorized to perform: {action}"))
}

pub(crate) fn no_such_bucket() -> S3Error {
    fail(404, "NoSuchBucket", "The specified bucket does not exist")
}

pub(crate) fn precondition_failed() -> S3Error {
    fail(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
}
