//! A Terraform state file, format version 4, as Terraform and OpenTofu write it.

use std::collections::BTreeMap;
use std::fmt;

use backstay_core::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::diff::StateDiff;
use super::head::{StateHead, place};

/// The one version of the format that is known. Terraform 0.12 and newer write it.
const VERSION: u64 = 4;

/// A parsed state. Its values may be secrets, marked as such or not: none of them shows in `Debug` or in a
/// [difference](Self::diff), and errors tell places, not contents.
///
/// ```
/// use backstay_aws::s3_versions::State;
///
/// let text = br#"{"version": 4, "terraform_version": "1.11.4", "serial": 3, "lineage": "0b2c", "outputs": {}, "resources": [
///     {"mode": "managed", "type": "terraform_data", "name": "one", "provider": "", "instances": [{"attributes": {"input": 1}}]}
/// ]}"#;
/// let state = State::parse(text)?;
/// assert_eq!((state.serial(), state.lineage()), (3, "0b2c"));
/// assert_eq!(state.addresses().collect::<Vec<_>>(), ["terraform_data.one"]);
/// assert!(state.diff(&state).is_empty());
/// # Ok::<(), backstay_core::Error>(())
/// ```
#[derive(Clone)]
pub struct State {
    head: StateHead,
    serial: u64,
    lineage: String,
    pub(super) outputs: BTreeMap<String, Output>,
    /// By address.
    pub(super) instances: BTreeMap<String, Instance>,
}

/// The value of an output, and what is said of it.
#[derive(Clone, Deserialize, PartialEq)]
pub(super) struct Output {
    #[serde(default)]
    value: Value,
    #[serde(default, rename = "type")]
    kind: Value,
    #[serde(default)]
    pub(super) sensitive: bool,
}

/// One instance of a resource: what it is made of, and which of it is marked sensitive.
#[derive(Clone, PartialEq)]
pub(super) struct Instance {
    pub(super) attributes: Map<String, Value>,
    pub(super) sensitive: Vec<String>,
    /// Everything else that the file says of it, such as `status` of a tainted one.
    pub(super) rest: Map<String, Value>,
}

/// Fields that are not known are left alone.
#[derive(Deserialize)]
struct File {
    serial: u64,
    #[serde(default)]
    lineage: String,
    #[serde(default)]
    outputs: BTreeMap<String, Output>,
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default)]
    module: String,
    #[serde(default)]
    mode: String,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    provider: Value,
    #[serde(default)]
    instances: Vec<Map<String, Value>>,
}

impl State {
    /// The longest state that is read: 64 MiB. In memory it takes several times as much.
    pub const MAX_BYTES: u64 = 64 << 20;

    /// Reads a state.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) with line and column where it is none; [`Unsupported`](ErrorKind::Unsupported) for
    /// another version of the format, and for what OpenTofu encrypted; [`Exhausted`](ErrorKind::Exhausted) if it is longer
    /// than [`MAX_BYTES`](Self::MAX_BYTES).
    pub fn parse(text: &[u8]) -> Result<Self> {
        if text.len() as u64 > Self::MAX_BYTES {
            return Err(too_long(text.len() as u64));
        }
        let head = StateHead::of(text);
        if is_encrypted(text) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the state is encrypted: only serial and lineage can be seen",
            ));
        }
        match head.version {
            Some(VERSION) => {}
            Some(other) => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("a state of format version {other}, not {VERSION}"),
                )
                .advise("a newer Terraform rewrites an older state with the next apply"));
            }
            None => {
                return Err(Error::new(ErrorKind::Corrupt, "this is no Terraform state: it names no format version"));
            }
        }
        // The parser's own words may quote a value.
        let file: File = serde_json::from_slice(text).map_err(|error| {
            Error::new(ErrorKind::Corrupt, "this is no Terraform state of format version 4")
                .with("line", error.line())
                .with("column", error.column())
        })?;
        let mut instances = BTreeMap::new();
        for resource in file.resources {
            resource.into_instances(&mut instances);
        }
        Ok(Self { head, serial: file.serial, lineage: file.lineage, outputs: file.outputs, instances })
    }

    /// Counts the changes.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// What all states that came from each other share.
    #[must_use]
    pub fn lineage(&self) -> &str {
        &self.lineage
    }

    /// Serial, lineage and the release that wrote it.
    #[must_use]
    pub fn head(&self) -> &StateHead {
        &self.head
    }

    /// The addresses of all instances of resources, sorted: `module.net.aws_vpc.main`, `aws_instance.web[0]`.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.instances.keys().map(String::as_str)
    }

    /// The names of the outputs, sorted.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.outputs.keys().map(String::as_str)
    }

    /// Whether there is neither resource nor output: Terraform lets any state take the place of such a one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty() && self.instances.is_empty()
    }

    /// What differs in `other`, by names: no value is in it, marked sensitive or not.
    #[must_use]
    pub fn diff(&self, other: &Self) -> StateDiff {
        StateDiff::between(self, other)
    }
}

