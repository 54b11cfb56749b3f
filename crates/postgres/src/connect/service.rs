//! Service files: named sections of connection parameters.

use std::path::PathBuf;

use backstay_core::{Error, ErrorKind, Result};

use super::PgConnect;
use super::env::Lookup;

pub(super) fn read(name: &str, variable: &Lookup<'_>) -> Result<PgConnect> {
    let path = match variable("PGSERVICEFILE") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(variable("HOME").unwrap_or_default()).join(".pg_service.conf"),
    };
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Error::new(ErrorKind::NotFound, "the service file cannot be read").with("file", path.display()).because(error)
    })?;
    section(&text, name).map_err(|error| error.with("file", path.display()).with("service", name))
}

fn section(text: &str, name: &str) -> Result<PgConnect> {
    let mut found = None;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        match (line.strip_prefix('[').and_then(|line| line.strip_suffix(']')), &mut found) {
            (Some(section), None) => found = (section == name).then(|| PgConnect::new("localhost")),
            (Some(_), Some(_)) => break,
            (None, Some(server)) => {
                let (name, value) = line.split_once('=').unwrap_or((line, ""));
                if !server.set(name.trim(), value.trim())? {
                    return Err(Error::new(ErrorKind::Invalid, "the service has a parameter that is not understood")
                        .with("parameter", name.trim()));
                }
            }
            (None, None) => {}
        }
    }
    found.ok_or_else(|| Error::new(ErrorKind::NotFound, "the service file has no such service"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "# ours\n[other]\nhost=no\n\n[orders]\nhost=db.example\nport = 5433\nuser=backup\n[last]\nhost=no\n";

    #[test]
    fn the_named_section_counts_and_nothing_else() {
        assert_eq!(section(FILE, "orders").unwrap().to_string(), "backup@db.example:5433/postgres");
        assert_eq!(section(FILE, "absent").unwrap_err().kind(), ErrorKind::NotFound);
        let error = section("[a]\ncolour=red\n", "a").unwrap_err();
        assert_eq!(error.context("parameter"), Some("colour"));
    }
}
