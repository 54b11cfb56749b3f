//! Errors of the server and its client programs as ours.

use backstay_core::{Error, ErrorKind};
use tokio_postgres::error::SqlState;

/// What the server, or the way to it, answered.
pub(crate) fn server(error: tokio_postgres::Error) -> Error {
    let Some(said) = error.as_db_error() else {
        let kind = if error.is_closed() || error.to_string().starts_with("error c") {
            ErrorKind::Unavailable
        } else {
            ErrorKind::Other
        };
        let message = if error.is_closed() { "the connection was closed" } else { "the server cannot be talked to" };
        return Error::new(kind, message).because(error);
    };
    let mut told = Error::new(kind_of(said.code()), said.message().to_owned()).with("sqlstate", said.code().code());
    if let Some(detail) = said.detail() {
        told = told.with("detail", detail);
    }
    match advice(said.code()) {
        Some(advice) => told.advise(advice),
        None => told,
    }
}

fn kind_of(code: &SqlState) -> ErrorKind {
    match code {
        code if *code == SqlState::INVALID_CATALOG_NAME || *code == SqlState::UNDEFINED_OBJECT => ErrorKind::NotFound,
        code if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::INVALID_SCHEMA_NAME => ErrorKind::NotFound,
        code if *code == SqlState::DUPLICATE_DATABASE || *code == SqlState::DUPLICATE_OBJECT => {
            ErrorKind::AlreadyExists
        }
        code if *code == SqlState::INSUFFICIENT_PRIVILEGE => ErrorKind::Denied,
        code if *code == SqlState::TOO_MANY_CONNECTIONS || *code == SqlState::DISK_FULL => ErrorKind::Exhausted,
        code if *code == SqlState::OBJECT_IN_USE || *code == SqlState::LOCK_NOT_AVAILABLE => ErrorKind::Busy,
        code if *code == SqlState::QUERY_CANCELED => ErrorKind::Timeout,
        code if *code == SqlState::FEATURE_NOT_SUPPORTED => ErrorKind::Unsupported,
        // Classes: connection, authorization, data of the caller, resources, operator's intervention.
        code => match &code.code()[..2] {
            "08" | "57" => ErrorKind::Unavailable,
            "28" => ErrorKind::Denied,
            "22" | "42" => ErrorKind::Invalid,
            "53" => ErrorKind::Exhausted,
            "40" => ErrorKind::Conflict,
            _ => ErrorKind::Other,
        },
    }
}

fn advice(code: &SqlState) -> Option<&'static str> {
    match code {
        code if *code == SqlState::INVALID_PASSWORD => Some("check the password and the source that it comes from"),
        code if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            Some("check the user and the server's pg_hba.conf")
        }
        code if *code == SqlState::INVALID_CATALOG_NAME => Some("look at the server's databases: psql --list"),
        code if *code == SqlState::DISK_FULL => Some("free space at the server"),
        code if *code == SqlState::TOO_MANY_CONNECTIONS => Some("end connections, or raise max_connections"),
        _ => None,
    }
}
