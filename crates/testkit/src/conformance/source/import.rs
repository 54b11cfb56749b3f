//! Cases for importers.

use backstay_core::Result;
use backstay_core::source::{ImportAction, ImportOptions, ImportPlan, ImportReport};

use super::{Case, ImporterSetup, Outcome, dropped_after, hold};
use crate::items::Items;

type Subject = ImporterSetup;

pub(super) const CASES: &[Case<Subject>] = &[
    Case { name: "its_items_are_accepted", run: |s| Box::pin(accepts(s)) },
    Case { name: "check_reads_to_the_end", run: |s| Box::pin(check(s)) },
    Case { name: "check_and_plan_change_nothing", run: |s| Box::pin(plan_changes_nothing(s)) },
    Case { name: "apply_does_what_the_plan_says", run: |s| Box::pin(as_planned(s)) },
    Case { name: "a_second_apply_has_nothing_to_do", run: |s| Box::pin(second(s)) },
    Case { name: "nothing_is_overwritten_unasked", run: |s| Box::pin(not_unasked(s)) },
    Case { name: "overwriting_is_planned_in_full_and_done", run: |s| Box::pin(asked(s)) },
    Case { name: "an_old_plan_overwrites_nothing_new", run: |s| Box::pin(old_plan(s)) },
    Case { name: "an_interrupted_apply_is_finished_by_the_next", run: |s| Box::pin(interrupted(s)) },
    Case { name: "a_dropped_apply_is_finished_by_the_next", run: |s| Box::pin(dropped(s)) },
];

/// Where items break off, in bytes.
const CUTS: [u64; 6] = [0, 1, 511, 700, 1_600, 3_000];

impl ImporterSetup {
    async fn plan(&self, items: &Items, options: &ImportOptions) -> Result<ImportPlan> {
        self.importer.plan(items, options).await
    }

    async fn import(&self, items: &Items, options: &ImportOptions) -> Result<ImportReport> {
        let plan = self.plan(items, options).await?;
        self.importer.apply(items, plan).await
    }

    /// The target holds exactly what `items` say, as far as the importer's own plan can tell.
    async fn holds(&self, items: &Items) -> Outcome {
        let plan = self.plan(items, &ImportOptions::default()).await?;
        let only = plan.counts.keys().all(|action| *action == ImportAction::Unchanged);
        hold(only && !plan.counts.is_empty(), || format!("expected nothing but unchanged entries: {plan}"))
    }
}

fn plain() -> ImportOptions {
    ImportOptions::default()
}

fn overwriting() -> ImportOptions {
    ImportOptions::default().danger_overwrite()
}

async fn accepts(setup: Subject) -> Outcome {
    let infos = setup.items.infos();
    hold(!infos.is_empty() && infos.iter().all(|item| setup.importer.accepts(item)), || format!("{infos:?}"))
}

async fn check(setup: Subject) -> Outcome {
    let report = setup.importer.check(&setup.items).await?;
    hold(report.entries > 0 && report.problems.is_empty(), || format!("{report:?}"))?;
    for item in setup.items.infos().iter().filter(|item| item.bytes > 0) {
        let cut = setup.items.clone().cut_after(item.bytes - 1);
        let result = setup.importer.check(&cut).await;
        hold(result.is_err(), || "items that break off before their last byte pass".to_owned())?;
    }
    Ok(())
}

async fn plan_changes_nothing(setup: Subject) -> Outcome {
    setup.importer.check(&setup.items).await?;
    let first = setup.plan(&setup.items, &overwriting()).await?;
    let second = setup.plan(&setup.items, &overwriting()).await?;
    hold(first.fingerprint == second.fingerprint && first.counts == second.counts, || format!("{first}\n{second}"))?;
    hold(first.count(ImportAction::Create) > 0 && first.counts.len() == 1, || format!("in an empty target: {first}"))
}

async fn as_planned(setup: Subject) -> Outcome {
    let plan = setup.plan(&setup.items, &plain()).await?;
    let counts = plan.counts.clone();
    let report = setup.importer.apply(&setup.items, plan).await?;
    hold(report.counts == counts, || format!("planned {counts:?}, done {:?}", report.counts))?;
    hold(report.problems.is_empty(), || format!("{:?}", report.problems))?;
    setup.holds(&setup.items).await
}

async fn second(setup: Subject) -> Outcome {
    setup.import(&setup.items, &plain()).await?;
    let report = setup.import(&setup.items, &overwriting()).await?;
    let done = [ImportAction::Create, ImportAction::Overwrite, ImportAction::Conflict].iter();
    hold(done.clone().all(|action| !report.counts.contains_key(action)) && report.bytes == 0, || format!("{report:?}"))
}

async fn not_unasked(setup: Subject) -> Outcome {
    setup.import(&setup.items, &plain()).await?;
    let plan = setup.plan(&setup.other, &plain()).await?;
    hold(plan.count(ImportAction::Overwrite) == 0, || format!("{plan}"))?;
    hold(plan.count(ImportAction::Conflict) > 0, || format!("conflicts are not listed: {plan}"))?;
    let report = setup.importer.apply(&setup.other, plan).await?;
    hold(!report.problems.is_empty(), || "what was not restored is no problem in the report".to_owned())?;
    setup.holds(&setup.items).await
}

async fn asked(setup: Subject) -> Outcome {
    setup.import(&setup.items, &plain()).await?;
    let plan = setup.plan(&setup.other, &overwriting()).await?;
    let listed = plan.entries.iter().filter(|entry| entry.action == ImportAction::Overwrite).count() as u64;
    let count = plan.count(ImportAction::Overwrite);
    hold(count > 0 && listed == count, || format!("{count} overwrites, {listed} of them listed: {plan}"))?;
    setup.importer.apply(&setup.other, plan).await?;
    setup.holds(&setup.other).await
}

async fn old_plan(setup: Subject) -> Outcome {
    let plan = setup.plan(&setup.other, &overwriting()).await?;
    setup.import(&setup.items, &plain()).await?;
    // Refusing the whole plan is as good as leaving each entry alone.
    if let Ok(report) = setup.importer.apply(&setup.other, plan).await {
        hold(!report.counts.contains_key(&ImportAction::Overwrite), || format!("{report:?}"))?;
    }
    setup.holds(&setup.items).await
}

async fn interrupted(setup: Subject) -> Outcome {
    for cut in CUTS {
        let items = setup.items.clone().cut_after(cut);
        // A plan may need the items as well, so it comes from whole ones.
        let plan = setup.plan(&setup.items, &plain()).await?;
        let largest = setup.items.infos().iter().map(|item| item.bytes).max();
        if largest.is_some_and(|largest| largest > cut) {
            let result = setup.importer.apply(&items, plan).await;
            hold(result.is_err(), || format!("success with items that broke off after {cut} bytes"))?;
        }
    }
    let report = setup.import(&setup.items, &plain()).await?;
    hold(report.problems.is_empty(), || format!("{:?}", report.problems))?;
    setup.holds(&setup.items).await
}

async fn dropped(setup: Subject) -> Outcome {
    for polls in 1..10 {
        dropped_after(polls, setup.import(&setup.items, &plain())).await;
    }
    let report = setup.import(&setup.items, &plain()).await?;
    hold(report.problems.is_empty(), || format!("{:?}", report.problems))?;
    setup.holds(&setup.items).await
}
