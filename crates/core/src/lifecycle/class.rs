//! Classes, and what the platforms ask for them.

/// How cold items lie, the warmest first. The platforms' names for them are in [`Lifecycle`](super::Lifecycle)'s renderings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum StorageClass {
    /// Read at once, for a price: STANDARD_IA, Cool.
    Infrequent,
    /// Read at once, for a higher price: GLACIER_IR, Cold.
    InstantArchive,
    /// Thawed in hours: GLACIER, Archive.
    Archive,
    /// Thawed in up to two days: DEEP_ARCHIVE; on Azure the same as the class above.
    DeepArchive,
}

/// What a platform asks for a class. Sources: "Transitioning objects using Amazon S3 Lifecycle" and "Amazon S3 storage
/// classes"; "Access tiers for blob data" and "Blob rehydration from the archive tier".
pub(super) struct ClassFacts {
    pub(super) name: &'static str,
    /// The youngest object that the platform moves here from its first class.
    pub(super) earliest_days: u32,
    /// So long after it came to a warmer class.
    pub(super) days_after_warmer: u32,
    /// So many days are billed, however soon it is deleted.
    pub(super) billed_days: u32,
    /// The longest that an ordinary thaw takes; none where it is read at once.
    pub(super) thaw_hours: Option<i64>,
}

/// The four classes on one platform.
pub(super) struct Platform {
    pub(super) infrequent: ClassFacts,
    pub(super) instant_archive: ClassFacts,
    pub(super) archive: ClassFacts,
    pub(super) deep_archive: ClassFacts,
    /// Whether its rules can leave out small objects.
    pub(super) filters_by_size: bool,
    /// Whether the age of an earlier content is counted from when another took its place.
    pub(super) counts_from_replacement: bool,
}

impl Platform {
    pub(super) fn facts(&self, class: StorageClass) -> &ClassFacts {
        match class {
            StorageClass::Infrequent => &self.infrequent,
            StorageClass::InstantArchive => &self.instant_archive,
            StorageClass::Archive => &self.archive,
            StorageClass::DeepArchive => &self.deep_archive,
        }
    }
}
