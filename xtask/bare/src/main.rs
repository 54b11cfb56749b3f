//! What the stores are measured against: loops over the SDKs alone, as somebody writes them who needs nothing else.
//!
//! ```text
//! backstay-bench-bare s3_upload FILE BUCKET KEY     in parts, each with its checksum and the whole with its own
//! backstay-bench-bare s3_download BUCKET KEY        that object by ranges
//! backstay-bench-bare azure_upload FILE URL BLOB    in blocks, into the container of this URL, which has a SAS
//! ```
//!
//! Parts, connections, checksums and the signing of bodies are those of Backstay's stores.

mod azure;
mod s3;

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Bytes of a part.
const PART: u64 = 8 << 20;
/// Parts on their way at once.
const IN_FLIGHT: usize = 4;

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["s3_upload", file, bucket, key] => s3::upload(file, bucket, key).await,
        ["s3_download", bucket, key] => s3::download(bucket, key).await,
        ["azure_upload", file, url, blob] => azure::upload(file, url, blob).await,
        _ => Err("this is run by `cargo xtask bench`".into()),
    }
}

/// The parts of a file, read as they are asked for.
fn parts(file: &str) -> Result<impl Iterator<Item = impl Future<Output = Result<Bytes>> + use<>> + use<>> {
    let file = Arc::new(File::open(file)?);
    let size = file.metadata()?.len();
    Ok((0..size).step_by(PART as usize).map(move |start| {
        let (file, bytes) = (Arc::clone(&file), PART.min(size - start) as usize);
        async move {
            let read = move || {
                let mut part = vec![0; bytes];
                file.read_exact_at(&mut part, start).map(|()| part.into())
            };
            Ok(tokio::task::spawn_blocking(read).await??)
        }
    }))
}
