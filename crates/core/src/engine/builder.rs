//! Putting a program together: what is protected, where, how long.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};

use crate::engine::adopt::{AdoptReport, adopt};
use crate::engine::backup::BackupRequest;
use crate::engine::drill::DrillRequest;
use crate::engine::hooks::ConfiguredHook;
use crate::engine::options::OptionsRequest;
use crate::engine::prune::PruneRequest;
use crate::engine::recovery_kit::RecoveryKitRequest;
use crate::engine::restore::RestoreRequest;
use crate::engine::roll_locks::RollRequest;
use crate::engine::status::StatusRequest;
use crate::engine::stop::Runs;
use crate::engine::sweep::SweepRequest;
use crate::engine::verify::VerifyRequest;
use crate::engine::watch::{AskedWatch, Watched};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Observer, Observers};
use crate::name::{Name, PointId};
use crate::retention::doubt::Baseline;
use crate::source::snapshot::SnapshotProvider;
use crate::source::{Hook, ResourceExporter, Selector};
use crate::tier::Tier;
use crate::vault::{Role, Vault};

/// A backup program: one source, its components, tiers and hooks, and the vault that they go into. Cheap to clone.
///
/// ```
/// # use backstay_core::{Tier, engine::Backstay, retention::Keep, store::MemoryStore, vault::{Keyring, Vault}};
/// use backstay_core::directory::Directory;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let keyring = Keyring::generate()?;
/// # let folder = std::env::current_dir()?.join("src/engine");
/// let vault = Vault::create(MemoryStore::new()).keyring(&keyring).build().await?;
/// let backstay = Backstay::builder("prod-eu", vault)
///     .export("files", Directory::new(folder))
///     .tier(Tier::new("daily").keep(Keep::daily(30)))
///     .build()?;
/// let point = backstay.backup("daily").await?;
/// backstay.verify(&point.id).await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Backstay(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) source: Name,
    /// By itself: what decides, marks or deletes must not take a replica's points for its own.
    pub(crate) vault: Vault,
    /// The same, and its replicas for what it lost.
    everywhere: Vault,
    pub(crate) components: Vec<Configured>,
    pub(crate) watched: Vec<Watched>,
    pub(crate) hooks: Vec<ConfiguredHook>,
    pub(crate) tiers: Vec<Tier>,
    pub(crate) observers: Observers,
    pub(crate) runs: Runs,
    pub(crate) signals: bool,
    /// What this process last wrote of each component, to notice at once when the next one is another or much smaller.
    pub(crate) seen: Mutex<HashMap<Name, Baseline>>,
}

/// A component and what exports it.
#[derive(Clone)]
pub(crate) struct Configured {
    pub(crate) name: Name,
    pub(crate) exporter: Arc<dyn ResourceExporter>,
}

/// Collects the parts of a [`Backstay`].
#[must_use]
pub struct BackstayBuilder {
    source: String,
    vault: Vault,
    replicas: Vec<(String, Vault)>,
    components: Vec<(String, Arc<dyn ResourceExporter>)>,
    watched: Vec<AskedWatch>,
    hooks: Vec<(Vec<String>, Arc<dyn Hook>)>,
    tiers: Vec<Tier>,
    observers: Observers,
    signals: bool,
}

impl Backstay {
    /// Begins a program for `source`, the system that it speaks for. Two programs with one source share its points; two
    /// sources never touch each other's.
    pub fn builder(source: impl Into<String>, vault: Vault) -> BackstayBuilder {
        BackstayBuilder {
            source: source.into(),
            vault,
            replicas: Vec::new(),
            components: Vec::new(),
            watched: Vec::new(),
            hooks: Vec::new(),
            tiers: Vec::new(),
            observers: Observers::default(),
            signals: false,
        }
    }

    /// Makes a point in this tier. Await the request, or ask it for its plan first.
    pub fn backup(&self, tier: impl Into<String>) -> BackupRequest {
        BackupRequest::new(self.0.clone(), tier.into())
    }

    /// Proves a point; await the request.
    pub fn verify(&self, point: &PointId) -> VerifyRequest {
        VerifyRequest::new(self.0.everywhere().clone(), point.clone(), self.0.observers.clone())
    }

    /// Restores a component of a point, by a plan.
    pub fn restore(&self, point: &PointId) -> RestoreRequest {
        RestoreRequest::new(self.0.everywhere().clone(), point.clone(), self.0.observers.clone())
    }

    /// Restores a component into a scratch place, checks and times it, takes the place away and keeps a signed proof; await the
    /// request, which says what it gives.
    pub fn drill(&self, component: impl Into<String>) -> DrillRequest {
        DrillRequest::new(self.0.clone(), component.into())
    }

