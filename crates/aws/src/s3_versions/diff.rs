//! What differs between two states, by names.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::state::{Instance, Output, State};

/// What differs between two states: which resources and outputs came, went or changed, and in which attributes.
///
/// It holds names only, for marks do not tell which values may be shown: Terraform marks the sensitive `input` of a
/// `terraform_data` and not its `output`, which is the same, and older releases left most of them unmarked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StateDiff {
    /// The serials of the two.
    pub serial: (u64, u64),
    /// Whether both are states of one lineage.
    pub same_lineage: bool,
    /// Addresses that only the second has.
    pub added: Vec<String>,
    /// Addresses that only the first has.
    pub removed: Vec<String>,
    /// Those that both have, where something differs.
    pub changed: Vec<ResourceChange>,
    /// Outputs that came, went or changed.
    pub outputs: Vec<OutputChange>,
}

/// One instance of a resource that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ResourceChange {
    /// Its address.
    pub address: String,
    /// The attributes that differ, of those that it has at the top.
    pub attributes: Vec<Changed>,
    /// What else the file says of it that differs: `status`, `dependencies`, `provider`.
    pub fields: Vec<String>,
}

/// An attribute that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Changed {
    /// Its name.
    pub name: String,
    /// Whether either state marks it, or a part of it, as sensitive.
    pub sensitive: bool,
}

/// An output that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OutputChange {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub change: Change,
    /// Whether either state marks it as sensitive.
    pub sensitive: bool,
}

/// What became of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// Only the second state has it.
    Added,
    /// Only the first has it.
    Removed,
    /// Both have it.
    Changed,
}

impl StateDiff {
    pub(super) fn between(a: &State, b: &State) -> Self {
        let only = |of: &State, other: &State| {
            of.instances.keys().filter(|address| !other.instances.contains_key(*address)).cloned().collect()
        };
        let both = a.instances.iter().filter_map(|(address, old)| Some((address, old, b.instances.get(address)?)));
        Self {
            serial: (a.serial(), b.serial()),
            same_lineage: a.lineage() == b.lineage(),
            added: only(b, a),
            removed: only(a, b),
            changed: both.filter(|(_, old, new)| old != new).map(|(at, old, new)| change(at, old, new)).collect(),
            outputs: outputs(&a.outputs, &b.outputs),
        }
    }

    /// Whether the two are one state: serial, lineage and content.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.serial.0 == self.serial.1 && self.same_lineage && self.is_same_content()
    }

    /// Whether resources and outputs are the same.
    #[must_use]
    pub fn is_same_content(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty() && self.outputs.is_empty()
    }
}

fn change(address: &str, old: &Instance, new: &Instance) -> ResourceChange {
    let marked = |name: &String| old.sensitive.contains(name) || new.sensitive.contains(name);
    let attributes = names(&old.attributes, &new.attributes)
        .into_iter()
        .map(|name| Changed { sensitive: marked(&name), name })
        .collect();
    let mut fields = names(&old.rest, &new.rest);
    if old.sensitive != new.sensitive {
        fields.push("sensitive_attributes".to_owned());
    }
    ResourceChange { address: address.to_owned(), attributes, fields }
}

/// The names under which the two have something different.
fn names(old: &Map<String, Value>, new: &Map<String, Value>) -> Vec<String> {
    let mut names: Vec<String> =
        old.keys().chain(new.keys()).filter(|name| old.get(*name) != new.get(*name)).cloned().collect();
    names.sort();
    names.dedup();
    names
}

fn outputs(old: &BTreeMap<String, Output>, new: &BTreeMap<String, Output>) -> Vec<OutputChange> {
    let mut names: Vec<&String> =
        old.keys().chain(new.keys()).filter(|name| old.get(*name) != new.get(*name)).collect();
    names.sort();
    names.dedup();
    let told = |name: &String| {
        let (old, new) = (old.get(name), new.get(name));
        let change = match (old, new) {
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
            _ => Change::Changed,
        };
        let sensitive = old.into_iter().chain(new).any(|output| output.sensitive);
        OutputChange { name: name.clone(), change, sensitive }
    };
    names.into_iter().map(told).collect()
}

impl fmt::Display for StateDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "serial {} -> {}", self.serial.0, self.serial.1)?;
        if !self.same_lineage {
            f.write_str(", of another lineage")?;
        }
        if self.is_same_content() {
            return f.write_str(", the same resources and outputs");
        }
        for address in &self.added {
            write!(f, "\n  + {address}")?;
        }
        for address in &self.removed {
            write!(f, "\n  - {address}")?;
        }
        for change in &self.changed {
            write!(f, "\n  ~ {}: ", change.address)?;
            let attributes = change.attributes.iter().map(|changed| marked(&changed.name, changed.sensitive));
            let names: Vec<String> = attributes.chain(change.fields.iter().cloned()).collect();
            f.write_str(&names.join(", "))?;
        }
        for output in &self.outputs {
            let sign = match output.change {
                Change::Added => '+',
                Change::Removed => '-',
                Change::Changed => '~',
            };
            write!(f, "\n  {sign} output {}", marked(&output.name, output.sensitive))?;
        }
        Ok(())
    }
}

fn marked(name: &str, sensitive: bool) -> String {
    format!("{name}{}", if sensitive { " (sensitive)" } else { "" })
}
