//! How a store is described, and all that can be wrong with it at once.

use std::sync::Arc;
use std::time::Duration;

use azure_core::http::policies::Policy;
use azure_core::http::{ClientOptions, ExponentialRetryOptions, RetryOptions, Transport, Url};
use azure_storage_blob::{BlobServiceClient, BlobServiceClientOptions};
use backstay_core::clock::{Clock, Random, SystemClock, SystemRandom};
use backstay_core::{Error, ErrorKind, Result, Secret};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::copy::Source;
use super::meta::CLASSES;
use super::{API_VERSION, BlobStore, Inner};
use crate::connect::{Credential, Kind, is_loopback};
use crate::connection_string;
use crate::extra::AddExtra;
use crate::shared_key::SharedKey;
use crate::wire::Wire;

/// Describes a [`BlobStore`]. [`build`](Self::build) reports everything that is wrong at once.
#[derive(Debug)]
pub struct BlobStoreBuilder {
    account: Option<String>,
    container: String,
    /// Not shown before it is checked: a SAS or a password may stand in it. Nor are the URLs of sources.
    endpoint: Option<Secret<String>>,
    suffix: String,
    plain: bool,
    credential: Option<Credential>,
    sources: Vec<(Secret<String>, Secret<String>)>,
    versions: bool,
    locks: bool,
    thaw_to: String,
    attempts: u32,
    retry_for: Duration,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// What was wrong from the start.
    wrong: Vec<String>,
}

impl BlobStoreBuilder {
    pub(super) fn new(account: String, container: String) -> Self {
        Self {
            account: Some(account),
            container,
            endpoint: None,
            suffix: "core.windows.net".to_owned(),
            plain: false,
            credential: None,
            sources: Vec::new(),
            versions: false,
            locks: false,
            thaw_to: "Hot".to_owned(),
            // Their waits are two minutes together, so that a minute in which the service is too busy is outlasted.
            attempts: 11,
            retry_for: Duration::from_secs(180),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            wrong: Vec::new(),
        }
    }

    pub(super) fn at(url: &str) -> Self {
        let mut builder = Self { account: None, ..Self::new(String::new(), String::new()) };
        // A SAS may stand in what cannot be read: it is not repeated.
        let Ok(mut url) = Url::parse(url) else {
            builder.wrong.push("the URL is none".to_owned());
            return builder;
        };
        if let Some(sas) = url.query().filter(|query| !query.is_empty()) {
            builder.credential = Some(Credential::sas(Secret::new(sas.to_owned())));
        }
        url.set_query(None);
        let path = url.path().trim_end_matches('/').to_owned();
        let (account, container) = path.rsplit_once('/').unwrap_or_default();
        container.clone_into(&mut builder.container);
        url.set_path(account);
        builder.endpoint = Some(Secret::new(url.into()));
        builder
    }

    pub(super) fn from_connection_string(text: &str, container: String) -> Self {
        let (parts, wrong) = connection_string::parse(text);
        let mut builder = Self { account: parts.account, wrong, ..Self::new(String::new(), container) };
        builder.endpoint = parts.endpoint.map(Secret::new);
        builder.plain = parts.plain;
        if let Some(suffix) = parts.suffix {
            builder.suffix = suffix;
        }
        builder.credential = parts.key.map(Credential::shared_key).or_else(|| parts.sas.map(Credential::sas));
        builder
    }

    /// Who the store is to Azure.
    #[must_use]
    pub fn credential(mut self, credential: Credential) -> Self {
        self.credential = Some(credential);
        self
    }

    /// Another cloud: `core.chinacloudapi.cn`, `core.usgovcloudapi.net`. `core.windows.net` if not said.
    #[must_use]
    pub fn endpoint_suffix(mut self, suffix: impl Into<String>) -> Self {
        self.suffix = suffix.into();
        self
    }

