//! aws-sdk-s3.

use aws_config::BehaviorVersion;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use aws_smithy_types::base64;
use crc_fast::CrcAlgorithm::Crc64Nvme;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{IN_FLIGHT, PART, Result, parts};

pub(crate) async fn upload(file: &str, bucket: &str, key: &str) -> Result<()> {
    let client = client().await;
    let begin = client.create_multipart_upload().bucket(bucket).key(key);
    let begin = begin.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).checksum_type(ChecksumType::FullObject);
    let begun = begin.send().await?;
    let id = begun.upload_id().ok_or("no upload ID")?;
    let sending = (1..).zip(parts(file)?).map(|(number, part)| {
        let client = &client;
        async move {
            let content = part.await?;
            let (crc, bytes) = (crc_fast::checksum(Crc64Nvme, &content), content.len() as u64);
            let call = client.upload_part().bucket(bucket).key(key).upload_id(id).part_number(number);
            let call = call.checksum_crc64_nvme(header(crc)).body(ByteStream::from(content));
            let sent = call.customize().disable_payload_signing().send().await?;
            let part = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag().map(str::to_owned));
            Result::Ok((crc, bytes, part.checksum_crc64_nvme(header(crc)).build()))
        }
    });
    let sent: Vec<_> = stream::iter(sending).buffered(IN_FLIGHT).try_collect().await?;
    let join = |whole, (crc, bytes, _): &(u64, u64, _)| crc_fast::checksum_combine(Crc64Nvme, whole, *crc, *bytes);
    let whole = sent.iter().fold(0, join);
    let parts = sent.into_iter().map(|(_, _, part)| part).collect();
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let end = client.complete_multipart_upload().bucket(bucket).key(key).upload_id(id).multipart_upload(parts);
    end.checksum_crc64_nvme(header(whole)).checksum_type(ChecksumType::FullObject).if_none_match("*").send().await?;
    Ok(())
}

pub(crate) async fn download(bucket: &str, key: &str) -> Result<()> {
    let client = client().await;
    let head = client.head_object().bucket(bucket).key(key).send().await?;
    let size = u64::try_from(head.content_length().ok_or("no length")?)?;
    let etag = head.e_tag().ok_or("no etag")?;
    let reading = (0..size.div_ceil(PART)).map(|part| {
        let (client, first) = (&client, part * PART);
        let last = size.min(first + PART) - 1;
        async move {
            let call = client.get_object().bucket(bucket).key(key).if_match(etag);
            let mut body = call.range(format!("bytes={first}-{last}")).send().await?.body;
            let mut content = Vec::with_capacity(PART as usize);
            while let Some(chunk) = body.try_next().await? {
                content.extend_from_slice(&chunk);
            }
            Result::Ok(content.len() as u64)
        }
    });
    let read: Vec<u64> = stream::iter(reading).buffered(IN_FLIGHT).try_collect().await?;
    if read.iter().sum::<u64>() == size { Ok(()) } else { Err("bytes are missing".into()) }
}

/// Of the environment, on a server that is no Amazon's.
async fn client() -> Client {
    let config = aws_config::load_defaults(BehaviorVersion::v2026_01_12()).await;
    Client::from_conf(aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build())
}

fn header(crc: u64) -> String {
    base64::encode(crc.to_be_bytes())
}
