//! Keys, signatures and tokens are in no log, error or `Debug`. Alone in its file: what is logged is the whole process's.

mod support;

use std::time::Duration;

use backstay::azure::{BlobStore, Credential};
use backstay::store::{GetOptions, Key, ListOptions, ObjectStore, ObjectStoreExt, Prefix, PutOptions};
use backstay::{Clock, Secret, SystemClock};
use backstay_test_servers::azure::Azurite;
use backstay_test_servers::proxy::Proxy;
use futures_util::TryStreamExt;
use support::azure::{container, key, made, sas};
use support::lines::Lines;

async fn use_all(store: &BlobStore) -> String {
    let name: Key = "a/b".parse().expect("a key");
    let mut told = format!("{store:?} {store} {:?}", store.capabilities());
    told += &format!("{:?}", store.put_new(&name, "x").await);
    told += &format!("{:?}", store.get_bytes(&name, 10).await);
    told += &format!("{:?}", store.get(&"absent".parse().expect("a key"), &GetOptions::default()).await.map(drop));
    told += &format!("{:?}", store.list(&Prefix::all(), &ListOptions::default()).try_collect::<Vec<_>>().await);
    let mut upload = store.upload(&name, &PutOptions::overwrite()).await.expect("begun");
    told += &format!("{upload:?} {:?}", upload.part("part".into()).await);
    told += &format!("{:?} {:?}", upload.complete().await, store.locate(&name));
    told += &format!("{:?}", store.delete(&[name.into()]).await);
    told + &store.doctor().await.to_string()
}

#[test]
fn keys_and_signatures_are_in_no_log_error_or_debug() {
    let server = Azurite::start();
    let signed = sas("vault", "rcwdl", SystemClock.now() + Duration::from_secs(3600));
    let lines = Lines::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let told = tracing::subscriber::with_default(lines.subscriber(), || {
        runtime.block_on(async {
            let mut told = use_all(&made(&server, "vault").await).await;
            let proxy = Proxy::to(server.port());
            let by = |credential: Credential, port: u16| {
                let url = format!("{}/vault", server.endpoint_by(port));
                let store = BlobStore::at(&url).credential(credential).attempts(2).retry_for(Duration::from_secs(1));
                (format!("{store:?}"), store.build().expect("well described"))
            };
            // Well, with an endpoint that is down, and refused.
            let wrong = Secret::new(signed.expose().replace("sp=rcwdl", "sp=rcwd"));
            for (credential, cut) in [
                (Credential::sas(signed.clone()), false),
                (Credential::sas(signed.clone()), true),
                (key(), true),
                (Credential::sas(wrong), false),
            ] {
                if cut {
                    proxy.cut();
                }
                told += &format!("{credential:?}");
                let (shown, store) = by(credential, proxy.port());
                told += &shown;
                told += &use_all(&store).await;
                proxy.resume();
            }
            let url = format!("{}/vault?{}", server.endpoint(), signed.expose());
            let at = BlobStore::at(&url);
            told += &format!("{at:?}");
            told += &format!("{:?}", at.build());
            let bad = format!("{}/vault?{}", server.endpoint().replace("http", "ftp"), signed.expose());
            told += &format!("{:?}", BlobStore::at(&bad).build());
            let text = Secret::new(server.connection_string() + ";Oops");
            told + &format!("{:?}", BlobStore::from_connection_string(&text, "vault").build())
                + &format!("{:?}", container(&server, "vault"))
        })
    });
    let logged = lines.text();
    assert!(logged.contains("devstoreaccount1"), "nothing was logged: {logged}");
    assert!(told.contains("cannot be reached") || told.contains("connection broke"), "nothing failed: {told}");
    let (_, signature) = signed.expose().rsplit_once("sig=").expect("it is signed");
    let plain = signature.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
    for secret in [signature, &plain[..40], &Azurite::KEY[..40]] {
        assert!(!told.contains(secret), "a secret shows in Debug or an error");
        assert!(!logged.contains(secret), "a secret shows in the log");
    }
}
