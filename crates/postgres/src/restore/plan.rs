//! Decides what a restore would do: the plan, and again when it is applied.

use std::collections::{BTreeMap, BTreeSet};

use backstay_core::source::{Facts, ImportAction, ImportOptions, ImportPlan, ItemInfo, ItemSource};
use backstay_core::{Blake3, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::archive::{Archive, Content};
use super::create::Locale;
use super::globals::{self, Wanted};
use super::items::{self, database};
use super::lacks::Lacks;
use super::target::{Found, Object, Target};
use super::toc::{Entry, Toc};
use super::{PgRestore, room, select, setup};
use crate::client::Program;
use crate::facts::DatabaseFacts;

const EXTRA: &str = "restore";
/// The longest name of a database, in bytes.
const NAME: usize = 63;

/// What a plan keeps besides what people read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Details {
    /// The server that was asked.
    pub(super) server: String,
    pub(super) component: String,
    pub(super) item: String,
    pub(super) bytes: u64,
    pub(super) digest: Option<Blake3>,
    /// Where it goes.
    pub(super) database: String,
    /// Whether that is made, and dropped again if the restore fails.
    pub(super) creates: bool,
}

/// A plan, and what it takes to do it.
pub(super) struct Planned {
    pub(super) plan: ImportPlan,
    pub(super) item: ItemInfo,
    /// Whether a `pg_dump` that was seen to succeed wrote it, and its source proves that these are the same bytes.
    pub(super) ours: bool,
    pub(super) facts: DatabaseFacts,
    pub(super) toc: Toc,
    pub(super) program: Program,
    pub(super) target: Target,
    pub(super) found: Option<Found>,
    pub(super) locale: Locale,
    pub(super) globals: Option<Wanted>,
    /// The entries to restore, where some are left out.
    pub(super) list: Option<Vec<i64>>,
    pub(super) without_tablespaces: bool,
}

impl Details {
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a plan that is not of a `PgRestore`.
    pub(super) fn of(plan: &ImportPlan) -> Result<Self> {
        plan.extra
            .get(EXTRA)?
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "the plan is not one of a PostgreSQL restore"))
    }

    /// What tells plans apart.
    pub(super) fn id(&self) -> Result<String> {
        let json = serde_json::to_vec(self)
            .map_err(|error| Error::new(ErrorKind::Other, "the plan cannot be written as JSON").because(error))?;
        Ok(Blake3::of(&json).to_string())
    }
}

impl Planned {
    /// Looks at archive and target. `again` are the details of a plan that is being applied: its database is meant, and what
    /// an interrupted apply of it left counts as not there. The archive is read no farther than its head; the rest comes along.
    pub(super) async fn make(
        restore: &PgRestore,
        items: &dyn ItemSource,
        options: &ImportOptions,
        again: Option<&Details>,
    ) -> Result<(Self, Content)> {
        let asked = restore.asked();
        let found_items = items::find(items).await?;
        let item = match again {
            Some(details) => same(&found_items.archives, details)?,
            None => found_items.archive(asked.database.as_deref())?.clone(),
        };
        let mut archive = Archive::open(items, &item).await?;
        let facts = DatabaseFacts::of(&item.facts)?;
        let target = Target::look(restore.server()).await?;
        let program = restore.program(target.major(), &archive.toc).await?;
        archive.list(&program).await?;
        let Archive { toc, content } = archive;

        let name = match (again, &asked.into) {
            (Some(details), _) => details.database.clone(),
            (None, Some(name)) => name.clone(),
            (None, None) => fresh_name(&target, restore, database(&item)).await?,
        };
        check_name(&name)?;
        let mut found = target.find(restore.server(), &name).await?;
        let details = Details {
            server: restore.server().to_string(),
            component: item.component.clone(),
            item: item.name.clone(),
            bytes: item.bytes,
            digest: item.digest,
            creates: again.map_or(found.is_none(), |details| details.creates),
            database: name,
        };
        let ours = details.creates && found_by(&found, &details.id()?);
        if ours {
            found = None;
        }

        let mut plan = ImportPlan::new(describe(&details), options);
        let chosen = select::chosen(&toc, &options.only)?;
        let kept: Vec<&Entry> = toc.entries.iter().filter(|entry| is_kept(restore, &target, entry, &chosen)).collect();
        let left_out = toc.entries.iter().filter(|entry| !entry.is_of_the_whole()).count() - kept.len();
        plan.bytes =
            facts.as_ref().filter(|_| options.only.is_empty()).map_or(item.bytes, |facts| facts.bytes.max(item.bytes));

        let globals = globals::wanted(restore, items, found_items.globals.as_ref(), &target, database(&item)).await?;
        let locale = if asked.without_locale { Locale::default() } else { Locale::of(facts.as_ref(), &toc) };
        let lacks = Lacks::find(restore, &target, &found, &kept, facts.as_ref(), globals.as_ref(), &toc).await?;
        let mut blocked = lacks.tell(&mut plan);
        blocked |= conflicts(&mut plan, &details, &target, &found, &locale);
        if asked.jobs > 1 && !details.creates {
            return Err(Error::new(
                ErrorKind::Invalid,
                "several jobs cannot be rolled back in a database that is there",
            )
            .with("database", &details.database)
            .advise("leave `jobs` at 1, or restore into a new database"));
        }
        if !blocked {
            count(&mut plan, &kept, &found);
        }
        if let Some(globals) = &globals {
            globals.tell(&mut plan);
        }
        notes(&mut plan, &toc, &target, &program, &kept, &found);
        plan.notes.extend(select::notes(&toc, &chosen));
        if details.creates {
            plan.notes.extend(setup::left_out(&toc, facts.is_some(), globals.is_some()));
        }
        let space = room::check(restore, &target, &plan, &item)?;
        plan.notes.extend(space);
        plan.fingerprint = fingerprint(&details, &found);
        plan.extra = Facts::new().with(EXTRA, &details);
        let list = (left_out > 0).then(|| kept.iter().map(|entry| entry.id).collect());
        let without_tablespaces = lacks.lacks_tablespaces();
        let planned = Self {
            plan,
            ours: facts.is_some() && item.digest.is_some(),
            item,
            facts: facts.unwrap_or_default(),
            program,
            target,
            found,
            locale,
            globals,
            list,
            without_tablespaces,
            toc,
        };
        Ok((planned, content))
    }

