//! What the bucket's lifecycle rules do to a vault.

use aws_sdk_s3::types::{ExpirationStatus, LifecycleRule, TransitionStorageClass};
use backstay_core::Result;
use backstay_core::doctor::DoctorReport;

use super::{LIFECYCLE, S3Store, Seen, about};
use crate::error::Told;

const WHAT: &str = "lifecycle";
/// Somebody notices within so many days what was done to a vault.
const NOTICED_DAYS: i32 = 7;

impl S3Store {
    pub(super) async fn look_at_lifecycle(&self, report: &mut DoctorReport) -> Result<()> {
        let told = about!(self, get_bucket_lifecycle_configuration);
        let fix = "render rules by `Backstay::lifecycle` and set them: aws s3api put-bucket-lifecycle-configuration";
        let found = match self.configured(told, LIFECYCLE, WHAT, report)? {
            Seen::Unknown => return Ok(()),
            Seen::None => {
                report.missing(WHAT, "no rules: uploads that nobody completed are billed for ever", fix);
                return Ok(());
            }
            Seen::Some(found) => found,
        };
        let enabled: Vec<_> = found.rules().iter().filter(|rule| *rule.status() == ExpirationStatus::Enabled).collect();
        let harmful = enabled.iter().filter(|rule| harms(rule, report)).count();
        if !enabled.iter().any(|rule| rule.abort_incomplete_multipart_upload().is_some()) {
            report.missing(WHAT, "no rule ends uploads that nobody completed", fix);
        } else if harmful == 0 {
            report.fine(WHAT, format!("{} rules, none deletes what is in use", enabled.len()));
        }
        Ok(())
    }
}

/// Tells what a rule does that it should not; whether it does anything of the kind.
fn harms(rule: &LifecycleRule, report: &mut DoctorReport) -> bool {
    let name = format!("{:?} (prefix {:?})", rule.id().unwrap_or_default(), prefix_of(rule));
    let (archives, expires, forgets) = (archives(rule), expires(rule), forgets(rule));
    if archives {
        report.critical(
            WHAT,
            format!("the rule {name} archives what opens a vault: until it is thawed nothing works"),
            "keep it to what lies under `items/`, as `Backstay::lifecycle` renders it",
        );
    }
    if expires {
        report.risky(
            WHAT,
            format!("the rule {name} deletes objects that are in use, whatever prune would say"),
            "take it out, or keep it off the vault's prefix; retention is `prune`'s",
        );
    }
    if let Some(days) = forgets {
        report.risky(
            WHAT,
            format!(
                "the rule {name} ends what was put over or deleted after {days} days: `as_of` and `undelete_since` reach no \
                 further back"
            ),
            format!("give it {NOTICED_DAYS} days or more: what is done on a Friday is seen on a Monday"),
        );
    }
    archives || expires || forgets.is_some()
}

fn expires(rule: &LifecycleRule) -> bool {
    rule.expiration().is_some_and(|end| end.days().is_some() || end.date().is_some())
}

/// After how many days it ends earlier contents, if that is too soon for somebody to notice what was done to them.
fn forgets(rule: &LifecycleRule) -> Option<i32> {
    let ends = rule.noncurrent_version_expiration()?;
    ends.noncurrent_days().filter(|days| *days < NOTICED_DAYS && ends.newer_noncurrent_versions().is_none())
}

/// Whether it moves more than items to where nothing is read at once.
fn archives(rule: &LifecycleRule) -> bool {
    let of_items = prefix_of(rule).starts_with("items/") || prefix_of(rule).contains("/items/");
    let archives = |class: &_| matches!(class, TransitionStorageClass::Glacier | TransitionStorageClass::DeepArchive);
    !of_items && rule.transitions().iter().filter_map(|to| to.storage_class()).any(archives)
}

fn prefix_of(rule: &LifecycleRule) -> &str {
    let filter = rule.filter();
    let prefix = filter.and_then(|filter| filter.prefix().or_else(|| filter.and().and_then(|and| and.prefix())));
    // Rules of the first kind have it beside the filter.
    #[expect(deprecated, reason = "buckets still have them")]
    prefix.or_else(|| rule.prefix()).unwrap_or_default()
}
