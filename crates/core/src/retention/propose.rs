//! How [`KeepRules`] propose: one pass over the points, newest first.

use jiff::{Timestamp, Zoned};

use crate::retention::calendar::{Calendar, Periods};
use crate::retention::keep::{KeepRules, Rule};
use crate::retention::policy::{Action, PointState, PointSummary, Proposal, RetentionPolicy};

impl RetentionPolicy for KeepRules {
    fn propose(&self, points: &[PointSummary], now: &Zoned) -> Vec<Proposal> {
        let reasons = if self.is_empty() {
            points.iter().map(|_| vec!["no rule is set".to_owned()]).collect()
        } else {
            self.reasons_to_keep(points, now)
        };
        let [complete, partial] = self.reasons_to_expire();
        let propose = |(point, reasons): (&PointSummary, Vec<String>)| {
            let (action, reasons) = match (reasons.is_empty(), point.state) {
                (false, _) => (Action::Keep, reasons),
                (true, PointState::Partial) => (Action::Expire, partial.clone()),
                (true, _) => (Action::Expire, complete.clone()),
            };
            Proposal::new(point.id.clone(), action, reasons)
        };
        points.iter().zip(reasons).map(propose).collect()
    }
}

impl KeepRules {
    /// For each point why it stays; nothing where no rule keeps it.
    fn reasons_to_keep(&self, points: &[PointSummary], now: &Zoned) -> Vec<Vec<String>> {
        let order = newest_first(points);
        let mut reasons = vec![Vec::new(); points.len()];
        let mut slots: Vec<Slots> = self.slots().into_iter().filter(|(_, n)| *n > 0).map(Slots::new).collect();
        // A span that reaches back before all time keeps everything.
        let within = self.within.map(|span| (span, now.checked_sub(span).map_or(Timestamp::MIN, |t| t.timestamp())));
        let mut calendar = Calendar::new(now.time_zone());
        let mut complete_seen = false;
        let mut kept = 0_u32;

        for &i in &order {
            let PointSummary { time, state, .. } = points[i];
            let why = &mut reasons[i];
            if state == PointState::Doubtful {
                why.push("doubtful: it waits for a person".to_owned());
                continue;
            }
            if time > now.timestamp() {
                why.push("its time lies in the future".to_owned());
                continue;
            }
            if state == PointState::Complete {
                let periods = calendar.periods(time);
                why.extend(slots.iter_mut().filter_map(|slots| slots.fill(periods, time, &calendar)));
            } else if !complete_seen {
                why.push("partial, and no newer point is complete".to_owned());
            }
            if let Some((span, _)) = within.filter(|(_, oldest)| time >= *oldest) {
                why.push(format!("within {span:#}"));
            }
            if state == PointState::Complete {
                complete_seen = true;
                kept = kept.saturating_add(u32::from(!why.is_empty()));
            }
        }
        if let Some(minimum) = self.at_least {
            let let_go = |i: &&usize| points[**i].state == PointState::Complete && reasons[**i].is_empty();
            let missing = minimum.saturating_sub(kept) as usize;
            for i in order.iter().filter(let_go).take(missing).copied().collect::<Vec<_>>() {
                reasons[i].push(format!("at least {minimum}"));
            }
        }
        reasons
    }

    /// Why a complete and a partial point go when no rule keeps them.
    fn reasons_to_expire(&self) -> [Vec<String>; 2] {
        let slots = Self { within: None, at_least: None, ..self.clone() };
        let slots = (!slots.is_empty()).then(|| format!("fills no slot of {slots}"));
        let age = self.within.map(|span| format!("older than {span:#}"));
        let minimum = self.at_least.map(|n| format!("at least {n} others stay"));
        let newer = Some("partial, and a newer point is complete".to_owned());
        [slots.into_iter().chain(age.clone()).chain(minimum).collect(), newer.into_iter().chain(age).collect()]
    }
}

/// Indices by time; of points of one moment the greater ID counts as newer.
fn newest_first(points: &[PointSummary]) -> Vec<usize> {
    let mut order: Vec<(Timestamp, usize)> = points.iter().enumerate().map(|(i, point)| (point.time, i)).collect();
    order.sort_unstable_by(|(a_time, a), (b_time, b)| {
        b_time.cmp(a_time).then_with(|| points[*b].id.cmp(&points[*a].id))
    });
    order.into_iter().map(|(_, i)| i).collect()
}

/// The slots of one rule, filled from the newest on.
struct Slots {
    rule: Rule,
    size: u32,
    filled: u32,
    /// The oldest period that is filled. Where clocks were set back over midnight a day can come up a second time.
    oldest: i64,
}

impl Slots {
    fn new((rule, size): (Rule, u32)) -> Self {
        Self { rule, size, filled: 0, oldest: i64::MAX }
    }

    /// Fills the next slot if the moment lies in a period of its own; says so in words.
    fn fill(&mut self, periods: Periods, time: Timestamp, calendar: &Calendar<'_>) -> Option<String> {
        let period = match self.rule {
            Rule::Last => self.oldest - 1,
            Rule::Hourly => periods.hour,
            Rule::Daily => periods.day,
            Rule::Weekly => periods.week,
            Rule::Monthly => periods.month,
            Rule::Yearly => periods.year,
        };
        if self.filled == self.size || period >= self.oldest {
            return None;
        }
        self.oldest = period;
        self.filled += 1;
        let Self { rule, size, filled, .. } = self;
        let (local, offset) = calendar.local(time);
        let date = local.date();
        let period = match rule {
            Rule::Last => String::new(),
            Rule::Hourly => format!(" ({date} {:02}h{offset})", local.hour()),
            Rule::Daily => format!(" ({date})"),
            Rule::Weekly => format!(" ({}-W{:02})", date.iso_week_date().year(), date.iso_week_date().week()),
            Rule::Monthly => format!(" ({}-{:02})", date.year(), date.month()),
            Rule::Yearly => format!(" ({})", date.year()),
        };
        Some(format!("{rule} {filled} of {size}{period}"))
    }
}
