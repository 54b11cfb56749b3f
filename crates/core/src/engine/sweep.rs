//! Planning what goes of runs that died.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::engine::adopt::waits_for_undo;
use crate::engine::builder::Inner;
use crate::engine::prune_facts::is_tampering;
use crate::engine::sweep_apply::{self, SweepReport};
use crate::engine::sweep_facts::{SweepFacts, objects_of};
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Name, PointId, Tag};
use crate::store::layer::AsOf;
use crate::store::{Key, Prefix, UploadRef};
use crate::vault::commit::Commit;
use crate::vault::layout::{self, MarkName};
use crate::vault::runs::{RecordedRun, after};
use crate::vault::wary::Wary;
use crate::vault::{Purpose, VaultId};

/// How much longer than the longest run everything is left, if nothing else is said.
const GRACE: Duration = Duration::from_secs(24 * 3600);

/// A sweep that is asked for: make its plan, look at it, apply it.
///
/// It acts on run records, and on what a prune left that stopped at its very end: what no record names is listed for a
/// person, but for unfinished uploads, which no reader ever sees. A run for whose commit there is a signature and no
/// manifest is left too: it may have made a point that somebody took away.
///
/// An attempt is dead when the store's time is past the time in its record's name, and past the
/// [longest run](crate::Limits::longest_run) from both the moment at which the store got the record and the run's ID. Records
/// are not signed; so a planted one may keep something longer, and makes nothing go that is alive.
///
/// ```
/// # use backstay_core::{Tier, engine::Backstay, retention::Keep, store::MemoryStore, vault::{Keyring, Vault}};
/// # use backstay_core::directory::Directory;
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let keyring = Keyring::generate()?;
/// # let vault = Vault::create(MemoryStore::new()).keyring(&keyring).build().await?;
/// # let backstay = Backstay::builder("prod-eu", vault)
/// #     .export("files", Directory::new(std::env::current_dir()?.join("src/engine")))
/// #     .tier(Tier::new("daily").keep(Keep::daily(30)))
/// #     .build()?;
/// # backstay.backup("daily").await?;
/// let plan = backstay.sweep().plan().await?;
/// println!("{plan}");
/// let report = plan.apply().await?;
/// assert_eq!(report.bytes, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is deleted before a plan is applied"]
pub struct SweepRequest {
    backstay: Arc<Inner>,
    grace: Duration,
    without_point: BTreeSet<PointId>,
}

/// What a sweep would do, with reasons.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SweepPlan {
    /// In which vault.
    pub vault: VaultId,
    /// Of which source.
    pub source: Name,
    /// When it was made, by the store's clock.
    pub made_at: Timestamp,
    /// One step per run that left something, tier by tier, oldest first.
    pub steps: Vec<SweepStep>,
    /// Unfinished uploads that belong to no recorded run and began so long ago that nobody finishes them: they are aborted.
    /// One whose beginning the store does not tell may be in progress, and is left.
    #[serde(default)]
    pub uploads: Vec<UploadRef>,
    /// What a person should look at: keys that are nobody's, what no record names.
    pub strange: Vec<String>,
}

/// What would be done with what one run left.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SweepStep {
    /// Of which run.
    pub id: PointId,
    /// Of which of its attempts.
    pub attempts: Vec<Tag>,
    /// What.
    pub action: SweepAction,
    /// Objects that go.
    pub objects: u64,
    /// Their stored bytes.
    pub bytes: u64,
    /// Unfinished uploads that are aborted.
    pub uploads: u64,
    /// Why.
    pub reason: String,
}

/// What is done with what a run left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SweepAction {
    /// It stays.
    Keep,
    /// The run is given up: its commit key is taken by a void, then what its attempts left goes.
    Void,
    /// The commit key is taken: what the dead attempts left goes, and never what the point names.
    Clean,
    /// Nothing is left but records and perhaps the void, and no writer is as late as that: they go too.
    Forget,
}

/// A plan together with what it takes to apply it.
#[must_use = "nothing is deleted before the plan is applied"]
pub struct PlannedSweep {
    plan: SweepPlan,
    backstay: Arc<Inner>,
}

