//! The store in Azure.

use backstay::azure::BlobStore;

use crate::{Result, objects, runtime};

pub(crate) fn upload(args: &[String]) -> Result<()> {
    let [file, url, key] = args else { return Err("azure_upload FILE URL KEY".into()) };
    runtime()?.block_on(async { objects::upload(&BlobStore::at(url).build()?, file, key).await })
}
