//! A client that tries each call once, and what became of a call.

use std::fmt::Debug;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use backstay_test_s3::{Bucket, Keys, REGION, Server};

/// The bucket of most tests.
pub(crate) const B: &str = "vault";

/// A server with one bucket, and its administrator.
pub(crate) fn server(bucket: Bucket) -> (Server, Client) {
    let s3 = Server::start();
    s3.create_bucket(B, bucket);
    let client = client(&s3, s3.keys());
    (s3, client)
}

pub(crate) fn client(s3: &Server, keys: &Keys) -> Client {
    Client::from_conf(config(s3, keys).build())
}

/// What is read is verified only where a test asks for it, so that tests see what is wrong with it.
pub(crate) fn config(s3: &Server, keys: &Keys) -> aws_sdk_s3::config::Builder {
    aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(REGION))
        .endpoint_url(s3.endpoint())
        .force_path_style(true)
        .credentials_provider(Credentials::new(&keys.access_key, &keys.secret_key, None, None, "tests"))
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
}

/// The status and code of a call that failed; `lost` if there was no answer.
pub(crate) fn failed<T: Debug, E: ProvideErrorMetadata + Debug>(
    result: Result<T, SdkError<E, HttpResponse>>,
) -> (u16, String) {
    match result {
        Ok(output) => panic!("it was done: {output:?}"),
        Err(error) => match error.raw_response() {
            None => (0, "lost".to_owned()),
            Some(response) => (response.status().as_u16(), error.code().unwrap_or("none").to_owned()),
        },
    }
}

/// An expected failure.
pub(crate) fn answer(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

pub(crate) async fn put(client: &Client, key: &str, bytes: &str) -> String {
    let output = client.put_object().bucket(B).key(key).body(bytes.as_bytes().to_vec().into()).send().await;
    output.expect("a put").version_id.unwrap_or_default()
}

pub(crate) async fn bytes(output: GetObjectOutput) -> String {
    let bytes = output.body.collect().await.expect("a whole body").into_bytes();
    String::from_utf8(bytes.into()).expect("text")
}

pub(crate) async fn get(client: &Client, key: &str) -> String {
    bytes(client.get_object().bucket(B).key(key).send().await.expect("a get")).await
}
