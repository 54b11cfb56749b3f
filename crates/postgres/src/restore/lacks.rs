//! What the target lacks: roles, extensions, tablespaces.

use std::collections::{BTreeMap, BTreeSet};

use backstay_core::Result;
use backstay_core::source::{ImportAction, ImportPlan};

use super::globals::Wanted;
use super::target::{Found, Target};
use super::toc::{Entry, Toc};
use super::{PgRestore, roles};
use crate::facts::DatabaseFacts;

/// What is missing, each with how much needs it.
#[derive(Debug, Default)]
pub(super) struct Lacks {
    roles: BTreeMap<String, u64>,
    /// Roles that are there, but this user may not make things theirs.
    foreign: BTreeMap<String, u64>,
    extensions: BTreeMap<String, &'static str>,
    tablespaces: BTreeMap<String, u64>,
    notes: Vec<String>,
}

impl Lacks {
    pub(super) async fn find(
        restore: &PgRestore,
        target: &Target,
        found: &Option<Found>,
        kept: &[&Entry],
        facts: Option<&DatabaseFacts>,
        globals: Option<&Wanted>,
        toc: &Toc,
    ) -> Result<Self> {
        let mut lacks = Self::default();
        let (mut owners, mut named) = (BTreeMap::new(), BTreeMap::new());
        let add = |to: &mut BTreeMap<String, u64>, role: &str| *to.entry(role.to_owned()).or_default() += 1;
        for entry in kept {
            if let Some(owner) = entry.owner.as_deref().filter(|_| owned(entry)) {
                add(&mut owners, owner);
            }
            roles::named(entry).iter().for_each(|role| add(&mut named, role));
            if let Some(tablespace) = &entry.tablespace {
                *lacks.tablespaces.entry(tablespace.clone()).or_default() += 1;
            }
        }
        if found.is_none() {
            owner_of_database(facts, toc).iter().for_each(|owner| add(&mut owners, owner));
        }
        if found.is_none() && !restore.asked().without_privileges {
            let about = toc.entries.iter().filter(|entry| entry.is_about_the_database());
            about.flat_map(roles::named).for_each(|role| add(&mut named, &role));
        }
        if restore.asked().without_owners {
            owners.clear();
        }
        lacks.roles(target, owners, named, globals).await?;
        lacks.extensions(target, found, kept, facts).await?;
        let there = target.tablespaces().await?;
        lacks.tablespaces.retain(|name, _| !there.contains(name) && globals.is_none_or(|g| !g.makes_tablespace(name)));
        Ok(lacks)
    }

    async fn roles(
        &mut self,
        target: &Target,
        owners: BTreeMap<String, u64>,
        named: BTreeMap<String, u64>,
        globals: Option<&Wanted>,
    ) -> Result<()> {
        let names: Vec<String> = owners.keys().chain(named.keys()).cloned().collect();
        let there: BTreeMap<String, bool> = target.roles(&names).await?.into_iter().collect();
        let made = |role: &str| globals.is_some_and(|globals| globals.makes_role(role));
        for (role, count) in owners {
            match there.get(&role) {
                Some(true) => {}
                Some(false) => drop(self.foreign.insert(role, count)),
                None if made(&role) => {}
                None => *self.roles.entry(role).or_default() += count,
            }
        }
        for (role, count) in named.into_iter().filter(|(role, _)| !there.contains_key(role) && !made(role)) {
            *self.roles.entry(role).or_default() += count;
        }
        Ok(())
    }

    async fn extensions(
        &mut self,
        target: &Target,
        found: &Option<Found>,
        kept: &[&Entry],
        facts: Option<&DatabaseFacts>,
    ) -> Result<()> {
        let is_there = |name: &String| found.as_ref().is_some_and(|found| found.extensions.contains(name));
        let wanted: BTreeSet<String> =
            kept.iter().filter(|e| e.kind == "EXTENSION").map(|e| e.tag.clone()).filter(|n| !is_there(n)).collect();
        let available = target.available(&wanted.iter().cloned().collect::<Vec<_>>()).await?;
        for name in wanted {
            let versions: Vec<_> = available.iter().filter(|a| a.name == name).collect();
            let default = versions.iter().find(|a| a.default).or(versions.first());
            let Some(default) = default else {
                self.extensions.insert(name, "it is not installed at the target: install its package there");
                continue;
            };
            if !default.allowed {
                self.extensions.insert(
                    name.clone(),
                    "only a super-user may create it: have it made in an empty database, and name that by `into`",
                );
            }
            let dumped = facts.and_then(|facts| facts.extensions.iter().find(|e| e.name == name)).map(|e| &e.version);
            if let Some(dumped) = dumped.filter(|dumped| **dumped != default.version) {
                self.notes
                    .push(format!("extension {name}: {} instead of {dumped}, the target's default", default.version));
            }
        }
        Ok(())
    }

    /// Puts it into the plan. Says whether the restore cannot be.
    pub(super) fn tell(&self, plan: &mut ImportPlan) -> bool {
        for (role, count) in &self.roles {
            let why = format!(
                "it is not at the target, and {count} entries need it: restore globals, create it, or go `without_owners` and `without_privileges`"
            );
            plan.add(ImportAction::Impossible, format!("role {role}"), why);
        }
        for (role, count) in &self.foreign {
            let why = format!(
                "{count} entries are its own, and this user may not give them to it: be a super-user or a member of it, or go `without_owners`"
            );
            plan.add(ImportAction::Impossible, format!("role {role}"), why);
        }
        for (name, why) in &self.extensions {
            plan.add(ImportAction::Impossible, format!("extension {name}"), why);
        }
        for (name, count) in &self.tablespaces {
            plan.notes.push(format!("tablespace {name} is not at the target: everything goes into the default one ({count} entries lay there)"));
        }
        plan.notes.extend(self.notes.iter().cloned());
        self.roles.len() + self.foreign.len() + self.extensions.len() > 0
    }

    pub(super) fn lacks_tablespaces(&self) -> bool {
        !self.tablespaces.is_empty()
    }
}

/// Whose a database is that is made anew.
pub(super) fn owner_of_database(facts: Option<&DatabaseFacts>, toc: &Toc) -> Option<String> {
    let told = facts.map(|facts| facts.owner.clone()).filter(|owner| !owner.is_empty());
    told.or_else(|| toc.entries.iter().find(|entry| entry.kind == "DATABASE")?.owner.clone())
}

/// Whether `pg_restore` gives it to its owner.
fn owned(entry: &Entry) -> bool {
    !matches!(entry.kind.as_str(), "ACL" | "DEFAULT ACL" | "COMMENT" | "EXTENSION" | "SECURITY LABEL")
        && !entry.kind.contains(" DATA")
}
