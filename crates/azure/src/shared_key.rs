//! Shared Key: each request is signed with the account's key. The SDK has no such credential.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::http::headers::{HeaderName, Headers};
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Context, Request, Url};
use backstay_core::Secret;
use backstay_core::clock::Clock;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};

/// Signs every try anew, so that none is too old.
#[derive(Debug)]
pub(crate) struct SharedKey {
    account: String,
    key: Secret<Vec<u8>>,
    clock: Arc<dyn Clock>,
}

impl SharedKey {
    /// Of this account, with its key in the clear.
    pub(crate) fn new(account: String, key: Secret<Vec<u8>>, clock: Arc<dyn Clock>) -> Self {
        Self { account, key, clock }
    }

    /// The signature of a string, as the header wants it.
    fn sign(&self, text: &str) -> azure_core::Result<String> {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(self.key.expose()).map_err(|_| {
            azure_core::Error::with_message(azure_core::error::ErrorKind::Credential, "the account's key cannot sign")
        })?;
        mac.update(text.as_bytes());
        Ok(STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[async_trait]
impl Policy for SharedKey {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        request.insert_header("x-ms-date", http_date(self.clock.now()));
        let text = string_to_sign(&self.account, request);
        let signature = self.sign(&text)?;
        request.insert_header("authorization", format!("SharedKey {}:{signature}", self.account));
        next[0].send(ctx, request, &next[1..]).await
    }
}

/// A time as HTTP's headers have it, by the second.
pub(crate) fn http_date(time: jiff::Timestamp) -> String {
    // Years of four digits are all there are here.
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time).unwrap_or_default()
}

fn string_to_sign(account: &str, request: &Request) -> String {
    let headers = request.headers();
    let header = |name: &'static str| headers.get_optional_str(&HeaderName::from_static(name)).unwrap_or_default();
    // The SDK leaves the length of some bodies to the transport.
    let length = match header("content-length") {
        "" => request.body().len().unwrap_or_default().to_string(),
        told => told.to_owned(),
    };
    let length = if length == "0" { "" } else { &length };
    let mut text = request.method().as_ref().to_owned();
    let standard = [
        header("content-encoding"),
        header("content-language"),
        length,
        header("content-md5"),
        header("content-type"),
        // `x-ms-date` stands for it.
        "",
        header("if-modified-since"),
        header("if-match"),
        header("if-none-match"),
        header("if-unmodified-since"),
        header("range"),
    ];
    for value in standard {
        text.push('\n');
        text.push_str(value);
    }
    text.push('\n');
    text.push_str(&own_headers(headers));
    text.push_str(&resource(account, request.url()));
    text
}

/// The headers of Azure's own, sorted.
fn own_headers(headers: &Headers) -> String {
    let own = headers.iter().filter(|(name, _)| name.as_str().starts_with("x-ms-"));
    let sorted: BTreeMap<&str, &str> = own.map(|(name, value)| (name.as_str(), value.as_str().trim())).collect();
    sorted.iter().map(|(name, value)| format!("{name}:{value}\n")).collect()
}

/// Account, path as it is sent, and the decoded query, sorted.
fn resource(account: &str, url: &Url) -> String {
    let mut sorted = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in url.query_pairs() {
        sorted.entry(name.to_lowercase()).or_default().push(value.into_owned());
    }
    let mut text = format!("/{account}{}", url.path());
    for (name, mut values) in sorted {
        values.sort_unstable();
        text.push_str(&format!("\n{name}:{}", values.join(",")));
    }
    text
}

#[cfg(test)]
mod tests {
    use azure_core::http::Method;
    use backstay_core::clock::SystemClock;

    use super::*;

    fn request(method: Method, url: &str, headers: &[(&'static str, &'static str)], body: &'static str) -> Request {
        let mut request = Request::new(url.parse().unwrap(), method);
        for (name, value) in headers {
            request.insert_header(*name, *value);
        }
        if !body.is_empty() {
            request.set_body(body.as_bytes().to_vec());
        }
        request
    }

    /// The two examples of the rule's own page.
    #[test]
    fn the_published_examples_come_out() {
        let date = ("x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT");
        let get = request(
            Method::Get,
            "https://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=metadata&timeout=20",
            &[("x-ms-version", "2015-02-21"), date],
            "",
        );
        assert_eq!(
            string_to_sign("myaccount", &get),
            "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n/myaccount/\
             mycontainer\ncomp:metadata\nrestype:container\ntimeout:20"
        );
        let list = request(
            Method::Get,
            "https://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=list&include=snapshots&\
             include=metadata&include=uncommittedblobs",
            &[],
            "",
        );
        assert!(string_to_sign("myaccount", &list).ends_with(
            "/myaccount/mycontainer\ncomp:list\ninclude:metadata,snapshots,uncommittedblobs\nrestype:container"
        ));
    }

    #[test]
    fn what_is_sent_is_what_is_signed() {
        let put = request(
            Method::Put,
            "http://127.0.0.1:10000/acct/box/a%2Fb%20c%C3%A9?comp=block&blockid=QUJD%3D%3D",
            &[("content-md5", "bWQ1"), ("if-none-match", "*"), ("x-ms-b", " 2 "), ("x-ms-a", "1"), ("other", "no")],
            "12345",
        );
        assert_eq!(
            string_to_sign("acct", &put),
            "PUT\n\n\n5\nbWQ1\n\n\n\n\n*\n\n\nx-ms-a:1\nx-ms-b:2\n/acct/acct/box/a%2Fb%20c%C3%A9\nblockid:QUJD==\ncomp:block"
        );
        let empty = request(Method::Put, "https://a.b/c", &[("content-length", "0")], "");
        assert!(string_to_sign("a", &empty).starts_with("PUT\n\n\n\n"), "a length of nothing is signed as nothing");
    }

    #[test]
    fn a_signature_is_that_of_other_implementations() {
        // RFC 4231, test case 2.
        let key = SharedKey::new("a".to_owned(), Secret::new(b"Jefe".to_vec()), Arc::new(SystemClock));
        let signed = STANDARD.decode(key.sign("what do ya want for nothing?").unwrap()).unwrap();
        assert_eq!(signed[..4], [0x5b, 0xdc, 0xc1, 0x46]);
        assert!(!format!("{key:?}").contains("Jefe"));
        assert!(!format!("{key:?}").contains("74"));
    }
}
