//! How AWS, or a server that speaks its protocol, is reached: credentials, region, waits.

use std::time::Duration;

use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sts::config::retry::{RetryConfig, RetryPartition, TokenBucket};
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_sdk_sts::config::{Credentials, ProvideCredentials, SharedCredentialsProvider, StalledStreamProtectionConfig};
use aws_types::service_config::ServiceConfigKey;
use backstay_core::{Error, ErrorKind, Result, Secret};

#[cfg(feature = "s3")]
use crate::error::{Call, Told};
use crate::error::{chain, without_credential};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// So many that a call outlasts a minute in which the server is too busy, whatever waits are drawn.
const ATTEMPTS: u32 = 20;
/// A server that nobody has reached yet is more likely named wrongly than away for a moment: that is told within seconds,
/// or half a minute where nothing comes back at all.
#[cfg(feature = "s3")]
const FIRST_ATTEMPTS: u32 = 6;
/// The wait before the second attempt is drawn between zero and this; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// All attempts at one call together take no longer than this and one attempt.
const TOTAL: Duration = Duration::from_secs(180);
/// A body that rests for so long is given up.
const STALL: Duration = Duration::from_secs(20);

/// What a builder was told of the way, by the methods that [`connect_methods`] writes.
#[derive(Clone, Debug)]
pub(crate) struct Connect {
    /// The service, as its SDK names it: a profile may have an endpoint for each.
    pub(crate) service: &'static str,
    /// What is being done, for errors.
    pub(crate) operation: &'static str,
    /// Not shown before it is checked: a credential may stand in it.
    pub(crate) endpoint: Option<Secret<String>>,
    pub(crate) region: Option<String>,
    pub(crate) keys: Option<Keys>,
    /// Belongs to the keys, in whichever order they are given.
    pub(crate) token: Option<Secret<String>>,
    pub(crate) profile: Option<String>,
    pub(crate) roles: Vec<AssumedRole>,
    pub(crate) attempts: u32,
    pub(crate) attempt: Duration,
}

/// A credential that does not change.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) access: String,
    pub(crate) secret: Secret<String>,
}

/// A role that is taken on, with the credential or role before it.
#[derive(Clone, Debug)]
pub(crate) struct AssumedRole {
    pub(crate) arn: String,
    pub(crate) external_id: Option<String>,
}

/// The way, found.
pub(crate) struct Connected {
    pub(crate) config: SdkConfig,
    /// The server, where it is not Amazon's own.
    pub(crate) endpoint: Option<String>,
    /// The account of the credential, where it tells.
    pub(crate) account: Option<String>,
}

/// Writes the methods of a builder that say how AWS is reached: they are the same for each service. The builder has its
/// [`Connect`] in the field `connect`.
macro_rules! connect_methods {
    ($builder:ty) => {
        impl $builder {
            /// A server other than Amazon's, or an endpoint of a private network: `https://s3.example`.
            pub fn endpoint(mut self, url: impl Into<String>) -> Self {
                self.connect.endpoint = Some(backstay_core::Secret::new(url.into()));
                self
            }

            /// The region; that of `AWS_REGION` or of the profile, if not said.
            pub fn region(mut self, region: impl Into<String>) -> Self {
                self.connect.region = Some(region.into());
                self
            }

            /// A credential that does not change. One that expires is better: say nothing and run with a role.
            pub fn credentials(
                mut self,
                access_key: impl Into<String>,
                secret_key: backstay_core::Secret<String>,
            ) -> Self {
                self.connect.keys = Some($crate::connect::Keys { access: access_key.into(), secret: secret_key });
                self
            }

            /// The token that belongs to the [`credentials`](Self::credentials), where they are for a while.
            pub fn session_token(mut self, token: backstay_core::Secret<String>) -> Self {
                self.connect.token = Some(token);
                self
            }

            /// The profile of AWS's configuration files to take; `AWS_PROFILE`, else `default`, if not said.
            pub fn profile(mut self, name: impl Into<String>) -> Self {
                self.connect.profile = Some(name.into());
                self
            }

            /// Takes on this role, with the credential found or the role taken on before. The external ID is what the
            /// account that owns the role wants to hear, if anything.
            pub fn assume_role(mut self, arn: impl Into<String>, external_id: Option<&str>) -> Self {
                let external_id = external_id.map(str::to_owned);
                self.connect.roles.push($crate::connect::AssumedRole { arn: arn.into(), external_id });
                self
            }

            /// Attempts at one call, the first included; 20 if not said, with waits that grow to 20 seconds: two minutes
            /// together, and never more than three beside the last attempt.
            pub fn attempts(mut self, attempts: u32) -> Self {
                self.connect.attempts = attempts;
                self
            }

            /// How long one attempt at a call may take; a minute if not said, and more where a store is sent bytes.
            pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
                self.connect.attempt = timeout;
                self
            }
        }
    };
}
pub(crate) use connect_methods;

