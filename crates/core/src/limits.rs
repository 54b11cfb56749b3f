//! How much of the machine may be used.

use std::num::NonZeroUsize;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Limits shared by everything that runs on one budget, however many Backstays that is.
///
/// ```
/// use backstay_core::Limits;
///
/// let limits: Limits = serde_json::from_str(r#"{ "bytes": 33554432, "workers": 2 }"#)?;
/// assert_eq!(limits.open_items, Limits::default().open_items);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of content held in memory at once, all items together. Default: 64 MiB. At least 48 MiB, so that two items
    /// can be open.
    pub bytes: u64,
    /// Threads that compress, seal and hash. Default: the number of cores.
    pub workers: NonZeroUsize,
    /// Components exported side by side. Default: 4.
    pub open_items: NonZeroUsize,
    /// No run is older than this and still alive. Default: 7 days.
    pub longest_run: Duration,
}

/// Bytes of a file that are written at once. A longer write makes the kernel look for long runs of free memory, which it
/// may have to make first: 4 MiB at once took it three times as long as 256 KiB at once.
pub(crate) const LONGEST_WRITE: usize = 256 << 10;

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            workers: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            open_items: NonZeroUsize::MIN.saturating_add(3),
            longest_run: Duration::from_secs(7 * 24 * 3600),
        }
    }
}
