//! An archive as a file, for several jobs: each opens it and goes to its own place in it.

use std::fs::File;
use std::path::{Path, PathBuf};

use backstay_core::store::ByteStream;
use backstay_core::{Error, ErrorKind, Result};
use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;

/// A file that only this user can open. Dropped, it is gone; on Linux also when this process is killed.
pub(super) struct ArchiveFile {
    path: PathBuf,
    _file: File,
    /// Kept for its drop.
    _named: Option<tempfile::TempPath>,
}

impl ArchiveFile {
    /// Writes the content to its end.
    ///
    /// # Errors
    /// [`Exhausted`](ErrorKind::Exhausted) if the folder is full; what reading answers.
    pub(super) async fn write(folder: &Path, mut content: ByteStream) -> Result<Self> {
        let failed = |error: std::io::Error| {
            let full = error.kind() == std::io::ErrorKind::StorageFull;
            Error::new(
                if full { ErrorKind::Exhausted } else { ErrorKind::Other },
                "the archive cannot be written to a file",
            )
            .with("folder", folder.display())
            .advise("name a folder with room by `scratch_folder`, or restore with one job")
            .because(error)
        };
        let archive = Self::make(folder).map_err(failed)?;
        let mut file = tokio::fs::File::from_std(archive._file.try_clone().map_err(failed)?);
        while let Some(chunk) = content.next().await.transpose()? {
            file.write_all(&chunk).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        Ok(archive)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Without a name from the beginning: the kernel opens it by its number.
    #[cfg(target_os = "linux")]
    fn make(folder: &Path) -> std::io::Result<Self> {
        use std::os::fd::AsRawFd as _;

        let file = tempfile::tempfile_in(folder)?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into();
        Ok(Self { path, _file: file, _named: None })
    }

    #[cfg(not(target_os = "linux"))]
    fn make(folder: &Path) -> std::io::Result<Self> {
        let (file, named) = tempfile::NamedTempFile::new_in(folder)?.into_parts();
        Ok(Self { path: named.to_path_buf(), _file: file, _named: Some(named) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_can_be_opened_by_name_and_leaves_nothing_in_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let content = || -> ByteStream { Box::pin(futures_util::stream::iter([Ok("ab".into()), Ok("c".into())])) };
        let file = ArchiveFile::write(folder.path(), content()).await.unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap(), b"abc");
        let path = file.path().to_owned();
        drop(file);
        assert!(!path.exists() && std::fs::read_dir(folder.path()).unwrap().next().is_none());
        let missing = ArchiveFile::write(&folder.path().join("no"), content()).await;
        assert_eq!(missing.map(drop).unwrap_err().kind(), ErrorKind::Other);
    }
}
