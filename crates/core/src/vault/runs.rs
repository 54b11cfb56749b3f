//! Run records: which attempts began, and until when each of them may be alive.
//!
//! The records are not signed: whoever may create objects can plant them. So a record only ever prolongs a life. Every
//! bound in it that the store's own clock or the run's name can contradict is taken together with these, and the latest
//! counts; that a run ended is believed for nothing that deletes.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::name::{PointId, Tag};
use crate::store::{Key, ListEntry, ListOptions, ObjectMeta, Prefix, PutOptions};
use crate::vault::Vault;
use crate::vault::layout::{self, RunFile};
use crate::vault::settle::put_new;

/// A run and its attempts, as their records tell.
#[derive(Clone, Debug)]
pub(crate) struct RecordedRun {
    pub(crate) id: PointId,
    pub(crate) attempts: BTreeMap<Tag, Attempt>,
}

/// What the records of one attempt say.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// The latest of the times until which they let it live, the store's last word on when they came included.
    until: Timestamp,
    /// When the store got the latest of them.
    recorded: Timestamp,
    /// Whether one says that it ended.
    pub(crate) ended: bool,
    /// Their keys.
    pub(crate) records: Vec<Key>,
}

impl RecordedRun {
    /// A run of which no record is left.
    pub(crate) fn unrecorded(id: PointId) -> Self {
        Self { id, attempts: BTreeMap::new() }
    }

    /// From this time of the store's clock on the attempt is dead: after the time in its record's name, after what the
    /// longest run takes from the moment at which the store got the record, and as long after the run's ID.
    pub(crate) fn attempt_dead_from(&self, attempt: &Attempt, longest_run: Duration) -> Timestamp {
        let id = after(self.id.run.time(), longest_run);
        attempt.until.max(after(attempt.recorded, longest_run)).max(id)
    }

    /// From then on all its attempts are.
    pub(crate) fn dead_from(&self, longest_run: Duration) -> Timestamp {
        let attempts = self.attempts.values().map(|attempt| self.attempt_dead_from(attempt, longest_run));
        attempts.max().unwrap_or_else(|| after(self.id.run.time(), longest_run))
    }

    /// From then on nothing need remember the run: no writer is as late as that.
    pub(crate) fn forgotten_from(&self, longest_run: Duration) -> Timestamp {
        after(self.dead_from(longest_run), longest_run)
    }

    /// Records that claim a longer life than any run has, in words.
    pub(crate) fn absurd(&self, longest_run: Duration) -> impl Iterator<Item = String> + '_ {
        let claims = move |attempt: &&Attempt| attempt.until > after(attempt.recorded, longest_run.saturating_mul(2));
        self.attempts
            .values()
            .filter(claims)
            .flat_map(|attempt| attempt.records.first())
            .map(|key| format!("{key}: claims a longer life than any run has"))
    }
}

/// Lists run records under a prefix; and the keys there that are none.
pub(crate) async fn list_attempts(
    vault: &Vault,
    under: &Prefix,
) -> Result<(BTreeMap<PointId, RecordedRun>, Vec<String>)> {
    let (mut runs, mut strangers) = (BTreeMap::new(), Vec::new());
    let mut listing = vault.store().list(under, &ListOptions::default());
    while let Some(entry) = listing.next().await {
        let ListEntry::Object(meta) = entry? else { continue };
        let Some((id, tag, file)) = layout::parse_run_file(&meta.key) else {
            strangers.push(meta.key.to_string());
            continue;
        };
        let run = runs.entry(id.clone()).or_insert_with(|| RecordedRun::unrecorded(id));
        run.add(tag, file, meta);
    }
    Ok((runs, strangers))
}

impl RecordedRun {
    pub(crate) fn add(&mut self, tag: Tag, file: RunFile, meta: ObjectMeta) {
        let recorded = meta.last_modified;
        let (until, ended) = match file {
            RunFile::Began { until } => (until, false),
            RunFile::Ended => (recorded, true),
        };
        let attempt =
            self.attempts.entry(tag).or_insert_with(|| Attempt { until, recorded, ended, records: Vec::new() });
        attempt.until = attempt.until.max(until);
        attempt.recorded = attempt.recorded.max(recorded);
        attempt.ended |= ended;
        attempt.records.push(meta.key);
    }
}

