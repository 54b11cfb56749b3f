//! Where everything lies: the only place that makes or reads the names of keys.
//!
//! The layout is format 1 and described for people in FORMAT.md.

use std::fmt::Display;

use jiff::Timestamp;

use crate::digest::Sha256;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Name, PointId, RunId, Tag, base32, compact_time, parse_compact_time};
use crate::store::{Key, Prefix};

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
pub(crate) fn probe() -> Result<Key> {
    Key::new("probe")
}

/// All sealed epoch keys and canaries.
pub(crate) fn epoch_keys() -> Result<Prefix> {
    Prefix::new("keys/")
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

/// The prefix of all signatures over one content. `what` is [`SIGNED_POINT`] or a mark's name.
pub(crate) fn signatures(id: &PointId, what: &str, digest: &Sha256) -> Result<Prefix> {
    Prefix::new(format!("sigs/{id}.{what}.{}.", short_digest(digest)))
}

/// All signatures that concern one run.
pub(crate) fn signatures_of(id: &PointId) -> Result<Prefix> {
    Prefix::new(format!("sigs/{id}."))
}

/// All signatures that concern runs of a tier.
pub(crate) fn signatures_of_tier(source: &Name, tier: &Name) -> Result<Prefix> {
    Prefix::new(format!("sigs/{source}/{tier}/"))
}

/// All signatures of retirements of a source's components.
pub(crate) fn signatures_of_retirements(source: &Name) -> Result<Prefix> {
    Prefix::new(format!("sigs/{source}/retired/"))
}

/// What [`parse_signature`] gives for a signature of this. `what` is [`SIGNED_POINT`] or a mark's name.
pub(crate) fn signed_name(id: &PointId, what: &str) -> String {
    format!("sigs/{id}.{what}")
}

/// What [`parse_signature`] gives for a retirement.
pub(crate) fn signed_retirement(source: &Name, component: &Name, time: Timestamp) -> String {
    format!("sigs/{source}/retired/{component}.{}", compact_time(time))
}

/// What a signature is for, by its key, and the ID of the key that made it.
pub(crate) fn parse_signature(key: &Key) -> Option<(&str, &str)> {
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

/// All proofs of one run.
pub(crate) fn proofs_of(id: &PointId) -> Result<Prefix> {
    Prefix::new(format!("proofs/{id}."))
}

/// All retirements of a source's components.
pub(crate) fn retirements(source: &Name) -> Result<Prefix> {
    Prefix::new(format!("retired/{source}/"))
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
mod tests {
    use super::*;

    fn id() -> PointId {
        "prod-eu/daily/20261120t064200z-abcdefgh".parse().unwrap()
    }

    #[test]
    fn every_file_of_a_point_is_read_back_as_what_it_is() {
        let name: Name = "audit-2026".parse().unwrap();
        let folder = tier(&id().source, &id().tier).unwrap();
        let files = [
            PointFile::Manifest,
            PointFile::PartialHint,
            PointFile::VoidHint,
            PointFile::Mark(MarkName::Deleted),
            PointFile::Mark(MarkName::Accepted),
            PointFile::Mark(MarkName::Hold(name.clone())),
            PointFile::Mark(MarkName::Release(name)),
        ];
        for file in files {
            let key = point_file(&id(), &file).unwrap();
            assert_eq!(parse_point_file(&folder, &key), Some((id().run, file)), "{key}");
        }
        for foreign in ["notes.txt", "20261120t064200z-abcdefgh.jpg", "20261120t064200z-abcdefgh.hold-", "x.json"] {
            assert_eq!(parse_point_file(&folder, &folder.key(foreign).unwrap()), None, "{foreign}");
        }
    }

    #[test]
    fn key_files_are_read_back_as_what_they_are() {
        let (epoch, custodian): (Name, Name) = ("e1".parse().unwrap(), "paper-in-safe".parse().unwrap());
        let time = id().run.time();
        let sealed = key_file(&epoch_key(&epoch, &custodian).unwrap());
        assert_eq!(sealed, Some(KeyFile::Sealed { epoch: epoch.clone(), custodian: custodian.clone() }));
        let found = key_file(&canary(&epoch, &custodian, time).unwrap());
        assert_eq!(found, Some(KeyFile::Canary { epoch, custodian, time }));
        assert_eq!(key_file(&Key::new("keys/readme.txt").unwrap()), None);
    }

    #[test]
    fn a_manifest_may_only_name_objects_of_its_own_run() {
        let tag: Tag = "abcdefgh".parse().unwrap();
        let own = item(&id(), &tag, 0, &"db".parse().unwrap(), Wrapping { sealed: true }).unwrap();
        assert_eq!(own.as_str(), "items/prod-eu/daily/20261120t064200z-abcdefgh/abcdefgh/000000-db.zst.age");
        check_own(&id(), &own).unwrap();
        let foreign = Key::new("items/prod-eu/daily/20261120t064200z-hgfedcba/abcdefgh/000000-db.zst.age").unwrap();
        assert_eq!(check_own(&id(), &foreign).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn the_longest_keys_fit_every_store() {
        let name: Name = "n".repeat(63).parse().unwrap();
        let id = PointId { source: name.clone(), tier: name.clone(), run: id().run };
        let tag: Tag = "abcdefgh".parse().unwrap();
        item(&id, &tag, 9_999_999, &name, Wrapping { sealed: true }).unwrap();
        signature(
            &signatures(&id, &MarkName::Release(name).to_string(), &Sha256([7; 32])).unwrap(),
            "abcdefghijklmnop",
        )
        .unwrap();
    }
}
