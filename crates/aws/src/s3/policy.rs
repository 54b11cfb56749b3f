//! The least policy of each role, as IAM reads it.

use backstay_core::vault::{Right, Role};
use serde_json::{Map, Value, json};

/// What a role's credential is allowed in a bucket, and nothing else.
///
/// Where a replicator's credential also has the statements of a [`Restorer`](Role::Restorer) for the origin's bucket, the server
/// copies what is large; with two credentials all is streamed.
///
/// ```
/// use backstay_aws::RolePolicy;
/// use backstay_core::vault::Role;
///
/// let policy = RolePolicy::new(Role::Writer, "acme-backups").under("prod/").longest_lock_days(35);
/// println!("{:#}", policy.identity());
/// assert!(!policy.identity().to_string().contains("s3:GetObject"));
/// ```
#[derive(Clone, Debug)]
pub struct RolePolicy {
    role: Role,
    bucket: String,
    prefix: String,
    partition: String,
    kms_key: Option<String>,
    longest_lock_days: Option<u32>,
}

impl RolePolicy {
    /// For a vault that lies at the root of its bucket, on AWS proper, without a key of KMS and without locks.
    #[must_use]
    pub fn new(role: Role, bucket: impl Into<String>) -> Self {
        let (bucket, prefix) = (bucket.into(), String::new());
        Self { role, bucket, prefix, partition: "aws".to_owned(), kms_key: None, longest_lock_days: None }
    }

    /// Where in the bucket the vault lies.
    #[must_use]
    pub fn under(mut self, prefix: impl Into<String>) -> Self {
        // What is a wildcard or a variable to IAM would name other vaults, too:
        // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
        self.prefix = prefix.into().replace('$', "${$}").replace('*', "${*}").replace('?', "${?}");
        if !self.prefix.is_empty() && !self.prefix.ends_with('/') {
            self.prefix.push('/');
        }
        self
    }

    /// The partition in ARNs: "aws" unless said otherwise, such as "aws-cn" or "aws-us-gov".
    #[must_use]
    pub fn partition(mut self, partition: impl Into<String>) -> Self {
        self.partition = partition.into();
        self
    }

    /// The key that the bucket's objects are encrypted with, by its ARN.
    #[must_use]
    pub fn kms_key(mut self, arn: impl Into<String>) -> Self {
        self.kms_key = Some(arn.into());
        self
    }

    /// Allows locks in the puts of those who create, and no longer ones than this: a thief must not be able to fill a
    /// bucket with what nobody can delete for a hundred years.
    #[must_use]
    pub fn longest_lock_days(mut self, days: u32) -> Self {
        self.longest_lock_days = Some(days);
        self
    }

    /// For a user or a role of IAM.
    #[must_use]
    pub fn identity(&self) -> Value {
        self.document(None)
    }

    /// For the bucket itself, about this principal: its ARN, or on servers other than AWS its access key. A bucket has one
    /// policy: join the statements of all roles. On versitygw it is an attribute of a file, which takes 4 KiB or so: there say
    /// once what several roles are allowed alike.
    #[must_use]
    pub fn bucket(&self, principal: &str) -> Value {
        self.document(Some(&match principal.starts_with("arn:") {
            true => json!({ "AWS": principal }),
            false => json!([principal]),
        }))
    }

    fn document(&self, principal: Option<&Value>) -> Value {
        let mut statements = self.statements();
        if let Some(principal) = principal {
            for statement in &mut statements {
                statement.insert("Principal".to_owned(), principal.clone());
            }
            // The key has a policy of its own.
            statements.retain(|statement| !statement["Action"].to_string().contains("kms:"));
        }
        json!({ "Version": "2012-10-17", "Statement": statements })
    }