impl SweepRequest {
    pub(crate) fn new(backstay: Arc<Inner>) -> Self {
        Self { backstay, grace: GRACE, without_point: BTreeSet::new() }
    }

    /// How long after its death what an attempt left stays all the same. Default: 24 hours.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Says of a run whose commit was signed and is not there that it made no point: its writer died just before the commit.
    /// Nothing in the vault tells it from a run whose point somebody took away; if it was that, the point's bytes go.
    pub fn danger_made_no_point(mut self, run: &PointId) -> Self {
        self.without_point.insert(run.clone());
        self
    }

    /// Decides, and changes nothing.
    ///
    /// # Errors
    /// [`Refused`](ErrorKind::Refused) if the clocks disagree, the vault has no point or is another one;
    /// [`Unsupported`](ErrorKind::Unsupported) if it asks for unknown features; [`Denied`](ErrorKind::Denied) if this
    /// program's key may not give runs up; each with the way on.
    pub async fn plan(self) -> Result<PlannedSweep> {
        let plan = self.make_plan().await.map_err(|error| error.operation("plan sweep"))?;
        Ok(PlannedSweep { plan, backstay: self.backstay })
    }

    async fn make_plan(&self) -> Result<SweepPlan> {
        let (vault, source) = (&self.backstay.vault, &self.backstay.source);
        vault.signer(Purpose::Void)?;
        vault.check_may_delete().await?;
        let now = vault.agreed_time().await?;
        if vault.points().sources().await?.is_empty() {
            return Err(Error::new(ErrorKind::Refused, "the vault has no point at all").with("vault", vault).advise(
                "if it had some, find out who emptied it before anything is deleted; if it is new, make a backup first",
            ));
        }
        let (mut steps, mut strange, mut recorded) = (Vec::new(), Vec::new(), BTreeSet::new());
        for tier in &self.backstay.tiers {
            let mut facts = SweepFacts::gather(&self.backstay, &tier.name.parse()?).await?;
            strange.append(&mut facts.strange);
            let first = steps.len();
            let mut wary = Wary::default();
            for run in facts.runs.values() {
                match self.decide(run, &facts, now, &mut wary).await {
                    // What stands at the commit key is neither point nor void: a person's to judge.
                    Err(error) if is_tampering(error.kind()) => strange.push(format!("{}: {error}", run.id)),
                    step => steps.extend(step?),
                }
            }
            keep_all_without_any_point(&mut steps[first..], &facts);
            recorded.extend(facts.recorded_attempts());
        }
        let (uploads, timeless) = self.stale_uploads(&recorded, now).await?;
        strange.extend(timeless);
        Ok(SweepPlan { vault: vault.id().clone(), source: source.clone(), made_at: now, steps, uploads, strange })
    }

