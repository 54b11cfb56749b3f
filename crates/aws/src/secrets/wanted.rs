//! What a secret of a backup becomes here: under which name, with which key, rotation and replicas.

use std::collections::BTreeMap;

use backstay_core::Blake3;

use super::document::{Document, Replica, Rotation, Version};
use super::restore::SecretsRestore;

/// A tag that a secret bears while it is being made.
pub(super) const UNFINISHED: &str = "backstay:unfinished";

/// A secret as it is to be here.
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) kms_key: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) policy: Option<String>,
    pub(super) rotation: Option<Rotation>,
    pub(super) replicas: Vec<Replica>,
    pub(super) versions: Vec<Version>,
    pub(super) bytes: u64,
    /// What is not as it was.
    pub(super) notes: Vec<String>,
    /// Why it cannot be restored here, if it cannot.
    pub(super) impossible: Option<String>,
    /// What tells its making from that of another one. Nothing of its values is in it: tags are not secret.
    pub(super) mark: String,
}

impl SecretsRestore {
    pub(super) fn wanted(&self, document: Document) -> Wanted {
        let manager = &self.manager;
        let (region, account) = (manager.region(), manager.account());
        let home = Arn::parse(&document.arn);
        let is_home = |arn: &Arn| arn.region == region && arn.account == account;
        let name = match self.names.get(&document.name) {
            Some(name) => name.clone(),
            None => format!("{}{}", self.prefix, document.name),
        };
        let mut notes = Vec::new();
        let mut note = |text: String| notes.push(format!("{name}: {text}"));
        let mut impossible = None;
        let kms_key = match (&document.kms_key, &self.kms_key) {
            (None, _) => None,
            (Some(_), Some(key)) => Some(key.clone()),
            (Some(key), None) => {
                let at = Arn::parse(key).or_else(|| home.filter(|_| !key.starts_with("alias/")));
                if let Some(at) = at.filter(|at| at.region != region) {
                    let what = "its key is not in this region: name one that is by `kms_key`";
                    impossible = Some(format!("{what} (key: {key}, region: {})", at.region));
                }
                Some(key.clone())
            }
        };
        let rotation =
            document.rotation.clone().filter(|rotation| rotation.enabled && self.rotation).filter(|rotation| {
                let function = rotation.function.as_deref();
                let here = function.and_then(Arn::parse).is_some_and(|arn| is_home(&arn));
                if !here {
                    let function = function.unwrap_or("none");
                    note(format!("rotation is not restored: its function is not here (function: {function})"));
                }
                here
            });
        let mut replicas = document.replicas.clone();
        if !self.replicas {
            replicas.clear();
        }
        replicas.retain(|replica| {
            let elsewhere = replica.region != region;
            if !elsewhere {
                note("its replica of this region becomes the secret itself".to_owned());
            }
            elsewhere
        });
        let tags = document.own_tags();
        if tags.len() < document.tags.len() {
            note("tags that only AWS sets are left out".to_owned());
        }
        let moved = home.is_none_or(|home| !is_home(&home)) || name != document.name;
        if moved && document.policy.as_ref().is_some_and(|policy| policy.contains(&document.arn)) {
            note("its policy names it by the ARN that it had".to_owned());
        }
        if name.is_empty() || name.len() > 512 || !name.bytes().all(is_of_name) {
            impossible = Some("this cannot be a secret's name".to_owned());
        }
        if document.versions.is_empty() {
            note("the backup has no value of it: one that is there stays, and else it has none".to_owned());
        }
        let bytes = document.len();
        let mut seen = format!("{name}\n{}", document.arn);
        for version in &document.versions {
            seen.push_str(&format!("\n{} {:?}", version.id, version.stages));
        }
        Wanted {
            mark: Blake3::of(seen.as_bytes()).to_string().chars().take(32).collect(),
            description: document.description,
            policy: document.policy,
            versions: document.versions,
            name,
            kms_key,
            tags,
            rotation,
            replicas,
            bytes,
            notes,
            impossible,
        }
    }
}

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html>
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/_+=.@-!".contains(&byte)
}

/// The parts of an ARN that say where it is.
#[derive(Clone, Copy, Debug)]
struct Arn<'a> {
    region: &'a str,
    account: &'a str,
}