    /// Deletes what a tier's retention lets go, by a plan.
    pub fn prune(&self, tier: impl Into<String>) -> PruneRequest {
        PruneRequest::new(self.0.clone(), tier.into())
    }

    /// Cleans up what dead runs left, by a plan.
    pub fn sweep(&self) -> SweepRequest {
        SweepRequest::new(self.0.clone())
    }

    /// Undoes the hooks that dead runs may have left begun, by this program's own hooks of the same components. Each backup
    /// begins with it; call it where none follows. Without hooks it does nothing and asks the store nothing.
    ///
    /// Cancel safety: a hook that was begun goes through; a dropped call is made good by the next.
    ///
    /// # Errors
    /// What the store answers. A hook that fails is part of the report, and the next adoption tries it again.
    pub async fn adopt(&self) -> Result<AdoptReport> {
        adopt(&self.0, None).await.map_err(|error| error.operation("adopt"))
    }

    /// Extends the locks on the newest good points, by a plan: the keeper's act, to be repeated like a prune. As long as
    /// newer runs fail it keeps the last good point locked; where they go well there is nothing to do.
    pub fn roll_locks_forward(&self) -> RollRequest {
        RollRequest::new(self.0.clone())
    }

    /// How old the newest good item of each component is, or the platform's own backup of it, against the objectives; await
    /// the request.
    ///
    /// # Errors
    /// What the vault's store answers. A replica or a platform that does not answer is part of the status.
    pub fn status(&self) -> StatusRequest {
        StatusRequest::new(self.0.clone())
    }

    /// What could bring a component back: every point of it, and what platforms have of it that are
    /// [watched](BackstayBuilder::watch); what would be lost, and whether the key is here; await the request.
    ///
    /// # Errors
    /// That of the first place, if none can be looked into, no platform either. Else what cannot is part of the answer.
    ///
    /// ```
    /// # use backstay_core::{Tier, engine::Backstay, retention::Keep, store::MemoryStore, vault::{Keyring, Vault}};
    /// # use backstay_core::directory::Directory;
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # let keyring = Keyring::generate()?;
    /// # let vault = Vault::create(MemoryStore::new()).keyring(&keyring).build().await?;
    /// # let folder = std::env::current_dir()?.join("src/engine");
    /// # let builder = Backstay::builder("prod-eu", vault).export("files", Directory::new(folder));
    /// # let backstay = builder.tier(Tier::new("daily").keep(Keep::daily(30))).build()?;
    /// # backstay.backup("daily").await?;
    /// let options = backstay.options("files").await?;
    /// println!("{options}");
    /// let best = options.best().ok_or("nothing can serve")?;
    /// println!("{}", backstay.explain(best.point().ok_or("on a platform")?).await?);
    /// println!("{}", backstay.recovery_kit().await?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn options(&self, component: impl Into<String>) -> OptionsRequest {
        OptionsRequest::new(self.0.clone(), component.into())
    }

    /// A page to print and to keep apart from everything else: where the vault is and how it is opened by hand; await the
    /// request.
    pub fn recovery_kit(&self) -> RecoveryKitRequest {
        RecoveryKitRequest::new(self.0.clone())
    }

    /// The vault that the points go into; it reads in the replicas what it lost.
    #[must_use]
    pub fn vault(&self) -> &Vault {
        self.0.everywhere()
    }

    /// Tells all runs to end, and waits until their hooks are undone and their clean-up is over. Later backups are refused.
    pub async fn shutdown(&self) {
        self.0.runs.shutdown().await;
    }
}

impl BackstayBuilder {
    /// Protects a component: what `exporter` turns into items.
    pub fn export(mut self, component: impl Into<String>, exporter: impl ResourceExporter) -> Self {
        self.components.push((component.into(), Arc::new(exporter)));
        self
    }

