use backstay_core::{Error, ErrorKind, Secret};

use crate::{BlobStore, Credential};

fn key() -> Credential {
    Credential::shared_key(Secret::new("UExBTlRFRA==".to_owned()))
}

#[test]
fn a_store_is_shown_by_its_place() {
    let china = BlobStore::builder("acme", "vault").endpoint_suffix("core.chinacloudapi.cn").credential(key());
    let path = BlobStore::at("http://127.0.0.1:10000/devstoreaccount1/vault").credential(key());
    let sas = BlobStore::at("https://acme.blob.core.windows.net/vault?sv=1&sig=PLANTED");
    let text = Secret::new("AccountName=acme;AccountKey=UExBTlRFRA==;EndpointSuffix=core.usgovcloudapi.net".to_owned());
    let development = Secret::new("UseDevelopmentStorage=true".to_owned());
    let table = [
        (BlobStore::builder("acme", "vault").credential(key()), "azblob://acme.blob.core.windows.net/vault", "acme"),
        (china, "azblob://acme.blob.core.chinacloudapi.cn/vault", "acme"),
        (path, "azblob://127.0.0.1:10000/devstoreaccount1/vault", "devstoreaccount1"),
        (sas, "azblob://acme.blob.core.windows.net/vault", "acme"),
        (BlobStore::from_connection_string(&text, "vault"), "azblob://acme.blob.core.usgovcloudapi.net/vault", "acme"),
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
    let error = BlobStore::builder("acme", "vault").credential(Credential::sas(whole)).build().unwrap_err().to_string();
    assert!(error.contains("a whole URL") && !error.contains("PLANTED"), "{error}");
}

#[test]
fn an_address_is_not_shown_with_what_may_be_a_secret() {
    let password = BlobStore::at("https://acme:PLANTED@acme.blob.core.windows.net/vault").credential(key());
    let query = BlobStore::builder("acme", "vault").endpoint("https://acme.example/?sig=PLANTED").credential(key());
    let source = "https://acme.blob.core.windows.net/old?sig=PLANTED";
    let source = BlobStore::builder("acme", "vault").copies_from(source, Secret::new(String::new())).credential(key());
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
        let copies = BlobStore::builder("acme", "vault").credential(key()).copies_from(url, Secret::new(String::new()));
        assert_eq!(copies.build().is_ok(), taken, "{url}");
    }
    assert!(BlobStore::builder("acme", "vault").build().unwrap_err().to_string().contains("no credential"));
    let wrong = Credential::shared_key(Secret::new("~PLANTED~".to_owned()));
    let error = BlobStore::builder("acme", "vault").credential(wrong).build().unwrap_err();
    assert!(error.to_string().contains("not Base64") && !error.to_string().contains("PLANTED"));
}
