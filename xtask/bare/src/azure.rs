//! azure_storage_blob.

use azure_core::http::{Body, RequestContent, Url};
use azure_storage_blob::BlobContainerClient;
use azure_storage_blob::models::{BlockBlobClientStageBlockOptions, BlockLookupList};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use md5::{Digest as _, Md5};

use crate::{IN_FLIGHT, Result, parts};

pub(crate) async fn upload(file: &str, container: &str, blob: &str) -> Result<()> {
    let container = BlobContainerClient::new(Url::parse(container)?, None, None)?;
    let blob = &container.blob_client(blob).block_blob_client();
    let staging = (0_u64..).zip(parts(file)?).map(|(number, part)| async move {
        let (id, content) = (number.to_be_bytes().to_vec(), part.await?);
        let bytes = content.len() as u64;
        let hashed = content.clone();
        let md5 = tokio::task::spawn_blocking(move || Md5::digest(&hashed).to_vec()).await?;
        let checked = BlockBlobClientStageBlockOptions { transactional_content_md5: Some(md5), ..Default::default() };
        blob.stage_block(&id, bytes, Body::Bytes(content).into(), Some(checked)).await?;
        Result::Ok(id)
    });
    let ids: Vec<Vec<u8>> = stream::iter(staging).buffered(IN_FLIGHT).try_collect().await?;
    let blocks = BlockLookupList { uncommitted: Some(ids), ..Default::default() };
    blob.commit_block_list(RequestContent::try_from(blocks)?, None).await?;
    Ok(())
}