    /// Watches what a platform backs up by itself of a component: all resources that `selector` means. These backups count for
    /// the RPO in [`status`](Backstay::status) and are [options](Backstay::options) of a recovery. They are only ever looked
    /// at: a backup makes none, prune and sweep know none, and for the guard of the newest good items they do not count.
    ///
    /// A component may be exported as well, under the same name, or watched by several providers: each is a way to the whole
    /// of it. What lies in part on one platform and in part on another is two components. What is only watched is in no point,
    /// so a program that makes points needs a component to export all the same; one that only watches opens its vault to read.
    ///
    /// ```
    /// use backstay_core::Tier;
    /// use backstay_core::engine::Backstay;
    /// use backstay_core::retention::Keep;
    /// use backstay_core::source::{ResourceExporter, Selector, snapshot::SnapshotProvider};
    /// # use backstay_core::{Result, vault::Vault};
    /// use jiff::ToSpan;
    ///
    /// # async fn options(vault: Vault, files: impl ResourceExporter, rds: impl SnapshotProvider) -> Result<()> {
    /// let backstay = Backstay::builder("prod-eu", vault)
    ///     .export("files", files)
    ///     .watch("users-db", rds, Selector::id("users"))
    ///     .tier(Tier::new("daily").keep(Keep::daily(30)).rpo(25.hours()))
    ///     .build()?;
    /// println!("{}", backstay.options("users-db").await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch(mut self, component: impl Into<String>, provider: impl SnapshotProvider, selector: Selector) -> Self {
        self.watched.push((component.into(), Arc::new(provider), selector));
        self
    }

    /// Runs `hook` around the cut of these components.
    pub fn hook<S: Into<String>>(mut self, components: impl IntoIterator<Item = S>, hook: impl Hook) -> Self {
        self.hooks.push((components.into_iter().map(Into::into).collect(), Arc::new(hook)));
        self
    }

    /// Adds a tier: a scope, a retention and objectives.
    pub fn tier(mut self, tier: Tier) -> Self {
        self.tiers.push(tier);
        self
    }

    /// Names a replica that tiers are replicated to: a vault that a [`Replicator`](crate::engine::Replicator) fills, or a copy
    /// of the whole store that the platform keeps. It is only read: prune keeps what is not whole there, status tells how far
    /// it is behind, restore takes from it what the vault lost.
    pub fn replica(mut self, name: impl Into<String>, vault: Vault) -> Self {
        self.replicas.push((name.into(), vault));
        self
    }

    /// Tells `observer` of every event.
    pub fn observe(mut self, observer: impl Observer) -> Self {
        self.observers.add(observer);
        self
    }

    /// Ends runs at SIGTERM and SIGINT: nothing is committed unless the commit had begun, hooks are undone, the run fails
    /// as cancelled. Off by default,
    /// because signals belong to the program: from its first run on they do nothing else any more, so that a program that
    /// goes on between runs must hear them itself.
    pub fn stop_on_signals(mut self) -> Self {
        self.signals = true;
        self
    }

    /// Checks everything and puts it together.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) with every mistake at once.
    pub fn build(self) -> Result<Backstay> {
        let mut problems = Vec::new();
        let source = named(&self.source, "source", &mut problems);
        // A vault that was opened to read, or for another role, makes no points, and needs to know of none of their makers.
        let (writable, may_write) =
            (self.vault.check_writable(), self.vault.role().is_none_or(|role| role == Role::Writer));
        let makes_points = may_write && writable.is_ok();
        match (self.vault.origin(), self.components.is_empty()) {
            (None, true) if makes_points && self.watched.is_empty() => {
                problems.push("no component: add one by `export`".to_owned());
            }
            (None, true) if makes_points => problems.push(
                "no component: what is only watched makes no points; add one by `export`, or open the vault to read"
                    .to_owned(),
            ),
            (Some(origin), false) => problems.push(format!(
                "the vault is a replica of {origin} and takes no backups of its own: export into the origin"
            )),
            _ => {}
        }
        if self.tiers.is_empty() {
            problems.push("no tier: add one by `tier`".to_owned());
        }
        if may_write
            && !self.components.is_empty()
            && let Err(error) = writable
        {
            problems.push(error.to_string());
        }
        let mut components = Vec::new();
        let mut names = BTreeSet::new();
        for (name, exporter) in self.components {
            if !names.insert(name.clone()) {
                problems.push(format!("two components are called {name:?}"));
            }
            if exporter.info().secret && matches!(self.vault.seals_to(), Ok(None)) {
                problems
                    .push(format!("{name:?} holds secrets, and the vault is not encrypted: use one with a keyring"));
            }
            components.extend(named(&name, "component", &mut problems).map(|name| Configured { name, exporter }));
        }
        let covered: BTreeSet<String> =
            names.iter().chain(self.watched.iter().map(|(name, ..)| name)).cloned().collect();
        let watched = Watched::all(self.watched, &mut problems);
        let mut unknown = |wanted: &str, among: &BTreeSet<String>, user: String| {
            if !among.contains(wanted) && makes_points {
                let known = among.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                problems.push(format!("{user} names the component {wanted:?}, which is not there; there are: {known}"));
            }
        };
        let mut hooks = Vec::new();
        for (wanted, hook) in self.hooks {
            wanted.iter().for_each(|name| unknown(name, &names, format!("hook {hook}")));
            hooks.push(ConfiguredHook {
                components: wanted.into_iter().filter_map(|name| name.parse().ok()).collect(),
                hook,
            });
        }
        for tier in &self.tiers {
            // A replica has no components to name.
            if self.vault.origin().is_none() {
                tier.covers.iter().for_each(|name| unknown(name, &covered, format!("tier {:?}", tier.name)));
            }
        }
        let mut tier_names = BTreeSet::new();
        let has_locks = self.vault.store().capabilities().locks;
        for tier in &self.tiers {
            if tier.lock.is_some() && !has_locks {
                let (tier, store) = (&tier.name, self.vault.store());
                problems.push(format!("tier {tier:?} has a lock, and the store cannot lock: {store}"));
            }
            problems.extend(tier.problems().iter().map(ToString::to_string));
            if !tier_names.insert(tier.name.clone()) {
                problems.push(format!("two tiers are called {:?}", tier.name));
            }
        }
        let vault = self.vault.alone();
        let mut everywhere = vault.clone();
        let mut replicas = BTreeSet::new();
        for (name, replica) in self.replicas {
            if !replica.holds_points_of(vault.origin().unwrap_or(vault.id())) {
                problems.push(format!("the replica {name:?} was not opened as one of this vault: open it by `origin`"));
            }
            if !self.tiers.iter().any(|tier| tier.replicate_to.contains_key(&name)) {
                problems.push(format!("no tier is replicated to {name:?}: name it by `replicate_to`, or leave it out"));
            }
            if !replicas.insert(name.clone()) {
                problems.push(format!("two replicas are called {name:?}"));
            }
            if let Some(name) = named(&name, "replica", &mut problems) {
                everywhere = everywhere.with_replica(name, replica);
            }
        }
        for (tier, name) in self.tiers.iter().flat_map(|tier| tier.replicate_to.keys().map(|name| (&tier.name, name))) {
            if !replicas.contains(name) {
                problems
                    .push(format!("tier {tier:?} is replicated to {name:?}, which is not there: add it by `replica`"));
            }
        }
        let (Some(source), true) = (source, problems.is_empty()) else {
            return Err(Error::new(ErrorKind::Invalid, problems.join("; ")).operation("build"));
        };
        Ok(Backstay(Arc::new(Inner {
            source,
            vault,
            everywhere,
            components,
            watched,
            hooks,
            tiers: self.tiers,
            observers: self.observers,
            runs: Runs::new(),
            signals: self.signals,
            seen: Mutex::default(),
        })))
    }
}

