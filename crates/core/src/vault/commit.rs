//! The race for the one commit key of a run: its attempts, and the sweep that gives it up.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Map;

use crate::digest::Sha256;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{PointId, Tag};
use crate::store::{ObjectMeta, PutOptions};
use crate::vault::layout::{self, PointFile};
use crate::vault::manifest::{MAX_MANIFEST_BYTES, Manifest, Status};
use crate::vault::points::list_run;
use crate::vault::settle::put_new;
use crate::vault::signed::{Purpose, Verified};
use crate::vault::{Point, Vault};

/// Who has the commit key of a run.
#[derive(Debug)]
pub(crate) enum Commit {
    /// A point stands.
    Point(Box<Point>),
    /// The run was given up: no attempt at it can commit any more.
    Void,
}

/// An attempt that has the commit key.
#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) at: Timestamp,
    /// Whether this attempt's own manifest is known to stand there, and not another's of the same length.
    pub(crate) certain: bool,
}

impl Vault {
    /// Reads what stands at the commit key, and proves that it was signed as what it says it is: a point or a void.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if nothing stands there; [`Untrusted`](ErrorKind::Untrusted),
    /// [`Corrupt`](ErrorKind::Corrupt) and [`Unsupported`](ErrorKind::Unsupported) as for a point.
    pub(crate) async fn read_commit(&self, id: &PointId) -> Result<Commit> {
        let (verified, manifest) = self.read_manifest(id).await?;
        Ok(match manifest.status {
            Status::Void => Commit::Void,
            Status::Complete | Status::Partial => Commit::Point(Box::new(Point {
                id: id.clone(),
                manifest,
                sha256: verified.sha256,
                signer: verified.signer.principal,
                committed: verified.meta.last_modified,
            })),
        })
    }

    /// As [`read_commit`](Self::read_commit), with the bytes and who signed them.
    pub(crate) async fn read_manifest(&self, id: &PointId) -> Result<(Verified, Manifest)> {
        let key = layout::manifest(id)?;
        let (meta, bytes) = self.get_small(&key, MAX_MANIFEST_BYTES).await?;
        let prove = |purpose, what: &'static str, then| {
            let signatures = move |digest: &Sha256| layout::signatures(id, what, digest);
            self.prove_signed(meta.clone(), bytes.clone(), purpose, signatures, then)
        };
        let is_refused = |error: &Error| error.kind() == ErrorKind::Untrusted;
        let (verified, purpose) = match prove(Purpose::Point, layout::SIGNED_POINT, None).await {
            Err(refusal) if is_refused(&refusal) => match prove(Purpose::Void, layout::SIGNED_VOID, None).await {
                // In a replica the signer must have been trusted when the first vault took it in.
                Err(error) if is_refused(&error) => match self.copied(id, meta.last_modified).await? {
                    Some(record) if record.manifest == Sha256::of(&bytes) => {
                        let then = Some(record.last_modified);
                        (prove(Purpose::Point, layout::SIGNED_POINT, then).await?, Purpose::Point)
                    }
                    _ => return Err(refusal),
                },
                verified => (verified?, Purpose::Void),
            },
            verified => (verified?, Purpose::Point),
        };
        let manifest = Manifest::parse(&verified.bytes, |vault| self.holds_points_of(vault), &key, id)?;
        if (purpose == Purpose::Void) != (manifest.status == Status::Void) {
            return Err(Error::new(
                ErrorKind::Untrusted,
                "a void that is signed as a point, or a point signed as a void",
            )
            .with("key", key)
            .advise(format!("a void counts if it is signed for {}", Purpose::Void.namespace())));
        }
        Ok((verified, manifest))
    }

    /// Reads a point of this very vault.
    ///
    /// # Errors
    /// As [`read_commit`](Self::read_commit); [`NotFound`](ErrorKind::NotFound) for a void too.
    pub(crate) async fn read_point(&self, id: &PointId) -> Result<Point> {
        match self.read_commit(id).await? {
            Commit::Point(point) => Ok(*point),
            Commit::Void => {
                Err(Error::new(ErrorKind::NotFound, "the run was given up and its key taken: there is no point")
                    .with("key", layout::manifest(id)?))
            }
        }
    }

    /// As [`read_commit`](Self::read_commit); none if nothing stands there.
    pub(crate) async fn commit_of(&self, id: &PointId) -> Result<Option<Commit>> {
        match self.read_commit(id).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            found => found.map(Some),
        }
    }

    /// Puts the manifest: from then on the point exists. Needs no right to read: a lost answer is settled by a listing.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if another attempt or a void has the key, or may have it.
    pub(crate) async fn commit(&self, id: &PointId, manifest: Bytes, options: &PutOptions) -> Result<Committed> {
        let key = layout::manifest(id)?;
        let error = match self.store().put(&key, manifest.clone(), options).await {
            Ok(meta) => return Ok(Committed { at: meta.last_modified, certain: true }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists || error.kind().is_unsure() => error,
            Err(error) => return Err(error),
        };
        // What cannot be settled stays as unsure as it was.
        let Ok(Some(run)) = list_run(self, id).await else { return Err(error) };
        let Some(found) = run.manifest else { return Err(error) };
        let lost = |text: &'static str| {
            Err(Error::new(ErrorKind::AlreadyExists, text)
                .with("key", &key)
                .advise("back up again: that is a new run, with a key of its own"))
        };
        match self.is_ours(&found, &manifest) {
            Some(true) => Ok(Committed { at: found.last_modified, certain: true }),
            Some(false) if run.void_hint => {
                lost("the run was taken for dead and given up: a void has its commit key, and its point does not exist")
            }
            Some(false) => lost("another has the run's commit key: this attempt made no point"),
            None if run.void_hint => {
                lost("whether this attempt or a void has the run's commit key is for a reader to tell")
            }
            None => Ok(Committed { at: found.last_modified, certain: false }),
        }
    }

    /// Whether what a listing shows is this content; none if that cannot be told.
    fn is_ours(&self, found: &ObjectMeta, content: &Bytes) -> Option<bool> {
        if found.size != content.len() as u64 {
            return Some(false);
        }
        Some(self.store().etag_of(content)? == *found.etag.as_ref()?)
    }

    /// Takes the commit key of a run that is dead, so that no late attempt at it can commit: first the hint, so that every
    /// listing shows where to look, then the signature, then the void.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if something else stands there.
    pub(crate) async fn put_void(&self, id: &PointId, reason: &str) -> Result<()> {
        let hint = layout::point_file(id, &PointFile::VoidHint)?;
        put_new(self.store(), &hint, Bytes::new(), &PutOptions::default()).await?;
        let now = self.clock().now();
        let void = Manifest {
            vault: self.id().clone(),
            source: id.source.clone(),
            tier: id.tier.clone(),
            id: id.run.clone(),
            attempt: Tag::new(&**self.random()),
            status: Status::Void,
            requires: Vec::new(),
            epoch: None,
            previous: None,
            started: now,
            completed: now,
            labels: [("reason".to_owned(), reason.to_owned())].into(),
            components: Vec::new(),
            details: None,
            extra: Map::new(),
        };
        let signatures = |digest: &Sha256| layout::signatures(id, layout::SIGNED_VOID, digest);
        let key = layout::manifest(id)?;
        match self.put_signed_json(&key, &void, MAX_MANIFEST_BYTES, Purpose::Void, signatures).await {
            // Another sweep's void is as good.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => match self.commit_of(id).await? {
                Some(Commit::Void) => Ok(()),
                _ => Err(error),
            },
            other => other.map(drop),
        }
    }
}
