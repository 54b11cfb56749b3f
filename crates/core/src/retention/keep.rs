//! The built-in policy: so many per hour, day, week, month, year, and all within a span.

use std::fmt;

use jiff::civil::date;
use jiff::{Span, Unit};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::retention::AnyOf;
use crate::retention::policy::RetentionPolicy;

/// Begins [`KeepRules`]: `Keep::daily(30).weekly(8).monthly(12)`.
///
/// ```
/// use backstay_core::retention::Keep;
/// use jiff::ToSpan;
///
/// let rules = Keep::daily(30).weekly(8).within(14.days()).at_least(3);
/// assert_eq!(rules.to_string(), "daily 30, weekly 8, within 14d, at least 3");
/// ```
#[derive(Debug)]
pub enum Keep {}

/// What a tier keeps. The rules add up: a point that any of them keeps stays.
///
/// * Only complete points fill slots. A *slot* is an hour, day, ISO week (Monday first), month or year that has a
///   complete point; its newest one fills it. Slots without a point are not counted: a week of failed runs pushes
///   nothing out.
/// * Days and longer are those of the local calendar, however many hours a day has. An hour that the clock shows twice
///   is two hours.
/// * A partial point fills no slot. It stays while no newer complete point exists or while it is [within](Self::within).
/// * A doubtful point and one whose time lies ahead always stay, and fill no slot.
///
/// Read from configuration as a table; unknown fields are errors:
///
/// ```
/// use backstay_core::retention::KeepRules;
///
/// let rules: KeepRules = serde_json::from_str(r#"{ "daily": 30, "within": "14d" }"#)?;
/// assert_eq!(rules.to_string(), "daily 30, within 14d");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeepRules {
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "field::last")]
    pub(super) last: u32,
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "field::hourly")]
    pub(super) hourly: u32,
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "field::daily")]
    pub(super) daily: u32,
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "field::weekly")]
    pub(super) weekly: u32,
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "field::monthly")]
    pub(super) monthly: u32,
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "field::yearly")]
    pub(super) yearly: u32,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "field::within",
        serialize_with = "jiff::fmt::serde::span::friendly::compact::optional"
    )]
    pub(super) within: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "field::at_least")]
    pub(super) at_least: Option<u32>,
}

/// Each rule is a constructor of [`Keep`] and a method of [`KeepRules`]; Rust has no function that is both.
macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident($argument:ident: $type:ty) = $value:expr;)*) => {
        impl Keep {$(
            $(#[$doc])*
            #[must_use]
            pub fn $name($argument: $type) -> KeepRules {
                KeepRules::default().$name($argument)
            }
        )*}

        impl KeepRules {$(
            $(#[$doc])*
            #[must_use]
            pub fn $name(mut self, $argument: $type) -> Self {
                self.$name = $value;
                self
            }
        )*}
    };
}

rules! {
    /// The newest `n` complete points.
    last(n: u32) = n;
    /// The newest complete point of each of the newest `n` hours that have one.
    hourly(n: u32) = n;
    /// The newest complete point of each of the newest `n` days that have one.
    daily(n: u32) = n;
    /// The newest complete point of each of the newest `n` ISO weeks that have one.
    weekly(n: u32) = n;
    /// The newest complete point of each of the newest `n` months that have one.
    monthly(n: u32) = n;
    /// The newest complete point of each of the newest `n` years that have one.
    yearly(n: u32) = n;
    /// Every point, partial ones too, that is not older than `span`, counted back on the local calendar: a day may have
    /// 23 hours and a month 28 days.
    within(span: Span) = Some(span);
    /// Never fewer than `n` complete points: the newest of those that the other rules let go fill up.
    at_least(n: u32) = Some(n);
}

impl KeepRules {
    /// Keeps also what `policy` keeps.
    #[must_use]
    pub fn and(self, policy: impl RetentionPolicy) -> AnyOf {
        AnyOf::default().and(self).and(policy)
    }

    /// Whether no rule keeps anything. Such rules are a mistake; they let nothing go.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let spans = self.within.is_some_and(Span::is_positive);
        self.slots().iter().all(|(_, n)| *n == 0) && !spans && self.at_least.unwrap_or(0) == 0
    }

    /// Everything that is wrong with these rules: that there are none, a minimum of zero, a span that is not positive.
    #[must_use]
    pub fn problems(&self) -> Vec<Error> {
        let invalid =
            |field, message, advice| Error::new(ErrorKind::Invalid, message).with("field", field).advise(advice);
        let mut problems = Vec::new();
        if self.is_empty() {
            let accepted = "set one of last, hourly, daily, weekly, monthly, yearly, within, at_least";
            problems.push(invalid("keep", "it does not say what to keep", accepted));
        }
        if self.at_least == Some(0) {
            problems.push(invalid("keep.at_least", "a minimum of zero is none", "set 1 or more, or leave it out"));
        }
        if self.within.is_some_and(|span| !span.is_positive()) {
            problems.push(invalid("keep.within", "the span is not positive", "set one such as 14d"));
        }
        problems
    }

    /// About how many days old a point is when a rule lets it go, of the rules that tell, each in its own words.
    pub(crate) fn lifetimes_in_days(&self) -> Vec<(String, f64)> {
        let counted = self.slots().into_iter().filter(|(_, n)| *n > 0);
        let counted = counted.filter_map(|(rule, n)| Some((format!("{rule} {n}"), rule.days()? * f64::from(n))));
        let within = self.within.and_then(|span| {
            // The year does not matter for "about".
            let days = span.total((Unit::Day, date(2026, 1, 1))).ok()?;
            Some((format!("within {span:#}"), days))
        });
        counted.chain(within).collect()
    }

    /// Whether a rule keeps points by their number alone, however old they get.
    pub(crate) fn is_ageless(&self) -> bool {
        self.last > 0 || self.at_least.is_some()
    }

    /// The rules that count, with their numbers.
    pub(super) fn slots(&self) -> [(Rule, u32); 6] {
        [
            (Rule::Last, self.last),
            (Rule::Hourly, self.hourly),
            (Rule::Daily, self.daily),
            (Rule::Weekly, self.weekly),
            (Rule::Monthly, self.monthly),
            (Rule::Yearly, self.yearly),
        ]
    }
}

impl fmt::Display for KeepRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots = self.slots().into_iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name} {n}"));
        let within = self.within.map(|span| format!("within {span:#}"));
        let at_least = self.at_least.map(|n| format!("at least {n}"));
        f.write_str(&slots.chain(within).chain(at_least).collect::<Vec<_>>().join(", "))
    }
}

/// A rule that counts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    Last,
    Hourly,
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

impl Rule {
    /// The width of a slot; none where it depends on how often points are made.
    fn days(self) -> Option<f64> {
        match self {
            Self::Last => None,
            Self::Hourly => Some(1.0 / 24.0),
            Self::Daily => Some(1.0),
            Self::Weekly => Some(7.0),
            Self::Monthly => Some(30.4),
            Self::Yearly => Some(365.25),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Last => "last",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

mod field {
    use jiff::Span;

    crate::field::named_fields! {
        last: u32, "a number of points";
        hourly: u32, "a number of hours";
        daily: u32, "a number of days";
        weekly: u32, "a number of weeks";
        monthly: u32, "a number of months";
        yearly: u32, "a number of years";
        within: Option<Span>, "a span such as \"14d\", \"6mo\" or \"P14D\"";
        at_least: Option<u32>, "a number of points";
    }
}
