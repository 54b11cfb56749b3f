//! What a program logs, kept to be searched.

use std::io::Write;
use std::sync::{Arc, Mutex};

/// Everything that is logged.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    pub fn subscriber(&self) -> impl tracing::Subscriber + Send + Sync + 'static {
        let lines = self.clone();
        let writer = move || Line(lines.clone());
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(writer).finish()
    }

    pub fn text(&self) -> String {
        self.0.lock().expect("no panic").concat()
    }
}

struct Line(Lines);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.0.lock().expect("no panic").push(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
