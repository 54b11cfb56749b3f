//! Where the account is: by its name, by a URL, by a connection string.

use azure_core::http::Url;
use backstay_core::Secret;

use super::BlobStoreBuilder;
use crate::connect::{Credential, Kind, is_loopback};
use crate::connection_string;

impl BlobStoreBuilder {
    pub(in crate::blob) fn at(url: &str) -> Self {
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

    pub(in crate::blob) fn from_connection_string(text: &str, container: String) -> Self {
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

    pub(super) fn check_names(&mut self, wrong: &mut Vec<String>) {
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
    pub(super) fn address(&mut self, wrong: &mut Vec<String>) -> Option<String> {
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
}
