//! An authority and a certificate for one server.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::place::{Account, run};

const CONFIG: &str = "\
[req]
distinguished_name = name
prompt = no
[name]
CN = Backstay's tests
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
[server]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
";

/// Puts `server.crt` and `server.key` into the data folder of a server that runs as `account`, and the authority's
/// certificate, which anyone may read, into `home`.
pub(crate) fn create(data: &Path, home: &Path, account: Option<Account>) -> PathBuf {
    let files = crate::folder();
    let openssl = |args: &[&str]| run(Command::new("openssl").args(args).current_dir(files.path()));
    fs::write(files.path().join("config"), CONFIG).expect("room");
    let new_key = "req -config config -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for (command, subject) in [
        (format!("{new_key} -x509 -extensions ca -days 30 -keyout ca.key -out ca.crt"), Some("/CN=Backstay's test authority")),
        (format!("{new_key} -keyout server.key -out server.csr"), None),
        ("x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile config -extensions server -out server.crt".to_owned(), None),
    ] {
        let mut args: Vec<&str> = command.split(' ').collect();
        args.extend(subject.iter().flat_map(|subject| ["-subj", subject]));
        openssl(&args);
    }
    for (name, mode) in [("server.crt", 0o644), ("server.key", 0o600)] {
        let to = data.join(name);
        fs::copy(files.path().join(name), &to).expect("room");
        fs::set_permissions(&to, Permissions::from_mode(mode)).expect("it is ours");
        if let Some(account) = account {
            account.own(&to);
        }
    }
    let ca = home.join("ca.crt");
    fs::copy(files.path().join("ca.crt"), &ca).expect("room");
    ca
}
