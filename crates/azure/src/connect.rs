//! Who it is, and where the account is.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::cloud::CloudConfiguration;
use azure_core::credentials::{AccessToken, Secret as Token, TokenCredential, TokenRequestOptions};
use azure_core::http::{ClientOptions, Url};
use azure_core::time::OffsetDateTime;
use azure_identity::{
    AzureCliCredential, ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};
use backstay_core::{Result, Secret};
use jiff::Timestamp;

/// Who a store is to Azure. `Debug` shows no secret.
///
/// ```
/// use backstay_azure::Credential;
/// use backstay_core::Secret;
///
/// let sas = Credential::sas(Secret::new("sv=2025-11-05&sig=...".to_owned()));
/// assert_eq!(format!("{sas:?}"), "Credential(a SAS)");
/// let pod = Credential::workload_identity();
/// ```
#[derive(Clone)]
pub struct Credential(pub(crate) Kind);

#[derive(Clone)]
pub(crate) enum Kind {
    WorkloadIdentity,
    ManagedIdentity(Option<String>),
    ClientSecret { tenant: String, client: String, secret: Secret<String> },
    AzureCli,
    Function(GetToken),
    Sas(Secret<String>),
    SharedKey(Secret<String>),
}

type GetToken = Arc<dyn Fn() -> Result<(Secret<String>, Timestamp)> + Send + Sync>;

impl Credential {
    /// The identity of a Kubernetes pod (AKS), by `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and `AZURE_FEDERATED_TOKEN_FILE`.
    #[must_use]
    pub fn workload_identity() -> Self {
        Self(Kind::WorkloadIdentity)
    }

    /// The identity that Azure gave the machine or service.
    #[must_use]
    pub fn managed_identity() -> Self {
        Self(Kind::ManagedIdentity(None))
    }

    /// One of several that Azure gave, by its client id.
    #[must_use]
    pub fn managed_identity_of(client: impl Into<String>) -> Self {
        Self(Kind::ManagedIdentity(Some(client.into())))
    }

    /// An application of Entra ID and its secret.
    #[must_use]
    pub fn client_secret(tenant: impl Into<String>, client: impl Into<String>, secret: Secret<String>) -> Self {
        Self(Kind::ClientSecret { tenant: tenant.into(), client: client.into(), secret })
    }

    /// Who is logged in at the Azure CLI: for a person at a desk.
    #[must_use]
    pub fn azure_cli() -> Self {
        Self(Kind::AzureCli)
    }

    /// What this function gives: a bearer token for `https://storage.azure.com`, and until when it is good. Called again
    /// shortly before that.
    #[must_use]
    pub fn token_with(get: impl Fn() -> Result<(Secret<String>, Timestamp)> + Send + Sync + 'static) -> Self {
        Self(Kind::Function(Arc::new(get)))
    }

    /// A shared access signature: the query of its URL, with or without the `?`.
    #[must_use]
    pub fn sas(query: Secret<String>) -> Self {
        Self(Kind::Sas(query))
    }

    /// One of the account's two keys, in Base64 as the portal shows it. It may do everything with the account: give a
    /// backup host something less.
    #[must_use]
    pub fn shared_key(key: Secret<String>) -> Self {
        Self(Kind::SharedKey(key))
    }

    /// Who it is in Entra ID, in the cloud of this endpoint; none for a key or a SAS.
    pub(crate) fn token(&self, endpoint: &Url) -> Result<Option<Arc<dyn TokenCredential>>, String> {
        let client_options = ClientOptions { cloud: cloud(endpoint).map(Arc::new), ..ClientOptions::default() };
        let made: azure_core::Result<Arc<dyn TokenCredential>> = match &self.0 {
            Kind::WorkloadIdentity => {
                let credential_options = ClientAssertionCredentialOptions { client_options };
                let options = WorkloadIdentityCredentialOptions { credential_options, ..Default::default() };
                WorkloadIdentityCredential::new(Some(options)).map(|made| made as _)
            }
            Kind::ManagedIdentity(client) => {
                let user_assigned_id = client.clone().map(UserAssignedId::ClientId);
                let options = ManagedIdentityCredentialOptions { user_assigned_id, ..Default::default() };
                ManagedIdentityCredential::new(Some(options)).map(|made| made as _)
            }
            Kind::ClientSecret { tenant, client, secret } => {
                let options = ClientSecretCredentialOptions { client_options };
                let secret = Token::new(secret.expose().clone());
                ClientSecretCredential::new(tenant, client.clone(), secret, Some(options)).map(|made| made as _)
            }
            Kind::AzureCli => AzureCliCredential::new(None).map(|made| made as _),
            Kind::Function(get) => Ok(Arc::new(Function(Arc::clone(get)))),
            Kind::Sas(_) | Kind::SharedKey(_) => return Ok(None),
        };
        made.map(Some).map_err(|error| format!("{self}: {}", crate::wire::causes(&error)))
    }
}

/// Whether it is this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host_str().map(|host| host.trim_matches(['[', ']'])) {
        Some("localhost") => true,
        host => host.and_then(|host| host.parse::<IpAddr>().ok()).is_some_and(|ip| ip.is_loopback()),
    }
}

/// Where Entra ID of this endpoint's cloud is; the public cloud's where nothing else is known.
fn cloud(endpoint: &Url) -> Option<CloudConfiguration> {
    let host = endpoint.host_str()?;
    if host.ends_with(".core.chinacloudapi.cn") {
        return Some(CloudConfiguration::AzureChina);
    }
    host.ends_with(".core.usgovcloudapi.net").then_some(CloudConfiguration::AzureGovernment)
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::WorkloadIdentity => "workload identity",
            Kind::ManagedIdentity(_) => "managed identity",
            Kind::ClientSecret { .. } => "an application's secret",
            Kind::AzureCli => "the Azure CLI",
            Kind::Function(_) => "tokens of a function",
            Kind::Sas(_) => "a SAS",
            Kind::SharedKey(_) => "the account's key",
        })
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({self})")
    }
}

struct Function(GetToken);

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Function(..)")
    }
}

#[async_trait]
impl TokenCredential for Function {
    async fn get_token(
        &self,
        _scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let failed = |text: String| azure_core::Error::with_message(azure_core::error::ErrorKind::Credential, text);
        let (token, until) = (self.0)().map_err(|error| failed(error.with_causes()))?;
        let until = OffsetDateTime::from_unix_timestamp(until.as_second());
        let until = until.map_err(|_| failed("the token is good until a time that none can be".to_owned()))?;
        Ok(AccessToken::new(token.expose().clone(), until))
    }
}
