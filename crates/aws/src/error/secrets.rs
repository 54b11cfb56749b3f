//! What Secrets Manager answers, in Backstay's words.

use backstay_core::{Error, ErrorKind};

use super::{Call, Told, not_accepted};

/// Its codes: <https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html>. In doubt the HTTP status
/// decides.
const CODES: &[(&[&str], ErrorKind)] = &[
    (&["ResourceNotFoundException"], ErrorKind::NotFound),
    (&["ResourceExistsException"], ErrorKind::AlreadyExists),
    (&["InvalidRequestException", "PreconditionNotMetException"], ErrorKind::Conflict),
    (&["DecryptionFailure", "DecryptionFailureException"], ErrorKind::Conflict),
    (&["EncryptionFailure", "EncryptionFailureException"], ErrorKind::Conflict),
    (&["InvalidParameterException", "ValidationException", "ValidationError"], ErrorKind::Invalid),
    (&["MalformedPolicyDocumentException", "InvalidNextTokenException"], ErrorKind::Invalid),
    (&["PublicPolicyException"], ErrorKind::Refused),
    (&["LimitExceededException"], ErrorKind::Exhausted),
    (&["AccessDeniedException", "UnrecognizedClientException", "OptInRequired"], ErrorKind::Denied),
    (&["MissingAuthenticationToken", "IncompleteSignature", "InvalidSignatureException"], ErrorKind::Denied),
    (&["InternalServiceError", "InternalServiceErrorException", "InternalFailure"], ErrorKind::Unavailable),
];

/// A call may carry a value: then the server's own words, which may repeat it, are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carries {
    Nothing,
    Value,
}

impl Told {
    /// The kind, by Secrets Manager's codes first.
    pub(crate) fn secret_kind(&self) -> ErrorKind {
        let known = CODES.iter().find(|(codes, _)| codes.contains(&self.code.as_str()));
        match known {
            Some((_, kind)) if self.lost.is_none() => *kind,
            _ => self.kind(),
        }
    }

    /// The error, with the place and what to do. `secret` is empty where the call is for none.
    pub(crate) fn secret_error(self, call: Call, region: &str, secret: &str, carries: Carries) -> Error {
        let kind = self.secret_kind();
        let (message, advice) = self.secret_words(call, kind, carries);
        let mut error = Error::new(kind, message).operation(call.name).with("region", region);
        if !secret.is_empty() {
            error = error.with("secret", secret);
        }
        error = error.with("call", call.api);
        for (name, value) in [("status", self.status.to_string()), ("code", self.code)] {
            if !value.is_empty() && value != "0" {
                error = error.with(name, value);
            }
        }
        if let Some(request) = self.request {
            error = error.with("request", request);
        }
        if let Some(advice) = advice {
            error = error.advise(advice);
        }
        if let Some(wait) = self.wait {
            error = error.wait(wait);
        }
        // What broke an answer off may hold a piece of it.
        if let (Some(source), Carries::Nothing) = (self.source, carries) {
            error = error.because(source);
        }
        // The SDK has tried again as often as it may.
        if error.is_retryable() { error.no_more_retries() } else { error }
    }

    fn secret_words(&self, call: Call, kind: ErrorKind, carries: Carries) -> (String, Option<String>) {
        if let Some((_, message, advice)) = not_accepted(&self.code) {
            return ((*message).to_owned(), Some((*advice).to_owned()));
        }
        if let Some((kind, message)) = self.lost {
            let advice = match kind {
                ErrorKind::Denied => Some("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role"),
                ErrorKind::Unavailable | ErrorKind::Timeout => Some("check the endpoint and the network"),
                _ => None,
            };
            return (message.to_owned(), advice.map(str::to_owned));
        }
        let said = match self.message.trim().trim_end_matches('.') {
            "" => format!("the server answered {}", self.status),
            _ if carries == Carries::Value => "the server refuses it".to_owned(),
            said => said.split_whitespace().collect::<Vec<_>>().join(" "),
        };
        match kind {
            ErrorKind::NotFound => ("there is no such secret or version".into(), None),
            ErrorKind::Denied => (
                format!("the credential may not {}", call.right),
                Some(format!(
                    "allow {} in its policy; the secret's own policy and its key's policy count too",
                    call.right
                )),
            ),
            ErrorKind::Throttled => (format!("the server asks for fewer calls: {said}"), None),
            ErrorKind::Conflict if self.code.contains("cryptionFailure") => (
                format!("the secret's key cannot be used: {said}"),
                Some("look at the key: is it there, enabled, and may this credential use it?".into()),
            ),
            ErrorKind::Invalid if carries == Carries::Value => (
                "the server does not take the secret as it is".into(),
                Some("a value has 1 to 65,536 bytes; its tags, key and description must be allowed here".into()),
            ),
            _ => (said, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUT: Call = Call { name: "restore secret", api: "PutSecretValue", right: "secretsmanager:PutSecretValue" };

    fn told(status: u16, code: &str, message: &str) -> Told {
        Told { status, code: code.to_owned(), message: message.to_owned(), ..Told::default() }
    }

    #[test]
    fn codes_have_the_kind_that_fits() {
        let table = [
            (400, "ResourceNotFoundException", ErrorKind::NotFound),
            (400, "ResourceExistsException", ErrorKind::AlreadyExists),
            (400, "InvalidRequestException", ErrorKind::Conflict),
            (400, "DecryptionFailure", ErrorKind::Conflict),
            (400, "InvalidParameterException", ErrorKind::Invalid),
            (400, "PublicPolicyException", ErrorKind::Refused),
            (400, "LimitExceededException", ErrorKind::Exhausted),
            (400, "AccessDeniedException", ErrorKind::Denied),
            (400, "UnrecognizedClientException", ErrorKind::Denied),
            (400, "ExpiredTokenException", ErrorKind::Denied),
            (400, "ThrottlingException", ErrorKind::Throttled),
            (500, "InternalServiceError", ErrorKind::Unavailable),
            (500, "", ErrorKind::Unavailable),
            (400, "Unheard", ErrorKind::Invalid),
        ];
        for (status, code, kind) in table {
            assert_eq!(told(status, code, "").secret_kind(), kind, "{status} {code}");
        }
    }

    #[test]
    fn a_server_that_repeats_the_value_is_not_repeated() {
        for code in
            ["ValidationException", "InvalidRequestException", "LimitExceededException", "ThrottlingException", "X"]
        {
            let told = told(400, code, "Value 'hunter2' at 'secretString' failed to satisfy constraint");
            let error = told.secret_error(PUT, "eu-west-1", "db", Carries::Value);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
        let plain = told(400, "AccessDeniedException", "").secret_error(PUT, "eu-west-1", "db", Carries::Nothing);
        assert_eq!(
            plain.to_string(),
            "restore secret: the credential may not secretsmanager:PutSecretValue (region: eu-west-1, secret: db, call: \
             PutSecretValue, status: 400, code: AccessDeniedException); allow secretsmanager:PutSecretValue in its \
             policy; the secret's own policy and its key's policy count too"
        );
    }
}
