//! Details: what only a reader with the key may know, one JSON object a line.

use serde::{Deserialize, Serialize};

use crate::digest::Blake3;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Limits;
use crate::name::Name;
use crate::source::{Facts, Problem};
use crate::store::Key;

/// One line of a point's details.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DetailLine {
    Item(ItemLine),
    Component(ComponentLine),
    Configuration(ConfigurationLine),
}

/// An item: its true name and what proves its content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ItemLine {
    pub(crate) component: Name,
    pub(crate) name: String,
    pub(crate) format: String,
    /// Plain length and digest.
    pub(crate) bytes: u64,
    pub(crate) blake3: Blake3,
    #[serde(default, skip_serializing_if = "Facts::is_empty")]
    pub(crate) facts: Facts,
    pub(crate) objects: Vec<StoredParts>,
}

/// A stored object and the digests of its 8 MiB parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredParts {
    pub(crate) key: Key,
    pub(crate) parts: Vec<Blake3>,
}

/// How a component's export went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ComponentLine {
    pub(crate) name: Name,
    #[serde(default, skip_serializing_if = "Facts::is_empty")]
    pub(crate) facts: Facts,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) problems: Vec<Problem>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// The configuration that made the point, without secrets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ConfigurationLine {
    pub(crate) version: String,
    pub(crate) host: String,
    pub(crate) components: Vec<ConfiguredComponent>,
    /// The hooks around them, as they display themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) hooks: Vec<String>,
    /// The tier: its scope, retention and objectives.
    pub(crate) tier: serde_json::Value,
    /// Names of the application's own retention policies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) policies: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limits: Option<Limits>,
    /// What was asked of this run alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) asked: Vec<String>,
}

/// A component as the program configured it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ConfiguredComponent {
    pub(crate) name: Name,
    pub(crate) kind: String,
    /// The exporter as it displays itself.
    pub(crate) exporter: String,
}

impl DetailLine {
    pub(crate) fn to_line(&self) -> Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)
            .map_err(|error| Error::new(ErrorKind::Other, "a detail cannot be written as JSON").because(error))?;
        line.push(b'\n');
        Ok(line)
    }

    pub(crate) fn parse(line: &[u8]) -> Result<Self> {
        serde_json::from_slice(line)
            .map_err(|error| Error::new(ErrorKind::Corrupt, format!("not a line of details: {error}")))
    }
}
