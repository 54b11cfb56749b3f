//! The server's roles, tablespaces and settings on their way back: which of them, and then making them.

use std::collections::BTreeSet;

use backstay_core::source::{ImportAction, ImportPlan, ItemInfo, ItemSource};
use backstay_core::{Error, ErrorKind, Result};
use futures_util::StreamExt as _;
use zeroize::Zeroizing;

use super::target::Target;
use super::{PgRestore, RestoreGlobals};
use crate::connect::Session;
use crate::error;
use crate::globals::{Globals, Membership, RoleSetting};

/// More is no list of roles.
const MAX_BYTES: u64 = 256 << 20;

/// What is made of a dump's globals.
pub(super) struct Wanted {
    globals: Globals,
    /// What roles have set in the database that was dumped.
    in_database: Vec<RoleSetting>,
    made: BTreeSet<String>,
    replaced: BTreeSet<String>,
    notes: Vec<String>,
}

/// Reads the globals, and leaves of them what is asked for.
///
/// # Errors
/// [`NotFound`](ErrorKind::NotFound) if the component has none, [`Corrupt`](ErrorKind::Corrupt) if they cannot be read.
pub(super) async fn wanted(
    restore: &PgRestore,
    items: &dyn ItemSource,
    item: Option<&ItemInfo>,
    target: &Target,
    database: &str,
) -> Result<Option<Wanted>> {
    let how = restore.asked().globals;
    if how == RestoreGlobals::Leave {
        return Ok(None);
    }
    let item = item.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, "the component has no globals").advise("restore without `globals`")
    })?;
    let globals = read(items, item).await?;
    let names: Vec<String> = globals.roles.iter().map(|role| role.name.clone()).collect();
    let there = target.roles(&names).await?.into_iter().map(|(name, _)| name).collect();
    let mut wanted = Wanted::of(globals, how, &there, &restore.server().user, database);
    let tablespaces = target.tablespaces().await?;
    wanted.globals.tablespaces.retain(|tablespace| !tablespaces.contains(&tablespace.name));
    if !wanted.replaced.is_empty() {
        let stays = wanted.what_stays(&Globals::read(&target.session, false).await?);
        wanted.notes.extend(stays);
    }
    if !target.superuser {
        wanted.notes.push("only the super-user may restore every attribute of roles and tablespaces".to_owned());
    }
    Ok(Some(wanted))
}

/// The globals of an item, proved to its end.
pub(super) async fn read(items: &dyn ItemSource, item: &ItemInfo) -> Result<Globals> {
    let failed = |error: Error| error.with("item", &item.name);
    if item.bytes > MAX_BYTES {
        return Err(failed(Error::new(ErrorKind::Invalid, "the globals are too large").with("bytes", item.bytes)));
    }
    // Passwords' verifiers are in it.
    let mut text = Zeroizing::new(Vec::new());
    let mut content = items.open(item).await?;
    while let Some(chunk) = content.next().await.transpose()? {
        text.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&text).map_err(|error| {
        // Its words could repeat what is in there.
        let what = format!("the globals cannot be read, line {} column {}", error.line(), error.column());
        failed(Error::new(ErrorKind::Corrupt, what))
    })
}

