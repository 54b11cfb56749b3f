//! How a store is described, and all that can be wrong with it at once.

mod address;
mod connection;

use std::sync::Arc;
use std::time::Duration;

use backstay_core::clock::{Clock, Random, SystemClock, SystemRandom};
use backstay_core::{Error, ErrorKind, Result, Secret};

use self::connection::Connection;
use super::copy::Source;
use super::meta::CLASSES;
use super::{BlobStore, Inner};
use crate::connect::Credential;

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

    /// The account keeps versions of blobs. Say so where it does: earlier contents are then listed, read and deleted by
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

    /// The class that archived objects are thawed to: `Hot` (if not said), `Cool` or `Cold`.
    #[must_use]
    pub fn thaw_to(mut self, class: impl Into<String>) -> Self {
        self.thaw_to = class.into();
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
        let (Some(Connection { service, token, client, client_options }), Some(endpoint), Some(thaw_to), true) =
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
            client,
            client_options,
            versions: self.versions,
            locks: self.locks,
            thaw_to,
            lists_from_start: false.into(),
            clock: self.clock,
            random: self.random,
        })))
    }
}

#[cfg(test)]
mod tests;
