//! Cases for exporters.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use backstay_core::source::{
    ExportReport, ExportRequest, Facts, ItemSink, ItemSpec, ItemWriter, Problem, ResourceExporter,
};
use backstay_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use jiff::Timestamp;

use super::{Case, Outcome, dropped_after, hold};
use crate::items::Items;

type Subject = Arc<dyn ResourceExporter>;

pub(super) const CASES: &[Case<Subject>] = &[
    Case { name: "every_item_that_was_opened_is_finished", run: |s| Box::pin(finished(s)) },
    Case { name: "two_open_items_are_enough", run: |s| Box::pin(two_open(s)) },
    Case { name: "a_failing_write_is_an_error", run: |s| Box::pin(fails(s, Fail::Write)) },
    Case { name: "a_failing_finish_is_an_error", run: |s| Box::pin(fails(s, Fail::Finish)) },
    Case { name: "a_failing_open_is_an_error", run: |s| Box::pin(fails(s, Fail::Open)) },
    Case { name: "an_unchanged_component_keeps_its_identity_and_items", run: |s| Box::pin(same_twice(s)) },
    Case { name: "a_dropped_export_finishes_nothing_later", run: |s| Box::pin(dropped(s)) },
];

async fn export(subject: &Subject, sink: &dyn ItemSink) -> Result<ExportReport> {
    let request = ExportRequest::new(
        "conformance".parse()?,
        "conformance/manual/20260101t000000z-aaaaaaaa".parse()?,
        Timestamp::UNIX_EPOCH,
    );
    subject.export(&request, sink).await
}

fn items(subject: &Subject) -> Items {
    Items::new("conformance", &subject.info().kind)
}

async fn finished(subject: Subject) -> Outcome {
    let items = items(&subject);
    let report = export(&subject, &items).await?;
    hold(report.problems.is_empty(), || {
        format!("the suite needs a component without problems: {:?}", report.problems)
    })?;
    hold(items.abandoned().is_empty(), || format!("abandoned without a cause: {:?}", items.abandoned()))?;
    hold(!items.infos().is_empty(), || "success without any item".to_owned())?;
    hold(items.unfinished().is_empty(), || format!("success with unfinished items {:?}", items.unfinished()))
}

async fn two_open(subject: Subject) -> Outcome {
    let sink = Watched::new(items(&subject), Fail::Nothing);
    export(&subject, &sink).await?;
    let most = sink.most.load(Ordering::SeqCst);
    hold(most <= 2, || format!("{most} items were open at once; a smaller budget would stop this exporter for ever"))
}

async fn fails(subject: Subject, fail: Fail) -> Outcome {
    let sink = Watched::new(items(&subject), fail);
    let result = export(&subject, &sink).await;
    hold(result.is_err(), || "success, though the sink failed".to_owned())
}

async fn same_twice(subject: Subject) -> Outcome {
    let (first, second) = (items(&subject), items(&subject));
    let a = export(&subject, &first).await?;
    let b = export(&subject, &second).await?;
    hold(a.identity == b.identity, || format!("{:?}, then {:?}", a.identity, b.identity))?;
    let names = |items: &Items| items.infos().into_iter().map(|item| (item.name, item.format)).collect::<Vec<_>>();
    hold(names(&first) == names(&second), || format!("{:?}, then {:?}", names(&first), names(&second)))
}

async fn dropped(subject: Subject) -> Outcome {
    for polls in 1..20 {
        let items = items(&subject);
        if dropped_after(polls, export(&subject, &items)).await.is_none() {
            let before = items.infos().len();
            tokio::task::yield_now().await;
            let after = items.infos().len();
            hold(before == after, || format!("an item was finished after the drop at poll {polls}"))?;
        }
    }
    // What the dropped ones started does not disturb a later one.
    finished(subject).await
}

/// What goes wrong in a [`Watched`] sink.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fail {
    Nothing,
    Open,
    Write,
    Finish,
}

/// Counts open items and fails where told.
struct Watched {
    items: Items,
    fail: Fail,
    open: Arc<AtomicUsize>,
    most: AtomicUsize,
}

impl Watched {
    fn new(items: Items, fail: Fail) -> Self {
        Self { items, fail, open: Arc::default(), most: AtomicUsize::new(0) }
    }
}

#[async_trait]
impl ItemSink for Watched {
    async fn item(&self, spec: ItemSpec) -> Result<Box<dyn ItemWriter>> {
        if self.fail == Fail::Open {
            return Err(broken());
        }
        let inner = self.items.item(spec).await?;
        let now = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Ok(Box::new(Writer { inner: Some(inner), fail: self.fail, open: Arc::clone(&self.open) }))
    }
}

struct Writer {
    inner: Option<Box<dyn ItemWriter>>,
    fail: Fail,
    open: Arc<AtomicUsize>,
}

#[async_trait]
impl ItemWriter for Writer {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        match &mut self.inner {
            Some(inner) if self.fail != Fail::Write => inner.write(data).await,
            _ => Err(broken()),
        }
    }

    async fn finish(mut self: Box<Self>, facts: Facts) -> Result<()> {
        match self.inner.take() {
            // An item without content has no write that could fail.
            Some(inner) if !matches!(self.fail, Fail::Finish | Fail::Write) => inner.finish(facts).await,
            _ => Err(broken()),
        }
    }

    async fn restart(&mut self) -> Result<()> {
        match &mut self.inner {
            Some(inner) if self.fail == Fail::Nothing => inner.restart().await,
            _ => Err(broken()),
        }
    }

    async fn abandon(mut self: Box<Self>, problem: Problem) {
        if let Some(inner) = self.inner.take() {
            inner.abandon(problem).await;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

fn broken() -> Error {
    Error::new(ErrorKind::Unavailable, "the sink fails, as asked for")
}
