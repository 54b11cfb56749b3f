//! What was deleted in a store with versions comes back: the delete markers are taken off again.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::engine::Depth;
use crate::error::{ErrorKind, Result};
use crate::name::PointId;
use crate::store::Key;
use crate::store::layer::AsOf;
use crate::vault::Vault;
use crate::vault::layout::{self, MarkName, PointFile};
use crate::vault::undelete::delete_markers;

impl Vault {
    /// Takes the delete markers off everything that belongs to a point, but for a tombstone's. Says whether there was any.
    pub(crate) async fn bring_back(&self, id: &PointId) -> Result<bool> {
        self.check_writable()?;
        if !self.store().capabilities().versions {
            return Ok(false);
        }
        let read = "it was overwritten before it was deleted: read it by `as_of` a time before that";
        let undeleted = self.read_through(AsOf::last_content(self.shared_store())?);
        let point = match undeleted.read_point(id).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            other => other.map_err(|error| error.operation("undelete").with("point", id).advise(read))?,
        };
        let objects: BTreeSet<Key> = point.manifest.objects().map(|object| object.key).collect();
        let (folder, manifest) = (layout::tier(&id.source, &id.tier)?, layout::manifest(id)?);
        let tombstone = PointFile::Mark(MarkName::Deleted);
        let beside = |key: &Key| layout::parse_point_file(&folder, key).is_some_and(|(_, file)| file != tombstone);

        let any_time = Timestamp::MIN;
        let mut markers = Vec::new();
        for prefix in [layout::items_of(id)?, layout::details_of(id)?] {
            markers.extend(delete_markers(self.store(), &prefix, any_time, |key| objects.contains(key)).await?);
        }
        markers.extend(delete_markers(self.store(), &layout::signatures_of(id)?, any_time, |_| true).await?);
        markers.extend(delete_markers(self.store(), &layout::point_files(id)?, any_time, beside).await?);
        if markers.is_empty() {
            return Ok(false);
        }
        let (last, first): (Vec<_>, Vec<_>) = markers.into_iter().partition(|marker| marker.key == manifest);
        self.delete_all(first).await?;
        self.delete_all(last).await?;
        // Under a marker may lie what somebody put over the point's own bytes.
        self.verify(id).depth(Depth::Listed).await.map_err(|error| error.operation("undelete").advise(read))?;
        Ok(true)
    }
}
