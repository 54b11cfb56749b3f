//! The last step before the network: the SAS is added here and nowhere else, and no error leaves with it.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use backstay_core::Secret;
use futures_util::TryStreamExt as _;

/// Sends requests. Whatever logs or repeats them is above it, and never sees the SAS.
#[derive(Debug)]
pub(crate) struct Wire {
    client: Arc<dyn HttpClient>,
    sas: Option<Secret<String>>,
}

impl Wire {
    /// With a SAS, or without one.
    pub(crate) fn new(client: Arc<dyn HttpClient>, sas: Option<Secret<String>>) -> Self {
        Self { client, sas }
    }
}

#[async_trait]
impl HttpClient for Wire {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let answer = match &self.sas {
            None => self.client.execute_request(request).await,
            Some(sas) => {
                let mut request = request.clone();
                let query = request.url().query().filter(|query| !query.is_empty());
                let query = query.map_or_else(|| sas.expose().clone(), |query| format!("{query}&{}", sas.expose()));
                request.url_mut().set_query(Some(&query));
                self.client.execute_request(&request).await
            }
        };
        let (status, headers, body) = answer.map_err(|error| scrubbed(&error))?.deconstruct();
        Ok(AsyncRawResponse::new(status, headers, Box::pin(body.map_err(|error| scrubbed(&error)))))
    }
}

/// An error without the URL that it is about.
fn scrubbed(error: &azure_core::Error) -> azure_core::Error {
    let kind = match error.kind() {
        ErrorKind::Connection => ErrorKind::Connection,
        ErrorKind::Io => ErrorKind::Io,
        ErrorKind::DataConversion => ErrorKind::DataConversion,
        ErrorKind::Credential => ErrorKind::Credential,
        _ => ErrorKind::Other,
    };
    azure_core::Error::with_message(kind, causes(error))
}

/// An error and what caused it, on one line and without queries of URLs.
pub(crate) fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        let told = without_queries(&error.to_string());
        // Some repeat what caused them.
        if !text.contains(&told) {
            let separator = if text.is_empty() { "" } else { ": " };
            let _never_fails = write!(text, "{separator}{told}");
        }
        cause = error.source();
    }
    text
}

fn without_queries(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('?') {
        clean.push_str(&rest[..at]);
        let end = rest[at..].find([' ', ')', '"', '\'', '>', '\n']).map_or(rest.len(), |end| at + end);
        if end > at + 1 {
            clean.push_str("?..");
        } else {
            clean.push('?');
        }
        rest = &rest[end..];
    }
    clean + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire() -> Wire {
        Wire::new(crate::transport::client().unwrap(), Some(Secret::new("sig=SECRET".to_owned())))
    }

    #[test]
    fn queries_go_and_the_rest_stays() {
        let table = [
            ("error for url (https://a.b/c?sv=1&sig=SECRET): reset", "error for url (https://a.b/c?..): reset"),
            ("why? because", "why? because"),
            ("https://a/?sig=S", "https://a/?.."),
            ("nothing", "nothing"),
        ];
        for (text, expected) in table {
            assert_eq!(without_queries(text), expected);
        }
    }

    #[tokio::test]
    async fn an_error_leaves_without_the_url_that_it_is_about() {
        // Nobody listens there.
        let request = Request::new("http://127.0.0.1:1/box?comp=list".parse().unwrap(), azure_core::http::Method::Get);
        let error = wire().execute_request(&request).await.err().unwrap();
        assert!(matches!(error.kind(), ErrorKind::Connection));
        assert!(!format!("{error:?} {error}").contains("SECRET"), "{error:?}");
    }

    #[test]
    fn a_sas_is_in_no_debug() {
        assert!(!format!("{:?}", wire()).contains("SECRET"));
    }
}
