//! What each role of a vault has to be allowed, in Azure's terms: a role definition, the condition of its assignment, and
//! what neither can say.
//!
//! <https://learn.microsoft.com/azure/storage/blobs/storage-auth-abac-attributes>

use std::fmt;

use backstay_core::doctor::shell_word;
use backstay_core::store::Prefix;
use backstay_core::vault::{Right, Role};
use backstay_core::{Error, ErrorKind, Result};
use serde_json::json;

use super::BlobStore;

const BLOBS: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs";
const PATH: &str = "@Resource[Microsoft.Storage/storageAccounts/blobServices/containers/blobs:path]";

/// Rights of one role of a vault over a container. `Display` prints the two commands that give them, each part quoted for a
/// shell.
///
/// ```
/// use backstay_azure::{BlobStore, Credential};
/// use backstay_core::store::Prefix;
/// use backstay_core::vault::Role;
///
/// let store = BlobStore::builder("acmebackups", "vault").credential(Credential::azure_cli()).build()?;
/// let account = "/subscriptions/S/resourceGroups/G/providers/Microsoft.Storage/storageAccounts/acmebackups";
/// let writer = store.role_definition(Role::Writer, account, &Prefix::all())?;
/// assert_eq!(writer.name, "Backstay writer of vault in acmebackups");
/// assert!(!writer.definition.contains("blobs/delete"));
/// assert!(writer.cannot.iter().any(|gap| gap.contains("overwrite")));
/// # Ok::<(), backstay_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoleDefinition {
    /// Whose rights they are.
    pub role: Role,
    /// The name of the role definition: a tenant has one of each name, so account and container are in it.
    pub name: String,
    /// The role definition, as JSON for `az role definition create`.
    pub definition: String,
    /// The condition of the assignment, version 2.0; empty if there is none.
    pub condition: String,
    /// What the assignment is about: the container.
    pub scope: String,
    /// The permissions of a SAS that comes nearest. It knows no paths.
    pub sas: String,
    /// What Azure cannot express, and what stands in for it.
    pub cannot: Vec<&'static str>,
}

impl BlobStore {
    /// The least that a role needs in this container. `account` is the resource id of the storage account, `prefix` the
    /// place of the vault in the container.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a place that a condition would read as something else: with `'`, `*`, `?` or `\\` in
    /// it.
    pub fn role_definition(&self, role: Role, account: &str, prefix: &Prefix) -> Result<RoleDefinition> {
        if [account, prefix.as_str()].concat().contains(['\'', '*', '?', '\\']) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "a condition cannot name this place: it has a quote or a wildcard",
            )
            .operation("render a role")
            .with("account", account)
            .with("prefix", prefix));
        }
        let account = account.trim_end_matches('/');
        let of = account.rsplit('/').next().unwrap_or_default();
        let name = format!("Backstay {role} of {} in {of}", self.0.container_name);
        let actions = actions(role);
        let definition = json!({
            "Name": name,
            "IsCustom": true,
            "Description": format!("What a {role} of a Backstay vault needs, and nothing else"),
            "Actions": [],
            "NotActions": [],
            "DataActions": actions.iter().map(|action| format!("{BLOBS}/{action}")).collect::<Vec<_>>(),
            "NotDataActions": [],
            // A resource is none: management groups, subscriptions and groups of resources are.
            "AssignableScopes": [account.split("/providers/").next().unwrap_or(account)],
        });
        Ok(RoleDefinition {
            role,
            name,
            definition: format!("{definition:#}"),
            condition: condition(role, prefix),
            scope: format!("{account}/blobServices/default/containers/{}", self.0.container_name),
            sas: sas(role),
            cannot: cannot(role),
        })
    }
}

/// Whether it makes objects that take more than one call: only the bytes of items do.
fn uploads(role: Role) -> bool {
    role.may(Right::Create, "items/")
}

fn has(role: Role, right: Right) -> bool {
    role.grants().iter().any(|grant| grant.right == right)
}