    /// Whether something is in the way, so that nothing is restored.
    pub(super) fn is_blocked(&self) -> bool {
        blocked(&self.plan)
    }
}

pub(super) fn blocked(plan: &ImportPlan) -> bool {
    plan.count(ImportAction::Conflict) + plan.count(ImportAction::Impossible) > 0
}

/// The item that the plan was made for.
fn same(archives: &[ItemInfo], details: &Details) -> Result<ItemInfo> {
    let same = |item: &&ItemInfo| {
        (&item.component, &item.name, item.bytes, item.digest)
            == (&details.component, &details.item, details.bytes, details.digest)
    };
    archives.iter().find(same).cloned().ok_or_else(|| {
        Error::new(ErrorKind::Conflict, "the plan was made for another archive")
            .with("item", &details.item)
            .advise("make a new plan")
    })
}

fn found_by(found: &Option<Found>, plan: &str) -> bool {
    found.as_ref().and_then(|found| found.marker.as_ref()).is_some_and(|marker| marker.plan == plan && !marker.whole)
}

/// `orders_restore_20261128t171500z`, by the server's clock; with a number behind it if that is taken.
async fn fresh_name(target: &Target, restore: &PgRestore, database: &str) -> Result<String> {
    let time = target.now.strftime("%Y%m%dt%H%M%Sz").to_string();
    for number in 1..100 {
        let end = if number == 1 { format!("_restore_{time}") } else { format!("_restore_{time}_{number}") };
        let mut length = database.len().min(NAME - end.len());
        while !database.is_char_boundary(length) {
            length -= 1;
        }
        let name = format!("{}{end}", &database[..length]);
        if target.find(restore.server(), &name).await?.is_none() {
            return Ok(name);
        }
    }
    Err(Error::new(ErrorKind::Conflict, "no name for a new database is free").advise("name one by `into`"))
}

/// The server would shorten what is too long, and mean another database.
fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME || name.contains('\0') {
        return Err(Error::new(ErrorKind::Invalid, "no database can have this name")
            .with("database", name)
            .with("most bytes", NAME));
    }
    Ok(())
}

fn describe(details: &Details) -> String {
    let what = if details.creates { "a new database" } else { "the database" };
    format!("{what} {:?} at {}", details.database, details.server)
}

/// Whether an entry is restored.
fn is_kept(restore: &PgRestore, target: &Target, entry: &Entry, chosen: &Option<BTreeSet<i64>>) -> bool {
    let asked = restore.asked();
    let chosen = chosen.as_ref().is_none_or(|chosen| chosen.contains(&entry.id));
    let left_out = match entry.kind.as_str() {
        // A database with one cannot be dropped, and two that follow one publisher disturb each other.
        "SUBSCRIPTION" | "SUBSCRIPTION TABLE" => true,
        "ACL" | "DEFAULT ACL" => asked.without_privileges,
        // Only who made the extension may comment on it.
        "COMMENT" => !target.superuser && entry.tag.starts_with("EXTENSION "),
        _ => false,
    };
    chosen && !left_out && !entry.is_of_the_whole()
}

/// What forbids the restore as a whole.
fn conflicts(
    plan: &mut ImportPlan,
    details: &Details,
    target: &Target,
    found: &Option<Found>,
    locale: &Locale,
) -> bool {
    let name = format!("database {}", details.database);
    match found {
        None if !target.creates_databases => {
            let why =
                "the user may not create databases: grant CREATEDB, or name one that is there and empty by `into`";
            plan.add(ImportAction::Impossible, name, why);
        }
        None => match locale.impossible(target.version, target.has_icu) {
            Some(why) => plan.add(ImportAction::Impossible, name, format!("{why}; `without_locale` does without")),
            None => return false,
        },
        Some(Found { marker: Some(marker), .. }) => {
            let why = format!("another restore made it, and may drop it after {}", marker.until);
            plan.add(ImportAction::Conflict, name, why);
        }
        Some(found) if found.objects.is_empty() || plan.options.overwrite => return false,
        Some(found) => {
            let first: Vec<String> = found.objects.iter().take(3).map(ToString::to_string).collect();
            let why = format!("it is not empty: it has {} objects, such as {}", found.objects.len(), first.join(", "));
            plan.add(ImportAction::Conflict, name, why);
        }
    }
    true
}

