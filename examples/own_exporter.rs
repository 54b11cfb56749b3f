//! An exporter and importer of one's own: a table of notes as a component. The published conformance suites run on both,
//! then a lost table comes back from a vault.
//!
//! ```text
//! cargo run --example own_exporter
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backstay::source::{
    CheckReport, ExportReport, ExportRequest, ExporterInfo, Facts, ImportAction, ImportOptions, ImportPlan,
    ImportReport, ItemInfo, ItemSink, ItemSource, ItemSpec, Problem, ResourceExporter, ResourceImporter,
};
use backstay::{Backstay, Error, ErrorKind, Keep, Keyring, MemoryStore, Result, Tier, Vault};
use backstay_testkit::conformance::source;
use backstay_testkit::items::Items;
use futures_util::TryStreamExt;

type Table = BTreeMap<String, String>;

/// The live system: clones are the same table.
#[derive(Clone, Debug)]
struct Notes(Arc<Mutex<Table>>, ExporterInfo);

impl Notes {
    fn new<const N: usize>(notes: [(&str, &str); N]) -> Self {
        let table = notes.map(|(title, text)| (title.to_owned(), text.to_owned())).into();
        Self(Arc::new(Mutex::new(table)), ExporterInfo::new("notes"))
    }

    fn table(&self) -> Table {
        self.0.lock().expect("nobody panics with the table in hand").clone()
    }

    async fn read(items: &dyn ItemSource) -> Result<Table> {
        let (mut table, mut listed) = (Table::new(), items.list());
        while let Some(item) = listed.try_next().await? {
            let content = items.open(&item).await?.try_collect::<Vec<_>>().await?.concat();
            let read: serde_json::Result<Table> = serde_json::from_slice(&content);
            table.extend(read.map_err(|e| Error::new(ErrorKind::Corrupt, "no table of notes").because(e))?);
        }
        Ok(table)
    }

    /// What an import does to one note. Applied later than planned, it overwrites only what the plan named.
    fn decide(present: Option<&String>, wanted: &str, may_overwrite: bool) -> ImportAction {
        match present {
            None => ImportAction::Create,
            Some(text) if text == wanted => ImportAction::Unchanged,
            Some(_) if may_overwrite => ImportAction::Overwrite,
            Some(_) => ImportAction::Conflict,
        }
    }
}

#[async_trait]
impl ResourceExporter for Notes {
    fn info(&self) -> &ExporterInfo {
        &self.1
    }

    async fn export(&self, _: &ExportRequest, out: &dyn ItemSink) -> Result<ExportReport> {
        // One lock, one moment: the copy is the cut. A large table would be written row by row.
        let table = self.table();
        let content = serde_json::to_vec(&table).map_err(|e| Error::new(ErrorKind::Other, "no JSON").because(e))?;
        let mut item = out.item(ItemSpec::new("table", "json").size_hint(content.len() as u64)).await?;
        item.write(content.into()).await?;
        item.finish(Facts::new().with("notes", table.len())).await?;
        Ok(ExportReport::default())
    }
}

#[async_trait]
impl ResourceImporter for Notes {
    fn accepts(&self, item: &ItemInfo) -> bool {
        (item.kind.as_str(), item.format.as_str()) == ("notes", "json")
    }

    async fn check(&self, items: &dyn ItemSource) -> Result<CheckReport> {
        let mut report = CheckReport::default();
        report.entries = Self::read(items).await?.len() as u64;
        Ok(report)
    }

    async fn plan(&self, items: &dyn ItemSource, options: &ImportOptions) -> Result<ImportPlan> {
        let (mut plan, present) = (ImportPlan::new(self.to_string(), options), self.table());
        for (title, text) in Self::read(items).await? {
            let action = Self::decide(present.get(&title), &text, options.overwrite);
            plan.add(action, title, "a note of this title is there and differs");
        }
        Ok(plan)
    }

    async fn apply(&self, items: &dyn ItemSource, plan: ImportPlan) -> Result<ImportReport> {
        let (wanted, mut report) = (Self::read(items).await?, ImportReport::default());
        let mut table = self.0.lock().expect("nobody panics with the table in hand");
        for (title, text) in wanted {
            let planned = plan.entries.iter().any(|e| e.action == ImportAction::Overwrite && e.what == title);
            let action = Self::decide(table.get(&title), &text, planned);
            report.add(action);
            match action {
                ImportAction::Conflict => report.problems.push(Problem::new(title, "another note is there")),
                ImportAction::Unchanged => {}
                _ => drop(table.insert(title, text)),
            }
        }
        Ok(report)
    }
}

impl fmt::Display for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("notes")
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    source::exporter(|_case| Ok(Arc::new(Notes::new([("milk", "two bottles")])))).await.assert();
    println!("the exporter keeps its contract");
    let exported = |text: &str| {
        let notes: Vec<String> = (0..200).map(|i| format!("\"note {i}\": \"{text}\"")).collect();
        let items = Items::new("notes", "notes");
        items.add("table", "json", format!("{{{}}}", notes.join(",")));
        items
    };
    let setup = |_case: &'static str| {
        let (items, other) = (exported("one state"), exported("another state"));
        Ok(source::ImporterSetup { importer: Arc::new(Notes::new([])), items, other })
    };
    source::importer(setup).await.assert();
    println!("the importer keeps its contract");
    let vault = Vault::create(MemoryStore::new()).keyring(&Keyring::generate()?).build().await?;
    let live = Notes::new([("milk", "two bottles"), ("rent", "paid")]);
    let backstay = Backstay::builder("example", vault)
        .export("notes", live.clone())
        .tier(Tier::new("daily").keep(Keep::daily(7)))
        .build()?;
    let point = backstay.backup("daily").await?;
    let lost = Notes::new([]);
    backstay.restore(&point.id).into(lost.clone()).plan().await?.apply().await?;
    assert_eq!(lost.table(), live.table());
    println!("the notes are back");
    Ok(())
}
