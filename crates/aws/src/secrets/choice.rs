//! Which secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::read::Found;

/// Which secrets of a region: by name, by the beginning of the name, by tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretChoice {
    pub(super) names: BTreeSet<String>,
    pub(super) prefixes: Vec<String>,
    pub(super) tags: BTreeMap<String, String>,
    /// Nothing but the names, however few they are.
    only_names: bool,
}

impl SecretChoice {
    /// All of the region. Left out are those that another AWS service keeps for its own use, and replicas of other regions'
    /// secrets.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// These and no others; none at all if there are no names. Each must be there.
    #[must_use]
    pub fn names<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self { names: names.into_iter().map(Into::into).collect(), only_names: true, ..Self::default() }
    }

    /// Those whose names begin so.
    #[must_use]
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self { prefixes: vec![prefix.into()], ..Self::default() }
    }

    /// Those whose names begin so, too.
    #[must_use]
    pub fn or_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefixes.push(prefix.into());
        self
    }

    /// Of those chosen by prefix, or of all, only the ones with this tag. Said more than once, with each of the tags.
    #[must_use]
    pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// This one, too, whatever prefixes and tags say. It must be there.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.names.insert(name.into());
        self
    }

    /// Whether secrets have to be searched for.
    pub(super) fn searches(&self) -> bool {
        !self.only_names || !self.prefixes.is_empty() || !self.tags.is_empty()
    }

    /// Whether a secret that was found by searching is chosen, and not by its name.
    pub(super) fn takes(&self, found: &Found) -> bool {
        let begins = |prefix: &String| found.name.starts_with(prefix.as_str());
        (self.prefixes.is_empty() || self.prefixes.iter().any(begins))
            && self.tags.iter().all(|(name, value)| found.tags.get(name) == Some(value))
            && !self.names.contains(&found.name)
    }
}

impl fmt::Display for SecretChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return f.write_str("all secrets");
        }
        let mut parts = Vec::new();
        if self.searches() {
            let prefixes = self.prefixes.iter().map(|prefix| format!("{prefix}*"));
            let tags = self.tags.iter().map(|(name, value)| format!("tag {name}={value}"));
            let searched: Vec<_> = prefixes.chain(tags).collect();
            parts.push(if searched.is_empty() { "all".to_owned() } else { searched.join(" ") });
        }
        parts.extend((self.only_names || !self.names.is_empty()).then(|| format!("{} by name", self.names.len())));
        write!(f, "secrets: {}", parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_chosen_by_name_or_by_prefix_and_tags() {
        let found = |name: &str, team: &str| Found {
            name: name.to_owned(),
            tags: [("team".to_owned(), team.to_owned())].into(),
            ..Found::default()
        };
        let tagged = SecretChoice::prefix("prod/").or_prefix("stage/").tag("team", "a").name("prod/x");
        for (choice, name, team, takes) in [
            (SecretChoice::all(), "x", "", true),
            (SecretChoice::prefix("prod/"), "prod/db", "", true),
            (SecretChoice::prefix("prod/"), "product", "", false),
            (tagged.clone(), "stage/db", "a", true),
            (tagged.clone(), "stage/db", "b", false),
            // By name already.
            (tagged.clone(), "prod/x", "a", false),
        ] {
            assert_eq!(choice.takes(&found(name, team)), takes, "{choice}: {name} {team}");
        }
        assert!(tagged.searches() && !SecretChoice::names(["a"]).searches());
        // A list that happens to be empty is not everything, and one name more is not all others less.
        let (none, one_more) = (SecretChoice::names([""; 0]), SecretChoice::all().name("a"));
        assert!(!none.searches() && one_more.searches());
        assert_eq!(none.to_string(), "secrets: 0 by name");
        assert_eq!(one_more.to_string(), "secrets: all, 1 by name");
        assert_eq!(tagged.to_string(), "secrets: prod/* stage/* tag team=a, 1 by name");
    }
}