impl Connect {
    pub(crate) fn new(service: &'static str, operation: &'static str) -> Self {
        Self {
            service,
            operation,
            endpoint: None,
            region: None,
            keys: None,
            token: None,
            profile: None,
            roles: Vec::new(),
            attempts: ATTEMPTS,
            attempt: Duration::from_secs(60),
        }
    }

    /// Everything that can be told wrong without asking anybody: of the way, and what the builder found besides.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid), if anything is.
    pub(crate) fn check(&self, mut problems: Vec<String>) -> Result<()> {
        let mut wrong = |text: Option<String>| problems.extend(text);
        wrong(self.endpoint.as_ref().and_then(|url| flaw_of_endpoint(url.expose())).map(str::to_owned));
        match &self.keys {
            Some(keys) if keys.access.is_empty() || keys.secret.expose().is_empty() => {
                wrong(Some("an access key or a secret key is empty".to_owned()));
            }
            // A file that is read whole ends in a line break, which no header can carry: the SDK would panic.
            Some(keys) if self.exposed(keys).any(|text| text.contains(|c: char| !c.is_ascii_graphic())) => {
                wrong(Some(
                    "an access key, a secret key or a session token has a blank or line break in it".to_owned(),
                ));
            }
            None if self.token.is_some() => wrong(Some("a session token without `credentials`".to_owned())),
            _ => {}
        }
        for AssumedRole { arn, .. } in &self.roles {
            let well = arn.starts_with("arn:") && arn.contains(":role/");
            wrong((!well).then(|| format!("{arn:?} is not the ARN of a role")));
        }
        wrong((self.attempts == 0).then(|| "no attempt at all".to_owned()));
        wrong(self.attempt.is_zero().then(|| "a timeout of nothing".to_owned()));
        if problems.is_empty() {
            return Ok(());
        }
        let message = format!("cannot {}: {}", self.operation, problems.join("; "));
        Err(Error::new(ErrorKind::Invalid, message).operation(self.operation))
    }

    /// The server that was named for all services: a private endpoint of Amazon's is for one.
    pub(crate) fn endpoint_of_all(&self) -> Option<&str> {
        let own = self.endpoint.as_ref().map(|url| url.expose().as_str());
        own.filter(|url| !url.contains(".amazonaws."))
    }

