//! Proving a point without restoring it, as deep as asked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::engine::verify_once::{ReadOnce, Whole};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Observers};
use crate::name::PointId;
use crate::source::{ItemSource, ResourceImporter};
use crate::store::Key;
use crate::vault::details::{ComponentLine, DetailLine};
use crate::vault::handle::Replica;
use crate::vault::items::{PointItems, details};
use crate::vault::lookback::doubt_of;
use crate::vault::manifest::{Component, Outcome};
use crate::vault::points::Point;
use crate::vault::prove::{not_listed, prove_object};
use crate::vault::{ObjectEntry, Purpose, Vault};

/// How deep a point is proved. Each depth includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Depth {
    /// Every object is there at its size. Needs no key and reads only the manifest.
    Listed,
    /// Every stored byte has the digest that was signed. Needs no key.
    #[default]
    Stored,
    /// Every item decrypts, decompresses and has its plain length and digest.
    Decoded,
    /// An importer read every item to its end and found it well formed.
    Checked,
}

/// A verification that is asked for; await it.
#[must_use = "nothing is verified before this is awaited"]
pub struct VerifyRequest {
    pub(super) vault: Vault,
    /// Where else to look for what is damaged.
    replicas: Vec<Replica>,
    point: PointId,
    observers: Observers,
    depth: Depth,
    pub(super) importers: BTreeMap<String, Arc<dyn ResourceImporter>>,
    record: bool,
}

/// What a verification proved. Damage is not a report but an error, which carries one: see [`Error::payload`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Which point.
    pub point: PointId,
    /// The depth that every restorable component reached; none if not even the objects were all there.
    pub reached: Option<Depth>,
    /// Who signed the point.
    pub signer: String,
    /// Objects looked at.
    pub objects: u64,
    /// Stored bytes that the point consists of.
    pub bytes: u64,
    /// What is damaged or missing.
    pub findings: Vec<Finding>,
    /// Why the point is in doubt, if it is: intact, but by its time or beside earlier points not what it should be.
    pub doubt: Option<String>,
    /// Components that the point does not have whole, or that no importer could check, in words.
    pub unproved: Vec<String>,
}

/// A damage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// The component.
    pub component: String,
    /// The item, where its name could be read.
    pub item: Option<String>,
    /// The object, where one is concerned.
    pub key: Option<Key>,
    /// What is wrong.
    pub what: String,
}

impl VerifyRequest {
    pub(crate) fn new(vault: Vault, point: PointId, observers: Observers) -> Self {
        let (vault, replicas) = (vault.alone(), vault.replicas().to_vec());
        Self { vault, replicas, point, observers, depth: Depth::default(), importers: BTreeMap::new(), record: false }
    }

    /// How deep; [`Depth::Stored`] if not said.
    pub fn depth(mut self, depth: Depth) -> Self {
        self.depth = depth;
        self
    }

    /// Checks a component's items with this importer, and so the whole point to [`Depth::Checked`].
    pub fn check(mut self, component: impl Into<String>, importer: impl ResourceImporter) -> Self {
        self.importers.insert(component.into(), Arc::new(importer));
        self.depth = Depth::Checked;
        self
    }

    /// Keeps what is found as a signed [`Proof`](crate::engine::Proof) beside the point, damage too.
    pub fn record(mut self) -> Self {
        self.record = true;
        self
    }

