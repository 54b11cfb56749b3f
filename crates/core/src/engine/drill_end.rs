//! How a drill ends: the report, a signed proof that tells no names, and a record with a sealed log that does.

use std::time::Duration;

use jiff::SignedDuration;

use crate::engine::drill_progress::{Picked, Progress};
use crate::engine::drill_report::{DrillReport, Measured};
use crate::engine::drill_run::Drill;
use crate::engine::proof::{DrillProof, Proof};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::name::to_the_second;
use crate::vault::Vault;
use crate::vault::history::Logged;

/// So many proofs of one component may end in one second.
const PROOFS_A_SECOND: i64 = 16;

impl Drill {
    /// Says how it ended, everywhere.
    pub(super) async fn settle(&self, progress: Progress, outcome: Result<()>) -> Result<DrillReport> {
        let component = self.component.clone();
        let bytes = progress.restored.bytes();
        let Some(mut picked) = progress.picked else {
            let error = outcome.err().unwrap_or_else(|| Error::new(ErrorKind::Other, "no point was picked"));
            let error = error.operation("drill").with("component", &component);
            self.log.end(Some(&error), |record| record.component = Some(component)).await;
            return Err(error);
        };
        let report = &mut picked.report;
        report.bytes = bytes;
        report.left.iter().for_each(|left| self.warn(left));
        let took = report.recovery();
        let mut error = outcome.err();
        report.error = error.as_ref().map(Error::with_causes);
        if error.is_none() {
            report.rto = Some(Measured::new(took, picked.rto_allowed));
            self.tell_missed(report);
        }
        // That it was told to end says nothing about the point.
        if error.as_ref().is_none_or(|error| error.kind() != ErrorKind::Cancelled)
            && let Err(unproved) = self.put_proof(&picked, error.as_ref()).await
        {
            let note = format!("the proof could not be stored: {unproved}");
            self.warn(&note);
            picked.report.notes.push(note);
            error.get_or_insert(unproved);
        }
        let report = picked.report;
        if let Some(validation) = &report.validation {
            self.log.note(Logged::Validation(validation.clone()));
        }
        let (point, kind) = (report.point.clone(), error.as_ref().map(Error::kind));
        let rto = report.rto.map(|rto| rto.achieved);
        self.observers.emit(&Event::DrillDone { point: point.clone(), component: component.clone(), rto, error: kind });
        let error = error.map(|error| error.operation("drill").with("component", &component).with("point", &point));
        self.log
            .end(error.as_ref(), |record| {
                (record.point, record.component, record.bytes) = (Some(point), Some(component), bytes);
                record.took = Duration::try_from(took).unwrap_or_default();
            })
            .await;
        match error {
            None => Ok(report),
            Some(error) => Err(error.with_payload(report)),
        }
    }

    fn tell_missed(&self, report: &DrillReport) {
        for (objective, measured) in [("rpo", Some(report.rpo)), ("rto", report.rto)] {
            if let Some(Measured { achieved, allowed: Some(allowed), met: Some(false) }) = measured {
                let (point, component) = (report.point.clone(), report.component.clone());
                let objective = objective.into();
                self.observers.emit(&Event::ObjectiveMissed { point, component, objective, achieved, allowed });
            }
        }
    }

    async fn put_proof(&self, picked: &Picked, error: Option<&Error>) -> Result<()> {
        let vault: &Vault = &self.backstay.vault;
        let report = &picked.report;
        let checks = report.validation.as_ref().map_or(0, |validation| validation.checks.len() as u64);
        let failed = report.validation.as_ref().map_or(0, |validation| validation.failed());
        let mut proof = Proof {
            vault: vault.id().clone(),
            point: report.point.clone(),
            manifest: picked.manifest,
            at: to_the_second(vault.clock().now()),
            reached: None,
            objects: picked.objects,
            bytes: picked.stored,
            took: report.phases.values().fold(SignedDuration::ZERO, |sum, took| sum.saturating_add(*took)),
            damages: if error.is_some() { failed.max(1) } else { 0 },
            damaged: Vec::new(),
            drill: Some(DrillProof {
                component: report.component.clone(),
                passed: error.is_none(),
                // The kind alone: the text may name what only a reader with the key should know.
                error: error.map(|error| error.kind().to_string()),
                bytes: report.bytes,
                part: report.part,
                phases: report.phases.clone(),
                rpo: report.rpo,
                rto: report.rto,
                checks,
                failed,
            }),
        };
        for _ in 0..PROOFS_A_SECOND {
            match vault.put_proof(&proof).await {
                // Another drill of the component ended in the same second.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    proof.at = proof.at.checked_add(SignedDuration::from_secs(1)).unwrap_or(proof.at);
                }
                settled => return settled,
            }
        }
        Err(Error::new(ErrorKind::Busy, "too many drills of the component end at once").advise("drill it again"))
    }
}
