//! Where everything lies: the only place that makes or reads the names of keys.
//!
//! The layout is format 1 and described for people in FORMAT.md.

mod proof;

use std::fmt::Display;

use jiff::Timestamp;

use crate::digest::Sha256;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Name, PointId, RunId, Tag, base32, compact_time, parse_compact_time};
use crate::store::{Key, Prefix};
use crate::vault::history::{Act, HistoryEntry};

pub(crate) use proof::{ProofFile, proofs_of, proofs_of_tier};

/// The vault's marker, and with `.json` replaced by the vault's ID the empty beacon beside it.
pub(crate) const MARKER: &str = "backstay-1.json";
const MARKER_STEM: &str = "backstay-1.";

/// The marker's key.
pub(crate) fn marker() -> Result<Key> {
    Key::new(MARKER)
}

/// What begins every key by which a vault is known.
pub(crate) fn marker_prefix() -> Result<Prefix> {
    Prefix::new(MARKER_STEM)
}

/// The empty object by which somebody who may only list knows the vault.
pub(crate) fn beacon(vault: &impl Display) -> Result<Key> {
    Key::new(format!("{MARKER_STEM}{vault}"))
}

/// The vault that a listed key is the beacon of.
pub(crate) fn beacon_of(key: &Key) -> Option<&str> {
    key.as_str().strip_prefix(MARKER_STEM).filter(|rest| *rest != "json")
}

/// Created again at each opening to write; never read or deleted.
pub(crate) const PROBE: &str = "probe";

/// The probe's key.
pub(crate) fn probe() -> Result<Key> {
    Key::new(PROBE)
}

/// All sealed epoch keys and canaries.
pub(crate) fn epoch_keys() -> Result<Prefix> {
    Prefix::new("keys/")
}

/// The sealed keys and canaries of one epoch.
pub(crate) fn keys_of_epoch(epoch: &Name) -> Result<Prefix> {
    Prefix::new(format!("keys/{epoch}."))
}

/// The epoch's identity, sealed to one custodian.
pub(crate) fn epoch_key(epoch: &Name, custodian: &Name) -> Result<Key> {
    Key::new(format!("keys/{epoch}.{custodian}.age"))
}

/// The statement that the custodian opened the epoch's key at `time`.
pub(crate) fn canary(epoch: &Name, custodian: &Name, time: Timestamp) -> Result<Key> {
    Key::new(format!("keys/{epoch}.{custodian}.{}.canary", compact_time(time)))
}

/// What a key under `keys/` is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum KeyFile {
    Sealed { epoch: Name, custodian: Name },
    Canary { epoch: Name, custodian: Name, time: Timestamp },
}

/// Reads a key under `keys/`; none if it is not ours.
pub(crate) fn key_file(key: &Key) -> Option<KeyFile> {
    let mut fields = key.as_str().strip_prefix("keys/")?.split('.');
    let (epoch, custodian) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    match (fields.next()?, fields.next(), fields.next()) {
        ("age", None, None) => Some(KeyFile::Sealed { epoch, custodian }),
        (time, Some("canary"), None) => Some(KeyFile::Canary { epoch, custodian, time: parse_compact_time(time)? }),
        _ => None,
    }
}

/// The record that an attempt began and is dead after `until`.
pub(crate) fn run_began(id: &PointId, attempt: &Tag, until: Timestamp) -> Result<Key> {
    Key::new(format!("runs/{id}.{attempt}.until-{}.json", compact_time(until)))
}

/// The record of how an attempt ended where no commit followed.
pub(crate) fn run_ended(id: &PointId, attempt: &Tag) -> Result<Key> {
    Key::new(format!("runs/{id}.{attempt}.end.json"))
}

/// What a record under `runs/` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunFile {
    /// The attempt began and says itself that it is dead after this time.
    Began { until: Timestamp },
    /// It ended without a commit.
    Ended,
}

/// All run records of a source.
pub(crate) fn runs_of_source(source: &Name) -> Result<Prefix> {
    Prefix::new(format!("runs/{source}/"))
}

/// All run records of a tier.
pub(crate) fn runs_of_tier(source: &Name, tier: &Name) -> Result<Prefix> {
    Prefix::new(format!("runs/{source}/{tier}/"))
}

/// All records of one run.
pub(crate) fn runs_of(id: &PointId) -> Result<Prefix> {
    Prefix::new(format!("runs/{id}."))
}

/// Reads the key of a run record; none if it is not ours.
pub(crate) fn parse_run_file(key: &Key) -> Option<(PointId, Tag, RunFile)> {
    let mut fields = key.as_str().strip_prefix("runs/")?.split('.');
    let (id, attempt) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let file = match fields.next()? {
        "end" => RunFile::Ended,
        began => RunFile::Began { until: parse_compact_time(began.strip_prefix("until-")?)? },
    };
    (fields.next() == Some("json") && fields.next().is_none()).then_some((id, attempt, file))
}

