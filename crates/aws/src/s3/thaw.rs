//! Archived objects: asked back, and how far that is.

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{GlacierJobParameters, RestoreRequest, StorageClass, Tier};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use backstay_core::Result;
use backstay_core::store::{ObjectRef, Thaw, ThawState};
use jiff::Timestamp;

use super::answer::time;
use super::head::is_archive;
use super::store::{S3Store, to};
use crate::error::{Call, Told};

const LOOK: Call = Call { name: "thaw", api: "HeadObject", right: "s3:GetObject" };
const THAW: Call = Call { name: "thaw", api: "RestoreObject", right: "s3:RestoreObject" };
/// How long a thawed copy stays, if not said.
const DAYS: u32 = 7;

impl S3Store {
    pub(super) async fn thaw_object(&self, what: &ObjectRef, thaw: &Thaw) -> Result<ThawState> {
        let found = self.head_version(LOOK, &what.key, what.version.as_ref()).await?;
        let state = found.restore().and_then(state);
        if let Some(state) = state {
            return Ok(state);
        }
        if !is_archived(&found) {
            return Ok(ThawState::Ready(None));
        }
        let tiered = found.archive_status().is_some();
        let job = thaw.speed.as_deref().map(Tier::from).map(|tier| GlacierJobParameters::builder().tier(tier).build());
        let mut request = RestoreRequest::builder().set_glacier_job_parameters(job.transpose().ok().flatten());
        if !tiered {
            // What intelligent tiering archived comes back for good, and takes no days.
            request = request.days(i32::try_from(thaw.days.unwrap_or(DAYS)).unwrap_or(i32::MAX));
        }
        let call = to!(self, restore_object)
            .key(what.key.as_str())
            .set_version_id(what.version.as_ref().map(|version| version.0.clone()))
            .restore_request(request.build());
        match call.send().await.map_err(Told::of) {
            Ok(_) => Ok(ThawState::Thawing),
            Err(told) if told.is("RestoreAlreadyInProgress") => Ok(ThawState::Thawing),
            Err(told) => Err(self.error(told, THAW, what.key.as_str())),
        }
    }
}

/// Whether it has to be thawed, and is not yet.
#[cfg(feature = "s3_versions")]
pub(super) fn is_frozen(found: &HeadObjectOutput) -> bool {
    is_archived(found) && !matches!(found.restore().and_then(state), Some(ThawState::Ready(_)))
}

/// By its class, or by the tier in which intelligent tiering put it.
fn is_archived(found: &HeadObjectOutput) -> bool {
    is_archive(found.storage_class().map(StorageClass::as_str)) || found.archive_status().is_some()
}

/// What the header says: `ongoing-request="false", expiry-date="Fri, 21 Dec 2026 00:00:00 GMT"`.
fn state(header: &str) -> Option<ThawState> {
    match attribute(header, "ongoing-request")? {
        "true" => Some(ThawState::Thawing),
        _ => Some(ThawState::Ready(until(header))),
    }
}

fn until(header: &str) -> Option<Timestamp> {
    DateTime::from_str(attribute(header, "expiry-date")?, Format::HttpDate).ok().and_then(time)
}

fn attribute<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(&format!("{name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_progress_is_read_off_the_header() {
        assert_eq!(state("ongoing-request=\"true\""), Some(ThawState::Thawing));
        let until = "2026-12-21T00:00:00Z".parse().unwrap();
        let done = "ongoing-request=\"false\", expiry-date=\"Mon, 21 Dec 2026 00:00:00 GMT\"";
        assert_eq!(state(done), Some(ThawState::Ready(Some(until))));
        assert_eq!(state("ongoing-request=\"false\""), Some(ThawState::Ready(None)));
        assert_eq!(state(""), None);
    }
}
