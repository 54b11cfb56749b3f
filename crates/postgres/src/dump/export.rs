//! The exporter: the server's globals, then its databases.

use async_trait::async_trait;
use backstay_core::source::{ExportReport, ExportRequest, ExporterInfo, Facts, ItemSink, ItemSpec, ResourceExporter};
use backstay_core::{Error, ErrorKind, Result};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::arguments::check;
use super::attempt::Outcome;
use super::databases::{Chosen, choose};
use super::server::Server;
use super::{PgDump, PgDumpOptions};
use crate::client::find;
use crate::connect::Session;
use crate::facts::{GLOBALS, GLOBALS_ITEM, SCRIPT, SCRIPT_ITEM};
use crate::globals::Globals;

#[async_trait]
impl ResourceExporter for PgDump {
    fn info(&self) -> &ExporterInfo {
        &self.info
    }

    async fn export(&self, _: &ExportRequest, out: &dyn ItemSink) -> Result<ExportReport> {
        check(&self.options)?;
        let session = self.server.session().await?;
        let server = Server::ask(&session).await?;
        let program = find("pg_dump", server.major(), self.options.programs_in.as_deref()).await?;
        let chosen = choose(&server.databases(&session).await?, &self.options);
        if chosen.names.is_empty() {
            return Err(nothing_chosen(&chosen));
        }
        let mut report = ExportReport::default();
        report.identity = server.identity(&session).await?;
        if report.identity.is_none() {
            report.notes.push("who the server is was not readable: grant EXECUTE on pg_control_system()".to_owned());
        }
        report.notes.extend(option_notes(&self.options));
        if self.options.globals {
            report.notes.extend(self.globals_into(&session, &server, out).await?);
        }
        drop(session);
        let dumps = stream::iter(chosen.names.clone()).map(|name| self.dump(name, &program, out));
        let outcomes: Vec<Outcome> = dumps.buffered(self.options.jobs).try_collect().await?;
        report.problems = chosen.problems;
        report.notes.extend(chosen.notes);
        report.facts = Facts::new()
            .with("server_version", &server.version_text)
            .with("standby", server.standby)
            .with("databases", &chosen.names)
            .with("pg_dump", program.version.to_string());
        summed(report, outcomes)
    }
}

impl PgDump {
    async fn globals_into(&self, session: &Session, server: &Server, out: &dyn ItemSink) -> Result<Option<String>> {
        let passwords = self.options.role_passwords && server.may_read_passwords();
        let globals = Globals::read(session, passwords).await?;
        let json = serde_json::to_vec_pretty(&globals)
            .map_err(|error| Error::new(ErrorKind::Other, "the globals cannot be written as JSON").because(error))?;
        for (name, format, content) in
            [(GLOBALS_ITEM, GLOBALS, json), (SCRIPT_ITEM, SCRIPT, globals.script().into_bytes())]
        {
            let mut item = out.item(ItemSpec::new(name, format).size_hint(content.len() as u64)).await?;
            item.write(content.into()).await?;
            item.finish(Facts::new()).await?;
        }
        Ok(match (self.options.role_passwords, passwords) {
            (false, _) => Some("role passwords were left out, as asked for".to_owned()),
            (true, false) => Some("role passwords were left out: the role may not read pg_authid".to_owned()),
            (true, true) => None,
        })
    }
}

fn nothing_chosen(chosen: &Chosen) -> Error {
    match chosen.problems.first() {
        Some(problem) => Error::new(ErrorKind::NotFound, problem.why.clone()).with("database", &problem.what),
        None => Error::new(ErrorKind::Refused, "there is no database to dump"),
    }
    .advise("look at the server's databases: psql --list")
}

fn option_notes(options: &PgDumpOptions) -> Vec<String> {
    let lists = [
        ("schemas", "only these schemas", &options.schemas),
        ("exclude_schemas", "not these schemas", &options.exclude_schemas),
        ("tables", "only these tables", &options.tables),
        ("exclude_tables", "not these tables", &options.exclude_tables),
        ("exclude_table_data", "no rows of these tables", &options.exclude_table_data),
    ];
    let given = lists.into_iter().filter(|(_, _, patterns)| !patterns.is_empty());
    let mut notes: Vec<String> =
        given.map(|(field, what, patterns)| format!("{what}, by {field}: {}", patterns.join(", "))).collect();
    if !options.large_objects {
        notes.push("large objects were left out, as asked for".to_owned());
    }
    if !options.globals {
        notes.push("roles, tablespaces and settings of the server were left out, as asked for".to_owned());
    }
    notes
}

/// The failures of some databases are known to the sink. Of all of them it is the component's.
fn summed(mut report: ExportReport, outcomes: Vec<Outcome>) -> Result<ExportReport> {
    let (mut dumped, mut failures) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        report.notes.extend(outcome.notes);
        match outcome.result {
            Ok(one) => dumped.push(one),
            Err(error) => failures.push(error),
        }
    }
    if dumped.is_empty() {
        let error = failures.into_iter().next();
        return Err(error.unwrap_or_else(|| Error::new(ErrorKind::Other, "no database was dumped")));
    }
    report.cut_at = dumped.iter().filter_map(|one| one.cut_at).min();
    report.empty = failures.is_empty() && dumped.iter().all(|one| one.empty);
    Ok(report)
}