/// Everything under `points/`, whatever the source.
pub(crate) fn sources() -> Result<Prefix> {
    Prefix::new("points/")
}

/// The tiers of a source.
pub(crate) fn tiers(source: &Name) -> Result<Prefix> {
    Prefix::new(format!("points/{source}/"))
}

/// The points and marks of a tier.
pub(crate) fn tier(source: &Name, tier: &Name) -> Result<Prefix> {
    Prefix::new(format!("points/{source}/{tier}/"))
}

/// The last segment of a folder such as `points/prod-eu/`, if it is a name.
pub(crate) fn folder_name(folder: &Prefix) -> Option<Name> {
    folder.as_str().strip_suffix('/')?.rsplit('/').next()?.parse().ok()
}

/// A key in a tier from which on all later runs lie.
pub(crate) fn from_time(source: &Name, tier: &Name, time: Timestamp) -> String {
    format!("points/{source}/{tier}/{}", compact_time(time))
}

/// What stands in a tier's folder for one run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PointFile {
    /// The commit.
    Manifest,
    /// Hint: the manifest says partial.
    PartialHint,
    /// Hint: the manifest says void.
    VoidHint,
    /// A mark.
    Mark(MarkName),
}

/// The marks that stand beside a point.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MarkName {
    Deleted,
    Hold(Name),
    Release(Name),
    Accepted,
}

impl Display for MarkName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Deleted => f.write_str("deleted"),
            Self::Hold(name) => write!(f, "hold-{name}"),
            Self::Release(name) => write!(f, "release-{name}"),
            Self::Accepted => f.write_str("accepted"),
        }
    }
}

impl PointFile {
    fn suffix(&self) -> String {
        match self {
            Self::Manifest => "json".into(),
            Self::PartialHint => "partial".into(),
            Self::VoidHint => "void".into(),
            Self::Mark(name) => name.to_string(),
        }
    }

    fn parse(suffix: &str) -> Option<Self> {
        let mark = |name: &str, make: fn(Name) -> MarkName| name.parse().ok().map(make).map(Self::Mark);
        match suffix {
            "json" => Some(Self::Manifest),
            "partial" => Some(Self::PartialHint),
            "void" => Some(Self::VoidHint),
            "deleted" => Some(Self::Mark(MarkName::Deleted)),
            "accepted" => Some(Self::Mark(MarkName::Accepted)),
            _ => match suffix.split_once('-')? {
                ("hold", name) => mark(name, MarkName::Hold),
                ("release", name) => mark(name, MarkName::Release),
                _ => None,
            },
        }
    }
}

/// The key of a point's manifest, hint or mark.
pub(crate) fn point_file(id: &PointId, file: &PointFile) -> Result<Key> {
    Key::new(format!("points/{id}.{}", file.suffix()))
}

/// The key of THE COMMIT.
pub(crate) fn manifest(id: &PointId) -> Result<Key> {
    point_file(id, &PointFile::Manifest)
}

/// Everything of one run under `points/`.
pub(crate) fn point_files(id: &PointId) -> Result<Prefix> {
    Prefix::new(format!("points/{id}."))
}

/// Reads a key of a tier; none if it is not ours.
pub(crate) fn parse_point_file(tier: &Prefix, key: &Key) -> Option<(RunId, PointFile)> {
    let (run, suffix) = key.strip(tier)?.split_once('.')?;
    Some((run.parse().ok()?, PointFile::parse(suffix)?))
}

/// What a signature stands for, as it is written into its key.
pub(crate) const SIGNED_POINT: &str = "point";
/// The same for a proof.
pub(crate) const SIGNED_PROOF: &str = "proof";

/// The prefix of all signatures over one content. `what` is [`SIGNED_POINT`], [`SIGNED_VOID`] or a mark's name.
pub(crate) fn signatures(id: &PointId, what: &str, digest: &Sha256) -> Result<Prefix> {
    Prefix::new(format!("sigs/{id}.{what}.{}.", short_digest(digest)))
}

/// What the void of a run is signed as.
pub(crate) const SIGNED_VOID: &str = "void";

/// All signatures that concern the runs of a tier.
pub(crate) fn signatures_of_tier(source: &Name, tier: &Name) -> Result<Prefix> {
    Prefix::new(format!("sigs/{source}/{tier}/"))
}

