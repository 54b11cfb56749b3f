//! Rotation: configured, last done, overdue; started.

use std::fmt;

use backstay_core::Result;
use backstay_core::source::Problem;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::choice::SecretChoice;
use super::open::SecretsManager;
use super::read::Found;
use super::replicas::problems;
use super::write::is_of_one;
use crate::error::{Call, Carries, Told};

const ROTATE: Call = Call { name: "rotate secret", api: "RotateSecret", right: "secretsmanager:RotateSecret" };

/// How the rotation of secrets stands.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[non_exhaustive]
pub struct RotationReport {
    /// The secrets.
    pub secrets: Vec<RotationState>,
    /// Secrets that could not be looked at.
    pub problems: Vec<Problem>,
}

/// How the rotation of a secret stands.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[non_exhaustive]
pub struct RotationState {
    /// The secret.
    pub secret: String,
    /// Whether it is rotated by itself.
    pub enabled: bool,
    /// The function that rotates it.
    pub function: Option<String>,
    /// How often: `30 days`, or an expression as AWS has it.
    pub schedule: Option<String>,
    /// When it was rotated last, if ever.
    pub last: Option<Timestamp>,
    /// When it is due.
    pub due: Option<Timestamp>,
    /// It was due and is not done.
    pub overdue: bool,
    /// The version that a rotation has begun and not made current: it has `AWSPENDING`. One that stays so has failed.
    pub pending: Option<String>,
}

impl RotationReport {
    /// Secrets that were due and are not rotated.
    pub fn overdue(&self) -> impl Iterator<Item = &RotationState> {
        self.secrets.iter().filter(|secret| secret.overdue)
    }
}

impl SecretsManager {
    /// How the rotation of the secrets stands at `now`.
    ///
    /// # Errors
    /// If secrets cannot be listed, or the service fails in the middle: then the report of what was seen is the error's
    /// [payload](backstay_core::Error::payload). What concerns one secret is in the report.
    pub async fn rotation(&self, choice: &SecretChoice, now: Timestamp) -> Result<RotationReport> {
        let mut report = RotationReport::default();
        for (name, found) in self.chosen(choice).await? {
            match found {
                Ok(found) => report.secrets.push(state(name, found, now)),
                Err(error) if is_of_one(&error) => report.problems.push(Problem::new(name, error.with_causes())),
                Err(error) => return Err(error.with_payload(report)),
            }
        }
        Ok(report)
    }

    /// Rotates a secret now, as it is configured. Returns the id of the version that comes of it; the function makes it in the
    /// background.
    ///
    /// # Errors
    /// [`Conflict`](backstay_core::ErrorKind::Conflict) if a rotation runs or none is configured; what the server answers.
    pub async fn rotate(&self, name: &str) -> Result<Option<String>> {
        let told = self.client().rotate_secret().secret_id(name).send().await;
        told.map_err(|error| self.error(Told::of(error), ROTATE, name, Carries::Nothing)).map(|told| told.version_id)
    }
}

fn state(secret: String, found: Found, now: Timestamp) -> RotationState {
    let pending = found.pending().map(str::to_owned);
    let Some(rotation) = found.rotation else { return RotationState { secret, pending, ..RotationState::default() } };
    let schedule = rotation.schedule.or_else(|| rotation.after_days.map(|days| format!("{days} days")));
    let counted = rotation.last.or(found.created).zip(rotation.after_days).and_then(|(last, days)| {
        let span = SignedDuration::from_hours(days.checked_mul(24)?);
        last.checked_add(span).ok()
    });
    let due = rotation.next.or(counted).filter(|_| rotation.enabled);
    RotationState {
        secret,
        enabled: rotation.enabled,
        function: rotation.function,
        schedule,
        last: rotation.last,
        due,
        overdue: due.is_some_and(|due| due < now),
        pending,
    }
}

impl fmt::Display for RotationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let enabled = self.secrets.iter().filter(|secret| secret.enabled).count();
        write!(f, "{enabled} of {} secrets are rotated, {} overdue", self.secrets.len(), self.overdue().count())?;
        for secret in &self.secrets {
            write!(f, "\n  {}: {secret}", secret.secret)?;
        }
        problems(f, &self.problems)
    }
}

/// Without its name.
impl fmt::Display for RotationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.enabled {
            write!(f, "every {}", self.schedule.as_deref().unwrap_or("?"))?;
            match self.last {
                Some(last) => write!(f, ", last {last}")?,
                None => f.write_str(", never yet")?,
            }
            if let Some(due) = self.due {
                write!(f, ", {} {due}", if self.overdue { "OVERDUE since" } else { "due" })?;
            }
        } else {
            f.write_str("not rotated")?;
        }
        if let Some(version) = &self.pending {
            write!(f, ", under way (AWSPENDING: version {version})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::Rotation;
    use super::*;

    #[test]
    fn a_rotation_is_overdue_when_its_time_has_passed() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let rotation = |enabled, last: Option<&str>, next: Option<&str>| Rotation {
            enabled,
            function: None,
            after_days: Some(30),
            schedule: None,
            window: None,
            last: last.map(at),
            next: next.map(at),
        };
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z");
        for (rotation, overdue) in [
            (Some(rotation(true, None, Some(early))), true),
            (Some(rotation(true, None, Some(late))), false),
            (Some(rotation(true, Some(early), None)), true),
            // Never rotated: since it was made.
            (Some(rotation(true, None, None)), true),
            (Some(rotation(false, Some(early), Some(early))), false),
            (None, false),
        ] {
            let shown = format!("{rotation:?}");
            let found = Found { rotation, created: Some(at(early)), ..Found::default() };
            assert_eq!(state("db".to_owned(), found, at("2026-03-01T00:00:00Z")).overdue, overdue, "{shown}");
        }
    }
}