    async fn run(self) -> Result<VerifyReport> {
        if self.depth == Depth::Checked && self.importers.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "to check formats takes an importer for each component")
                .advise("name them by `check(component, importer)`"));
        }
        if self.record {
            self.vault.signer(Purpose::Proof)?;
        }
        let began = self.vault.clock().monotonic();
        let point = self.vault.points().get(&self.point).await?;
        let report = self.prove(&point).await?;
        if self.record {
            let took = self.vault.clock().monotonic().saturating_sub(began);
            let took = SignedDuration::try_from(took).unwrap_or(SignedDuration::MAX);
            self.vault.prove_verified(&report, point.sha256, took).await?;
        }
        if report.findings.is_empty() { Ok(report) } else { Err(damaged(report)) }
    }

    async fn prove(&self, point: &Point) -> Result<VerifyReport> {
        let mut report = VerifyReport {
            point: point.id.clone(),
            reached: None,
            signer: point.signer.clone(),
            objects: point.manifest.objects().count() as u64,
            bytes: point.manifest.objects().map(|object| object.bytes).sum(),
            findings: Vec::new(),
            doubt: doubt_of(&self.vault, point).await?,
            unproved: Vec::new(),
        };
        if let Some(doubt) = &report.doubt {
            let message = format!("doubtful until it is accepted: {doubt}");
            self.observers.emit(&Event::Warning { place: point.id.to_string(), message });
        }
        for component in point.manifest.components.iter().filter(|c| c.outcome != Outcome::Good) {
            report.unproved.push(format!("{} is {:?} in this point", component.name, component.outcome).to_lowercase());
        }
        let mut once = ReadOnce::default();
        for depth in [Depth::Listed, Depth::Stored, Depth::Decoded, Depth::Checked] {
            if depth > self.depth {
                break;
            }
            let mut reached = true;
            match depth {
                Depth::Listed => self.list(point, &mut report).await?,
                Depth::Stored => {
                    if self.depth > Depth::Stored {
                        once = self.read_once(point).await;
                    }
                    self.read_stored(point, &mut report, &once.whole).await?;
                }
                Depth::Decoded => self.decode(point, &mut report, &once.whole).await?,
                Depth::Checked => reached = self.check_formats(point, &mut report, &mut once).await?,
            }
            if !report.findings.is_empty() {
                break;
            }
            if reached {
                report.reached = Some(depth);
            }
        }
        Ok(report)
    }

    async fn list(&self, point: &Point, report: &mut VerifyReport) -> Result<()> {
        for (key, what) in not_listed(self.vault.store(), &point.manifest).await? {
            report.findings.push(Finding { component: component_of(point, &key), item: None, key: Some(key), what });
        }
        Ok(())
    }

    async fn read_stored(&self, point: &Point, report: &mut VerifyReport, whole: &Whole) -> Result<()> {
        for object in point.manifest.objects().filter(|object| !whole.has(&object.key)) {
            let component = component_of(point, &object.key);
            let result = prove_object(self.vault.store(), &object, self.vault.budget()).await;
            let damaged = result.is_err();
            note(report, &component, None, Some(&object.key), result)?;
            if damaged && let Some(finding) = report.findings.last_mut() {
                self.find_intact(&object, finding).await;
            }
            self.told(point, &component, object.key.as_str(), object.bytes)();
        }
        Ok(())
    }

    /// Says which replica has the object intact: a restore takes it from there.
    async fn find_intact(&self, object: &ObjectEntry, finding: &mut Finding) {
        for replica in &self.replicas {
            if prove_object(replica.vault.store(), object, self.vault.budget()).await.is_ok() {
                finding.what.push_str(&format!("; intact in the replica {}", replica.name));
            }
        }
    }

    async fn decode(&self, point: &Point, report: &mut VerifyReport, whole: &Whole) -> Result<()> {
        let mut lines = details(&self.vault, &point.manifest);
        let mut told = BTreeSet::new();
        while let Some(line) = lines.next().await {
            match line {
                Ok(DetailLine::Item(line)) => told.extend(line.objects.into_iter().map(|object| object.key)),
                Ok(DetailLine::Component(line)) => report.unproved.extend(complaints(&line)),
                Ok(DetailLine::Configuration(_)) => {}
                Err(error) => return note(report, "details", None, None, Err(error)),
            }
        }
        drop(lines);
        for component in restorable(point) {
            for object in component.objects.iter().filter(|object| !told.contains(&object.key)) {
                let what = "the details tell no item of this object".to_owned();
                let component = component.name.to_string();
                report.findings.push(Finding { component, item: None, key: Some(object.key.clone()), what });
            }
            let items = PointItems::new(&self.vault, point, &component.name)?;
            let mut lines = items.lines();
            while let Some(line) = lines.next().await {
                let line = line?;
                if whole.has_item(&line)? {
                    continue;
                }
                let result = drain(items.open_line(&line).await).await;
                note(report, component.name.as_str(), Some(&line.name), None, result)?;
                self.told(point, component.name.as_str(), &line.name, line.bytes)();
            }
        }
        Ok(())
    }

    /// Whether an importer read every item of every component.
    async fn check_formats(&self, point: &Point, report: &mut VerifyReport, once: &mut ReadOnce) -> Result<bool> {
        let mut every_item = true;
        for component in restorable(point) {
            let Some(importer) = self.importers.get(component.name.as_str()) else {
                report.unproved.push(format!("{}: no importer was given to check it", component.name));
                every_item = false;
                continue;
            };
            let items = PointItems::new(&self.vault, point, &component.name)?;
            let mut listed = items.list();
            while let Some(item) = listed.next().await {
                let item = item?;
                if !importer.accepts(&item) {
                    every_item = false;
                    report.unproved.push(format!(
                        "{}: {importer} does not read items of format {:?}",
                        component.name, item.format
                    ));
                }
            }
            drop(listed);
            // Those behind a place where reading ended for another reason were not asked yet.
            let checked = match once.checked.remove(&component.name) {
                Some(checked) => checked,
                None => importer.check(&items).await,
            };
            match checked {
                Ok(found) => {
                    report.unproved.extend(found.unproved.iter().map(|text| format!("{}: {text}", component.name)));
                    for problem in found.problems {
                        let what = format!("{}: {}", problem.what, problem.why);
                        report.findings.push(Finding {
                            component: component.name.to_string(),
                            item: None,
                            key: None,
                            what,
                        });
                    }
                }
                Err(error) => note(report, component.name.as_str(), None, None, Err(error))?,
            }
        }
        Ok(every_item)
    }

    /// Tells of an item that was proved.
    pub(super) fn told(&self, point: &Point, component: &str, item: &str, bytes: u64) -> impl FnOnce() + Send + use<> {
        let (point, component, item) = (point.id.clone(), component.to_owned(), item.to_owned());
        let observers = self.observers.clone();
        move || observers.emit(&Event::ItemVerified { point, component, item, bytes })
    }
}

