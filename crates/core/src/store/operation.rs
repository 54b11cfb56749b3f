//! The calls of a store by name: for observers, counters, fault rules.

use std::fmt;

/// One kind of call on a store or an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Operation {
    /// [`ObjectStore::put`](crate::store::ObjectStore::put)
    Put,
    /// [`ObjectStore::upload`](crate::store::ObjectStore::upload)
    Upload,
    /// [`Upload::part`](crate::store::Upload::part)
    Part,
    /// [`Upload::complete`](crate::store::Upload::complete)
    Complete,
    /// [`Upload::abort`](crate::store::Upload::abort)
    Abort,
    /// [`ObjectStore::uploads`](crate::store::ObjectStore::uploads)
    Uploads,
    /// [`ObjectStore::abort_upload`](crate::store::ObjectStore::abort_upload)
    AbortUpload,
    /// [`ObjectStore::now`](crate::store::ObjectStore::now)
    Now,
    /// [`ObjectStore::get`](crate::store::ObjectStore::get)
    Get,
    /// [`ObjectStore::head`](crate::store::ObjectStore::head)
    Head,
    /// [`ObjectStore::list`](crate::store::ObjectStore::list)
    List,
    /// [`ObjectStore::delete`](crate::store::ObjectStore::delete)
    Delete,
    /// [`ObjectStore::protect`](crate::store::ObjectStore::protect)
    Protect,
    /// [`ObjectStore::thaw`](crate::store::ObjectStore::thaw)
    Thaw,
    /// [`ObjectStore::copy_in`](crate::store::ObjectStore::copy_in)
    CopyIn,
}

impl Operation {
    /// Its name in errors, logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Upload => "upload",
            Self::Part => "part",
            Self::Complete => "complete",
            Self::Abort => "abort",
            Self::Uploads => "uploads",
            Self::AbortUpload => "abort_upload",
            Self::Now => "now",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Protect => "protect",
            Self::Thaw => "thaw",
            Self::CopyIn => "copy_in",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