/// The run that a signature concerns, and what it is over.
pub(crate) fn parse_signature(key: &Key) -> Option<(PointId, &str)> {
    let (id, rest) = key.as_str().strip_prefix("sigs/")?.split_once('.')?;
    Some((id.parse().ok()?, rest.split('.').next()?))
}

/// All signatures that concern one run.
pub(crate) fn signatures_of(id: &PointId) -> Result<Prefix> {
    Prefix::new(format!("sigs/{id}."))
}

/// All signatures of retirements of a source's components.
pub(crate) fn signatures_of_retirements(source: &Name) -> Result<Prefix> {
    Prefix::new(format!("sigs/{source}/retired/"))
}

/// What [`signed_by`] gives for a signature of this. `what` is [`SIGNED_POINT`], [`SIGNED_VOID`] or a mark's name.
pub(crate) fn signed_name(id: &PointId, what: &str) -> String {
    format!("sigs/{id}.{what}")
}

/// Whether what [`signed_by`] gave is a hold's.
pub(crate) fn is_signed_hold(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, what)| what.starts_with("hold-"))
}

/// What [`signed_by`] gives for a retirement.
pub(crate) fn signed_retirement(source: &Name, component: &Name, time: Timestamp) -> String {
    format!("sigs/{source}/retired/{component}.{}", compact_time(time))
}

/// What a signature is for, by its key, and the ID of the key that made it.
pub(crate) fn signed_by(key: &Key) -> Option<(&str, &str)> {
    let (rest, key_id) = key.as_str().strip_suffix(".sig")?.rsplit_once('.')?;
    Some((rest.rsplit_once('.')?.0, key_id))
}

/// The prefix of all signatures over a document that is no point's: `sigs/PLACE.DIGEST.`.
pub(crate) fn signatures_beside(place: &str, digest: &Sha256) -> Result<Prefix> {
    Prefix::new(format!("sigs/{place}.{}.", short_digest(digest)))
}

/// The signature of one key, below one of the prefixes above.
pub(crate) fn signature(prefix: &Prefix, key_id: &str) -> Result<Key> {
    prefix.key(&format!("{key_id}.sig"))
}

/// The key ID in a signature's name.
pub(crate) fn signature_key_id<'a>(prefix: &Prefix, key: &'a Key) -> Option<&'a str> {
    key.strip(prefix)?.strip_suffix(".sig")
}

/// 26 base32 characters of a digest: 130 of its bits.
fn short_digest(digest: &Sha256) -> String {
    let mut text = base32(&digest.0);
    text.truncate(26);
    text
}

/// All copy records of a tier.
pub(crate) fn copies_of_tier(source: &Name, tier: &Name) -> Result<Prefix> {
    Prefix::new(format!("copies/{source}/{tier}/"))
}

/// The run that a copy record is about.
pub(crate) fn copied_run(key: &Key) -> Option<PointId> {
    key.as_str().strip_prefix("copies/")?.split_once('.')?.0.parse().ok()
}

/// All copy records of one run.
pub(crate) fn copies_of(id: &PointId) -> Result<Prefix> {
    Prefix::new(format!("copies/{id}."))
}

/// On a replica: the record that the point was copied from the vault `origin`.
pub(crate) fn copy(id: &PointId, origin: &impl Display) -> Result<Key> {
    copies_of(id)?.key(&format!("{origin}.json"))
}

/// What a copy record's signature stands for, as it is written into its key.
pub(crate) fn signed_copy(origin: &impl Display) -> String {
    format!("copy-{origin}")
}

/// The origin in a copy record's name.
pub(crate) fn copy_origin<T: std::str::FromStr>(id: &PointId, key: &Key) -> Option<T> {
    key.strip(&copies_of(id).ok()?)?.strip_suffix(".json")?.parse().ok()
}

/// All retirements of a source's components.
pub(crate) fn retirements(source: &Name) -> Result<Prefix> {
    Prefix::new(format!("retired/{source}/"))
}

/// What is signed beside `PLACE/`: `sigs/PLACE/`.
pub(crate) fn signatures_under(place: &str) -> Result<Prefix> {
    Prefix::new(format!("sigs/{place}/"))
}

/// The sources that have retired components.
pub(crate) fn retired_sources() -> Result<Prefix> {
    Prefix::new("retired/")
}

/// A component's retirement.
pub(crate) fn retirement(source: &Name, component: &Name, time: Timestamp) -> Result<Key> {
    Key::new(format!("retired/{source}/{component}.{}.json", compact_time(time)))
}

/// Reads a retirement's key.
pub(crate) fn parse_retirement(source: &Name, key: &Key) -> Option<(Name, Timestamp)> {
    let file = key.strip(&retirements(source).ok()?)?;
    let (component, time) = file.strip_suffix(".json")?.split_once('.')?;
    Some((component.parse().ok()?, parse_compact_time(time)?))
}

