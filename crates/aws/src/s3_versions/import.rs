//! The importer: the newest that a point has of each key goes into the bucket again.

use std::collections::HashSet;

use async_trait::async_trait;
use backstay_core::source::{
    CheckReport, ImportAction, ImportOptions, ImportPlan, ImportReport, ItemInfo, ItemSource, Problem, ResourceImporter,
};
use backstay_core::store::Key;
use backstay_core::{Error, ErrorKind, Result, Sha256};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::objects::VersionedObjects;
use super::plan::{From, RestoreVersionPlan, understood};
use super::state::{State, too_long};
use super::{KIND, OBJECT, STATE};

/// What would become of one key.
pub(super) struct Decision {
    pub(super) action: ImportAction,
    pub(super) why: String,
    pub(super) bytes: u64,
    /// How a state is written, and what.
    state: Option<(RestoreVersionPlan, Bytes)>,
    notes: Vec<String>,
}

impl Decision {
    pub(super) fn new(action: ImportAction, bytes: u64) -> Self {
        Self { action, why: String::new(), bytes, state: None, notes: Vec::new() }
    }

    fn because(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }
}

#[async_trait]
impl ResourceImporter for VersionedObjects {
    fn accepts(&self, item: &ItemInfo) -> bool {
        item.format == if self.are_states() { STATE } else { OBJECT }
    }

    async fn check(&self, items: &dyn ItemSource) -> Result<CheckReport> {
        let mut report = CheckReport::default();
        let mut encrypted = 0_u64;
        let all = self.items(items, &ImportOptions::default(), false).await?;
        for (key, item) in all {
            report.entries += 1;
            if !self.are_states() {
                let mut body = items.open(&item).await?;
                while body.try_next().await?.is_some() {}
                continue;
            }
            let content = read(items, &item).await?;
            let (_, state) = understood(&content, &key).map_err(|error| error.with("item", &item.name))?;
            encrypted += u64::from(state.is_none());
        }
        if encrypted > 0 {
            report.unproved.push(format!("what is in {encrypted} states: they are encrypted"));
        }
        report.unproved.push(match self.are_states() {
            true => "whether what the states tell of is still there".to_owned(),
            false => "whether what is in the objects makes sense to those who use them".to_owned(),
        });
        Ok(report)
    }

    async fn plan(&self, items: &dyn ItemSource, options: &ImportOptions) -> Result<ImportPlan> {
        let mut plan = ImportPlan::new(self.to_string(), options);
        let mut seen = String::new();
        for (key, item) in self.items(items, options, true).await? {
            let decision = self.decide(items, &key, &item, options).await?;
            plan.bytes += decision.bytes;
            seen.push_str(&format!("{key}\n{}\n{}\n", decision.action, decision.why));
            plan.notes.extend(decision.notes);
            plan.add(decision.action, key.as_str(), decision.why);
        }
        plan.fingerprint = Sha256::of(seen.as_bytes()).to_string();
        Ok(plan)
    }

    async fn apply(&self, items: &dyn ItemSource, plan: ImportPlan) -> Result<ImportReport> {
        if plan.target != self.to_string() {
            return Err(Error::new(ErrorKind::Invalid, "the plan was made for another target")
                .with("planned", &plan.target)
                .with("target", self));
        }
        let replacing = plan.entries.into_iter().filter(|entry| entry.action == ImportAction::Overwrite);
        let planned: HashSet<_> = replacing.map(|entry| (entry.what, entry.why)).collect();
        let mut report = ImportReport::default();
        match self.import(items, &plan.options, &planned, &mut report).await {
            Ok(()) => Ok(report),
            Err(error) => Err(error.with_payload(report)),
        }
    }
}

impl VersionedObjects {
    async fn import(
        &self,
        items: &dyn ItemSource,
        options: &ImportOptions,
        planned: &HashSet<(String, String)>,
        report: &mut ImportReport,
    ) -> Result<()> {
        for (key, item) in self.items(items, options, true).await? {
            let mut decision = self.decide(items, &key, &item, options).await?;
            let overwrites = decision.action == ImportAction::Overwrite;
            if overwrites && !planned.contains(&(key.to_string(), decision.why.clone())) {
                decision.action = ImportAction::Conflict;
                decision.why = format!("it changed since the plan was made: {}", decision.why);
            }
            if matches!(decision.action, ImportAction::Conflict | ImportAction::Impossible) {
                report.problems.push(Problem::new(key.as_str(), format!("{}: {}", decision.action, decision.why)));
                report.add(decision.action);
                continue;
            }
            let action = decision.action;
            if action != ImportAction::Unchanged {
                match decision.state {
                    Some((state, content)) => drop(self.write(state, Some(content)).await?),
                    None => self.put_object(items, &key, &item, action == ImportAction::Overwrite).await?,
                }
                report.bytes += decision.bytes;
            }
            report.add(action);
        }
        Ok(())
    }

