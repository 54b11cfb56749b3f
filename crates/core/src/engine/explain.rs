//! Everything that is known of one point, in words.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures_util::StreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::engine::builder::Backstay;
use crate::engine::prune::PruneRequest;
use crate::engine::verify::complaints;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Name, PointId, RunId};
use crate::source::Facts;
use crate::store::Key;
use crate::vault::details::DetailLine;
use crate::vault::items::details;
use crate::vault::layout::{self, MarkName};
use crate::vault::lookback::doubt_of;
use crate::vault::manifest::{Component, Outcome, Status};
use crate::vault::points::{Unasked, list_run};
use crate::vault::{Purpose, Vault};

/// What is known of a point. `Display` says it in words.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The point.
    pub point: PointId,
    /// Where it was found, which is the place that all of this is told of: the vault and its store, a replica with its name
    /// before it.
    pub place: String,
    /// Who signed it.
    pub signer: String,
    /// Whether every component is in it.
    pub status: Status,
    /// When the run began and stored its last byte, by its host's clock.
    pub started: Timestamp,
    /// See [`started`](Self::started).
    pub completed: Timestamp,
    /// When the store took the commit in, by the store's clock.
    pub committed: Timestamp,
    /// The newest point of the tier when the run began.
    pub previous: Option<RunId>,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
    /// The key that it is sealed to; none if nothing is sealed.
    pub epoch: Option<Name>,
    /// Whether an identity given opens it. Without it `complaints`, `notes`, `facts` and `configuration`
    /// stay empty.
    pub key: bool,
    /// Its components.
    pub components: Vec<ExplainedComponent>,
    /// What the exporters said is missing, torn or failed.
    pub complaints: Vec<String>,
    /// What the exporters noted besides: what was left out as asked for, warnings of programs that they ran.
    pub notes: Vec<String>,
    /// Marks beside it that count.
    pub marks: Vec<ExplainedMark>,
    /// Keys of its proofs. Whether they are signed shows when they are read.
    pub proofs: Vec<String>,
    /// Keys of the records of its copies.
    pub copies: Vec<String>,
    /// Why it is in doubt, if it is.
    pub doubt: Option<String>,
    /// What retention says of it and why, where the program knows its tier.
    pub retention: Option<String>,
    /// The configuration that made it, without secrets.
    pub configuration: Option<Facts>,
    /// Marks that do not count, each with the reason.
    pub strange: Vec<String>,
}

/// A component of an explained point.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExplainedComponent {
    /// Its name.
    pub name: Name,
    /// Its kind.
    pub kind: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The moment that it shows, where told.
    pub cut_at: Option<Timestamp>,
    /// What it truly is, where told.
    pub identity: Option<String>,
    /// Plain bytes.
    pub bytes: u64,
    /// Stored bytes.
    pub stored: u64,
    /// Stored objects and snapshots.
    pub objects: u64,
    /// What the exporter told of it: the databases that are in it, versions.
    pub facts: Facts,
}

/// A mark of an explained point.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExplainedMark {
    /// "hold-audit", "deleted".
    pub what: String,
    /// Who signed it.
    pub by: String,
    /// When the store took it in.
    pub at: Timestamp,
    /// Why, in its maker's words.
    pub reason: String,
}

impl Vault {
    /// Tells everything that is known of a point: who signed it, its times by both clocks, its components, marks with who,
    /// when and why, proofs, copies, and what is strange about it. Looks into the vault first, and into each replica if the
    /// point cannot be read there; tells where it was found. Retention is told by
    /// [`Backstay::explain`](crate::engine::Backstay::explain), which knows the tiers.
    ///
    /// # Errors
    /// As [`Points::get`](crate::vault::Points::get): there is no point, or it cannot be trusted, and why.
    pub async fn explain(&self, point: &PointId) -> Result<Explanation> {
        explain(self, point).await.map(|(explanation, _)| explanation)
    }
}