/// All records and logs of a source's history.
pub(crate) fn history(source: &Name) -> Result<Prefix> {
    Prefix::new(format!("history/{source}/"))
}

/// How an act ended.
pub(crate) fn history_record(source: &Name, entry: &HistoryEntry) -> Result<Key> {
    Key::new(format!("history/{source}/{}.{}.json", entry.id, entry.act))
}

/// The events of an act.
pub(crate) fn history_log(source: &Name, entry: &HistoryEntry, wrapping: Wrapping) -> Result<Key> {
    Key::new(format!("history/{source}/{}.{}.log{}", entry.id, entry.act, wrapping.suffix()))
}

/// Reads the key of a record; none if it is no record, or of an act that this version does not know.
pub(crate) fn parse_history(source: &Name, key: &Key) -> Option<HistoryEntry> {
    let (id, act) = key.strip(&history(source).ok()?)?.strip_suffix(".json")?.split_once('.')?;
    let act = [Act::Backup, Act::Prune, Act::Restore, Act::Drill].into_iter().find(|known| known.to_string() == act)?;
    Some(HistoryEntry { id: id.parse().ok()?, act })
}

/// How stored bytes are wrapped, and so how their keys end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wrapping {
    pub(crate) sealed: bool,
}

impl Wrapping {
    fn suffix(self) -> &'static str {
        if self.sealed { ".zst.age" } else { ".zst" }
    }
}

/// What an attempt says of its items.
pub(crate) fn details(id: &PointId, attempt: &Tag, wrapping: Wrapping) -> Result<Key> {
    Key::new(format!("details/{id}.{attempt}.jsonl{}", wrapping.suffix()))
}

/// All details of one run.
pub(crate) fn details_of(id: &PointId) -> Result<Prefix> {
    Prefix::new(format!("details/{id}."))
}

/// All details of a tier.
pub(crate) fn details_of_tier(source: &Name, tier: &Name) -> Result<Prefix> {
    Prefix::new(format!("details/{source}/{tier}/"))
}

/// The bytes of an item, the `number`th of the attempt.
pub(crate) fn item(id: &PointId, attempt: &Tag, number: u32, component: &Name, wrapping: Wrapping) -> Result<Key> {
    Key::new(format!("items/{id}/{attempt}/{number:06}-{component}{}", wrapping.suffix()))
}

/// All bytes of one run, whichever attempt wrote them.
pub(crate) fn items_of(id: &PointId) -> Result<Prefix> {
    Prefix::new(format!("items/{id}/"))
}

/// All bytes of a tier.
pub(crate) fn items_of_tier(source: &Name, tier: &Name) -> Result<Prefix> {
    Prefix::new(format!("items/{source}/{tier}/"))
}

/// The attempt that wrote an object under `items/` or `details/`; none if the key is not ours.
pub(crate) fn parse_stored(key: &Key) -> Option<(PointId, Tag)> {
    let (id, attempt) = match key.as_str().split_once('/')? {
        ("items", rest) => {
            let (attempt_folder, _) = rest.rsplit_once('/')?;
            attempt_folder.rsplit_once('/')?
        }
        ("details", rest) => {
            let (id, rest) = rest.split_once('.')?;
            (id, rest.split('.').next()?)
        }
        _ => return None,
    };
    Some((id.parse().ok()?, attempt.parse().ok()?))
}

/// Whether a key is one of this source's, or the vault's own.
pub(crate) fn is_of(source: &Name, key: &Key) -> bool {
    const AREAS: [&str; 9] = ["points", "items", "details", "sigs", "runs", "proofs", "copies", "retired", "history"];
    let key = key.as_str();
    let Some((area, rest)) = key.split_once('/') else { return true };
    let under = |folder: &str| rest.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    area == "keys" || area == "sigs" && under("keys") || AREAS.contains(&area) && under(source.as_str())
}

/// The run whose bytes lie in a folder such as `items/prod-eu/daily/20261120t064200z-abcdefgh/`.
pub(crate) fn run_of_folder(folder: &Prefix) -> Option<PointId> {
    folder.as_str().strip_prefix("items/")?.strip_suffix('/')?.parse().ok()
}

/// Fails if an object that a manifest names is not one of its own run: nothing signed for one point reaches another's bytes.
pub(crate) fn check_own(id: &PointId, key: &Key) -> Result<()> {
    if items_of(id)?.contains(key) || details_of(id)?.contains(key) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Corrupt, "the manifest names an object outside its own run")
        .with("point", id)
        .with("key", key))
}

#[cfg(test)]
mod tests;
