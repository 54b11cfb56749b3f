//! azure_storage_blob.

use azure_core::http::{Body, RequestContent, Url};
use azure_storage_blob::BlobContainerClient;
use azure_storage_blob::models::BlockLookupList;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{IN_FLIGHT, Result, parts};

pub(crate) async fn upload(file: &str, container: &str, blob: &str) -> Result<()> {
    let container = BlobContainerClient::new(Url::parse(container)?, None, None)?;
    let blob = &container.blob_client(blob).block_blob_client();
    let staging = (0_u64..).zip(parts(file)?).map(|(number, part)| async move {
        let (id, content) = (number.to_be_bytes().to_vec(), part.await?);
        let bytes = content.len() as u64;
        blob.stage_block(&id, bytes, Body::Bytes(content).into(), None).await?;
        Result::Ok(id)
    });
    let ids: Vec<Vec<u8>> = stream::iter(staging).buffered(IN_FLIGHT).try_collect().await?;
    let blocks = BlockLookupList { uncommitted: Some(ids), ..Default::default() };
    blob.commit_block_list(RequestContent::try_from(blocks)?, None).await?;
    Ok(())
}