    /// What is to be done with a run; none if nothing is ever to be said of it.
    async fn decide(
        &self,
        run: &RecordedRun,
        facts: &SweepFacts,
        now: Timestamp,
        wary: &mut Wary,
    ) -> Result<Option<SweepStep>> {
        let vault = &self.backstay.vault;
        let longest_run = vault.budget().limits().longest_run;
        let listed = facts.listed.get(&run.id);
        let is_dead = |from: Timestamp| after(from, self.grace) <= now;
        let step = |action, reason: String| SweepStep {
            id: run.id.clone(),
            attempts: run.attempts.keys().cloned().collect(),
            action,
            objects: 0,
            bytes: 0,
            uploads: 0,
            reason,
        };
        if let Some(listed) = listed
            && wary.mark_that_counts(vault, listed, &MarkName::Deleted).await?.is_some()
        {
            return Ok(Some(step(SweepAction::Keep, "its point is being deleted: that is the prune's".to_owned())));
        }
        let dead = run.attempts.iter().filter(|(_, a)| is_dead(run.attempt_dead_from(a, longest_run)));
        let dead: BTreeSet<&Tag> = dead.map(|(tag, _)| tag).collect();
        let committed = match listed {
            // What looks like a point, and nothing of it is to go: not worth a read.
            Some(listed) if listed.manifest.is_some() && !listed.void_hint && dead.is_empty() => return Ok(None),
            Some(listed) if listed.manifest.is_some() => wary.commit(vault, &run.id).await?,
            _ => None,
        };
        if let Some(Commit::Point(point)) = &committed {
            if dead.is_empty() {
                return Ok(None);
            }
            let mut step = step(SweepAction::Clean, "its point stands, and these attempts are over".to_owned());
            step.attempts.retain(|attempt| dead.contains(attempt));
            let named: BTreeSet<Key> = point.manifest.objects().map(|object| object.key).collect();
            self.count(&mut step, facts, |attempt| *attempt != point.manifest.attempt, &named).await?;
            return Ok(Some(step));
        }
        let dead_from = run.dead_from(longest_run);
        if !is_dead(dead_from) {
            let reason = match dead_from <= now {
                true => format!("dead since {dead_from}, grace until {}", after(dead_from, self.grace)),
                false => format!("may be alive until {dead_from}"),
            };
            return Ok(Some(step(SweepAction::Keep, reason)));
        }
        let mut step = step(SweepAction::Keep, String::new());
        self.count(&mut step, facts, |_| true, &BTreeSet::new()).await?;
        let forgotten_from = run.forgotten_from(longest_run);
        if committed.is_none() && self.is_hidden(&run.id).await? {
            step.reason = "its point lies under a delete marker: bring it back by `undelete`".to_owned();
            return Ok(Some(step));
        }
        // Of a run that died just before its commit, or of a point that somebody took away: the bytes are the same.
        if committed.is_none() && facts.signed.contains(&run.id) && !self.without_point.contains(&run.id) {
            step.reason =
                "its commit was signed and is gone: find out who took its manifest away and bring that back; if \
                           there never was one, name the run to `danger_made_no_point`"
                    .to_owned();
            return Ok(Some(step));
        }
        (step.action, step.reason) = match (committed.is_some(), step.objects + step.uploads > 0) {
            (false, true) => (SweepAction::Void, format!("dead since {dead_from}, and it made no point")),
            (true, true) => (SweepAction::Clean, "it was given up, and these attempts are over".to_owned()),
            (_, false) if forgotten_from <= now && waits_for_undo(&self.backstay, run) => {
                (SweepAction::Keep, "its hooks may be begun, and nobody has undone them: adopt it first".to_owned())
            }
            (_, false) if forgotten_from <= now => {
                (SweepAction::Forget, format!("over and done since {forgotten_from}"))
            }
            (true, false) => (SweepAction::Keep, format!("the void stays until {forgotten_from}")),
            (false, false) => (SweepAction::Keep, format!("it left nothing; its record stays until {forgotten_from}")),
        };
        Ok(Some(step))
    }

    /// Uploads that nobody finishes any more, under whatever key, of this source or of the vault's own; those of recorded
    /// attempts go with what their run left. Those of which nobody knows when they began are a person's to judge.
    async fn stale_uploads(
        &self,
        recorded: &BTreeSet<(PointId, Tag)>,
        now: Timestamp,
    ) -> Result<(Vec<UploadRef>, Option<String>)> {
        let (vault, source) = (&self.backstay.vault, &self.backstay.source);
        let longest = vault.budget().limits().longest_run.saturating_add(self.grace);
        let (mut stale, mut timeless, mut first) = (Vec::new(), 0_u64, None);
        let mut uploads = vault.store().uploads(&Prefix::all());
        while let Some(upload) = uploads.try_next().await? {
            let of_a_run = layout::parse_stored(&upload.key).is_some_and(|attempt| recorded.contains(&attempt));
            if of_a_run || !layout::is_of(source, &upload.key) {
                continue;
            }
            match upload.started {
                Some(started) if after(started, longest) <= now => stale.push(upload),
                Some(_) => {}
                None => {
                    timeless += 1;
                    first.get_or_insert(upload.key);
                }
            }
        }
        let told = |first| {
            format!("{first}: the first of {timeless} uploads of which the store does not tell when they began")
        };
        Ok((stale, first.map(told)))
    }

