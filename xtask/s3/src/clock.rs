//! The server's own time.

use jiff::{SignedDuration, Timestamp};

/// The machine's time, and how far the server is from it.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// What everybody lived through, clients as well.
    pub(crate) passed: SignedDuration,
    /// By how much the server is ahead of its clients.
    pub(crate) skew: SignedDuration,
}

/// How far a client's time may be off.
const MAX_SKEW: SignedDuration = SignedDuration::from_mins(15);

impl Clock {
    /// Whole seconds, as S3 tells time.
    pub(crate) fn now(&self) -> Timestamp {
        let now = machine() + self.passed + self.skew;
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    }

    /// Whether a request may be signed at `signed`. A client may have seen of the time that [passed](Self::passed) all,
    /// some or nothing: nobody moves its clock, but the SDK learns the server's time from the answers.
    pub(crate) fn accepts(&self, signed: Timestamp) -> bool {
        let earliest = machine() + self.skew - MAX_SKEW;
        (earliest..=earliest + self.passed + MAX_SKEW + MAX_SKEW).contains(&signed)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "signatures are made with the machine's time, and this is what they are held against"
)]
fn machine() -> Timestamp {
    Timestamp::now()
}

/// S3's own type of a time, from ours.
pub(crate) fn to_s3(time: Timestamp) -> s3s::dto::Timestamp {
    std::time::SystemTime::from(time).into()
}

/// And back.
pub(crate) fn from_s3(time: &s3s::dto::Timestamp) -> Timestamp {
    let mut text = Vec::new();
    let written = time.format(s3s::dto::TimestampFormat::DateTime, &mut text);
    written.ok().and_then(|()| String::from_utf8(text).ok()).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// As in a `Date` header.
pub(crate) fn http_date(time: Timestamp) -> String {
    let mut text = Vec::new();
    let written = to_s3(time).format(s3s::dto::TimestampFormat::HttpDate, &mut text);
    written.ok().and_then(|()| String::from_utf8(text).ok()).unwrap_or_default()
}
