//! Facts: what a backend says about its work, kept with the point and given back to the importer.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};

/// Named values that a backend defines (row counts, a WAL position, a server's version). They rest sealed in the
/// point's details; a reader without the key sees none.
///
/// ```
/// use backstay_core::source::Facts;
///
/// let facts = Facts::new().with("files", 12);
/// assert_eq!(facts.get::<u64>("files")?, Some(12));
/// # Ok::<(), backstay_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Facts(BTreeMap<String, Value>);

impl Facts {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one. A value that JSON cannot hold (a map with keys that are no strings) is left out.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        if let Ok(value) = serde_json::to_value(value) {
            self.0.insert(name.into(), value);
        }
        self
    }

    /// Reads one; none if it is absent.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) if it is of another type.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let read = |value: &Value| T::deserialize(value);
        self.0.get(name).map(read).transpose().map_err(|error| {
            Error::new(ErrorKind::Invalid, "a fact is of another type").with("fact", name).because(error)
        })
    }

    /// Those of a document that is a JSON object.
    pub(crate) fn of(document: &impl Serialize) -> Result<Self> {
        let facts = serde_json::to_value(document).and_then(serde_json::from_value);
        facts.map_err(|error| Error::new(ErrorKind::Invalid, "the facts are no JSON object").because(error))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// As JSON, on one line.
impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        f.write_str(&json)
    }
}
