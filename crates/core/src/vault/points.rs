//! The points of a vault: listed, found, read and proved to be signed.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};

use crate::digest::Sha256;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Name, PointId, RunId};
use crate::store::{ListEntry, ListOptions, ObjectMeta, Prefix};
use crate::vault::handle::{Replica, Vault};
use crate::vault::layout::{self, MarkName, PointFile};
use crate::vault::lookback::Lookback;
use crate::vault::manifest::Manifest;
use crate::vault::signed::is_tampering;
use crate::vault::wary::Wary;

/// Clocks of hosts that are kept in step differ by less than this.
pub(crate) const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(300);

/// The points of a vault.
#[derive(Clone, Debug)]
pub struct Points {
    vault: Vault,
    source: Option<Name>,
    tier: Option<Name>,
}

/// A point whose manifest was read and whose signature was checked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Point {
    /// Its name.
    pub id: PointId,
    /// Its manifest.
    pub manifest: Manifest,
    /// Digest of the manifest as stored.
    pub sha256: Sha256,
    /// Who signed it.
    pub signer: String,
    /// When the store took it in, by the store's clock.
    pub committed: Timestamp,
}

/// What a listing shows of one run.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) id: PointId,
    /// The commit, if it is there.
    pub(crate) manifest: Option<ObjectMeta>,
    pub(crate) partial_hint: bool,
    pub(crate) void_hint: bool,
    /// A copy record stands beside it; looked for where the times contradict each other.
    pub(crate) copied: bool,
    pub(crate) marks: Vec<MarkName>,
}

impl Listed {
    /// Whether the two clocks contradict each other: the ID later than the store's time, or earlier by more than the
    /// longest run. What seems to be a copy is not doubted before it is read.
    pub(crate) fn clock_doubt(&self, longest_run: Duration) -> Option<String> {
        if self.copied {
            return None;
        }
        self.doubt_at(self.manifest.as_ref()?.last_modified, longest_run)
    }

    /// The same, proved: of a copy the time counts at which the first vault took it in, as a copy record tells it.
    pub(crate) async fn proved_clock_doubt(&self, vault: &Vault) -> Result<Option<String>> {
        let Some(stored) = self.manifest.as_ref().map(|manifest| manifest.last_modified) else { return Ok(None) };
        let longest_run = vault.budget().limits().longest_run;
        let doubt = self.doubt_at(stored, longest_run);
        if doubt.is_none() || !self.copied {
            return Ok(doubt);
        }
        let record = vault.copied(&self.id, stored).await?;
        Ok(record.map_or(doubt, |record| self.doubt_at(record.last_modified, longest_run)))
    }

    fn doubt_at(&self, stored: Timestamp, longest_run: Duration) -> Option<String> {
        clock_doubt(&self.id.run, stored, longest_run)
    }
}

/// Whether a run's ID and the time at which the store took its commit in contradict each other.
pub(crate) fn clock_doubt(run: &RunId, stored: Timestamp, longest_run: Duration) -> Option<String> {
    let said = run.time();
    let longest = SignedDuration::try_from(longest_run).unwrap_or(SignedDuration::MAX);
    let apart = said.duration_since(stored);
    if apart > CLOCK_TOLERANCE {
        return Some(format!("its ID says {said}, the store had it earlier, at {stored}"));
    }
    (apart < SignedDuration::ZERO && -apart > longest.saturating_add(CLOCK_TOLERANCE))
        .then(|| format!("its ID says {said}, the store got it at {stored}: longer than any run takes"))
}

impl Points {
    pub(crate) fn new(vault: Vault) -> Self {
        Self { vault, source: None, tier: None }
    }

    /// Only those of one source.
    #[must_use]
    pub fn source(mut self, source: Name) -> Self {
        self.source = Some(source);
        self
    }

    /// Only those of one tier.
    #[must_use]
    pub fn tier(mut self, tier: Name) -> Self {
        self.tier = Some(tier);
        self
    }