    /// The account's address, where it is not made of its name: a private endpoint, a custom domain, Azurite.
    #[must_use]
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(Secret::new(url.into()));
        self
    }

    /// The account keeps versions of blobs. Say so where it does: older contents are then listed, read and deleted by
    /// version, and a key that was overwritten or deleted can be read as of a time before.
    #[must_use]
    pub fn versions(mut self, there: bool) -> Self {
        self.versions = there;
        self
    }

    /// The container has version-level immutability, so that objects can be locked. [`BlobStore::doctor`] proves it.
    #[must_use]
    pub fn locks(mut self, there: bool) -> Self {
        self.locks = there;
        self
    }

    /// The access tier that archived objects are thawed to: `Hot` (if not said), `Cool` or `Cold`.
    #[must_use]
    pub fn thaw_to(mut self, tier: impl Into<String>) -> Self {
        self.thaw_to = tier.into();
        self
    }

    /// Attempts at one call, the first included; 11 if not said, with waits that grow.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// For how long at most a call that failed for the moment is tried again; three minutes if not said.
    #[must_use]
    pub fn retry_for(mut self, time: Duration) -> Self {
        self.retry_for = time;
        self
    }

    /// Objects of the container at `url` may be copied on the service's side, with this SAS for reading it. Without one the
    /// store's own identity in Entra ID is tried.
    #[must_use]
    pub fn copies_from(mut self, url: impl Into<String>, sas: Secret<String>) -> Self {
        self.sources.push((Secret::new(url.into()), sas));
        self
    }

    /// Another clock, by which requests are signed.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Other randomness, of which the ids of blocks are made.
    #[must_use]
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }

    /// The store. Nothing is asked of the service.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) with all that is wrong.
    pub fn build(mut self) -> Result<BlobStore> {
        let mut wrong = std::mem::take(&mut self.wrong);
        self.check_names(&mut wrong);
        let endpoint = self.address(&mut wrong);
        let credential = self.credential.clone();
        if credential.is_none() {
            wrong.push("there is no credential: give one with credential(..)".to_owned());
        }
        let thaw_to = CLASSES.iter().map(|(name, _)| *name).find(|name| *name == self.thaw_to && *name != "Archive");
        if thaw_to.is_none() {
            wrong.push(format!("objects cannot be thawed to {:?}: name Hot, Cool or Cold", self.thaw_to));
        }
        if self.attempts == 0 {
            wrong.push("no attempt at all".to_owned());
        }
        let sources = self.sources.iter().filter_map(|(url, sas)| {
            let source = Source::new(url.expose(), sas);
            if source.is_none() {
                wrong.push("a container to copy from has no https URL".to_owned());
            }
            source
        });
        let sources = sources.collect();
        let made = match (&endpoint, &credential) {
            (Some(endpoint), Some(credential)) => self.connect(endpoint, credential, &mut wrong),
            _ => None,
        };
        let (Some((service, token, client_options)), Some(endpoint), Some(thaw_to), true) =
            (made, endpoint, thaw_to, wrong.is_empty())
        else {
            return Err(Error::new(ErrorKind::Invalid, format!("the store cannot be built: {}", wrong.join("; ")))
                .operation("build"));
        };
        let container = service.blob_container_client(&self.container);
        let host = &endpoint[azure_core::http::Url::parse(&endpoint).map_or(0, |url| url.scheme().len() + 3)..];
        Ok(BlobStore(Arc::new(Inner {
            account: self.account.unwrap_or_default(),
            shown: format!("azblob://{}/{}", host.trim_end_matches('/'), self.container),
            container_name: self.container,
            service,
            container,
            token,
            sources,
            client_options,
            versions: self.versions,
            locks: self.locks,
            thaw_to,
            lists_from_start: false.into(),
            clock: self.clock,
            random: self.random,
        })))
    }

    fn check_names(&mut self, wrong: &mut Vec<String>) {
        let name = &self.container;
        let letters = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        let ends = name.starts_with('-') || name.ends_with('-') || name.contains("--");
        if !(3..=63).contains(&name.len()) || !letters || ends {
            wrong.push(format!(
                "{name:?} is no container's name: 3 to 63 lower-case letters, digits and single hyphens, not at the ends"
            ));
        }
        if self.endpoint.is_none() {
            let name = self.account.as_deref().unwrap_or_default();
            let letters = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            if !(3..=24).contains(&name.len()) || !letters {
                wrong.push(format!("{name:?} is no account's name: 3 to 24 lower-case letters and digits"));
            }
        }
    }

    /// The account's address, as text that is known to be a URL.
    fn address(&mut self, wrong: &mut Vec<String>) -> Option<String> {
        let scheme = if self.plain { "http" } else { "https" };
        let account = self.account.clone().unwrap_or_default();
        let made = || format!("{scheme}://{account}.blob.{}", self.suffix.trim_start_matches('.'));
        let text = self.endpoint.as_ref().map_or_else(made, |url| url.expose().clone());
        let Ok(mut url) = Url::parse(&text) else {
            wrong.push("the endpoint is no URL".to_owned());
            return None;
        };
        let host = url.host_str().unwrap_or_default().to_owned();
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            // What stands there may be a secret.
            wrong.push(
                "the endpoint has more than scheme, host, port and path: a SAS is a credential of its own".to_owned(),
            );
            url.set_query(None);
        }
        let loopback = is_loopback(&url);
        match (url.scheme(), &self.credential) {
            ("https", _) => {}
            ("http", Some(Credential(Kind::Sas(_) | Kind::SharedKey(_)))) if loopback => {}
            ("http", _) if loopback => {
                wrong.push(format!("{host} is asked by plain http, where a token would be in the clear: use https"));
            }
            ("http", _) => wrong.push(format!(
                "{host} is not this machine, and plain http shows everything to everyone on the way: use https"
            )),
            (other, _) => wrong.push(format!("the endpoint's scheme is {other}: use https")),
        }
        let in_path = url.path().trim_matches('/').to_owned();
        if self.account.as_deref().is_none_or(str::is_empty) {
            let of_host = host.split('.').next().unwrap_or_default().to_owned();
            self.account = Some(if in_path.is_empty() { of_host } else { in_path });
        }
        Some(url.as_str().trim_end_matches('/').to_owned())
    }

    #[expect(clippy::type_complexity, reason = "three parts of the one thing that is built")]
    fn connect(
        &self,
        endpoint: &str,
        credential: &Credential,
        wrong: &mut Vec<String>,
    ) -> Option<(BlobServiceClient, Option<Arc<dyn azure_core::credentials::TokenCredential>>, ClientOptions)> {
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
        let client_options = ClientOptions {
            per_call_policies: vec![Arc::new(AddExtra)],
            per_try_policies,
            retry: self.patience(),
            transport: Some(Transport::new(Arc::new(Wire::new(sas)))),
            ..ClientOptions::default()
        };
        let options =
            BlobServiceClientOptions { client_options: client_options.clone(), version: API_VERSION.to_owned() };
        match BlobServiceClient::new(url, token.clone(), Some(options)) {
            Ok(service) => Some((service, token, client_options)),
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
    use azure_core::http::headers::Headers;
    use azure_core::http::{AsyncRawResponse, HttpClient, Request, StatusCode};
    use tokio::time::Instant;

    use super::*;

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

    fn key() -> Credential {
        Credential::shared_key(Secret::new("UExBTlRFRA==".to_owned()))
    }

    #[test]
    fn a_store_is_shown_by_its_place() {
        let china = BlobStore::builder("acme", "vault").endpoint_suffix("core.chinacloudapi.cn").credential(key());
        let path = BlobStore::at("http://127.0.0.1:10000/devstoreaccount1/vault").credential(key());
        let sas = BlobStore::at("https://acme.blob.core.windows.net/vault?sv=1&sig=PLANTED");
        let text =
            Secret::new("AccountName=acme;AccountKey=UExBTlRFRA==;EndpointSuffix=core.usgovcloudapi.net".to_owned());
        let development = Secret::new("UseDevelopmentStorage=true".to_owned());
        let table = [
            (
                BlobStore::builder("acme", "vault").credential(key()),
                "azblob://acme.blob.core.windows.net/vault",
                "acme",
            ),
            (china, "azblob://acme.blob.core.chinacloudapi.cn/vault", "acme"),
            (path, "azblob://127.0.0.1:10000/devstoreaccount1/vault", "devstoreaccount1"),
            (sas, "azblob://acme.blob.core.windows.net/vault", "acme"),
            (
                BlobStore::from_connection_string(&text, "vault"),
                "azblob://acme.blob.core.usgovcloudapi.net/vault",
                "acme",
            ),
            (
                BlobStore::from_connection_string(&development, "vault"),
                "azblob://127.0.0.1:10000/devstoreaccount1/vault",
                "devstoreaccount1",
            ),
        ];
        for (builder, shown, account) in table {
            assert!(!format!("{builder:?}").contains("PLANTED") && !format!("{builder:?}").contains("UExBTlRFRA"));
            let store = builder.build().unwrap();
            assert_eq!((store.to_string().as_str(), store.0.account.as_str()), (shown, account));
            assert!(!format!("{store:?}").contains("PLANTED"));
        }
    }

    #[test]
    fn a_sas_is_a_query() {
        let whole = Secret::new("https://acme.blob.core.windows.net/vault?sv=1&sig=PLANTED".to_owned());
        let error =
            BlobStore::builder("acme", "vault").credential(Credential::sas(whole)).build().unwrap_err().to_string();
        assert!(error.contains("a whole URL") && !error.contains("PLANTED"), "{error}");
    }

    #[test]
    fn an_address_is_not_shown_with_what_may_be_a_secret() {
        let password = BlobStore::at("https://acme:PLANTED@acme.blob.core.windows.net/vault").credential(key());
        let query = BlobStore::builder("acme", "vault").endpoint("https://acme.example/?sig=PLANTED").credential(key());
        let source = "https://acme.blob.core.windows.net/old?sig=PLANTED";
        let source =
            BlobStore::builder("acme", "vault").copies_from(source, Secret::new(String::new())).credential(key());
        for builder in [password, query, source] {
            assert!(!format!("{builder:?}").contains("PLANTED"), "{builder:?}");
            let error = builder.build().unwrap_err();
            assert!(error.kind() == ErrorKind::Invalid && !format!("{error:?}").contains("PLANTED"), "{error:?}");
        }
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let error = BlobStore::builder("Acme!", "-Vault")
            .credential(Credential::sas(Secret::new("PLANTED".to_owned())))
            .thaw_to("Archive")
            .attempts(0)
            .copies_from("nowhere", Secret::new("PLANTED".to_owned()))
            .build()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = format!("{error:?}");
        for part in ["container's name", "account's name", "no signature", "thawed to", "no attempt", "copy from"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("PLANTED"));
    }

    #[test]
    fn plain_http_is_for_this_machine_and_never_for_tokens() {
        let token = || Credential::token_with(|| Err(Error::new(ErrorKind::Other, "unused")));
        let table = [
            ("http://127.0.0.1:1/acct/vault", key(), None),
            ("http://localhost:1/acct/vault", key(), None),
            ("http://[::1]:1/acct/vault", key(), None),
            ("http://127.0.0.1:1/acct/vault", token(), Some("a token would be in the clear")),
            ("http://example.com/acct/vault", key(), Some("is not this machine")),
            ("ftp://127.0.0.1/acct/vault", key(), Some("scheme is ftp")),
            ("https://127.0.0.1:1/acct/vault", token(), None),
            ("nothing", key(), Some("the URL is none")),
        ];
        for (url, credential, expected) in table {
            match (BlobStore::at(url).credential(credential).build(), expected) {
                (Ok(_), None) => {}
                (Err(error), Some(expected)) => assert!(error.to_string().contains(expected), "{url}: {error}"),
                (other, _) => panic!("{url}: {other:?}"),
            }
        }
        for (url, taken) in [("http://127.0.0.1:1/acct/c", true), ("http://example.com/c", false)] {
            let copies =
                BlobStore::builder("acme", "vault").credential(key()).copies_from(url, Secret::new(String::new()));
            assert_eq!(copies.build().is_ok(), taken, "{url}");
        }
        assert!(BlobStore::builder("acme", "vault").build().unwrap_err().to_string().contains("no credential"));
        let wrong = Credential::shared_key(Secret::new("~PLANTED~".to_owned()));
        let error = BlobStore::builder("acme", "vault").credential(wrong).build().unwrap_err();
        assert!(error.to_string().contains("not Base64") && !error.to_string().contains("PLANTED"));
    }
}
