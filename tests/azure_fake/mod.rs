//! A Blob Storage of our own, over HTTP on loopback: what Azurite answers with 501 or takes in silence (versions,
//! immutability, copies from URLs, thawing that takes time), and faults on demand. It checks no signature but that of a SAS,
//! which must be `good`.

#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part of it, and has no outside")]

mod blobs;
mod http;
mod rules;

use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use backstay::Secret;
use backstay::azure::{BlobStore, BlobStoreBuilder, Credential};

pub use blobs::{Account, Fault};

/// One account with one container, `vault`, and any other that is named.
pub struct AzureFake {
    port: u16,
    account: Arc<Mutex<Account>>,
}

impl AzureFake {
    pub fn start(account: Account) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it listens").port();
        let account = Arc::new(Mutex::new(account));
        let shared = Arc::clone(&account);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let account = Arc::clone(&shared);
                thread::spawn(move || http::serve(connection, &|request| lock(&account).answer(request)));
            }
        });
        Self { port, account }
    }

    pub fn url(&self, container: &str) -> String {
        format!("http://127.0.0.1:{}/acct/{container}", self.port)
    }

    pub fn store(&self) -> BlobStoreBuilder {
        BlobStore::at(&self.url("vault"))
            .credential(Credential::sas(Secret::new("sv=1&sig=good".to_owned())))
            .attempts(3)
            .retry_for(std::time::Duration::from_secs(5))
    }

    pub fn account(&self) -> MutexGuard<'_, Account> {
        lock(&self.account)
    }
}

fn lock(account: &Mutex<Account>) -> MutexGuard<'_, Account> {
    account.lock().unwrap_or_else(PoisonError::into_inner)
}
