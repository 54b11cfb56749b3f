//! Buckets for tests. A program that knows nothing of us makes them: boto3.

use std::ffi::OsStr;

use backstay::Secret;
use backstay::aws::{S3Builder, S3Store};
use backstay_test_servers::python::python;
use backstay_test_servers::s3::Server;

/// What a bucket has from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    Versioned,
    /// With versions, and object lock.
    Locked,
}

/// Runs lines of Python in which `s3` is boto3's client of this server, and returns what they print.
pub fn boto(server: &Server, lines: &str) -> String {
    boto_by(server.env(), lines)
}

/// The same for the server that these variables name.
pub fn boto_by<N: AsRef<OsStr>, V: AsRef<OsStr>>(env: impl IntoIterator<Item = (N, V)>, lines: &str) -> String {
    let script = format!(
        "import boto3, json\nfrom botocore.config import Config\n\
         s3 = boto3.client('s3', config=Config(s3={{'addressing_style': 'path'}}))\n{lines}\n"
    );
    let output = python().arg("-c").arg(script).envs(env).output().expect("python runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{lines}: {told}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Makes buckets.
pub fn make(server: &Server, buckets: &[(&str, Kind)]) {
    let lines = buckets.iter().map(|(name, kind)| match kind {
        Kind::Plain => format!("s3.create_bucket(Bucket='{name}')\n"),
        Kind::Versioned => format!(
            "s3.create_bucket(Bucket='{name}')\n\
             s3.put_bucket_versioning(Bucket='{name}', VersioningConfiguration={{'Status': 'Enabled'}})\n"
        ),
        Kind::Locked => format!("s3.create_bucket(Bucket='{name}', ObjectLockEnabledForBucket=True)\n"),
    });
    boto(server, &lines.collect::<String>());
}

/// A store of the server's first user. It gives up after three attempts: tests do not wait for better times.
pub fn builder(server: &Server, bucket: &str) -> S3Builder {
    builder_of(server, bucket, server.access_key(), server.secret_key())
}

/// A store of another user.
pub fn builder_of(server: &Server, bucket: &str, access: &str, secret: &str) -> S3Builder {
    S3Store::builder(bucket)
        .endpoint(server.endpoint())
        .region("us-east-1")
        .credentials(access, Secret::new(secret.to_owned()))
        .attempts(3)
}

pub async fn open(server: &Server, bucket: &str) -> S3Store {
    builder(server, bucket).build().await.expect("the bucket was made")
}
