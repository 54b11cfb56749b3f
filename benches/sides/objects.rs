//! A store by itself: contents in parts up and down, and many small ones.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use backstay::store::{GetOptions, HeadOptions, Key, ObjectStore, PutOptions};
use futures_util::{StreamExt as _, TryFutureExt as _, TryStreamExt as _, stream};

use crate::Result;

/// Bytes of a part.
const PART: usize = 8 << 20;
/// Parts on their way at once.
const IN_FLIGHT: usize = 4;
/// Small objects on their way at once.
const PUTS: usize = 32;

/// A file as an object in parts.
pub(crate) async fn upload(store: &dyn ObjectStore, file: &str, key: &str) -> Result<()> {
    let (file, key): (_, Key) = (Arc::new(fs::File::open(file)?), key.parse()?);
    let size = file.metadata()?.len();
    let mut upload = store.upload(&key, &PutOptions::default()).await?;
    let reading = (0..size).step_by(PART).map(|start| {
        let (file, bytes) = (Arc::clone(&file), PART.min((size - start) as usize));
        tokio::task::spawn_blocking(move || {
            let mut part = vec![0; bytes];
            file.read_exact_at(&mut part, start).map(|()| part)
        })
    });
    let parts = stream::iter(reading).buffered(1).map(|read| Result::Ok(upload.part(read??.into())));
    parts.map_ok(|sending| sending.map_err(Into::into)).try_buffer_unordered(IN_FLIGHT).try_collect::<()>().await?;
    upload.complete().await?;
    Ok(())
}

/// An object by ranges of a part's size.
pub(crate) async fn download(store: &dyn ObjectStore, key: &str) -> Result<()> {
    let key: Key = key.parse()?;
    let meta = store.head(&key, &HeadOptions::default()).await?;
    let reading = (0..meta.size).step_by(PART).map(|start| {
        let (key, meta) = (&key, &meta);
        async move {
            let mut options = GetOptions::range(start..meta.size.min(start + PART as u64));
            options.if_match.clone_from(&meta.etag);
            let mut body = store.get(key, &options).await?.body;
            let mut content = Vec::with_capacity(PART);
            while let Some(chunk) = body.try_next().await? {
                content.extend_from_slice(&chunk);
            }
            Ok::<_, backstay::Error>(content.len() as u64)
        }
    });
    let read: Vec<u64> = stream::iter(reading).buffered(IN_FLIGHT).try_collect().await?;
    if read.iter().sum::<u64>() == meta.size { Ok(()) } else { Err("bytes are missing".into()) }
}

/// Each file of a folder as an object.
pub(crate) async fn small(store: &dyn ObjectStore, folder: &str) -> Result<()> {
    let files: Vec<PathBuf> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    let putting = files.iter().map(|file| async move {
        let key: Key = file.file_name().and_then(|name| name.to_str()).ok_or("an odd name")?.parse()?;
        store.put(&key, fs::read(file)?.into(), &PutOptions::default()).await?;
        Result::Ok(())
    });
    stream::iter(putting).buffer_unordered(PUTS).try_collect().await
}
