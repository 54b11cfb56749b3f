//! The one error of the library: what happened, where, and what to do next.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it is; what a program may branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The thing named does not exist.
    NotFound,
    /// It exists and was to be created.
    AlreadyExists,
    /// A condition on the present state did not hold.
    Conflict,
    /// The credential lacks a right; the message names it.
    Denied,
    /// The other side asks for fewer calls; wait and try again.
    Throttled,
    /// The other side cannot be reached or fails for now.
    Unavailable,
    /// No answer in time. The act may have happened.
    Timeout,
    /// The caller, a signal or a dropped handle ended the work.
    Cancelled,
    /// Bytes are not what they were written as.
    Corrupt,
    /// A signature is missing, wrong, expired or not trusted for this.
    Untrusted,
    /// The input cannot be right, whatever the state of the world.
    Invalid,
    /// Part of the work succeeded and is kept; see [`Error::payload`].
    Partial,
    /// A hold or an object lock forbids it.
    Locked,
    /// The object must be thawed from an archive class first.
    Archived,
    /// Space, quota or a budget is used up.
    Exhausted,
    /// A guard refuses: doing it could lose data. The message names the way on.
    Refused,
    /// Another act holds the thing.
    Busy,
    /// The backend cannot do this.
    Unsupported,
    /// None of the above.
    Other,
}

impl ErrorKind {
    /// Whether it may pass by itself, whoever tried however often: the other side is busy, away or silent.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Throttled | Self::Unavailable | Self::Timeout)
    }

    /// Whether an act over many things ends by it, and does not go on to the next: all of them would fail so.
    pub(crate) fn ends_all(self) -> bool {
        self.is_transient() || self == Self::Cancelled
    }

    /// Whether a write that failed so may have been carried out all the same: its answer was lost, or nobody understood it.
    #[must_use]
    pub fn is_unsure(self) -> bool {
        self.is_transient() || self == Self::Other
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::NotFound => "not found",
            Self::AlreadyExists => "already exists",
            Self::Conflict => "conflict",
            Self::Denied => "denied",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timed out",
            Self::Cancelled => "cancelled",
            Self::Corrupt => "corrupt",
            Self::Untrusted => "untrusted",
            Self::Invalid => "invalid",
            Self::Partial => "partial",
            Self::Locked => "locked",
            Self::Archived => "archived",
            Self::Exhausted => "exhausted",
            Self::Refused => "refused",
            Self::Busy => "busy",
            Self::Unsupported => "unsupported",
            Self::Other => "failed",
        };
        f.write_str(text)
    }
}

/// A failure. `Display` says what, where and what to do, on one line, and leaves out [`source`](StdError::source).
///
/// ```
/// use backstay_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::NotFound, "no such object")
///     .operation("get")
///     .with("key", "points/prod/daily/x.json")
///     .advise("list the tier to see which points exist");
/// assert_eq!(
///     error.to_string(),
///     "get: no such object (key: points/prod/daily/x.json); list the tier to see which points exist"
/// );
/// assert!(!error.is_retryable());
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    operation: Option<&'static str>,
    context: Vec<(&'static str, String)>,
    advice: Option<Cow<'static, str>>,
    retry_after: Option<Duration>,
    final_: bool,
    payload: Option<Box<dyn Any + Send + Sync>>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A failure of `kind`; `message` says what happened, in lower case and without a full stop.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            operation: None,
            context: Vec::new(),
            advice: None,
            retry_after: None,
            final_: false,
            payload: None,
            source: None,
        }))
    }

    /// Names the operation that failed. The innermost name stays.
    #[must_use]
    pub fn operation(mut self, name: &'static str) -> Self {
        self.0.operation.get_or_insert(name);
        self
    }

    /// Adds where it happened. The first value of a name stays.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        if !self.0.context.iter().any(|(n, _)| *n == name) {
            self.0.context.push((name, value.to_string()));
        }
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<Cow<'static, str>>) -> Self {
        self.0.advice = Some(advice.into());
        self
    }

    /// Keeps the cause for [`source`](StdError::source).
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The other side named a time to wait.
    #[must_use]
    pub fn wait(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// Marks that retries were spent: an outer loop must not start over.
    #[must_use]
    pub fn no_more_retries(mut self) -> Self {
        self.0.final_ = true;
        self
    }

    /// Gives the report of what was done all the same along with the error.
    #[must_use]
    pub fn with_payload(mut self, report: impl Any + Send + Sync) -> Self {
        self.0.payload = Some(Box::new(report));
        self
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// As `Display`, and after it the causes, on one line.
    ///
    /// ```
    /// use backstay_core::{Error, ErrorKind};
    ///
    /// let error = Error::new(ErrorKind::Other, "the file cannot be read").because(std::io::Error::other("disk on fire"));
    /// assert_eq!(error.with_causes(), "the file cannot be read: disk on fire");
    /// ```
    #[must_use]
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = StdError::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }

    /// Whether to make the same call again: it may succeed without anybody changing anything, and its retries are not spent.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        !self.0.final_ && self.0.kind.is_transient()
    }

    /// How long the other side asked to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The message alone, without place and advice.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// One value of the context, such as `key` or `component`.
    #[must_use]
    pub fn context(&self, name: &str) -> Option<&str> {
        self.0.context.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
    }

    /// The report that came with the error, if it is of this type: a `BackupReport` with a partial point, a
    /// `VerifyReport` with damage, and so on; each operation says.
    #[must_use]
    pub fn payload<T: 'static>(&self) -> Option<&T> {
        self.0.payload.as_ref()?.downcast_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(operation) = self.0.operation {
            write!(f, "{operation}: ")?;
        }
        f.write_str(&self.0.message)?;
        for (i, (name, value)) in self.0.context.iter().enumerate() {
            let separator = if i == 0 { " (" } else { ", " };
            write!(f, "{separator}{name}: {}", value.escape_debug())?;
        }
        if !self.0.context.is_empty() {
            f.write_str(")")?;
        }
        if let Some(advice) = &self.0.advice {
            write!(f, "; {advice}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)?;
        let mut source = self.source();
        while let Some(cause) = source {
            write!(f, "\n  caused by: {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|s| s as &(dyn StdError + 'static))
    }
}