fn actions(role: Role) -> Vec<&'static str> {
    let all = [
        (has(role, Right::List) || has(role, Right::Get), "read"),
        (has(role, Right::Create), "add/action"),
        (uploads(role), "write"),
        (has(role, Right::Delete), "delete"),
        (has(role, Right::Delete), "deleteBlobVersion/action"),
        (has(role, Right::Lock), "immutableStorage/runAsSuperUser/action"),
    ];
    all.into_iter().filter(|(needed, _)| *needed).map(|(_, action)| action).collect()
}

fn condition(role: Role, prefix: &Prefix) -> String {
    let mut all = Vec::new();
    if !has(role, Right::Get) {
        all.push(format!("(!(ActionMatches{{'{BLOBS}/read'}} AND NOT SubOperationMatches{{'Blob.List'}}))"));
    }
    let paths = |right: Right, actions: &[&str]| {
        let none: Vec<_> = actions.iter().map(|action| format!("!(ActionMatches{{'{BLOBS}/{action}'}})")).collect();
        let grants = role.grants().iter().filter(|grant| grant.right == right);
        let like: Vec<_> = grants.map(|grant| format!("{PATH} StringLike '{prefix}{}*'", grant.under)).collect();
        (!like.is_empty()).then(|| format!("(({}) OR ({}))", none.join(" AND "), like.join(" OR ")))
    };
    all.extend(paths(Right::Create, &["add/action", "write"]));
    all.extend(paths(Right::Delete, &["delete", "deleteBlobVersion/action"]));
    all.extend(paths(Right::Lock, &["immutableStorage/runAsSuperUser/action"]));
    all.join(" AND ")
}

fn sas(role: Role) -> String {
    // In the order that the service wants.
    let all = [
        (has(role, Right::Get), 'r'),
        (has(role, Right::Create), 'c'),
        (uploads(role), 'w'),
        (has(role, Right::Delete), 'd'),
        (has(role, Right::Delete), 'x'),
        (has(role, Right::List), 'l'),
        (has(role, Right::Lock), 'i'),
    ];
    all.into_iter().filter(|(needed, _)| *needed).map(|(_, letter)| letter).collect()
}

fn cannot(role: Role) -> Vec<&'static str> {
    let mut gaps = Vec::new();
    if uploads(role) {
        gaps.push(
            "blocks are staged and committed by the right to write, which is the right to overwrite: keep versions and a \
             default immutability policy on the container, so that an overwrite loses nothing",
        );
    }
    if has(role, Right::Create) && !has(role, Right::Delete) {
        gaps.push("without the right to delete, blocks of an upload that is given up stay until the service drops them after a week");
    }
    if has(role, Right::Abort) && !uploads(role) {
        gaps.push(
            "to give up an upload that nobody finishes takes the right to write, which is the right to overwrite: a sweep says \
             that it leaves such, and the service drops the blocks a week after the last of them came",
        );
    }
    if has(role, Right::Lock) {
        gaps.push(
            "whoever may lock may also lift a hold and a policy that is not in mode Locked: lock with `bypassable: false`, or \
             have the container's default policy do it",
        );
    } else if has(role, Right::Create) {
        gaps.push("to lock in the put takes the right to lift locks too: give the container a default policy instead");
    }
    if !has(role, Right::Get) && has(role, Right::List) {
        gaps.push("to list and not read takes the condition, which only Entra ID has; a SAS says it by its letters");
    }
    gaps
}

