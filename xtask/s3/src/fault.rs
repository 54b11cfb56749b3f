//! Faults, and which calls meet them.

use std::time::Duration;

use crate::op::Op;

/// One way to go wrong, and when. Every call meets it until it is narrowed. Each fault counts the calls that it matches,
/// from 1; of those that apply to a call the first one given acts, and [delays](Fault::delay) add up beside it.
///
/// ```
/// use backstay_test_s3::{Fault, Op};
/// use std::time::Duration;
///
/// let busy = Fault::slow_down(Duration::from_secs(1)).on(Op::PutObject).under("items/").first(2);
/// let lost_answer = Fault::reset().done_first().on([Op::PutObject, Op::CompleteMultipartUpload]).nth(1);
/// # let _ = (busy, lost_answer);
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    pub(crate) what: What,
    operations: Vec<Op>,
    excepted: Vec<Op>,
    prefix: String,
    access_key: Option<String>,
    when: When,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// This instead of the call's own answer; the call is done before if so told.
    Answer {
        answer: Answer,
        done: bool,
    },
    /// The connection is reset instead of an answer.
    Reset {
        done: bool,
    },
    Delay(Duration),
    Hang {
        done: bool,
    },
    CutUpload(u64),
    CutDownload(u64),
    StallDownload(u64),
    TruncateDownload(u64),
    FlipUpload(u64),
    FlipDownload(u64),
    WrongChecksum,
    ShortPages(usize),
    IgnoreConditions,
    BusyObjects(usize),
}

/// An error as it goes over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// More elements of the body.
    pub(crate) elements: String,
}

#[derive(Clone, Debug)]
enum When {
    Always,
    Nth(u64),
    First(u64),
    From(u64),
}

/// What a fault looks at.
pub(crate) struct Call<'a> {
    pub(crate) op: Op,
    /// The key, or the prefix that a listing asks for.
    pub(crate) key: &'a str,
    pub(crate) access_key: &'a str,
}

/// What can go wrong.
impl Fault {
    fn new(what: What) -> Self {
        let (operations, excepted, prefix) = (Vec::new(), Vec::new(), String::new());
        Self { what, operations, excepted, prefix, access_key: None, when: When::Always }
    }

    /// The call fails with this status and the code that S3 has for it: 500 `InternalError`, 503 `SlowDown`, 409
    /// `ConditionalRequestConflict`, 412 `PreconditionFailed`, 403 `AccessDenied`, 404 `NoSuchKey`, 400 `InvalidRequest`.
    #[must_use]
    pub fn status(status: u16) -> Self {
        let code = match status {
            403 => "AccessDenied",
            404 => "NoSuchKey",
            409 => "ConditionalRequestConflict",
            412 => "PreconditionFailed",
            500 => "InternalError",
            501 => "NotImplemented",
            503 => "SlowDown",
            _ => "InvalidRequest",
        };
        Self::error(status, code)
    }

    /// The call fails so: `error(400, "KMS.DisabledException")`. A status of 200 is an error that comes after the head, as
    /// `CompleteMultipartUpload` and `CopyObject` do it.
    #[must_use]
    pub fn error(status: u16, code: impl Into<String>) -> Self {
        let answer = Answer { status, code: code.into(), headers: Vec::new(), elements: String::new() };
        Self::new(What::Answer { answer, done: false })
    }

    /// 503 `SlowDown` that asks to come again after this time.
    #[must_use]
    pub fn slow_down(wait: Duration) -> Self {
        Self::error(503, "SlowDown").header("retry-after", wait.as_secs().to_string())
    }

    /// The session token has expired.
    #[must_use]
    pub fn expired_token() -> Self {
        Self::error(400, "ExpiredToken")
    }

    /// The bucket is elsewhere: 301 `PermanentRedirect`, 307 `TemporaryRedirect`, with the region and an address.
    #[must_use]
    pub fn redirect(status: u16, region: &str, endpoint: &str) -> Self {
        let code = if status == 301 { "PermanentRedirect" } else { "TemporaryRedirect" };
        let mut fault = Self::error(status, code).header("x-amz-bucket-region", region.to_owned());
        if status != 301 {
            fault = fault.header("location", endpoint.to_owned());
        }
        if let What::Answer { answer, .. } = &mut fault.what {
            answer.elements = format!("<Endpoint>{endpoint}</Endpoint>");
        }
        fault
    }

    /// The connection is reset before the call is done.
    #[must_use]
    pub fn reset() -> Self {
        Self::new(What::Reset { done: false })
    }

    /// The call begins this much later. Other faults apply as well.
    #[must_use]
    pub fn delay(time: Duration) -> Self {
        Self::new(What::Delay(time))
    }

    /// The call is never answered.
    #[must_use]
    pub fn hang() -> Self {
        Self::new(What::Hang { done: false })
    }

    /// The connection is reset when this many bytes of the request's body have come; the call is not done.
    #[must_use]
    pub fn cut_upload(bytes: u64) -> Self {
        Self::new(What::CutUpload(bytes))
    }

