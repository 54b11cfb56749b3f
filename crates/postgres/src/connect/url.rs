//! Connection strings: URLs and libpq's `name=value` lists.

use std::str::FromStr;

use backstay_core::{Error, ErrorKind, Result};
use percent_encoding::percent_decode_str;

use super::PgConnect;

/// Parameters that libpq knows and we do not.
const NOT_UNDERSTOOD: [&str; 27] = [
    "channel_binding",
    "client_encoding",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "options",
    "replication",
    "require_auth",
    "requirepeer",
    "service",
    "sslcert",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslkey",
    "sslnegotiation",
    "sslpassword",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
];

/// Reads `postgres://user:password@host:port/database?name=value` or `host=... user=...`, by libpq's names. An error never
/// repeats the string: a password may be in it.
impl FromStr for PgConnect {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let url = ["postgres://", "postgresql://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        match url {
            Some(rest) => from_url(rest),
            None => from_pairs(text),
        }
    }
}

fn from_url(rest: &str) -> Result<PgConnect> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    // A `/` or `?` ended the password too early, and what stands for host, port or database is a piece of it.
    if database.contains('@') || (query.contains('@') && !authority.contains('@')) {
        return Err(invalid("the URL has an @ where none can be")
            .advise("write @ : / ? # and % in a user, a password or a database as %40 %3A %2F %3F %23 and %25"));
    }
    let (login, place) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
    let (host, port) = split_port(place)?;
    let mut server = PgConnect::new("localhost");
    let parts = [("host", host), ("port", port), ("user", user), ("dbname", database)];
    for (name, value) in parts.into_iter().filter(|(_, value)| !value.is_empty()) {
        server.set(name, &decoded(value)?)?;
    }
    if let Some(password) = password {
        server.set("password", &decoded(password)?)?;
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| invalid("a parameter of the URL has no value"))?;
        set_known(&mut server, name, &decoded(value)?)?;
    }
    Ok(server)
}

/// An IPv6 address stands in brackets.
fn split_port(place: &str) -> Result<(&str, &str)> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) =
            rest.split_once(']').ok_or_else(|| invalid("the address in the URL has no closing bracket"))?;
        return Ok((host, rest.strip_prefix(':').unwrap_or("")));
    }
    Ok(place.rsplit_once(':').unwrap_or((place, "")))
}

fn decoded(text: &str) -> Result<String> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| invalid("the connection string is not UTF-8"))?;
    Ok(text.into_owned())
}

/// `name = value` or `name='a \'quoted\' value'`, separated by white space.
fn from_pairs(text: &str) -> Result<PgConnect> {
    let mut server = PgConnect::new("localhost");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(invalid("the connection string is empty"));
    }
    while !rest.is_empty() {
        let (name, after) =
            rest.split_once('=').ok_or_else(|| invalid("a word of the connection string has no value"))?;
        let (value, after) = value(after.trim_start())?;
        set_known(&mut server, name.trim(), &value)?;
        rest = after.trim_start();
    }
    Ok(server)
}

fn value(text: &str) -> Result<(String, &str)> {
    let quoted = text.strip_prefix('\'');
    let (mut value, mut chars) = (String::new(), quoted.unwrap_or(text).char_indices());
    let body = quoted.unwrap_or(text);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            '\'' if quoted.is_some() => return Ok((value, &body[at + 1..])),
            c if quoted.is_none() && c.is_whitespace() => return Ok((value, &body[at..])),
            c => value.push(c),
        }
    }
    if quoted.is_some() {
        Err(invalid("a quoted value of the connection string does not end"))
    } else {
        Ok((value, ""))
    }
}

fn set_known(server: &mut PgConnect, name: &str, value: &str) -> Result<()> {
    if server.set(name, value)? {
        return Ok(());
    }
    let error = invalid("the connection string has a parameter that is not understood");
    // Any other name may be a piece of a password.
    Err(match NOT_UNDERSTOOD.iter().find(|known| **known == name) {
        Some(name) => error.with("parameter", name),
        None => error.advise("put a value with white space in single quotes; in a URL write & as %26"),
    })
}

fn invalid(what: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::{Password, Tls};

    fn parsed(text: &str) -> PgConnect {
        text.parse().unwrap()
    }

    fn password(server: &PgConnect) -> Option<&str> {
        match &server.password {
            Password::Known(secret) => Some(secret.expose()),
            _ => None,
        }
    }

    #[test]
    fn urls_and_pairs_say_the_same() {
        for text in [
            "postgres://backup:p%40ss@db.example:5433/orders?sslmode=verify-full&application_name=nightly",
            "postgresql://backup:p%40ss@db.example:5433/orders?application_name=nightly",
            "host=db.example port=5433 user=backup password=p@ss dbname=orders application_name=nightly",
            r"host = db.example port='5433' user=backup password='p@ss' dbname=orders application_name = nightly",
        ] {
            let server = parsed(text);
            assert_eq!(server.to_string(), "backup@db.example:5433/orders", "{text}");
            assert_eq!(password(&server), Some("p@ss"), "{text}");
            assert_eq!(server.application_name, "nightly");
            assert!(matches!(server.tls, Tls::VerifyFull(_)));
        }
        assert_eq!(parsed("postgres://[::1]:99/").to_string(), "postgres@::1:99/postgres");
        assert_eq!(parsed("postgres://%2Frun%2Fpg/db").host, "/run/pg");
        assert_eq!(password(&parsed(r"host=a password='it\'s \\ here'")), Some(r"it's \ here"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_and_no_password_is_told() {
        for text in [
            "",
            "postgres://u:hunter2@h:port/",
            "postgres://u:hunter2@[::1/",
            "postgres://u:hunter2@h/?sslmode=prefer",
            "postgres://u:hunter2@h/?sslcertmode",
            "postgres://u:hunter2@h/?colour=red",
            "host=a password='hunter2",
            "hunter2",
            "host=a,b password=hunter2",
            "postgres://u:hunter2/x@h/db",
            "postgres://u:hunter2?x@h/db",
            "postgres://u:hunter2?x=y@h/db",
            "postgres://u:p@hunter2/x@h/db",
            "postgres://u:hunter2",
            "postgres://u:x@h/?application_name=a&hunter2=b",
            "host=h password=my hunter2=x",
        ] {
            let error = format!("{:?}", text.parse::<PgConnect>().unwrap_err());
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_parameter_that_libpq_knows_is_named() {
        let error = "postgres://h/?sslcert=me.crt".parse::<PgConnect>().unwrap_err();
        assert_eq!(error.context("parameter"), Some("sslcert"));
        assert!("postgres://u@h/?host=@abstract".parse::<PgConnect>().is_ok());
    }

    #[test]
    fn secrets_do_not_show() {
        let server = parsed("postgres://u:hunter2@h/");
        assert!(!format!("{server:?}{server}").contains("hunter2"));
    }
}