impl Wanted {
    /// Of roles that are there nothing is left, unless they are to be replaced; `user` is who does this, and would lock
    /// himself out.
    fn of(mut globals: Globals, how: RestoreGlobals, there: &BTreeSet<String>, user: &str, database: &str) -> Self {
        let mut wanted = Self {
            globals: Globals::default(),
            made: BTreeSet::new(),
            replaced: BTreeSet::new(),
            notes: Vec::new(),
            in_database: Vec::new(),
        };
        for role in &globals.roles {
            match (there.contains(&role.name), how) {
                (false, _) => drop(wanted.made.insert(role.name.clone())),
                (true, RestoreGlobals::DangerReplace) if role.name != user => {
                    wanted.replaced.insert(role.name.clone());
                }
                (true, RestoreGlobals::DangerReplace) => {
                    wanted.notes.push(format!("role {user} stays as it is: this restore is done by it"));
                }
                _ => {}
            }
        }
        // Those of the database are the restored one's, and change nothing for a role elsewhere.
        let of_it = |setting: &RoleSetting| setting.database.as_deref() == Some(database);
        (wanted.in_database, globals.settings) = globals.settings.into_iter().partition(of_it);
        let touched = |role: &str| wanted.made.contains(role) || wanted.replaced.contains(role);
        globals.roles.retain(|role| touched(&role.name));
        globals.memberships.retain(|membership| touched(&membership.role) || touched(&membership.member));
        let everybody = how == RestoreGlobals::DangerReplace;
        globals.settings.retain(|setting| setting.role.as_deref().map_or(everybody, touched));
        for parameter in &mut globals.parameters {
            parameter.privileges.retain(|privilege| privilege.role.as_deref().map_or(everybody, touched));
        }
        wanted.globals = globals;
        wanted
    }

    /// What replaced roles have at the server and the dump does not know: statements that make things take nothing away.
    fn what_stays(&self, there: &Globals) -> Vec<String> {
        let replaced = |role: &str| self.replaced.contains(role);
        let Globals { memberships, settings, .. } = &self.globals;
        let membership = |m: &&Membership| {
            let known = |n: &Membership| (&n.role, &n.member) == (&m.role, &m.member) && n.admin >= m.admin;
            (replaced(&m.role) || replaced(&m.member)) && !memberships.iter().any(known)
        };
        let setting = |s: &&RoleSetting| {
            let known = |t: &RoleSetting| (&t.role, &t.database, &t.name) == (&s.role, &s.database, &s.name);
            s.role.as_deref().is_some_and(replaced) && s.database.is_none() && !settings.iter().any(known)
        };
        let admin = |m: &Membership| if m.admin { " with its admin option" } else { "" };
        let memberships = there.memberships.iter().filter(membership);
        let memberships: BTreeSet<String> =
            memberships.map(|m| format!("{} in {}{}", m.member, m.role, admin(m))).collect();
        let settings = there.settings.iter().filter(setting);
        let settings: BTreeSet<String> =
            settings.map(|s| format!("{} of {}", s.name, s.role.as_deref().unwrap_or_default())).collect();
        let lists = [("memberships", memberships), ("settings", settings)].into_iter();
        let lists = lists.filter(|(_, list)| !list.is_empty()).map(|(what, list)| {
            let list: Vec<String> = list.into_iter().collect();
            format!("{what} that the dump does not have stay: {}", list.join(", "))
        });
        lists.collect()
    }

    pub(super) fn makes_role(&self, role: &str) -> bool {
        self.made.contains(role)
    }

    pub(super) fn makes_tablespace(&self, name: &str) -> bool {
        self.globals.tablespaces.iter().any(|tablespace| tablespace.name == name)
    }

    /// Puts it into the plan.
    pub(super) fn tell(&self, plan: &mut ImportPlan) {
        let mut created = Vec::new();
        for role in &self.made {
            plan.add(ImportAction::Create, "", "");
            created.push(format!("role {role}"));
        }
        for tablespace in &self.globals.tablespaces {
            plan.add(ImportAction::Create, "", "");
            created.push(format!("tablespace {} in {:?}", tablespace.name, tablespace.location));
        }
        for role in &self.replaced {
            let why = "attributes and password become those of the dump, its memberships and settings are added";
            plan.add(ImportAction::Overwrite, format!("role {role}"), why);
        }
        if !created.is_empty() {
            plan.notes.push(format!("made before the database: {}", created.join(", ")));
        }
        plan.notes.extend(self.notes.iter().cloned());
    }

