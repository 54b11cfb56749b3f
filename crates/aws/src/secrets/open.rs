//! Secrets Manager in one region, and how it is reached.

use std::fmt;
use std::sync::Arc;

use aws_config::{Region, SdkConfig};
use aws_sdk_secretsmanager::Client;
use backstay_core::{Error, ErrorKind, Result};

use crate::connect::{Connect, Connected, connect_methods, own_quota};
use crate::error::{Call, Told};

const ACCOUNT: Call = Call { name: "open secrets", api: "GetCallerIdentity", right: "sts:GetCallerIdentity" };

/// AWS Secrets Manager in one region of one account. Clones share it.
///
/// What [`Secrets`](super::Secrets) and [`SecretsRestore`](super::SecretsRestore) need, they say. The credential needs besides,
/// each with the prefix `secretsmanager:` unless it has another:
///
/// | act | rights |
/// |---|---|
/// | opening it, with keys that do not tell their account | `sts:GetCallerIdentity`, which everybody has who is not denied it |
/// | any [`SecretChoice`](super::SecretChoice) | `ListSecrets` unless it is of names, `DescribeSecret` |
/// | [`replicate`](Self::replicate) | `ReplicateSecretToRegions`; `kms:Decrypt` and `kms:GenerateDataKey` of keys of their own, here and there |
/// | [`check_replicas`](Self::check_replicas) | in the regions of the replicas `DescribeSecret`, `GetSecretValue`, `kms:Decrypt` |
/// | [`promote`](Self::promote) | `StopReplicationToReplica`, in the region of the replica |
/// | [`rotation`](Self::rotation) | no more |
/// | [`rotate`](Self::rotate) | `RotateSecret`, and `lambda:InvokeFunction` of the function |
///
/// ```no_run
/// use backstay_aws::SecretsManager;
/// use backstay_aws::secrets::{Secrets, SecretChoice};
///
/// # async fn open() -> backstay_core::Result<()> {
/// // Region and credential from environment, profile or role, as AWS's own programs find them.
/// let manager = SecretsManager::from_env().await?;
/// let production = Secrets::new(&manager).choose(SecretChoice::prefix("prod/"));
/// # let _ = production;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SecretsManager(Arc<Shared>);

struct Shared {
    client: Client,
    config: SdkConfig,
    endpoint: Option<String>,
    region: String,
    account: String,
}

impl SecretsManager {
    /// The region and account of the credential that AWS's own programs find: `AWS_REGION`, `AWS_ACCESS_KEY_ID`,
    /// `AWS_PROFILE`, `AWS_ENDPOINT_URL_SECRETS_MANAGER` and the like.
    ///
    /// # Errors
    /// As [`SecretsBuilder::build`].
    pub async fn from_env() -> Result<Self> {
        Self::builder().build().await
    }

    /// What must be said to open it.
    pub fn builder() -> SecretsBuilder {
        SecretsBuilder { connect: Connect::new("Secrets Manager", ACCOUNT.name) }
    }

    /// The region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.0.region
    }

    /// The account that the credential belongs to.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.0.account
    }

    pub(super) fn client(&self) -> &Client {
        &self.0.client
    }

    /// The same account in another region, by the same credential.
    #[must_use]
    pub fn in_region(&self, region: &str) -> Self {
        let Shared { config, endpoint, account, .. } = &*self.0;
        Self::of(config.clone(), endpoint.clone(), region.to_owned(), account.clone())
    }

    /// One that nobody is asked for.
    #[cfg(test)]
    pub(super) fn for_tests(region: &str, account: &str) -> Self {
        let config = SdkConfig::builder().behavior_version(aws_config::BehaviorVersion::v2026_01_12()).build();
        Self::of(config, Some("http://127.0.0.1:9".to_owned()), region.to_owned(), account.to_owned())
    }

    fn of(config: SdkConfig, endpoint: Option<String>, region: String, account: String) -> Self {
        let config = config.into_builder().region(Region::new(region.clone())).build();
        let mut own = aws_sdk_secretsmanager::config::Builder::from(&config).retry_partition(own_quota());
        if let Some(endpoint) = &endpoint {
            own = own.endpoint_url(endpoint);
        }
        let client = Client::from_conf(own.build());
        Self(Arc::new(Shared { client, config, endpoint, region, account }))
    }
}

/// Without its credential.
impl fmt::Debug for SecretsManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("SecretsManager");
        shown.field("account", &self.0.account).field("region", &self.0.region);
        shown.field("endpoint", &self.0.endpoint).finish_non_exhaustive()
    }
}

impl fmt::Display for SecretsManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secrets of account {} in {}", self.0.account, self.0.region)
    }
}

/// Opens a [`SecretsManager`]. What is not said is found as AWS's own programs find it: environment, profile, web identity of
/// a Kubernetes service account, pod identity, instance role.
#[derive(Clone, Debug)]
#[must_use]
pub struct SecretsBuilder {
    connect: Connect,
}

connect_methods!(SecretsBuilder);

impl SecretsBuilder {
    /// Finds credential, region and account.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) with every mistake at once, or without a region; [`Denied`](ErrorKind::Denied) without a
    /// credential that counts; [`Unavailable`](ErrorKind::Unavailable) and [`Timeout`](ErrorKind::Timeout).
    pub async fn build(self) -> Result<SecretsManager> {
        self.connect.check(Vec::new())?;
        let found = self.connect.load().await?;
        let region = found.config.region().map_or_else(|| "us-east-1".to_owned(), ToString::to_string);
        let account = self.account(&found, &region).await?;
        Ok(SecretsManager::of(found.config, found.endpoint, region, account))
    }

    /// The account, of the credential if it tells, else of STS.
    async fn account(&self, found: &Connected, region: &str) -> Result<String> {
        if let Some(account) = &found.account {
            return Ok(account.clone());
        }
        let mut config = aws_sdk_sts::config::Builder::from(&found.config);
        if let Some(endpoint) = self.connect.endpoint_of_all() {
            config = config.endpoint_url(endpoint);
        }
        let identity = aws_sdk_sts::Client::from_conf(config.build()).get_caller_identity().send().await;
        let told = identity
            .map_err(|error| Told::of(error).secret_error(ACCOUNT, region, "", crate::error::Carries::Nothing))?;
        let account = told.account().map(str::to_owned);
        account.ok_or_else(|| Error::new(ErrorKind::Other, "STS names no account").operation(ACCOUNT.name))
    }
}
