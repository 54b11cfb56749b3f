//! libpq's environment variables.

use backstay_core::Result;

use super::{PgConnect, service};

/// The variables that are understood, and what libpq calls each in a connection string.
const NAMES: [(&str, &str); 9] = [
    ("PGHOST", "host"),
    ("PGPORT", "port"),
    ("PGUSER", "user"),
    ("PGDATABASE", "dbname"),
    ("PGPASSFILE", "passfile"),
    ("PGPASSWORD", "password"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGAPPNAME", "application_name"),
];

/// Looks variables up.
pub(super) type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The service's settings first, then what the variables say of themselves.
pub(super) fn from(variable: &Lookup<'_>) -> Result<PgConnect> {
    let mut server = match variable("PGSERVICE") {
        Some(name) => service::read(&name, variable)?,
        None => PgConnect::new("localhost"),
    };
    for (variable_name, name) in NAMES.into_iter().chain([("PGCONNECT_TIMEOUT", "connect_timeout")]) {
        if let Some(value) = variable(variable_name).filter(|value| !value.is_empty()) {
            server.set(name, &value).map_err(|error| error.with("variable", variable_name))?;
        }
    }
    Ok(server)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::{Password, Tls};

    #[test]
    fn variables_are_read_as_libpq_names_them() {
        let variable = |name: &str| {
            let value = match name {
                "PGHOST" => "db.example",
                "PGPORT" => "5433",
                "PGUSER" => "backup",
                "PGPASSWORD" => "hunter2",
                "PGSSLMODE" => "disable",
                "PGCONNECT_TIMEOUT" => "3",
                "PGDATABASE" => "",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let server = from(&variable).unwrap();
        assert_eq!(server.to_string(), "backup@db.example:5433/postgres");
        assert!(matches!((&server.tls, &server.password), (Tls::DangerPlain, Password::Known(_))));
        assert_eq!(server.connect_timeout.as_secs(), 3);
        let error = from(&|name| (name == "PGPORT").then(|| "many".to_owned())).unwrap_err();
        assert_eq!(error.context("variable"), Some("PGPORT"));
    }
}