impl Backstay {
    /// As [`Vault::explain`], with what retention says of the point now, if it is in the vault. That takes a pruner's role
    /// and key.
    ///
    /// # Errors
    /// As [`Vault::explain`].
    pub async fn explain(&self, point: &PointId) -> Result<Explanation> {
        let (mut explanation, here) = explain(self.vault(), point).await?;
        if here && point.source == self.0.source && self.0.tier(point.tier.as_str()).is_ok() {
            if self.vault().signer(Purpose::Delete).is_err() {
                explanation.retention = Some("a pruner can tell".to_owned());
                return Ok(explanation);
            }
            let plan = PruneRequest::new(Arc::new(self.0.unheard()), point.tier.to_string()).plan().await;
            explanation.retention = match plan {
                Ok(plan) => plan
                    .steps
                    .iter()
                    .find(|step| step.id == *point)
                    .map(|step| format!("{}: {}", step.action, step.reason)),
                Err(error) => Some(format!("it cannot be told: {error}")),
            };
        }
        Ok(explanation)
    }
}

/// The explanation, and whether the vault itself has the point.
async fn explain(vault: &Vault, id: &PointId) -> Result<(Explanation, bool)> {
    let named = |error: Error| error.operation("explain").with("point", id);
    let error = match explain_in(vault, vault, vault.to_string(), id).await {
        Ok(explanation) => return Ok((explanation, true)),
        Err(error) => error,
    };
    let mut unasked = Unasked::default();
    for replica in vault.replicas() {
        let place = format!("{}: {}", replica.name, replica.vault);
        match explain_in(&replica.vault, vault, place, id).await {
            Ok(mut explanation) => {
                explanation.strange.push(format!("it could not be read in the {vault}: {error}"));
                return Ok((explanation, false));
            }
            Err(error) => unasked.note(replica, &error),
        }
    }
    Err(named(unasked.name_in(error)))
}

/// What is known of a point in `vault`; `through` reads and opens its details, as a restore would.
async fn explain_in(vault: &Vault, through: &Vault, place: String, id: &PointId) -> Result<Explanation> {
    let point = vault.read_point(id).await?;
    let manifest = &point.manifest;
    let mut explanation = Explanation {
        point: id.clone(),
        place,
        signer: point.signer.clone(),
        status: manifest.status,
        started: manifest.started,
        completed: manifest.completed,
        committed: point.committed,
        previous: manifest.previous.clone(),
        labels: manifest.labels.clone(),
        epoch: manifest.epoch.as_ref().map(|epoch| epoch.name.clone()),
        key: false,
        components: manifest.components.iter().map(ExplainedComponent::from).collect(),
        complaints: Vec::new(),
        notes: Vec::new(),
        marks: Vec::new(),
        proofs: in_words(vault.keys(&layout::proofs_of(id)?).await?),
        copies: in_words(vault.keys(&layout::copies_of(id)?).await?),
        doubt: doubt_of(vault, &point).await?,
        retention: None,
        configuration: None,
        strange: Vec::new(),
    };
    let run = list_run(vault, id).await?;
    for name in run.iter().flat_map(|run| &run.marks) {
        explanation.mark(vault, id, name).await?;
    }
    match through.unlock(manifest.epoch.as_ref()).await {
        Ok(_) => explanation.key = true,
        Err(error) if matches!(error.kind(), ErrorKind::Denied | ErrorKind::NotFound) => return Ok(explanation),
        // A replica that is down, or the like: everything else is told all the same.
        Err(error) => {
            explanation.strange.push(format!("its key: {error}"));
            return Ok(explanation);
        }
    }
    let mut lines = details(through, manifest);
    while let Some(line) = lines.next().await {
        match line {
            Ok(DetailLine::Configuration(line)) => explanation.configuration = Some(Facts::of(&line)?),
            Ok(DetailLine::Component(line)) => {
                explanation.complaints.extend(complaints(&line));
                explanation
                    .notes
                    .extend(line.notes.iter().map(|note| format!("{}: {}", line.name, note.escape_debug())));
                let told = explanation.components.iter_mut().filter(|component| component.name == line.name);
                told.for_each(|component| component.facts = line.facts.clone());
            }
            // What follows are items, and there may be a million of them.
            Ok(DetailLine::Item(_)) => break,
            Err(error) => {
                explanation.strange.push(format!("its details: {error}"));
                break;
            }
        }
    }
    Ok(explanation)
}