    /// Sets for roles in `database` what they had set in the one that was dumped.
    ///
    /// # Errors
    /// What the server answers.
    pub(super) async fn set_in(&self, session: &Session, version: u32, database: &str) -> Result<()> {
        let here = |setting: &RoleSetting| RoleSetting { database: Some(database.to_owned()), ..setting.clone() };
        let settings = self.in_database.iter().map(here).collect();
        run(session, &Globals { settings, ..Globals::default() }, version).await
    }

    /// Makes it all.
    ///
    /// # Errors
    /// What the server answers, with the object that it is about.
    pub(super) async fn make(&self, session: &Session, version: u32) -> Result<()> {
        run(session, &self.globals, version).await
    }
}

async fn run(session: &Session, globals: &Globals, version: u32) -> Result<()> {
    for statement in globals.statements(version) {
        let done = session.batch_execute(&statement.sql).await;
        done.map_err(|cause| error::server(cause).with("making", &statement.what))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globals() -> Globals {
        let json = r#"{
            "roles": [{"name": "postgres"}, {"name": "old"}, {"name": "new"}],
            "memberships": [{"role": "old", "member": "new"}, {"role": "old", "member": "postgres"}],
            "settings": [{"role": "old", "name": "a", "value": "1"}, {"role": "new", "name": "a", "value": "1"},
                         {"name": "a", "value": "1"},
                         {"role": "old", "database": "db", "name": "b", "value": "2"}],
            "tablespaces": [{"name": "t"}]
        }"#;
        serde_json::from_str(json).unwrap()
    }

    fn sql(how: RestoreGlobals) -> Vec<String> {
        let there = ["postgres", "old"].map(str::to_owned).into();
        let wanted = Wanted::of(globals(), how, &there, "postgres", "db");
        assert_eq!(wanted.in_database.len(), 1);
        wanted.globals.statements(150_000).into_iter().map(|statement| statement.sql).collect()
    }

    #[test]
    fn what_a_replaced_role_has_besides_is_told() {
        let there: BTreeSet<String> = ["postgres", "old"].map(str::to_owned).into();
        let json = r#"{
            "memberships": [{"role": "old", "member": "new"}, {"role": "old", "member": "postgres", "admin": true},
                            {"role": "g", "member": "old"}, {"role": "g", "member": "old", "grantor": "x"},
                            {"role": "g", "member": "new"}],
            "settings": [{"role": "old", "name": "a", "value": "0"}, {"role": "old", "name": "c", "value": "1"},
                         {"role": "old", "database": "elsewhere", "name": "d", "value": "1"},
                         {"role": "new", "name": "c", "value": "1"}]
        }"#;
        let at_server: Globals = serde_json::from_str(json).unwrap();
        let replacing = Wanted::of(globals(), RestoreGlobals::DangerReplace, &there, "postgres", "db");
        let told = replacing.what_stays(&at_server);
        let expected = [
            "memberships that the dump does not have stay: old in g, postgres in old with its admin option",
            "settings that the dump does not have stay: c of old",
        ];
        assert_eq!(told, expected);
        let adding = Wanted::of(globals(), RestoreGlobals::AddMissing, &there, "postgres", "db");
        assert!(adding.what_stays(&at_server).is_empty());
    }

    #[test]
    fn roles_that_are_there_are_left_alone_unless_told() {
        let added = sql(RestoreGlobals::AddMissing);
        assert!(added.iter().any(|sql| sql.starts_with("ALTER ROLE \"new\"")), "{added:?}");
        assert!(added.iter().any(|sql| sql.starts_with("GRANT \"old\" TO \"new\"")), "{added:?}");
        let touches =
            |sql: &String| sql.contains("ROLE \"old\"") || sql.contains("postgres") || sql.contains("ROLE ALL");
        assert!(!added.iter().any(touches), "{added:?}");
        let replaced = sql(RestoreGlobals::DangerReplace);
        assert!(replaced.iter().any(|sql| sql.starts_with("ALTER ROLE \"old\" WITH")), "{replaced:?}");
        assert!(!replaced.iter().any(|sql| sql.starts_with("ALTER ROLE \"postgres\"")), "{replaced:?}");
    }
}