    /// The sources that have points here.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn sources(&self) -> Result<Vec<Name>> {
        match &self.source {
            Some(source) => Ok(vec![source.clone()]),
            None => folders(&self.vault, &layout::sources()?).await,
        }
    }

    /// The tiers in which a source has points.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn tiers(&self, source: &Name) -> Result<Vec<Name>> {
        match &self.tier {
            Some(tier) => Ok(vec![tier.clone()]),
            None => folders(&self.vault, &layout::tiers(source)?).await,
        }
    }

    /// The IDs of all points of a tier, oldest first. Points that are being deleted are left out. Only points that bear a
    /// hint or a mark are read: the others are told by the listing alone, and may still turn out unsigned when read.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn list(&self, source: &Name, tier: &Name) -> Result<Vec<PointId>> {
        let (mut ids, mut wary) = (Vec::new(), Wary::default());
        for listed in list_tier(&self.vault, source, tier, None, None).await? {
            let stands = match listed {
                Listed { manifest: None, .. } => false,
                Listed { void_hint: true, .. } => pass_over(wary.point(&self.vault, &listed.id).await)?.is_some(),
                _ => true,
            };
            if stands && wary.mark_that_counts(&self.vault, &listed, &MarkName::Deleted).await?.is_none() {
                ids.push(listed.id);
            }
        }
        Ok(ids)
    }

    /// Reads a point's manifest and proves its signature; from a replica, if the vault was given one, where it is not to be
    /// had here.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Untrusted`](ErrorKind::Untrusted), [`Corrupt`](ErrorKind::Corrupt), each with
    /// the key.
    pub async fn get(&self, id: &PointId) -> Result<Point> {
        let error = match self.vault.read_point(id).await {
            Err(error) => error,
            found => return found,
        };
        let mut unasked = Unasked::default();
        for replica in self.vault.replicas() {
            match replica.vault.read_point(id).await {
                Ok(point) => {
                    tracing::warn!(point = %id, replica = %replica.name, %error, "a point was read in a replica");
                    return Ok(point);
                }
                Err(error) => unasked.note(replica, &error),
            }
        }
        Err(unasked.name_in(error))
    }

    /// Finds a point by its run's ID alone, or by `SOURCE/TIER/ID`; in a replica too, if the vault was given one.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound); [`Invalid`](ErrorKind::Invalid) for what is no ID.
    pub async fn find(&self, id: &str) -> Result<Point> {
        if let Ok(id) = id.parse::<PointId>() {
            return self.get(&id).await;
        }
        let run: RunId = id.parse()?;
        let mut planted = None;
        let replicas = self.vault.replicas().iter().map(|replica| replica.vault.clone());
        for vault in std::iter::once(self.vault.alone()).chain(replicas) {
            let place = Self { vault, ..self.clone() };
            for source in place.sources().await? {
                for tier in place.tiers(&source).await? {
                    let id = PointId { source: source.clone(), tier, run: run.clone() };
                    match place.vault.read_point(&id).await {
                        Err(error) if error.kind() == ErrorKind::NotFound => {}
                        // Anybody may plant one of this name in another tier.
                        Err(error) if is_tampering(error.kind()) => {
                            planted = Some(error);
                        }
                        other => return other,
                    }
                }
            }
        }
        Err(planted.unwrap_or_else(|| Error::new(ErrorKind::NotFound, "no tier has this point").with("point", run)))
    }

    /// The newest point in which `component` is good, over all tiers if none was named, and over the replicas if the vault was
    /// given some.
    /// Doubtful points are passed over, and with a warning in the log such as cannot be trusted. A source in which nothing
    /// can be trusted does not count: anybody who may create objects can make one up. A replica that cannot be asked is
    /// passed over with a warning in the log too, and named in the error if nothing is found elsewhere.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if no point has it, [`Invalid`](ErrorKind::Invalid) if points of several sources
    /// have it and none was named.
    pub async fn latest(&self, component: &str) -> Result<Point> {
        let component: Name = component.parse()?;
        let mut newest = self.latest_here(&component).await;
        let mut unasked = Unasked::default();
        for replica in self.vault.replicas() {
            let there = Self { vault: replica.vault.clone(), ..self.clone() };
            newest = match (newest, there.latest_here(&component).await) {
                (Ok(one), Ok(other)) if one.id.source != other.id.source => {
                    return Err(several_sources(&component, &one, &other));
                }
                (Ok(one), Ok(other)) => Ok(if other.id.run > one.id.run { other } else { one }),
                // Whose point is meant is not for a replica to choose.
                (Err(error), _) | (_, Err(error)) if error.kind() == ErrorKind::Invalid => return Err(error),
                (Err(error), Ok(found)) => {
                    tracing::warn!(%component, replica = %replica.name, %error, "only a replica has it");
                    Ok(found)
                }
                (here, Err(error)) => {
                    unasked.note(replica, &error);
                    here
                }
            };
        }
        newest.map_err(|error| unasked.name_in(error))
    }

    async fn latest_here(&self, component: &Name) -> Result<Point> {
        let (mut found, mut doubtful) = (Vec::new(), 0_u64);
        for source in self.sources().await? {
            let mut newest = None::<Point>;
            for tier in self.tiers(&source).await? {
                let good = newest_good(&self.vault, &source, &tier, component, &mut doubtful).await?;
                newest = newest.into_iter().chain(good).max_by_key(|point| point.id.run.clone());
            }
            found.extend(newest);
        }
        if let [first, second, ..] = found.as_slice() {
            return Err(several_sources(component, first, second));
        }
        found.pop().ok_or_else(|| {
            let error = Error::new(ErrorKind::NotFound, "no point has this component whole")
                .with("vault", self.vault.id())
                .with("component", component);
            match doubtful {
                0 => error.advise("`status` shows what there is, and what cannot be trusted"),
                _ => error
                    .with("doubtful", doubtful)
                    .advise("look at the doubtful points, and `accept` one that is good"),
            }
        })
    }
}