impl Vault {
    /// Proves a point as it lies in this very vault; await the request. What is damaged here and intact in a replica is told
    /// so, and is a damage all the same.
    pub fn verify(&self, point: &PointId) -> VerifyRequest {
        VerifyRequest::new(self.clone(), point.clone(), Observers::default())
    }
}

impl IntoFuture for VerifyRequest {
    type Output = Result<VerifyReport>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let point = self.point.clone();
        Box::pin(async move { self.run().await.map_err(|error| error.operation("verify").with("point", point)) })
    }
}

impl fmt::Debug for VerifyRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyRequest").field("point", &self.point).field("depth", &self.depth).finish_non_exhaustive()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.component)?;
        if let Some(item) = &self.item {
            write!(f, "item {item:?}: ")?;
        }
        f.write_str(&self.what)?;
        let told = |key: &&Key| self.what.contains(key.as_str());
        self.key.iter().filter(|key| !told(key)).try_for_each(|key| write!(f, " ({key})"))
    }
}

impl fmt::Display for Depth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listed => "listed",
            Self::Stored => "stored",
            Self::Decoded => "decoded",
            Self::Checked => "checked",
        })
    }
}

pub(super) fn restorable(point: &Point) -> impl Iterator<Item = &Component> {
    point.manifest.components.iter().filter(|component| component.outcome != Outcome::Failed)
}

/// What the exporter said is missing or torn, which only a reader with the key learns.
pub(crate) fn complaints(line: &ComponentLine) -> impl Iterator<Item = String> + '_ {
    let problems = line.problems.iter().map(|problem| format!("{}: {}", problem.what.escape_debug(), problem.why));
    line.error.iter().cloned().chain(problems).map(|complaint| format!("{}: {complaint}", line.name))
}

fn component_of(point: &Point, key: &Key) -> String {
    let holds = |component: &&Component| component.objects.iter().any(|object| object.key == *key);
    point
        .manifest
        .components
        .iter()
        .find(holds)
        .map_or_else(|| "details".to_owned(), |component| component.name.to_string())
}

/// Damage is noted and the work goes on; what says nothing about the point ends it.
fn note(
    report: &mut VerifyReport,
    component: &str,
    item: Option<&str>,
    key: Option<&Key>,
    result: Result<()>,
) -> Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if is_damage(&error) => {
            let (component, item) = (component.to_owned(), item.map(str::to_owned));
            report.findings.push(Finding { component, item, key: key.cloned(), what: error.with_causes() });
            Ok(())
        }
        Err(error) => Err(error),
    }
}

pub(super) fn is_damage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound)
}

fn damaged(report: VerifyReport) -> Error {
    let more = match report.findings.len() {
        1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    Error::new(ErrorKind::Corrupt, format!("the point is damaged: {}{more}", report.findings[0]))
        .advise("restore from another point or replica; `points().latest(component)` finds the newest")
        .with_payload(report)
}

pub(super) async fn drain(opened: Result<crate::store::ByteStream>) -> Result<()> {
    let mut content = opened?;
    while let Some(chunk) = content.next().await {
        chunk?;
    }
    Ok(())
}
