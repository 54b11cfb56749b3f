//! The SDK's client: who it is, how often it tries, and what it sends with.

use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use azure_core::http::policies::Policy;
use azure_core::http::{ClientOptions, ExponentialRetryOptions, HttpClient, RetryOptions, Transport, Url};
use azure_storage_blob::{BlobServiceClient, BlobServiceClientOptions};
use backstay_core::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::API_VERSION;
use super::BlobStoreBuilder;
use crate::connect::{Credential, Kind};
use crate::extra::AddExtra;
use crate::shared_key::SharedKey;
use crate::transport;
use crate::wire::Wire;

/// The way to the service.
pub(super) struct Connection {
    pub(super) service: BlobServiceClient,
    /// Who we are in Entra ID, where we are anyone there.
    pub(super) token: Option<Arc<dyn TokenCredential>>,
    pub(super) client: Arc<dyn HttpClient>,
    pub(super) client_options: ClientOptions,
}

impl BlobStoreBuilder {
    pub(super) fn connect(
        &self,
        endpoint: &str,
        credential: &Credential,
        wrong: &mut Vec<String>,
    ) -> Option<Connection> {
        let url = Url::parse(endpoint).ok()?;
        let token = credential.token(&url).unwrap_or_else(|error| {
            wrong.push(error);
            None
        });
        let mut per_try_policies: Vec<Arc<dyn Policy>> = Vec::new();
        let mut sas = None;
        match &credential.0 {
            Kind::SharedKey(key) => match STANDARD.decode(key.expose().trim()) {
                Ok(key) if !key.is_empty() => {
                    let account = self.account.clone().unwrap_or_default();
                    let key = SharedKey::new(account, Secret::new(key), Arc::clone(&self.clock));
                    per_try_policies.push(Arc::new(key));
                }
                _ => wrong.push("the account's key is not Base64".to_owned()),
            },
            Kind::Sas(query) => match query.expose().trim().trim_start_matches('?') {
                url if url.contains("://") => {
                    wrong
                        .push("the SAS is a whole URL: give its query alone, or the URL to `BlobStore::at`".to_owned());
                }
                query if query.split('&').any(|pair| pair.starts_with("sig=")) => {
                    sas = Some(Secret::new(query.to_owned()));
                }
                _ => wrong.push("the SAS has no signature: it is the query of its URL, with `sig=`".to_owned()),
            },
            _ => {}
        }
        let client = transport::client().map_err(|error| wrong.push(crate::wire::causes(&error))).ok()?;
        let wire = Wire::new(Arc::clone(&client), sas);
        let client_options = ClientOptions {
            per_call_policies: vec![Arc::new(AddExtra)],
            per_try_policies,
            retry: self.patience(),
            transport: Some(Transport::new(Arc::new(wire))),
            ..ClientOptions::default()
        };
        let options =
            BlobServiceClientOptions { client_options: client_options.clone(), version: API_VERSION.to_owned() };
        match BlobServiceClient::new(url, token.clone(), Some(options)) {
            Ok(service) => Some(Connection { service, token, client, client_options }),
            // What is wrong with the URL was told.
            Err(error) if wrong.is_empty() => {
                wrong.push(crate::wire::causes(&error));
                None
            }
            Err(_) => None,
        }
    }

    fn patience(&self) -> RetryOptions {
        RetryOptions::exponential(ExponentialRetryOptions {
            max_retries: self.attempts.saturating_sub(1),
            max_total_elapsed: self.retry_for.try_into().unwrap_or(azure_core::time::Duration::MAX),
            ..ExponentialRetryOptions::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use azure_core::http::headers::Headers;
    use azure_core::http::{AsyncRawResponse, Request, StatusCode};
    use tokio::time::Instant;

    use super::*;
    use crate::BlobStore;

    /// A service that is too busy until then.
    #[derive(Debug)]
    struct Busy(Instant);

    #[async_trait::async_trait]
    impl HttpClient for Busy {
        async fn execute_request(&self, _: &Request) -> azure_core::Result<AsyncRawResponse> {
            let busy = Instant::now() < self.0;
            let status = if busy { StatusCode::ServiceUnavailable } else { StatusCode::Ok };
            Ok(AsyncRawResponse::from_bytes(status, Headers::new(), Vec::new()))
        }
    }

    /// The time is tokio's, which jumps.
    #[tokio::test(start_paused = true)]
    async fn a_service_may_be_busy_for_a_minute_and_not_for_ever() {
        for (busy, is_outlasted) in [(60, true), (3600, false)] {
            let transport = Transport::new(Arc::new(Busy(Instant::now() + Duration::from_secs(busy))));
            let retry = BlobStore::builder("acme", "vault").patience();
            let client_options = ClientOptions { transport: Some(transport), retry, ..ClientOptions::default() };
            let options = BlobServiceClientOptions { client_options, version: API_VERSION.to_owned() };
            let url = Url::parse("https://acme.blob.core.windows.net").unwrap();
            let container = BlobServiceClient::new(url, None, Some(options)).unwrap().blob_container_client("vault");
            assert_eq!(container.get_properties(None).await.is_ok(), is_outlasted, "{busy} seconds");
        }
    }
}
