//! What an answer tells beside what the SDK reads of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    AfterDeserializationInterceptorContextRef, BeforeDeserializationInterceptorContextRef,
    BeforeTransmitInterceptorContextRef,
};
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use jiff::Timestamp;

/// Listens to one call. Clones hear the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    attempts: u32,
    date: Option<Timestamp>,
    markers: Vec<bool>,
}

impl Answer {
    /// How often the call was made.
    pub(super) fn attempts(&self) -> u32 {
        self.heard().attempts
    }

    /// The time at the server when it answered.
    pub(super) fn date(&self) -> Option<Timestamp> {
        self.heard().date
    }

    /// For each line of a listing of versions whether it is a delete marker, in the order of the answer: the SDK gives the
    /// versions and the markers apart.
    pub(super) fn markers(&self) -> Vec<bool> {
        std::mem::take(&mut self.heard().markers)
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        // Nothing panics while it is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[dyn_dispatch_hint]
impl Intercept for Answer {
    fn name(&self) -> &'static str {
        "Answer"
    }

    fn read_before_attempt(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.heard().attempts += 1;
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        self.heard().date = date.and_then(|text| DateTime::from_str(text, Format::HttpDate).ok()).and_then(time);
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(body) = context.response().body().bytes() {
            self.heard().markers = kinds(body);
        }
        Ok(())
    }
}

/// In the order of an XML document, whether each line is a marker. What a key is named cannot look like an element: it is
/// escaped.
fn kinds(body: &[u8]) -> Vec<bool> {
    let mut kinds = Vec::new();
    let mut rest = body;
    while let Some(at) = rest.iter().position(|byte| *byte == b'<') {
        rest = &rest[at + 1..];
        if rest.starts_with(b"Version>") {
            kinds.push(false);
        } else if rest.starts_with(b"DeleteMarker>") {
            kinds.push(true);
        }
    }
    kinds
}

pub(super) fn time(time: DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_markers_keep_their_order() {
        let xml = b"<L><Version><Key>a&lt;DeleteMarker></Key></Version><DeleteMarker><Key>b</Key></DeleteMarker><Version/><Version></Version></L>";
        assert_eq!(kinds(xml), [false, true, false]);
        assert!(kinds(b"<L></L>").is_empty());
    }
}