impl<'a> Arn<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(':');
        let arn = parts.next() == Some("arn");
        let (region, account) = (parts.nth(2)?, parts.next()?);
        arn.then_some(Self { region, account })
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::Value;
    use super::super::open::SecretsManager;
    use super::*;

    const KEY: &str = "arn:aws:kms:eu-west-1:111111111111:key/11111111-2222-3333-4444-555555555555";
    const FUNCTION: &str = "arn:aws:lambda:eu-west-1:111111111111:function:rotate";

    fn document() -> Document {
        let arn = "arn:aws:secretsmanager:eu-west-1:111111111111:secret:db-AbCdEf";
        let mut document = Document::new("db".to_owned(), arn.to_owned());
        let value = Value::binary(b"planted");
        document.versions =
            vec![Version { id: "1".repeat(32), stages: vec!["AWSCURRENT".to_owned()], created: None, value }];
        document.policy = Some(format!("{{\"Resource\": \"{arn}\"}}"));
        document.replicas =
            ["us-east-1", "eu-west-1"].map(|region| Replica { region: region.to_owned(), kms_key: None }).to_vec();
        document.tags = [("aws:x", "1"), ("team", "a")].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        document.rotation = Some(Rotation {
            enabled: true,
            function: Some(FUNCTION.to_owned()),
            after_days: Some(30),
            schedule: None,
            window: None,
            last: None,
            next: None,
        });
        document
    }

    fn restore(region: &str, account: &str) -> SecretsRestore {
        SecretsRestore::new(&SecretsManager::for_tests(region, account))
    }

    #[test]
    fn rotation_and_policy_are_as_they_were_only_at_home() {
        for (region, account, rotates) in [
            ("eu-west-1", "111111111111", true),
            ("us-east-1", "111111111111", false),
            ("eu-west-1", "222222222222", false),
        ] {
            let wanted = restore(region, account).wanted(document());
            let told = wanted.notes.join("; ");
            assert_eq!(wanted.rotation.is_some(), rotates, "{region} {account}");
            assert_eq!(told.contains("function is not here"), !rotates, "{told}");
            assert_eq!(told.contains("by the ARN that it had"), !rotates, "{told}");
            assert!(told.contains("tags that only AWS sets") && wanted.tags.len() == 1, "{told}");
            assert!(wanted.replicas.len() == 1 && wanted.replicas[0].region != region, "{:?}", wanted.replicas);
        }
        let without = restore("eu-west-1", "111111111111").without_rotation().without_replicas().wanted(document());
        assert!(without.rotation.is_none() && without.replicas.is_empty());
    }

    #[test]
    fn a_key_of_another_region_needs_one_of_this() {
        for (key, region, named, possible) in [
            (None, "us-east-1", None, true),
            (Some(KEY), "eu-west-1", None, true),
            (Some(KEY), "us-east-1", None, false),
            (Some("11111111-2222-3333-4444-555555555555"), "us-east-1", None, false),
            // Another region may have a key of the same alias.
            (Some("alias/secrets"), "us-east-1", None, true),
            (Some(KEY), "us-east-1", Some("alias/dr"), true),
            (None, "us-east-1", Some("alias/dr"), true),
        ] {
            let document = Document { kms_key: key.map(str::to_owned), ..document() };
            let mut restore = restore(region, "111111111111");
            restore.kms_key = named.map(str::to_owned);
            let wanted = restore.wanted(document);
            assert_eq!(wanted.impossible.is_none(), possible, "{key:?} {region} {named:?}");
            assert_eq!(wanted.kms_key.as_deref(), key.map(|key| named.unwrap_or(key)));
        }
    }

    #[test]
    fn a_mark_tells_nothing_of_the_values() {
        let with = |text: &str| {
            let mut document = document();
            document.versions = vec![Version {
                id: "a".repeat(36),
                stages: vec!["AWSCURRENT".to_owned()],
                created: None,
                value: super::super::document::Value::String(backstay_core::Secret::new(text.to_owned())),
            }];
            restore("eu-west-1", "111111111111").wanted(document).mark
        };
        assert_eq!(with("one"), with("two"));
    }
}
