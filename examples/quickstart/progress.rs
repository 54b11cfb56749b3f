//! An observer of events: a bar on a terminal, nothing elsewhere (the story prints its own lines).

use std::time::Duration;

use backstay::{Event, Observer};
use indicatif::{ProgressBar, ProgressStyle};

/// Shows how many bytes passed.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new() -> Self {
        // Hidden by itself where standard error is no terminal.
        let bar = ProgressBar::no_length();
        let style = ProgressStyle::with_template("   {spinner} {bytes} {binary_bytes_per_sec} {msg}");
        bar.set_style(style.expect("a constant template"));
        Self(bar)
    }
}

impl Observer for Progress {
    fn event(&self, event: &Event) {
        match event {
            Event::BackupStarted { .. } => {
                self.0.reset();
                self.0.enable_steady_tick(Duration::from_millis(100));
            }
            Event::ItemProgress { bytes, item, .. } => {
                self.0.set_position(*bytes);
                self.0.set_message(item.clone());
            }
            Event::RestoreProgress { bytes, .. } => self.0.set_position(*bytes),
            Event::Warning { place, message } => self.0.println(format!("   note: {place}: {message}")),
            Event::Committed { .. } | Event::BackupFailed { .. } => self.0.finish_and_clear(),
            _ => {}
        }
    }
}