    /// Whether the run made a point that somebody deleted without a plan, and whose versions are still there.
    async fn is_hidden(&self, id: &PointId) -> Result<bool> {
        let vault = &self.backstay.vault;
        if !vault.store().capabilities().versions {
            return Ok(false);
        }
        let past = vault.read_through(AsOf::last_content(vault.shared_store())?);
        match past.read_point(id).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound || is_tampering(error.kind()) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Counts what the step's attempts left, but for what is named.
    async fn count(
        &self,
        step: &mut SweepStep,
        facts: &SweepFacts,
        may_go: impl Fn(&Tag) -> bool,
        named: &BTreeSet<Key>,
    ) -> Result<()> {
        let uploads = step.attempts.iter().filter_map(|attempt| facts.uploads.get(&(step.id.clone(), attempt.clone())));
        step.uploads = uploads.map(|uploads| uploads.len() as u64).sum();
        if facts.stored.contains(&step.id) && step.attempts.iter().any(&may_go) {
            let by = |attempt: &Tag| step.attempts.contains(attempt) && may_go(attempt);
            let objects = objects_of(&self.backstay.vault, &step.id, by).await?;
            let objects: Vec<_> = objects.into_iter().filter(|object| !named.contains(&object.key)).collect();
            step.objects = objects.len() as u64;
            step.bytes = objects.iter().map(|object| object.size).sum();
        }
        Ok(())
    }
}

/// Where points vanished, their runs look as if they had died before they committed. A tier without any point is left to a
/// person.
fn keep_all_without_any_point(steps: &mut [SweepStep], facts: &SweepFacts) {
    let has_key = |id: &PointId| facts.listed.get(id).is_some_and(|listed| listed.manifest.is_some());
    if facts.listed.values().any(|listed| listed.manifest.is_some() && !listed.void_hint) {
        return;
    }
    for step in steps {
        if matches!(step.action, SweepAction::Void | SweepAction::Forget) && !has_key(&step.id) {
            step.action = SweepAction::Keep;
            step.reason =
                "its tier has no point: if it had some, find out who took them; else make a backup first".to_owned();
        }
    }
}

impl PlannedSweep {
    /// Does what the plan says, run by run; looks again before each step and leaves what is no longer as it was planned.
    /// May be interrupted: a later plan goes on where it stopped.
    ///
    /// # Errors
    /// What ended it. Runs that could not be treated make it [`Partial`](ErrorKind::Partial), with the report as
    /// [`Error::payload`].
    pub async fn apply(self) -> Result<SweepReport> {
        sweep_apply::apply(&self.backstay, self.plan).await.map_err(|error| error.operation("sweep"))
    }
}

impl SweepPlan {
    /// How many runs are to be treated so.
    #[must_use]
    pub fn count(&self, action: SweepAction) -> usize {
        self.steps.iter().filter(|step| step.action == action).count()
    }
}

impl Deref for PlannedSweep {
    type Target = SweepPlan;

    fn deref(&self) -> &SweepPlan {
        &self.plan
    }
}

impl fmt::Display for SweepAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Keep => "keep",
            Self::Void => "void",
            Self::Clean => "clean",
            Self::Forget => "forget",
        })
    }
}

impl fmt::Display for SweepPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sweep {}: {} void, {} clean, {} forget, {} keep",
            self.source,
            self.count(SweepAction::Void),
            self.count(SweepAction::Clean),
            self.count(SweepAction::Forget),
            self.count(SweepAction::Keep)
        )?;
        for SweepStep { id, action, objects, bytes, uploads, reason, .. } in &self.steps {
            write!(f, "\n  {action:6} {}/{}: {objects} objects, {bytes} bytes", id.tier, id.run)?;
            if *uploads > 0 {
                write!(f, ", {uploads} uploads")?;
            }
            write!(f, ": {reason}")?;
        }
        if !self.uploads.is_empty() {
            write!(f, "\n  abort  {} uploads that nobody finishes", self.uploads.len())?;
        }
        if let Some((since, key)) = self.uploads.iter().filter_map(|upload| Some((upload.started?, &upload.key))).min()
        {
            write!(f, ", the oldest since {since}: {key}")?;
        }
        self.strange.iter().try_for_each(|strange| write!(f, "\n  look at {strange}"))
    }
}

impl fmt::Display for PlannedSweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plan.fmt(f)
    }
}

impl fmt::Debug for PlannedSweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlannedSweep").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl fmt::Debug for SweepRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SweepRequest").field("grace", &self.grace).finish_non_exhaustive()
    }
}
