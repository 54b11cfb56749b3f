//! Stores on Azurite.

use std::path::Path;
use std::time::Duration;

use backstay::azure::{BlobStore, BlobStoreBuilder, Credential};
use backstay::jiff::Timestamp;
use backstay::{Secret, Sha256};
use backstay_test_servers::azure::Azurite;
use backstay_test_servers::python::python;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// Azurite's account key.
pub fn key() -> Credential {
    Credential::shared_key(Secret::new(Azurite::KEY.to_owned()))
}

/// A container of this server, by its key. Calls that fail are not tried for long.
pub fn container(server: &Azurite, name: &str) -> BlobStoreBuilder {
    BlobStore::at(&format!("{}/{name}", server.endpoint()))
        .credential(key())
        .attempts(3)
        .retry_for(Duration::from_secs(2))
}

/// The same, made.
pub async fn made(server: &Azurite, name: &str) -> BlobStore {
    let store = container(server, name).build().expect("it is well described");
    store.create_container().await.expect("the server makes containers");
    store
}

/// Runs lines of Python in which `blobs` is Microsoft's client of the container, and `file` what lies in this file. Returns
/// what they print.
pub fn theirs(server: &Azurite, container: &str, file: Option<&Path>, lines: &str) -> String {
    let script = format!(
        "import base64, hashlib, os\nfrom azure.storage.blob import BlobBlock, BlobServiceClient\n\
         service = BlobServiceClient.from_connection_string(os.environ['AT'])\n\
         blobs = service.get_container_client('{container}')\n\
         file = open(os.environ.get('FILE', os.devnull), 'rb').read()\n{lines}\n"
    );
    let mut python = python();
    python.arg("-c").arg(script).env("AT", server.connection_string()).envs(file.map(|file| ("FILE", file)));
    let output = python.output().expect("python runs");
    assert!(output.status.success(), "{lines}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

/// A SAS of a container with these permissions.
pub fn sas(container: &str, permissions: &str, until: Timestamp) -> Secret<String> {
    let until = until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let (account, version) = (Azurite::ACCOUNT, "2025-11-05");
    // Empty: start, identifier, addresses, protocol; snapshot, encryption scope, and five headers of answers.
    let text = format!("{permissions}\n\n{until}\n/blob/{account}/{container}\n\n\n\n{version}\nc\n\n\n\n\n\n\n");
    let key = STANDARD.decode(Azurite::KEY).expect("Base64");
    let signature = STANDARD.encode(hmac(&key, text.as_bytes()));
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    Secret::new(format!("sv={version}&sr=c&sp={permissions}&se={}&sig={signature}", until.replace(':', "%3A")))
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut block = [0; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::of(key).0);
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let with = |pad: u8, text: &[u8]| Sha256::of(&[&block.map(|byte| byte ^ pad)[..], text].concat()).0;
    with(0x5c, &with(0x36, text))
}

/// A token as Entra ID gives it, but for its signature, which Azurite does not check.
pub fn token(audience: &str, until: Timestamp) -> Secret<String> {
    let claims = format!(
        r#"{{"aud":"{audience}","iss":"https://sts.windows.net/tenant/","iat":1,"nbf":1,"exp":{}}}"#,
        until.as_second()
    );
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    Secret::new(format!("{}.{}.{}", part(r#"{"typ":"JWT","alg":"RS256"}"#), part(&claims), part("unsigned")))
}
