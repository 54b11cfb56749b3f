//! Remembers the events of an act and leaves its end in the vault's history.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::{Clock, timeout};
use crate::error::{Error, Result};
use crate::event::{Event, Observers};
use crate::name::{Name, RunId};
use crate::vault::Purpose;
use crate::vault::Vault;
use crate::vault::history::{Act, HistoryEntry, HistoryRecord, LogLine, Logged};

/// So many events are kept, the last ones: how it ended says more than how it began.
const KEPT: usize = 10_000;

/// An act is over when it is over: its history must not keep it for longer than this.
const PATIENCE: Duration = Duration::from_secs(60);

/// The log of one act.
pub(crate) struct ActLog {
    vault: Vault,
    source: Name,
    entry: HistoryEntry,
    started: Timestamp,
    began: Duration,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<LogLine>,
    left_out: u64,
}

impl Kept {
    fn push(&mut self, clock: &dyn Clock, what: Logged) {
        if self.lines.len() == KEPT {
            self.lines.pop_front();
            self.left_out += 1;
        }
        self.lines.push_back(LogLine { at: clock.now(), what });
    }
}

impl ActLog {
    pub(crate) fn begin(vault: &Vault, source: Name, id: RunId, act: Act) -> Self {
        let (started, began) = (vault.clock().now(), vault.clock().monotonic());
        let entry = HistoryEntry { id, act };
        Self { vault: vault.clone(), source, entry, started, began, kept: Arc::default() }
    }

    /// Those observers, and this log.
    pub(crate) fn with(&self, observers: &Observers) -> Observers {
        let (kept, clock) = (self.kept.clone(), self.vault.clock().clone());
        let mut observers = observers.clone();
        observers.add(move |event: &Event| {
            if !matches!(event, Event::ItemProgress { .. } | Event::RestoreProgress { .. }) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push(&*clock, Logged::Event(event.clone()));
            }
        });
        observers
    }

    /// Adds a line that is no event.
    pub(crate) fn note(&self, what: Logged) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(&**self.vault.clock(), what);
    }

    /// How long the act took so far.
    pub(crate) fn took(&self) -> Duration {
        self.vault.clock().monotonic().saturating_sub(self.began)
    }

    /// Stores how the act ended. Whatever goes wrong with that is no more than logged. `says` fills in what the act alone
    /// knows.
    pub(crate) async fn end(&self, error: Option<&Error>, says: impl FnOnce(&mut HistoryRecord)) {
        if self.vault.signer(Purpose::History).is_err() {
            tracing::debug!(id = %self.entry.id, "the vault was opened without the right to write history");
            return;
        }
        if let Err(error) = timeout(&**self.vault.clock(), PATIENCE, self.store(error, says)).await {
            tracing::warn!(act = %self.entry.act, id = %self.entry.id, %error, "the history could not be written");
        }
    }

    async fn store(&self, error: Option<&Error>, says: impl FnOnce(&mut HistoryRecord)) -> Result<()> {
        let clock = self.vault.clock();
        let (lines, left_out) = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(error) = error {
                kept.push(&**clock, Logged::Error(error.with_causes()));
            }
            (Vec::from(std::mem::take(&mut kept.lines)), kept.left_out)
        };
        let history = self.vault.history(self.source.clone());
        // Without an epoch there is no log: better none than one that anybody can read.
        let (epoch, log) = match self.vault.seals_to() {
            Ok(epoch) => (epoch.cloned(), Some(history.put_log(&self.entry, &lines).await?)),
            Err(_) => (None, None),
        };
        let mut record = HistoryRecord {
            vault: self.vault.id().clone(),
            source: self.source.clone(),
            entry: self.entry.clone(),
            tier: None,
            point: None,
            component: None,
            started: self.started,
            ended: clock.now(),
            took: self.took(),
            bytes: 0,
            error: error.map(|error| error.kind().to_string()),
            host: crate::engine::backup_run::host(),
            version: crate::engine::backup_run::VERSION.to_owned(),
            epoch,
            log,
            left_out,
        };
        says(&mut record);
        history.put(&record).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn of_too_many_events_the_last_ones_stay_and_the_others_are_counted() {
        let mut kept = Kept::default();
        for n in 0..KEPT + 7 {
            kept.push(&SystemClock, Logged::Error(n.to_string()));
        }
        assert_eq!((kept.lines.len(), kept.left_out), (KEPT, 7));
        assert_eq!(kept.lines[0].what, Logged::Error("7".into()));
    }
}
