//! The container itself.

use backstay_core::{ErrorKind, Result};

use super::{BlobStore, told};

impl BlobStore {
    /// Makes the container, without access for the public. One that is there is success, and stays as it is.
    ///
    /// # Errors
    /// What the service answers: [`Denied`](ErrorKind::Denied) without the right, [`Unavailable`](ErrorKind::Unavailable)
    /// while one of this name is being deleted.
    pub async fn create_container(&self) -> Result<()> {
        match self.0.container.create(None).await {
            Ok(_) => Ok(()),
            Err(error) if told(&error).kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(told(&error).operation("create_container").with("store", self)),
        }
    }
}