impl Vault {
    /// Records how an attempt ended, for whoever would adopt it. That another process has recorded it is as good.
    pub(crate) async fn record_run_end(&self, id: &PointId, attempt: &Tag, how: &str) -> Result<()> {
        #[derive(Serialize)]
        struct End<'a> {
            ended: Timestamp,
            error: &'a str,
        }
        let end = json(&End { ended: self.clock().now(), error: how })?;
        match put_new(self.store(), &layout::run_ended(id, attempt)?, end, &PutOptions::default()).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            other => other.map(drop),
        }
    }
}

/// A record as it is stored.
pub(crate) fn json(record: &impl Serialize) -> Result<Bytes> {
    serde_json::to_vec_pretty(record)
        .map(Bytes::from)
        .map_err(|error| Error::new(ErrorKind::Other, "a record cannot be written as JSON").because(error))
}

/// A later time; the end of time if there is none.
pub(crate) fn after(time: Timestamp, span: Duration) -> Timestamp {
    let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
    time.saturating_add(span).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// A run of the 20th, with records that say `until` and came at `recorded`.
    fn run(records: &[(RunFile, &str)]) -> RecordedRun {
        let mut run = RecordedRun::unrecorded("prod-eu/daily/20261120t064200z-abcdefgh".parse().unwrap());
        for (file, recorded) in records {
            let meta = ObjectMeta::new("runs/x".parse().unwrap(), 1, at(recorded));
            run.add("hgfedcba".parse().unwrap(), *file, meta);
        }
        run
    }

    #[test]
    fn the_latest_bound_counts_whoever_says_it() {
        let began = |until: &str| RunFile::Began { until: at(until) };
        let (honest, past) = (began("2026-11-27T06:42:00Z"), began("2020-01-01T00:00:00Z"));
        for (records, expected) in [
            (vec![(honest, "2026-11-20T06:42:00Z")], "2026-11-27T06:42:00Z"),
            // A deadline in the past shortens nothing: neither that of the same record nor that of an earlier one.
            (vec![(past, "2026-11-20T06:42:00Z")], "2026-11-27T06:42:00Z"),
            (vec![(honest, "2026-11-20T06:42:00Z"), (past, "2019-01-01T00:00:00Z")], "2026-11-27T06:42:00Z"),
            // A writer whose clock is a year behind, and one that lives longer than we think.
            (vec![(past, "2027-11-20T06:42:00Z")], "2027-11-27T06:42:00Z"),
            (vec![(began("2026-12-20T06:42:00Z"), "2026-11-20T06:42:00Z")], "2026-12-20T06:42:00Z"),
            // The ID is the latest: a clock that is ahead.
            (vec![(past, "2025-11-20T06:42:00Z")], "2026-11-27T06:42:00Z"),
            // That it ended is believed for nothing.
            (vec![(honest, "2026-11-20T06:42:00Z"), (RunFile::Ended, "2026-11-20T06:50:00Z")], "2026-11-27T06:50:00Z"),
        ] {
            let run = run(&records);
            assert_eq!(run.dead_from(LONGEST), at(expected), "{records:?}");
            assert_eq!(run.forgotten_from(LONGEST), after(at(expected), LONGEST));
        }
    }

    #[test]
    fn a_life_that_no_run_has_is_told() {
        let began = |until: &str| RunFile::Began { until: at(until) };
        assert_eq!(run(&[(began("2026-11-28T06:42:00Z"), "2026-11-20T06:42:00Z")]).absurd(LONGEST).count(), 0);
        let forged = run(&[(began("9999-11-28T06:42:00Z"), "2026-11-20T06:42:00Z")]);
        assert_eq!(forged.absurd(LONGEST).count(), 1);
        assert_eq!(forged.forgotten_from(1000 * 365 * DAY), Timestamp::MAX);
    }
}
