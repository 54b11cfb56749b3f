//! Which resources of a platform are meant.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Chooses resources by id, tag or label. All given conditions must hold; an empty selector chooses nothing.
///
/// ```
/// use backstay_core::source::Selector;
///
/// let selector = Selector::tag("backup", "true");
/// assert!(selector.matches("vol-1", &[("backup", "true")]));
/// assert!(!selector.matches("vol-2", &[]));
/// assert_eq!(selector.to_string(), "backup=true");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Selector {
    /// One of these ids.
    pub ids: Vec<String>,
    /// Every one of these tags or labels, with this value.
    pub tags: BTreeMap<String, String>,
}

impl Selector {
    /// The resource with this id.
    #[must_use]
    pub fn id(id: impl Into<String>) -> Self {
        Self { ids: vec![id.into()], ..Self::default() }
    }

    /// Resources that bear this tag or label with this value.
    #[must_use]
    pub fn tag(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { tags: BTreeMap::from([(name.into(), value.into())]), ..Self::default() }
    }

    /// Whether a resource is chosen.
    #[must_use]
    pub fn matches(&self, id: &str, tags: &[(&str, &str)]) -> bool {
        let id_fits = self.ids.is_empty() || self.ids.iter().any(|wanted| wanted == id);
        let tags_fit = self.tags.iter().all(|(name, value)| tags.contains(&(name.as_str(), value.as_str())));
        *self != Self::default() && id_fits && tags_fit
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return f.write_str("nothing");
        }
        let ids = (!self.ids.is_empty()).then(|| format!("id {}", self.ids.join(" or ")));
        let tags = self.tags.iter().map(|(name, value)| format!("{name}={value}"));
        f.write_str(&ids.into_iter().chain(tags).collect::<Vec<_>>().join(" and "))
    }
}