    fn statements(&self) -> Vec<Map<String, Value>> {
        let reads = self.has(Right::Get);
        let mut statements = vec![self.look(reads), self.list(reads)];
        if reads {
            // The server tells a lock only to who may ask for it: prune leaves what it sees to be locked.
            let mut actions =
                vec!["s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectRetention", "s3:GetObjectLegalHold"];
            if self.role == Role::Restorer {
                actions.push("s3:RestoreObject");
            }
            statements.push(self.allow("Read", &actions, Right::Get));
        }
        if self.has(Right::Create) {
            statements.extend(self.create());
        }
        if self.has(Right::Delete) {
            statements.push(self.allow("Delete", &["s3:DeleteObject", "s3:DeleteObjectVersion"], Right::Delete));
        }
        if self.has(Right::Abort) {
            statements.push(self.allow("Abort", &["s3:AbortMultipartUpload"], Right::Abort));
        }
        if self.has(Right::Lock) {
            statements.push(self.allow("Lock", &["s3:PutObjectRetention", "s3:PutObjectLegalHold"], Right::Lock));
        }
        statements.extend(self.key(reads));
        statements
    }

    /// What is asked of a bucket as a whole: no condition can name a place in it, for unfinished uploads neither.
    /// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html>
    fn look(&self, uploads: bool) -> Map<String, Value> {
        let mut actions = vec!["s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration"];
        if uploads {
            actions.push("s3:ListBucketMultipartUploads");
        }
        self.statement("Look", "Allow", &actions, json!([self.arn()]))
    }

    fn list(&self, versions: bool) -> Map<String, Value> {
        let actions: &[&str] = if versions { &["s3:ListBucket", "s3:ListBucketVersions"] } else { &["s3:ListBucket"] };
        let mut list = self.statement("List", "Allow", actions, json!([self.arn()]));
        if !self.prefix.is_empty() {
            let places = json!({ "StringLike": { "s3:prefix": [format!("{}*", self.prefix)] } });
            list.insert("Condition".to_owned(), places);
        }
        list
    }

    /// Create, and never replace. Parts bear no condition, because the platform takes none from them: what makes them
    /// visible does.
    fn create(&self) -> Vec<Map<String, Value>> {
        let locks = self.longest_lock_days.is_some();
        let actions: &[&str] = if locks { &["s3:PutObject", "s3:PutObjectRetention"] } else { &["s3:PutObject"] };
        let all = json!([self.object("*")]);
        let mut replace = self.statement("NeverReplace", "Deny", &["s3:PutObject"], all.clone());
        let unconditional = json!({
            "Null": { "s3:if-none-match": "true" },
            // A request that does not say whether it creates an object is taken for one that does.
            "BoolIfExists": { "s3:ObjectCreationOperation": "true" },
        });
        replace.insert("Condition".to_owned(), unconditional);
        let capped = self.longest_lock_days.map(|days| {
            let mut cap = self.statement("LockNoLonger", "Deny", &["s3:PutObject", "s3:PutObjectRetention"], all);
            let longer =
                json!({ "NumericGreaterThan": { "s3:object-lock-remaining-retention-days": days.to_string() } });
            cap.insert("Condition".to_owned(), longer);
            cap
        });
        [self.allow("Create", actions, Right::Create), replace].into_iter().chain(capped).collect()
    }

    /// Who puts in parts needs to decrypt as well: the platform reads what it joins. Without a right to get objects that
    /// opens nothing.
    fn key(&self, reads: bool) -> Option<Map<String, Value>> {
        let key = self.kms_key.as_ref()?;
        let creates = self.has(Right::Create);
        let actions: &[&str] = match (creates, reads) {
            (true, _) => &["kms:GenerateDataKey", "kms:Decrypt"],
            (false, true) => &["kms:Decrypt"],
            (false, false) => return None,
        };
        Some(self.statement("Key", "Allow", actions, json!([key])))
    }

    fn has(&self, right: Right) -> bool {
        self.role.grants().iter().any(|grant| grant.right == right)
    }

    fn allow(&self, name: &str, actions: &[&str], right: Right) -> Map<String, Value> {
        let grants = self.role.grants().iter().filter(|grant| grant.right == right);
        let places: Vec<String> = grants.map(|grant| self.object(&format!("{}*", grant.under))).collect();
        self.statement(name, "Allow", actions, json!(places))
    }

    fn arn(&self) -> String {
        format!("arn:{}:s3:::{}", self.partition, self.bucket)
    }

    fn object(&self, key: &str) -> String {
        format!("{}/{}{key}", self.arn(), self.prefix)
    }