impl fmt::Display for RoleDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, definition, condition, scope, sas, cannot, .. } = self;
        writeln!(f, "az role definition create --role-definition {}", shell_word(definition))?;
        write!(
            f,
            "az role assignment create --assignee WHO --role {} --scope {}",
            shell_word(name),
            shell_word(scope)
        )?;
        if !condition.is_empty() {
            write!(f, " --condition-version 2.0 --condition {}", shell_word(condition))?;
        }
        writeln!(f)?;
        writeln!(f, "# nearest SAS: sp={sas}")?;
        cannot.iter().try_for_each(|gap| writeln!(f, "# Azure cannot: {gap}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_gets_what_its_grants_say() {
        let table = [
            (Role::Writer, "read add/action write", "cwl"),
            (Role::Replicator, "read add/action write", "rcwl"),
            (Role::Verifier, "read add/action", "rcl"),
            (Role::Restorer, "read", "rl"),
            (Role::Pruner, "read add/action delete deleteBlobVersion/action", "rcdxl"),
            (
                Role::Keeper,
                "read add/action delete deleteBlobVersion/action immutableStorage/runAsSuperUser/action",
                "rcdxli",
            ),
        ];
        for (role, expected, letters) in table {
            assert_eq!(actions(role).join(" "), expected, "{role}");
            assert_eq!(sas(role), letters, "{role}");
        }
    }

    #[test]
    fn a_condition_names_every_place_and_shuts_a_writer_out_of_reading() {
        let prefix = Prefix::new("acme/").unwrap();
        let writer = condition(Role::Writer, &prefix);
        assert!(writer.contains("NOT SubOperationMatches{'Blob.List'}"));
        for grant in Role::Writer.grants().iter().filter(|grant| grant.right == Right::Create) {
            assert!(writer.contains(&format!("'acme/{}*'", grant.under)), "{}", grant.under);
        }
        assert!(!writer.contains("delete"));
        assert_eq!(condition(Role::Restorer, &prefix), "");
        assert!(condition(Role::Pruner, &prefix).contains("'acme/points/*'"));
        assert_eq!(writer.matches('(').count(), writer.matches(')').count());
    }

    /// <https://learn.microsoft.com/azure/role-based-access-control/role-definitions#assignablescopes>
    #[test]
    fn a_role_can_be_assigned_in_the_group_of_its_account() {
        let store = BlobStore::builder("acme", "vault").credential(crate::Credential::azure_cli()).build().unwrap();
        let account = "/subscriptions/S/resourceGroups/G/providers/Microsoft.Storage/storageAccounts/acme";
        let role = store.role_definition(Role::Writer, account, &Prefix::all()).unwrap();
        assert!(role.definition.contains("\"/subscriptions/S/resourceGroups/G\"\n"), "{}", role.definition);
        assert_eq!(role.scope, format!("{account}/blobServices/default/containers/vault"));
    }

    #[test]
    fn a_place_that_a_condition_reads_as_another_is_refused() {
        let store = BlobStore::builder("acme", "vault").credential(crate::Credential::azure_cli()).build().unwrap();
        let definition = |account, place| store.role_definition(Role::Writer, account, &Prefix::new(place).unwrap());
        assert!(definition("/a", "prod eu/").is_ok());
        for (account, place) in [("/a", "it's/"), ("/a", "a*/"), ("/a", "a?/"), ("/a'", "a/")] {
            assert_eq!(definition(account, place).unwrap_err().kind(), ErrorKind::Invalid, "{account} {place}");
        }
    }

    /// A tenant has one definition of each name.
    #[test]
    fn a_role_is_named_after_its_account_and_container() {
        let name = |container: &str, account: &str| {
            let store =
                BlobStore::builder("acme", container).credential(crate::Credential::azure_cli()).build().unwrap();
            let role = store.role_definition(Role::Pruner, account, &Prefix::all()).unwrap();
            assert!(role.definition.contains(&format!("\"Name\": \"{}\"", role.name)), "{}", role.definition);
            role.name
        };
        let names = [name("one", "/s/acme"), name("two", "/s/acme"), name("one", "/s/other/")];
        assert_eq!(names[0], "Backstay pruner of one in acme");
        assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), 3, "{names:?}");
    }

    #[test]
    fn the_commands_say_to_a_shell_what_they_say_to_a_reader() {
        let store = BlobStore::builder("acme", "vault").credential(crate::Credential::azure_cli()).build().unwrap();
        let account = "/subscriptions/S/resourceGroups/prod (eu)/storageAccounts/acme";
        let writer = store.role_definition(Role::Writer, account, &Prefix::new("$HOME `id`/").unwrap()).unwrap();
        let text = writer.to_string();
        for part in [&writer.definition, &writer.name, &writer.scope, &writer.condition] {
            assert!(text.contains(&format!(" {}", shell_word(part))), "{text}");
        }
        assert!(writer.condition.contains("StringLike '$HOME `id`/items/*'"), "{}", writer.condition);
    }
}
