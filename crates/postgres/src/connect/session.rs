//! A connection of our own, for SQL.

use std::ops::Deref;

use backstay_core::{Error, ErrorKind, Result};
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::PgConnect;
use crate::error;

/// A session at a server. Dropped, it ends.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    connection: JoinHandle<()>,
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
    let connection = tokio::spawn(async move {
        // Whoever asks next is told of it by the client.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended");
        }
    });
    Ok(Session { client, connection })
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