fn in_words(keys: Vec<Key>) -> Vec<String> {
    keys.iter().map(Key::to_string).collect()
}

impl Explanation {
    async fn mark(&mut self, vault: &Vault, id: &PointId, name: &MarkName) -> Result<()> {
        match vault.get_mark(id, name).await {
            Ok(found) => self.marks.push(ExplainedMark {
                what: name.to_string(),
                by: found.signer.principal,
                at: found.meta.last_modified,
                reason: found.mark.reason,
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if matches!(error.kind(), ErrorKind::Untrusted | ErrorKind::Corrupt) => {
                self.strange.push(format!("{name} does not count: {error}"));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl From<&Component> for ExplainedComponent {
    fn from(component: &Component) -> Self {
        Self {
            name: component.name.clone(),
            kind: component.kind.clone(),
            outcome: component.outcome,
            cut_at: component.cut_at,
            identity: component.identity.clone(),
            bytes: component.bytes,
            stored: component.objects.iter().map(|object| object.bytes).sum(),
            objects: (component.objects.len() + component.snapshots.len()) as u64,
            facts: Facts::new(),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { point, place, signer, status, started, completed, committed, .. } = self;
        let status = format!("{status:?}").to_lowercase();
        writeln!(f, "{point} in {place}: {status}, signed by {signer}")?;
        writeln!(f, "  its host ran it from {started} to {completed}; the store took it in at {committed}")?;
        self.doubt.iter().try_for_each(|doubt| writeln!(f, "  DOUBTFUL until it is accepted: {doubt}"))?;
        for component in &self.components {
            let ExplainedComponent { name, kind, outcome, bytes, stored, objects, .. } = component;
            let outcome = format!("{outcome:?}").to_lowercase();
            write!(f, "  component {name} ({kind}): {outcome}, {bytes} bytes, {stored} stored in {objects} objects")?;
            component.cut_at.iter().try_for_each(|cut| write!(f, ", as of {cut}"))?;
            component.identity.iter().try_for_each(|identity| write!(f, ", of {identity}"))?;
            writeln!(f)?;
        }
        for component in self.components.iter().filter(|component| !component.facts.is_empty()) {
            writeln!(f, "  {} tells: {}", component.name, component.facts)?;
        }
        self.complaints.iter().try_for_each(|complaint| writeln!(f, "  missing or torn: {complaint}"))?;
        self.notes.iter().try_for_each(|note| writeln!(f, "  note: {note}"))?;
        self.labels.iter().try_for_each(|(name, value)| writeln!(f, "  label {name}: {value}"))?;
        self.previous.iter().try_for_each(|previous| writeln!(f, "  the point before it: {previous}"))?;
        match (&self.epoch, self.key) {
            (None, _) => writeln!(f, "  it is not sealed")?,
            (Some(epoch), true) => writeln!(f, "  sealed to {epoch}, which an identity given opens")?,
            (Some(epoch), false) => writeln!(f, "  sealed to {epoch}: NO IDENTITY GIVEN OPENS IT")?,
        }
        for ExplainedMark { what, by, at, reason } in &self.marks {
            writeln!(f, "  {what} by {by} at {at}: {reason}")?;
        }
        self.retention.iter().try_for_each(|retention| writeln!(f, "  retention: {retention}"))?;
        let none = |keys: &[String]| if keys.is_empty() { "none".to_owned() } else { keys.join(", ") };
        writeln!(f, "  proofs: {}; copies: {}", none(&self.proofs), none(&self.copies))?;
        self.strange.iter().try_for_each(|strange| writeln!(f, "  look at: {strange}"))?;
        match &self.configuration {
            Some(configuration) => write!(f, "  made with: {configuration}"),
            None => write!(f, "  made with: not known without the key"),
        }
    }
}