    /// Finds credential and region, and takes the roles on.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) without a region; [`Denied`](ErrorKind::Denied) without a credential, and
    /// [`Unavailable`](ErrorKind::Unavailable) or [`Timeout`](ErrorKind::Timeout) where who gives it cannot be asked.
    pub(crate) async fn load(&self) -> Result<Connected> {
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .retry_config(retries(self.attempts))
            .timeout_config(self.timeouts(Duration::ZERO))
            .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(STALL).build());
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(keys) = &self.keys {
            loader = loader.credentials_provider(self.credentials(keys));
        }
        let mut config = loader.load().await;
        let endpoint = self.address(&config)?;
        if config.region().is_none() {
            let Some(_) = endpoint else {
                return Err(Error::new(ErrorKind::Invalid, "no region is named")
                    .operation(self.operation)
                    .advise("name it by `.region(...)`, AWS_REGION or the profile"));
            };
            // Amazon's first, which other servers take for their own.
            config = config.into_builder().region(Region::new("us-east-1")).build();
        }
        for role in &self.roles {
            let mut assume = AssumeRoleProvider::builder(&role.arn).session_name("backstay").configure(&config);
            if let Some(id) = &role.external_id {
                assume = assume.external_id(id);
            }
            let with = config.credentials_provider().ok_or_else(|| self.no_credential())?;
            let provider = SharedCredentialsProvider::new(assume.build_from_provider(with).await);
            config = config.into_builder().credentials_provider(provider).build();
        }
        // Once now, so that what is wrong with it shows when the store is opened.
        let provider = config.credentials_provider().ok_or_else(|| self.no_credential())?;
        let credentials = provider.provide_credentials().await.map_err(|error| match without_credential(&error) {
            (ErrorKind::Denied, _) => self.no_credential().because(chain(&error)),
            (kind, what) => Error::new(kind, what).operation(self.operation).because(chain(&error)).no_more_retries(),
        })?;
        let account = credentials.account_id().map(|account| account.as_str().to_owned());
        Ok(Connected { config, endpoint, account })
    }

    /// Where it is said to be, by the builder, the environment or the profile.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for one that must not be shown: it is in each store's name.
    fn address(&self, config: &SdkConfig) -> Result<Option<String>> {
        let own = self.endpoint.as_ref().map(|url| url.expose().clone());
        let endpoint = own.or_else(|| endpoint_of(config, self.service));
        match endpoint.as_deref().and_then(flaw_of_endpoint) {
            None => Ok(endpoint),
            Some(flaw) => Err(Error::new(ErrorKind::Invalid, flaw)
                .operation(self.operation)
                .advise("correct what `.endpoint(...)`, AWS_ENDPOINT_URL or the profile names")),
        }
    }

    fn exposed<'a>(&'a self, keys: &'a Keys) -> impl Iterator<Item = &'a str> {
        let token = self.token.iter().map(|token| token.expose().as_str());
        [keys.access.as_str(), keys.secret.expose()].into_iter().chain(token)
    }

    fn credentials(&self, keys: &Keys) -> Credentials {
        let token = self.token.as_ref().map(|token| token.expose().clone());
        Credentials::new(&keys.access, keys.secret.expose(), token, None, "Backstay")
    }

    /// For the first call of all, to a server that may not be there.
    #[cfg(feature = "s3")]
    pub(crate) fn first_retries(&self) -> RetryConfig {
        retries(self.attempts.min(FIRST_ATTEMPTS))
    }

    fn no_credential(&self) -> Error {
        Error::new(ErrorKind::Denied, "there is no credential")
            .operation(self.operation)
            .with("credential", "not found")
            .advise("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role, or give `.credentials(...)`")
    }

    /// The limits of one call, each attempt at which takes `more` than usual.
    pub(crate) fn timeouts(&self, more: Duration) -> TimeoutConfig {
        let attempt = self.attempt.saturating_add(more);
        TimeoutConfig::builder()
            .connect_timeout(CONNECT.min(self.attempt))
            .read_timeout(attempt)
            .operation_attempt_timeout(attempt)
            .operation_timeout(attempt.saturating_add(TOTAL))
            .build()
    }
}

fn retries(attempts: u32) -> RetryConfig {
    RetryConfig::standard().with_max_attempts(attempts).with_initial_backoff(FIRST_WAIT).with_max_backoff(LONGEST_WAIT)
}

/// The SDK gives all clients of a process 100 attempts beyond the first in common. Each call's attempts are counted here, and
/// a backup has many calls under way when its server is busy: none pays for the others.
pub(crate) fn own_quota() -> RetryPartition {
    RetryPartition::custom("backstay").token_bucket(TokenBucket::unlimited()).build()
}

#[cfg(feature = "s3")]
impl Connected {
    /// The account that the credential belongs to.
    ///
    /// # Errors
    /// What STS answers.
    pub(crate) async fn account(&self) -> Result<String> {
        if let Some(account) = &self.account {
            return Ok(account.clone());
        }
        const CALL: Call = Call { name: "open store", api: "GetCallerIdentity", right: "sts:GetCallerIdentity" };
        let client = aws_sdk_sts::Client::new(&self.config);
        let identity = client.get_caller_identity().send().await;
        let advice = "name the bucket's account by `.owner(...)`, or give the check up by `.any_owner()`";
        let told = identity.map_err(|error| Told::of(error).error(CALL, "", "").advise(advice))?;
        let account = told.account().map(str::to_owned);
        account.ok_or_else(|| Error::new(ErrorKind::Other, "STS names no account").operation(CALL.name).advise(advice))
    }
}

/// The endpoint that environment or profile name for the service.
fn endpoint_of(config: &SdkConfig, service: &'static str) -> Option<String> {
    let key = ServiceConfigKey::builder().service_id(service).env("AWS_ENDPOINT_URL").profile("endpoint_url").build();
    let own = config.service_config().zip(key.ok()).and_then(|(services, key)| services.load_config(key));
    own.or_else(|| config.endpoint_url().map(str::to_owned))
}

/// The address is not repeated: a credential may stand in it.
fn flaw_of_endpoint(url: &str) -> Option<&'static str> {
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        return Some("the endpoint begins with neither https:// nor http://");
    };
    match rest.split(['/', '?', '#']).next().unwrap_or_default() {
        _ if rest.contains(['?', '#']) => Some("the endpoint has more than scheme, host, port and path"),
        "" => Some("the endpoint names no host"),
        host if host.contains('@') => Some("the endpoint has a credential in it, which is said by `credentials`"),
        _ => None,
    }
}

#[cfg(all(test, feature = "s3"))]
mod busy_tests;
#[cfg(test)]
mod tests;
