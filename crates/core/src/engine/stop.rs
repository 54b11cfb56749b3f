//! Ending runs: by a dropped handle, by `shutdown`, by a signal.

use std::sync::Arc;

use tokio::sync::watch;

use crate::error::{Error, ErrorKind};

/// Tells a run to end. Dropping the sender tells it too.
#[derive(Debug)]
pub(crate) struct Stop(watch::Sender<Option<&'static str>>);

/// Hears of it.
#[derive(Clone, Debug)]
pub(crate) struct Stopped(watch::Receiver<Option<&'static str>>);

pub(crate) fn stop() -> (Stop, Stopped) {
    let (sender, receiver) = watch::channel(None);
    (Stop(sender), Stopped(receiver))
}

impl Stop {
    pub(crate) fn because(&self, reason: &'static str) {
        self.0.send_if_modified(|told| told.is_none().then(|| *told = Some(reason)).is_some());
    }
}

impl Stopped {
    /// Waits until the run is told to end; says why, as the error that the run ends with.
    pub(crate) async fn wait(&mut self) -> Error {
        let reason = match self.0.wait_for(Option::is_some).await {
            Ok(reason) => reason.unwrap_or("stopped"),
            Err(_) => "the run's handle was dropped",
        };
        Error::new(ErrorKind::Cancelled, reason)
    }
}

/// The runs of a program that are under way.
#[derive(Clone, Debug)]
pub(crate) struct Runs {
    /// Every run holds a receiver; when none is left, `closed` resolves.
    alive: Arc<watch::Sender<bool>>,
}

/// A run's membership in [`Runs`].
#[derive(Debug)]
pub(crate) struct Alive(watch::Receiver<bool>);

impl Runs {
    pub(crate) fn new() -> Self {
        Self { alive: Arc::new(watch::channel(false).0) }
    }

    /// Takes a run in; none once the program is shutting down.
    pub(crate) fn enter(&self) -> Option<Alive> {
        // A member first: a shutdown that begins now waits for it.
        let alive = Alive(self.alive.subscribe());
        let down = *alive.0.borrow();
        (!down).then_some(alive)
    }

    /// Tells all runs to end and waits until they did.
    pub(crate) async fn shutdown(&self) {
        self.alive.send_replace(true);
        self.alive.closed().await;
    }
}

impl Alive {
    /// Waits until the program shuts down or, if asked for, a signal to end arrives.
    pub(crate) async fn told_to_end(&mut self, signals: bool) -> &'static str {
        let shutdown = self.0.wait_for(|down| *down);
        tokio::select! {
            _ = shutdown => "the program is shutting down",
            name = signal(), if signals => name,
        }
    }
}

/// Waits for SIGTERM or SIGINT.
async fn signal() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let both = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = both else {
        tracing::warn!("signals cannot be heard here; the run ends only with its handle");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
