//! The store in S3.

use std::path::Path;

use backstay::Limits;
use backstay::aws::S3Store;

use crate::file::FileExporter;
use crate::{Result, backup, objects, runtime};

pub(crate) fn upload(args: &[String]) -> Result<()> {
    let [file, bucket, key] = args else { return Err("s3_upload FILE BUCKET KEY".into()) };
    runtime()?.block_on(async { objects::upload(&S3Store::from_env(bucket).await?, file, key).await })
}

pub(crate) fn download(args: &[String]) -> Result<()> {
    let [bucket, key] = args else { return Err("s3_download BUCKET KEY".into()) };
    runtime()?.block_on(async { objects::download(&S3Store::from_env(bucket).await?, key).await })
}

pub(crate) fn small(args: &[String]) -> Result<()> {
    let [folder, bucket] = args else { return Err("s3_small FOLDER BUCKET".into()) };
    runtime()?.block_on(async { objects::small(&S3Store::from_env(bucket).await?, folder).await })
}

pub(crate) fn backup(args: &[String]) -> Result<()> {
    let [file, bucket, folder] = args else { return Err("s3_backup FILE BUCKET FOLDER".into()) };
    into(FileExporter::new(file), bucket, folder)
}

#[cfg(feature = "postgres")]
pub(crate) fn point(args: &[String]) -> Result<()> {
    let [url, bucket, folder] = args else { return Err("s3_point URL BUCKET FOLDER".into()) };
    into(crate::postgres::exporter(url.parse()?), bucket, folder)
}

fn into(exporter: impl backstay::source::ResourceExporter, bucket: &str, folder: &str) -> Result<()> {
    let folder = Path::new(folder);
    std::fs::create_dir_all(folder)?;
    runtime()?
        .block_on(async { backup::into(exporter, S3Store::from_env(bucket).await?, folder, Limits::default()).await })
}