impl Resource {
    fn into_instances(self, into: &mut BTreeMap<String, Instance>) {
        let mut address = String::new();
        for part in [self.module.as_str(), if self.mode == "data" { "data" } else { "" }, &self.kind, &self.name] {
            if !part.is_empty() {
                address.push_str(if address.is_empty() { "" } else { "." });
                address.push_str(part);
            }
        }
        for mut fields in self.instances {
            let mut address = address.clone();
            if let Some(key @ (Value::Number(_) | Value::String(_))) = fields.remove("index_key") {
                address.push_str(&format!("[{key}]"));
            }
            if let Some(Value::String(deposed)) = fields.remove("deposed") {
                address.push_str(&format!(" (deposed {deposed})"));
            }
            let mut attributes = Map::new();
            for name in ["attributes_flat", "attributes"] {
                if let Some(Value::Object(found)) = fields.remove(name) {
                    attributes.extend(found);
                }
            }
            let sensitive = fields.remove("sensitive_attributes").as_ref().map(first_steps).unwrap_or_default();
            fields.insert("provider".to_owned(), self.provider.clone());
            into.insert(address, Instance { attributes, sensitive, rest: fields });
        }
    }
}

/// The attributes that the paths of `sensitive_attributes` begin with.
fn first_steps(paths: &Value) -> Vec<String> {
    let paths = paths.as_array().map(Vec::as_slice).unwrap_or_default();
    let step = |path: &Value| path.get(0)?.get("value")?.as_str().map(str::to_owned);
    let mut steps: Vec<String> = paths.iter().filter_map(step).collect();
    steps.sort();
    steps.dedup();
    steps
}

/// Whether OpenTofu encrypted it: then only serial and lineage are in the clear.
pub(super) fn is_encrypted(text: &[u8]) -> bool {
    place(text, "encrypted_data").is_some()
}

pub(super) fn too_long(bytes: u64) -> Error {
    Error::new(ErrorKind::Exhausted, "the state is too long to be read")
        .with("bytes", bytes)
        .with("most", State::MAX_BYTES)
}

/// The same state with another serial; every other byte stays.
pub(super) fn with_serial(text: &[u8], serial: u64) -> Result<Vec<u8>> {
    let state = State::parse(text).map_err(|error| error.operation("raise the serial"))?;
    let at = place(text, "serial").ok_or_else(|| Error::new(ErrorKind::Corrupt, "the state has no serial"))?;
    let text = [&text[..at.start], serial.to_string().as_bytes(), &text[at.end..]].concat();
    let raised = State::parse(&text)?;
    if raised.serial != serial || !state.diff(&raised).is_same_content() {
        return Err(Error::new(ErrorKind::Corrupt, "the state's serial cannot be told from the rest of it"));
    }
    Ok(text)
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("serial", &self.serial)
            .field("lineage", &self.lineage)
            .field("resources", &self.instances.len())
            .field("outputs", &self.outputs.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
