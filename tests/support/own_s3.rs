//! Stores on the S3 server of our own, whose faults and policies tests set.

use backstay::Secret;
use backstay::aws::{S3Builder, S3Store};
use backstay_test_s3::{Keys, Server};

/// A store of this user. It gives up after three attempts: tests do not wait for better times.
pub fn builder(server: &Server, bucket: &str, keys: &Keys) -> S3Builder {
    at(&server.endpoint(), bucket, keys)
}

/// The same, for a process that knows of the server only where it is.
pub fn at(endpoint: &str, bucket: &str, keys: &Keys) -> S3Builder {
    S3Store::builder(bucket)
        .endpoint(endpoint)
        .region("us-east-1")
        .credentials(&keys.access_key, Secret::new(keys.secret_key.clone()))
        .attempts(3)
}

/// A store of the administrator.
pub async fn open(server: &Server, bucket: &str) -> S3Store {
    builder(server, bucket, server.keys()).build().await.expect("the bucket was made")
}