    /// Which items are meant. Of each key the first, which is the newest, if only one can be put back.
    async fn items(&self, items: &dyn ItemSource, options: &ImportOptions, one: bool) -> Result<Vec<(Key, ItemInfo)>> {
        let mut unmatched: Vec<&String> = options.only.iter().collect();
        let (mut found, mut any) = (Vec::new(), false);
        let mut keys = HashSet::new();
        let mut list = items.list();
        while let Some(item) = list.next().await.transpose()? {
            if !self.accepts(&item) {
                return Err(Error::new(ErrorKind::Invalid, "an item is none of these objects")
                    .with("item", item.name)
                    .with("format", item.format)
                    .advise("choose the importer for this kind of component"));
            }
            any = true;
            let key = key_of(&item)?;
            let matches =
                |glob: &str| crate::glob::matches(glob, &item.name) || crate::glob::matches(glob, key.as_str());
            unmatched.retain(|glob| !matches(glob));
            if !options.only.is_empty() && !options.only.iter().any(|glob| matches(glob)) {
                continue;
            }
            if keys.insert(key.clone()) || !one {
                found.push((key, item));
            }
        }
        if !any {
            return Err(Error::new(ErrorKind::NotFound, "there is no item to restore"));
        }
        match unmatched.first() {
            None => Ok(found),
            Some(glob) => Err(Error::new(ErrorKind::Invalid, "a glob chooses nothing").with("only", glob)),
        }
    }

    async fn decide(
        &self,
        items: &dyn ItemSource,
        key: &Key,
        item: &ItemInfo,
        options: &ImportOptions,
    ) -> Result<Decision> {
        let mut decision = Decision::new(ImportAction::Impossible, 0);
        if !self.means(key.as_str()) {
            return Ok(decision.because(format!("the key is none of {self}")));
        }
        if !self.are_states() {
            return self.decide_object(items, key, item, options).await;
        }
        let content = read(items, item).await?;
        let (plan, content) = match self.plan_state(key, From::Point, content).await {
            Ok(planned) => planned,
            Err(error) if error.kind() == ErrorKind::Refused => return Ok(decision.because(error.to_string())),
            Err(error) if error.kind() == ErrorKind::Archived => {
                // All that does not change from call to call: plans are compared.
                return Ok(decision.because(format!("what is there now cannot be read: {}", error.message())));
            }
            Err(error) => return Err(error.with("item", &item.name)),
        };
        decision.action = match (&plan.current, plan.is_empty()) {
            (_, true) => ImportAction::Unchanged,
            // The state is there, only its digest is not.
            (Some(_), _) if !plan.writes => ImportAction::Create,
            (None, _) => ImportAction::Create,
            (Some(_), _) if options.overwrite => ImportAction::Overwrite,
            (Some(_), _) => ImportAction::Conflict,
        };
        if let Some(current) = &plan.current {
            let serial = current.state.as_ref().and_then(|state| state.serial);
            let there = serial.map_or("something else".to_owned(), |serial| format!("serial {serial}"));
            decision.why = match &plan.diff {
                Some(diff) => format!("{there} is there: {diff}"),
                None => format!("{there} is there"),
            };
        }
        decision.notes = plan.notes.iter().map(|note| format!("{key}: {note}")).collect();
        if let Some(digest) = &plan.digest {
            decision.notes.push(format!("{key}: the digest {} becomes {}", digest.item, digest.new));
        }
        decision.bytes = if decision.action == ImportAction::Conflict { 0 } else { plan.bytes };
        decision.state = Some((plan, content));
        Ok(decision)
    }
}

/// The key that the exporter noted.
fn key_of(item: &ItemInfo) -> Result<Key> {
    let told = item.facts.get::<String>("key")?.filter(|_| item.kind == KIND);
    let name = told.unwrap_or_else(|| item.name.split("?versionId=").next().unwrap_or_default().to_owned());
    Key::new(name).map_err(|error| error.with("item", &item.name))
}

async fn read(items: &dyn ItemSource, item: &ItemInfo) -> Result<Bytes> {
    if item.bytes > State::MAX_BYTES {
        return Err(too_long(item.bytes).with("item", &item.name));
    }
    let mut body = items.open(item).await?;
    let mut content = Vec::new();
    while let Some(chunk) = body.try_next().await? {
        content.extend_from_slice(&chunk);
        if content.len() as u64 > State::MAX_BYTES {
            return Err(too_long(content.len() as u64).with("item", &item.name));
        }
    }
    Ok(content.into())
}
