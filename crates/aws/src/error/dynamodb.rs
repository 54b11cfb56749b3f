//! What DynamoDB answers, in Backstay's words.

use backstay_core::{Error, ErrorKind};

use super::{Call, Told};

/// Its codes: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>. In doubt the
/// HTTP status decides.
const CODES: &[(&[&str], ErrorKind)] = &[
    (&["ResourceNotFoundException"], ErrorKind::NotFound),
    (&["ConditionalCheckFailedException", "TransactionConflictException"], ErrorKind::Conflict),
    (&["AccessDeniedException", "UnrecognizedClientException"], ErrorKind::Denied),
    (&["MissingAuthenticationTokenException", "IncompleteSignatureException"], ErrorKind::Denied),
    (&["InvalidSignatureException", "ExpiredTokenException"], ErrorKind::Denied),
    (&["ProvisionedThroughputExceededException", "RequestLimitExceeded"], ErrorKind::Throttled),
    (&["ThrottlingException"], ErrorKind::Throttled),
    (&["ItemCollectionSizeLimitExceededException"], ErrorKind::Exhausted),
    (&["InternalServerError"], ErrorKind::Unavailable),
];

impl Told {
    /// The error of a call for an item of a table.
    pub(crate) fn table_error(self, call: Call, table: &str, item: &str) -> Error {
        let known = CODES.iter().find(|(codes, _)| codes.contains(&self.code.as_str()));
        let kind = match known {
            Some((_, kind)) if self.lost.is_none() => *kind,
            _ => self.kind(),
        };
        let said = match (self.lost, self.message.trim().trim_end_matches('.')) {
            (Some((_, message)), _) => message.to_owned(),
            (None, "") => format!("DynamoDB answered {}", self.status),
            (None, said) => said.to_owned(),
        };
        let (message, advice) = match kind {
            ErrorKind::NotFound => {
                ("there is no such table".to_owned(), Some("check its name, the region and the account".to_owned()))
            }
            ErrorKind::Denied if self.lost.is_none() => {
                let advice = format!("allow {} for the table in its policy", call.right);
                (format!("the credential may not {}: {said}", call.right), Some(advice))
            }
            _ => (said, None),
        };
        let mut error = Error::new(kind, message).operation(call.name).with("table", table);
        if !item.is_empty() {
            error = error.with("item", item);
        }
        error = error.with("call", call.api);
        for (name, value) in [("status", self.status.to_string()), ("code", self.code)] {
            if !value.is_empty() && value != "0" {
                error = error.with(name, value);
            }
        }
        if let Some(advice) = advice {
            error = error.advise(advice);
        }
        if let Some(source) = self.source {
            error = error.because(source);
        }
        // The SDK has tried again as often as it may.
        if error.is_retryable() { error.no_more_retries() } else { error }
    }
}
