//! Versions in an archive class: what to do before they can be read.

use backstay_core::doctor::shell_word;
use backstay_core::{Error, ErrorKind};

use super::objects::VersionedObjects;

impl VersionedObjects {
    /// An error of reading a version. One that is archived is told with the way to it.
    pub(super) fn unread(&self, error: Error, key: &str, version: Option<&str>) -> Error {
        if error.kind() != ErrorKind::Archived {
            return error;
        }
        let (bucket, key) = (self.store.bucket(), shell_word(key));
        let id = version.map(|id| format!(" --version-id {}", shell_word(id))).unwrap_or_default();
        let advice = format!(
            "thaw it by `ObjectStore::thaw` of the bucket's store, or by `aws s3api restore-object --bucket {bucket} --key \
             {key}{id} --restore-request Days=7`, with {{}} for what Intelligent-Tiering has archived; hours or days later it can \
             be read, and a new plan made"
        );
        match version {
            Some(version) => error.with("version", version).advise(advice),
            None => error.advise(advice),
        }
    }
}