fn several_sources(component: &Name, first: &Point, second: &Point) -> Error {
    Error::new(ErrorKind::Invalid, "several sources have this component")
        .with("component", component)
        .with("sources", format!("{}, {}", first.id.source, second.id.source))
        .advise("name one by `source`")
}

/// The replicas in which something may be that was not found elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Unasked(Vec<String>);

impl Unasked {
    /// That something is not there, or nothing that counts, is an answer; anything else is told.
    pub(crate) fn note(&mut self, replica: &Replica, error: &Error) {
        if error.kind() == ErrorKind::NotFound || is_tampering(error.kind()) {
            tracing::debug!(replica = %replica.name, %error, "nor is it there");
        } else {
            tracing::warn!(replica = %replica.name, %error, "a replica cannot be asked");
            self.0.push(format!("{}: {error}", replica.name));
        }
    }

    pub(crate) fn name_in(self, error: Error) -> Error {
        if self.0.is_empty() { error } else { error.with("replicas that could not be asked", self.0.join("; ")) }
    }
}

/// What was read; a point that is void, unsigned, damaged or beyond this version is passed over with a warning, because
/// anybody who may add objects can plant such a one to get in the way.
pub(crate) fn pass_over(read: Result<Point>) -> Result<Option<Point>> {
    match read {
        Ok(point) => Ok(Some(point)),
        Err(error) if is_tampering(error.kind()) => {
            tracing::warn!(%error, "passed over a point that cannot be trusted");
            Ok(None)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

async fn folders(vault: &Vault, prefix: &Prefix) -> Result<Vec<Name>> {
    let mut names = Vec::new();
    let mut listing = vault.store().list(prefix, &ListOptions::folders());
    while let Some(entry) = listing.next().await {
        if let ListEntry::Folder(folder) = entry? {
            names.extend(layout::folder_name(&folder));
        }
    }
    Ok(names)
}

/// Lists what a tier holds, oldest run first; if given, only runs from `from` on and up to `until`.
pub(crate) async fn list_tier(
    vault: &Vault,
    source: &Name,
    tier: &Name,
    from: Option<Timestamp>,
    until: Option<&RunId>,
) -> Result<Vec<Listed>> {
    let prefix = layout::tier(source, tier)?;
    let options =
        from.map_or_else(ListOptions::default, |from| ListOptions::after(layout::from_time(source, tier, from)));
    list_runs(vault, &prefix, &prefix, &options, (source, tier), until).await.map(|(listed, _)| listed)
}

/// As [`list_tier`], and the keys that are nobody's.
pub(crate) async fn list_tier_and_strangers(
    vault: &Vault,
    source: &Name,
    tier: &Name,
) -> Result<(Vec<Listed>, Vec<String>)> {
    let prefix = layout::tier(source, tier)?;
    list_runs(vault, &prefix, &prefix, &ListOptions::default(), (source, tier), None).await
}

/// Lists what stands for one run.
pub(crate) async fn list_run(vault: &Vault, id: &PointId) -> Result<Option<Listed>> {
    let (under, tier) = (layout::point_files(id)?, layout::tier(&id.source, &id.tier)?);
    let (mut listed, _) =
        list_runs(vault, &under, &tier, &ListOptions::default(), (&id.source, &id.tier), None).await?;
    Ok(listed.pop())
}

async fn list_runs(
    vault: &Vault,
    under: &Prefix,
    folder: &Prefix,
    options: &ListOptions,
    (source, tier): (&Name, &Name),
    until: Option<&RunId>,
) -> Result<(Vec<Listed>, Vec<String>)> {
    // Marks of one run need not stand side by side with its manifest's key, but in byte order they do: `ID.` is a prefix.
    let mut runs: BTreeMap<RunId, Listed> = BTreeMap::new();
    let mut strangers = Vec::new();
    let mut listing = vault.store().list(under, options);
    while let Some(entry) = listing.next().await {
        let ListEntry::Object(meta) = entry? else { continue };
        let Some((run, file)) = layout::parse_point_file(folder, &meta.key) else {
            strangers.push(meta.key.to_string());
            continue;
        };
        if until.is_some_and(|until| run > *until) {
            break;
        }
        let listed = runs.entry(run.clone()).or_insert_with(|| Listed {
            id: PointId { source: source.clone(), tier: tier.clone(), run },
            manifest: None,
            partial_hint: false,
            void_hint: false,
            copied: false,
            marks: Vec::new(),
        });
        match file {
            PointFile::Manifest => listed.manifest = Some(meta),
            PointFile::PartialHint => listed.partial_hint = true,
            PointFile::VoidHint => listed.void_hint = true,
            PointFile::Mark(name) => listed.marks.push(name),
        }
    }
    let mut runs: Vec<Listed> = runs.into_values().collect();
    note_copies(vault, (source, tier), &mut runs).await?;
    Ok((runs, strangers))
}

/// Where times contradict each other, copies may be the reason: one listing tells which have a record.
async fn note_copies(vault: &Vault, (source, tier): (&Name, &Name), runs: &mut [Listed]) -> Result<()> {
    let longest_run = vault.budget().limits().longest_run;
    let doubtful = |run: &&mut Listed| run.clock_doubt(longest_run).is_some();
    let mut doubtful = runs.iter_mut().filter(doubtful).peekable();
    let Some(first) = doubtful.peek() else { return Ok(()) };
    let copied = vault.copied_runs(source, tier, Some(&first.id)).await?;
    doubtful.for_each(|run| run.copied = copied.contains(&run.id));
    Ok(())
}

/// Points that lie further back are looked for only if nothing newer serves.
pub(crate) const LOOK_BACK: SignedDuration = SignedDuration::from_hours(400 * 24);
const SHORT_STEP: SignedDuration = SignedDuration::from_hours(48);

/// The newest committed run of about the last year, for at most two listings.
pub(crate) async fn newest_recent(vault: &Vault, source: &Name, tier: &Name) -> Result<Option<Listed>> {
    for step in [SHORT_STEP, LOOK_BACK] {
        let from = vault.store_time().checked_sub(step).ok();
        let listed = list_tier(vault, source, tier, from, None).await?;
        if let Some(newest) = listed.into_iter().rev().find(|l| l.manifest.is_some() && !l.void_hint) {
            return Ok(Some(newest));
        }
    }
    Ok(None)
}

/// The newest point of a tier whose `component` is good and not in doubt.
async fn newest_good(
    vault: &Vault,
    source: &Name,
    tier: &Name,
    component: &Name,
    doubtful: &mut u64,
) -> Result<Option<Point>> {
    let mut seen_from: Option<RunId> = None;
    for from in [vault.store_time().checked_sub(LOOK_BACK).ok(), None] {
        let listed = list_tier(vault, source, tier, from, None).await?;
        let mut lookback = Lookback::new(vault, listed, Wary::default());
        for i in (0..lookback.len()).rev() {
            if seen_from.as_ref().is_some_and(|seen| lookback.run(i).id.run >= *seen) {
                continue;
            }
            // Of those whose time is wrong anybody may plant any number: they are not read without need.
            if lookback.is_misdated(i) {
                *doubtful += 1;
                continue;
            }
            if lookback.mark(i, &MarkName::Deleted).await?.is_some() {
                continue;
            }
            if lookback.read(i).await?.is_none_or(|point| !point.is_good(component)) {
                continue;
            }
            if lookback.judge(i).await?.is_some() {
                *doubtful += 1;
                continue;
            }
            if let Some(point) = lookback.again(i).await? {
                return Ok(Some(point));
            }
        }
        seen_from = lookback.oldest().map(|listed| listed.id.run.clone()).or(seen_from);
    }
    Ok(None)
}