    /// The connection is reset after this many bytes of the answer's body.
    #[must_use]
    pub fn cut_download(bytes: u64) -> Self {
        Self::new(What::CutDownload(bytes))
    }

    /// Nothing more comes after this many bytes of the answer's body, and the connection stays open.
    #[must_use]
    pub fn stall_download(bytes: u64) -> Self {
        Self::new(What::StallDownload(bytes))
    }

    /// The answer's body has only this many bytes, and its length says so: HTTP finds nothing wrong with it.
    #[must_use]
    pub fn truncate_download(bytes: u64) -> Self {
        Self::new(What::TruncateDownload(bytes))
    }

    /// The byte at this offset of the object or part comes in with its lowest bit flipped, before checksums are looked at.
    #[must_use]
    pub fn flip_upload(offset: u64) -> Self {
        Self::new(What::FlipUpload(offset))
    }

    /// The byte at this offset of the object goes out with its lowest bit flipped.
    #[must_use]
    pub fn flip_download(offset: u64) -> Self {
        Self::new(What::FlipDownload(offset))
    }

    /// The checksums in the headers of the answer are wrong.
    #[must_use]
    pub fn wrong_checksum() -> Self {
        Self::new(What::WrongChecksum)
    }

    /// A page of a listing has at most this many entries, and says that more follow.
    #[must_use]
    pub fn short_pages(entries: usize) -> Self {
        Self::new(What::ShortPages(entries))
    }

    /// `If-None-Match` and `If-Match` of a write are accepted and ignored, as by some servers that call themselves
    /// compatible.
    #[must_use]
    pub fn ignore_conditions() -> Self {
        Self::new(What::IgnoreConditions)
    }

    /// `DeleteObjects` does nothing to the first objects of a call, this many, and answers that it is busy with them.
    #[must_use]
    pub fn busy_objects(objects: usize) -> Self {
        Self::new(What::BusyObjects(objects))
    }

    /// The call is done, and only its answer is lost or replaced. For errors, [`reset`](Self::reset) and
    /// [`hang`](Self::hang).
    #[must_use]
    pub fn done_first(mut self) -> Self {
        match &mut self.what {
            What::Answer { done, .. } | What::Reset { done } | What::Hang { done } => *done = true,
            what => panic!("a call that meets {what:?} is done or not by its nature"),
        }
        self
    }

    fn header(mut self, name: &'static str, value: String) -> Self {
        if let What::Answer { answer, .. } = &mut self.what {
            answer.headers.push((name, value));
        }
        self
    }
}

/// Which calls.
impl Fault {
    /// Only these operations.
    #[must_use]
    pub fn on(mut self, operations: impl IntoIterator<Item = Op>) -> Self {
        self.operations.extend(operations);
        self
    }

    /// All but these operations.
    #[must_use]
    pub fn except(mut self, operations: impl IntoIterator<Item = Op>) -> Self {
        self.excepted.extend(operations);
        self
    }

    /// Only calls whose key, or whose prefix of a listing, begins so. `DeleteObjects` names its keys in the body and counts
    /// as a call without key.
    #[must_use]
    pub fn under(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Only calls of this access key.
    #[must_use]
    pub fn by(mut self, access_key: impl Into<String>) -> Self {
        self.access_key = Some(access_key.into());
        self
    }

    /// Only the `n`-th matching call, counted from 1.
    #[must_use]
    pub fn nth(mut self, n: u64) -> Self {
        self.when = When::Nth(n);
        self
    }

    /// Only the first `n` matching calls.
    #[must_use]
    pub fn first(mut self, n: u64) -> Self {
        self.when = When::First(n);
        self
    }

    /// The `n`-th matching call and all later ones.
    #[must_use]
    pub fn from(mut self, n: u64) -> Self {
        self.when = When::From(n);
        self
    }

    fn matches(&self, call: &Call<'_>) -> bool {
        (self.operations.is_empty() || self.operations.contains(&call.op))
            && !self.excepted.contains(&call.op)
            && call.key.starts_with(&self.prefix)
            && self.access_key.as_deref().is_none_or(|key| key == call.access_key)
    }
}

/// The faults of a server, each with the number of calls that it matched.
#[derive(Debug, Default)]
pub(crate) struct Script(Vec<(Fault, u64)>);

impl Script {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push((fault, 0));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// What a call meets, and how much later it begins. Faults see every call that they match, also where another acts.
    pub(crate) fn decide(&mut self, call: &Call<'_>) -> (Duration, Option<What>) {
        let (mut delay, mut found) = (Duration::ZERO, None);
        for (fault, count) in self.0.iter_mut().filter(|(fault, _)| fault.matches(call)) {
            *count += 1;
            let applies = match fault.when {
                When::Always => true,
                When::Nth(n) => *count == n,
                When::First(n) => *count <= n,
                When::From(n) => *count >= n,
            };
            match &fault.what {
                _ if !applies => {}
                What::Delay(time) => delay += *time,
                what => {
                    found.get_or_insert_with(|| what.clone());
                }
            }
        }
        (delay, found)
    }
}
