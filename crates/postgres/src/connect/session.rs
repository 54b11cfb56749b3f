//! A connection of our own, for SQL.

use std::ops::Deref;
use std::time::Duration;

use backstay_core::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::PgConnect;
use crate::error;

/// After how much silence the other side is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A session at a server. Dropped, it ends.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    connection: JoinHandle<Option<tokio_postgres::Error>>,
}

impl PgConnect {
    /// Opens a session.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable) or [`Timeout`](ErrorKind::Timeout) if nobody answers,
    /// [`Denied`](ErrorKind::Denied) for a wrong password, [`NotFound`](ErrorKind::NotFound) for a database.
    pub(crate) async fn session(&self) -> Result<Session> {
        let opened = async {
            let mut config = Config::new();
            config
                .port(self.port)
                .user(&self.user)
                .dbname(&self.database)
                .connect_timeout(self.connect_timeout)
                // A session that holds a snapshot says nothing for hours, and firewalls forget the silent.
                .keepalives_idle(KEEPALIVE)
                .application_name(&self.application_name);
            if self.is_socket() {
                config.host_path(&self.host)
            } else {
                config.host(&self.host)
            };
            if let Some(password) = self.password_now().await? {
                config.password(password.expose());
            }
            match self.tls.config()?.filter(|_| !self.is_socket()) {
                Some(tls) => connect(config.ssl_mode(SslMode::Require), MakeRustlsConnect::new(tls)).await,
                None => connect(config.ssl_mode(SslMode::Disable), NoTls).await,
            }
        };
        // A server that accepts and stays silent would be waited for without end.
        let opened = tokio::time::timeout(self.connect_timeout, opened).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout, "the server does not answer").advise("check host, port and firewall"))
        });
        opened.map_err(|error| error.operation("connect").with("server", self))
    }
}

async fn connect<T>(config: &Config, tls: T) -> Result<Session>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (client, connection) = config.connect(tls).await.map_err(error::server)?;
    Ok(Session { client, connection: tokio::spawn(async move { connection.await.err() }) })
}

impl Session {
    /// The rows of a query, each read by the names of its columns.
    ///
    /// # Errors
    /// What the server answers; [`Other`](ErrorKind::Other) if a row is of another shape.
    pub(crate) async fn rows<T: DeserializeOwned>(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<T>> {
        let sql = format!("SELECT pg_catalog.to_jsonb(q)::text FROM ({sql}) AS q");
        let rows = self.client.query(&sql, values).await.map_err(error::server)?;
        let read = |row: &Row| {
            let text: String = row.try_get(0).map_err(error::server)?;
            serde_json::from_str(&text)
                .map_err(|error| Error::new(ErrorKind::Other, "the server's answer is not understood").because(error))
        };
        rows.iter().map(read).collect()
    }

    /// The one row of a query.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub(crate) async fn row<T: DeserializeOwned>(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<T> {
        let row = self.rows(sql, values).await?.pop();
        row.ok_or_else(|| Error::new(ErrorKind::NotFound, "the server has no such row"))
    }

    /// Waits until it has ended, which nobody asked for. Cancel safe, but not to be called again once it returned.
    pub(crate) async fn lost(&mut self) -> Error {
        match (&mut self.connection).await {
            Ok(Some(error)) => error::server(error),
            _ => Error::new(ErrorKind::Unavailable, "the server closed the connection"),
        }
    }
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