    /// Named after the role, so that statements of several roles can stand in one policy.
    fn statement(&self, name: &str, effect: &str, actions: &[&str], resources: Value) -> Map<String, Value> {
        let fields = [
            ("Sid", json!(format!("Backstay{:?}{name}", self.role))),
            ("Effect", json!(effect)),
            ("Action", json!(actions)),
            ("Resource", resources),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(role: Role) -> Vec<String> {
        let policy = RolePolicy::new(role, "b").under("v").longest_lock_days(35).identity();
        let allowed = policy["Statement"].as_array().unwrap().iter().filter(|s| s["Effect"] == "Allow");
        let actions = allowed.flat_map(|s| s["Action"].as_array().unwrap().clone());
        actions.map(|action| action.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_writer_lists_and_creates_and_nothing_else() {
        let expected = [
            "s3:GetBucketVersioning",
            "s3:GetBucketObjectLockConfiguration",
            "s3:ListBucket",
            "s3:PutObject",
            "s3:PutObjectRetention",
        ];
        assert_eq!(actions(Role::Writer), expected);
    }

    #[test]
    fn who_creates_never_replaces_and_locks_no_longer_than_said() {
        for role in [Role::Writer, Role::Replicator, Role::Verifier, Role::Pruner, Role::Keeper] {
            let policy = RolePolicy::new(role, "b").under("v").longest_lock_days(35).identity();
            let denies: Vec<&Value> =
                policy["Statement"].as_array().unwrap().iter().filter(|s| s["Effect"] == "Deny").collect();
            assert_eq!(denies.len(), 2, "{role}");
            assert_eq!(denies[0]["Condition"]["Null"]["s3:if-none-match"], "true", "{role}");
            assert_eq!(denies[0]["Resource"], json!(["arn:aws:s3:::b/v/*"]), "{role}");
            let cap = &denies[1]["Condition"]["NumericGreaterThan"]["s3:object-lock-remaining-retention-days"];
            assert_eq!(cap, "35", "{role}");
        }
    }

    #[test]
    fn a_place_with_a_wildcard_in_it_is_that_place_alone() {
        let policy = RolePolicy::new(Role::Pruner, "b").under("a*b?$c").identity().to_string();
        assert!(policy.contains("arn:aws:s3:::b/a${*}b${?}${$}c/") && !policy.contains("a*b"), "{policy}");
        assert!(policy.contains(r#""s3:prefix":["a${*}b${?}${$}c/*"]"#), "{policy}");
    }

    #[test]
    fn only_two_roles_delete_and_each_only_where_it_must() {
        for role in Role::ALL {
            let deletes = actions(role).contains(&"s3:DeleteObject".to_owned());
            assert_eq!(deletes, matches!(role, Role::Pruner | Role::Keeper), "{role}");
        }
        let keeper = RolePolicy::new(Role::Keeper, "b").identity();
        let delete =
            keeper["Statement"].as_array().unwrap().iter().find(|s| s["Sid"] == "BackstayKeeperDelete").unwrap();
        assert_eq!(delete["Resource"], json!(["arn:aws:s3:::b/keys/*"]));
    }

    #[test]
    fn a_bucket_policy_names_whom_it_is_about_and_leaves_the_key_to_its_own() {
        let policy = RolePolicy::new(Role::Restorer, "b").kms_key("arn:aws:kms:eu-west-1:1:key/k");
        assert!(policy.identity().to_string().contains("kms:Decrypt"));
        let bucket = policy.bucket("arn:aws:iam::1:role/restorer");
        assert!(!bucket.to_string().contains("kms:"));
        let statements = bucket["Statement"].as_array().unwrap();
        assert!(statements.iter().all(|s| s["Principal"]["AWS"] == "arn:aws:iam::1:role/restorer"));
        assert_eq!(RolePolicy::new(Role::Restorer, "b").bucket("AK")["Statement"][0]["Principal"], json!(["AK"]));
    }

    #[test]
    fn statements_of_all_roles_can_stand_in_one_policy() {
        let names = |role| {
            let policy =
                RolePolicy::new(role, "b").longest_lock_days(35).kms_key("arn:aws:kms:eu-1:1:key/k").identity();
            let statements = policy["Statement"].as_array().unwrap().clone();
            statements.into_iter().map(|statement| statement["Sid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let all: Vec<String> = Role::ALL.into_iter().flat_map(names).collect();
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len(), "{all:?}");
        assert!(all.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric())), "{all:?}");
    }
}