pub(super) fn named(name: &str, what: &str, problems: &mut Vec<String>) -> Option<Name> {
    name.parse().map_err(|error| problems.push(format!("{what} {name:?}: {error}"))).ok()
}

impl Inner {
    /// The vault, and its replicas for what it lost: to read in.
    pub(crate) fn everywhere(&self) -> &Vault {
        &self.everywhere
    }

    /// The same program, unheard: who only looks something up tells no observer.
    pub(crate) fn unheard(&self) -> Self {
        Self {
            source: self.source.clone(),
            vault: self.vault.clone(),
            everywhere: self.everywhere.clone(),
            components: self.components.clone(),
            watched: self.watched.clone(),
            hooks: self.hooks.clone(),
            tiers: self.tiers.clone(),
            observers: Observers::default(),
            runs: self.runs.clone(),
            signals: self.signals,
            seen: Mutex::default(),
        }
    }

    /// A tier by name.
    pub(crate) fn tier(&self, name: &str) -> Result<(Name, &Tier)> {
        let found = self.tiers.iter().find(|tier| tier.name == name);
        let known = || self.tiers.iter().map(|tier| tier.name.as_str()).collect::<Vec<_>>().join(", ");
        let tier = found.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "no such tier").with("tier", name).advise(format!("there are: {}", known()))
        })?;
        Ok((name.parse()?, tier))
    }

    /// The exported components that a tier covers.
    pub(crate) fn covered(&self, tier: &Tier) -> Vec<&Configured> {
        self.components.iter().filter(|component| tier.covers_component(&component.name)).collect()
    }

    /// Their names. A program that makes no points may know them from its tier; else none does but the points.
    pub(crate) fn covered_names(&self, tier: &Tier) -> Option<Vec<Name>> {
        match (self.components.is_empty(), tier.covers.is_empty()) {
            (false, _) => Some(self.covered(tier).iter().map(|component| component.name.clone()).collect()),
            (true, false) => Some(tier.covers.iter().filter_map(|name| name.parse().ok()).collect()),
            (true, true) => None,
        }
    }
}

impl fmt::Debug for Configured {
    // An exporter's own `Debug` may be long, or show more than it should.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.exporter)
    }
}

impl fmt::Debug for Backstay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backstay")
            .field("source", &self.0.source)
            .field("vault", &self.0.vault)
            .field("components", &self.0.components)
            .field("watched", &self.0.watched)
            .field("hooks", &self.0.hooks)
            .field("tiers", &self.0.tiers)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for BackstayBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackstayBuilder").field("source", &self.source).finish_non_exhaustive()
    }
}
