//! What `pg_dump` is asked for. Nothing here is a secret, and the database's name is not here either: an argument may be
//! read as a connection string.

use backstay_core::{Error, ErrorKind, Result};

use super::PgDumpOptions;

/// The arguments for a dump of this snapshot.
pub(super) fn arguments(options: &PgDumpOptions, snapshot: &str) -> Vec<String> {
    let mut arguments: Vec<String> = ["--format=custom", "--compress=0", "--no-password", "--strict-names"]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("--snapshot={snapshot}")])
        .collect();
    if let Some(timeout) = options.lock_timeout {
        arguments.push(format!("--lock-wait-timeout={}", timeout.as_millis().max(1)));
    }
    // The long names differ between versions.
    arguments.push(if options.large_objects { "-b" } else { "-B" }.to_owned());
    let filters = [
        ("--schema", &options.schemas),
        ("--exclude-schema", &options.exclude_schemas),
        ("--table", &options.tables),
        ("--exclude-table", &options.exclude_tables),
        ("--exclude-table-data", &options.exclude_table_data),
    ];
    for (name, patterns) in filters {
        arguments.extend(patterns.iter().map(|pattern| format!("{name}={pattern}")));
    }
    arguments
}

/// Whether the options mean something together.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) if not.
pub(super) fn check(options: &PgDumpOptions) -> Result<()> {
    let invalid = |what: &'static str| Err(Error::new(ErrorKind::Invalid, what));
    let by_schema = !options.schemas.is_empty() || !options.exclude_schemas.is_empty();
    if by_schema && !options.tables.is_empty() {
        return invalid("tables and schemas cannot be chosen together: pg_dump would pass over the schemas");
    }
    if options.jobs == 0 {
        return invalid("no database can be dumped by `jobs` 0");
    }
    for pattern in options.schemas.iter().chain(&options.exclude_schemas) {
        super::pattern::schema(pattern)?;
    }
    for pattern in options.tables.iter().chain(&options.exclude_tables).chain(&options.exclude_table_data) {
        super::pattern::table(pattern)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{PgDump, exact_table};
    use super::*;
    use crate::connect::PgConnect;

    #[test]
    fn options_become_arguments() {
        let dump = PgDump::new(PgConnect::new("db"));
        assert_eq!(
            arguments(&dump.options, "0-1"),
            ["--format=custom", "--compress=0", "--no-password", "--strict-names", "--snapshot=0-1", "-b"]
        );
        let dump = dump
            .large_objects(false)
            .lock_timeout(Duration::from_secs(2))
            .exclude_tables(["a.*"])
            .tables([exact_table("s", "-x=\"y"), "b.c".to_owned()])
            .exclude_table_data(["*.log"]);
        let expected = [
            "--lock-wait-timeout=2000",
            "-B",
            r#"--table="s"."-x=""y""#,
            "--table=b.c",
            "--exclude-table=a.*",
            "--exclude-table-data=*.log",
        ];
        assert_eq!(arguments(&dump.options, "0-1")[5..], expected);
    }

    #[test]
    fn options_that_mean_nothing_together_are_refused() {
        let dump = || PgDump::new(PgConnect::new("db"));
        assert!(check(&dump().exclude_schemas(["a"]).exclude_tables(["a.b"]).options).is_ok());
        let table = [
            dump().jobs(0),
            dump().tables(["a.b"]).schemas(["a"]),
            dump().tables(["a.b"]).exclude_schemas(["a"]),
            dump().tables(["b"]),
            dump().exclude_table_data(["b"]),
            dump().schemas(["a.b"]),
        ];
        for dump in table {
            assert_eq!(check(&dump.options).unwrap_err().kind(), ErrorKind::Invalid, "{dump:?}");
        }
    }
}