/// Counts what is made, and lists what is replaced.
fn count(plan: &mut ImportPlan, kept: &[&Entry], found: &Option<Found>) {
    // In an empty database nothing is dropped, and its extensions are taken as they are.
    let there = found.as_ref().filter(|found| !found.objects.is_empty());
    let is_there = |object: &Object| {
        there.is_some_and(|found| match object.kind.as_str() {
            "extension" => found.extensions.contains(&object.name),
            _ => found.objects.contains(object),
        })
    };
    for entry in kept {
        match object(entry).filter(is_there) {
            Some(object) => {
                plan.add(ImportAction::Overwrite, object.to_string(), "it is dropped and made as in the archive")
            }
            None => plan.add(ImportAction::Create, "", ""),
        }
    }
}

/// What an entry is called in a database, where something may bear its name there.
fn object(entry: &Entry) -> Option<Object> {
    let mut name = entry.tag.as_str();
    let kind = match entry.kind.as_str() {
        "TABLE" | "FOREIGN TABLE" | "VIEW" | "MATERIALIZED VIEW" | "SEQUENCE" => "relation",
        "FUNCTION" | "PROCEDURE" | "AGGREGATE" => "function",
        "TYPE" | "DOMAIN" | "SHELL TYPE" => "type",
        "SCHEMA" => "schema",
        "BLOB" => "large object",
        "COLLATION" => "collation",
        "OPERATOR" => "operator",
        "CONVERSION" => "conversion",
        "TEXT SEARCH CONFIGURATION" => "text search configuration",
        "TEXT SEARCH DICTIONARY" => "text search dictionary",
        "FOREIGN DATA WRAPPER" => "foreign data wrapper",
        "SERVER" => "foreign server",
        "EXTENSION" => "extension",
        "PUBLICATION" => "publication",
        "EVENT TRIGGER" => "event trigger",
        "PROCEDURAL LANGUAGE" => "language",
        "ACCESS METHOD" => "access method",
        // The tags of these two begin with what they are.
        "CAST" | "USER MAPPING" => {
            name = name.strip_prefix(&entry.kind).map_or(name, str::trim_start);
            if entry.kind == "CAST" { "cast" } else { "user mapping" }
        }
        _ => return None,
    };
    let (schema, name) = (entry.schema.clone().unwrap_or_default(), name.to_owned());
    Some(Object { kind: kind.to_owned(), schema, name })
}

/// What a person should know.
fn notes(plan: &mut ImportPlan, toc: &Toc, target: &Target, program: &Program, kept: &[&Entry], found: &Option<Found>) {
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in kept {
        *kinds.entry(entry.kind.as_str()).or_default() += 1;
    }
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {}", kind.to_lowercase())).collect();
    plan.notes.push(format!("in the archive: {}", kinds.join(", ")));
    if let Some(found) = found.as_ref().filter(|found| !found.objects.is_empty() && plan.options.overwrite) {
        let replaced = |entry: &&&Entry| object(entry).is_some_and(|object| found.objects.contains(&object));
        let stay = found.objects.len().saturating_sub(kept.iter().filter(replaced).count());
        plan.notes.push(format!("{stay} objects of the database are not in the archive and stay"));
    }
    if toc.server_major() > target.major() {
        plan.notes.push(format!(
            "the archive comes from PostgreSQL {}, newer than the target's {}: a statement that it does not know ends the restore",
            toc.server_major(),
            target.major()
        ));
    }
    if program.version.is_unsafe_to_restore() {
        plan.notes.push(format!(
            "pg_restore {} may run what a hostile server smuggled into the archive (CVE-2025-8714): update it",
            program.version
        ));
    }
    let subscriptions = toc.entries.iter().filter(|entry| entry.kind == "SUBSCRIPTION").count();
    if subscriptions > 0 {
        plan.notes
            .push(format!("{subscriptions} subscriptions are left out: two databases must not follow one publisher"));
    }
    let large = toc.entries.iter().any(|entry| entry.kind.starts_with("BLOB"));
    if large && !plan.options.only.is_empty() {
        plan.notes.push("large objects are left out: they belong to no schema".to_owned());
    }
}

/// A digest of what was found in the way.
fn fingerprint(details: &Details, found: &Option<Found>) -> String {
    // Roles are not in it: an interrupted apply may have made some. Nor is an empty database: it is as good as none.
    let mut text = details.database.clone();
    if let Some(found) = found.as_ref().filter(|found| found.marker.is_some() || !found.objects.is_empty()) {
        text.push_str(&format!("\n{} {:?}", found.oid, found.marker));
        found.objects.iter().for_each(|object| text.push_str(&format!("\n{object:?}")));
    }
    Blake3::of(text.as_bytes()).to_string()
}
