//! An archive on its way from the items to `pg_restore`.

use backstay_core::source::{ItemInfo, ItemSource};
use backstay_core::store::ByteStream;
use backstay_core::{Error, ErrorKind, Result};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use tokio::io::{AsyncWriteExt as _, sink};

use super::toc::{Toc, Unread};
use crate::client::{Child, Program, Said, start};
use crate::connect::PgConnect;

/// The largest table of contents: some hundred bytes an object, so hundreds of thousands of objects.
const MAX_HEAD: usize = 256 << 20;

/// An archive whose head has been read.
pub(super) struct Archive {
    pub(super) toc: Toc,
    pub(super) content: Content,
}

/// All of it, on its way.
pub(super) struct Content {
    item: ItemInfo,
    head: Bytes,
    rest: ByteStream,
}

impl Archive {
    /// Opens the item and reads its table of contents.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) for what is no archive or ends in its head, [`Unsupported`](ErrorKind::Unsupported) for
    /// a format that is not known; what reading answers.
    pub(super) async fn open(items: &dyn ItemSource, item: &ItemInfo) -> Result<Self> {
        let opened = async {
            let mut rest = items.open(item).await?;
            let (mut head, mut tried) = (BytesMut::new(), 0);
            loop {
                let chunk = rest.next().await.transpose()?;
                head.extend_from_slice(chunk.as_deref().unwrap_or_default());
                // Parsed again only when it has grown a lot: the work stays in proportion.
                if chunk.is_some() && head.len() < tried * 2 {
                    continue;
                }
                tried = head.len();
                match Toc::parse(&head) {
                    Ok(toc) => {
                        let content = Content { item: item.clone(), head: head.freeze(), rest };
                        return Ok(Self { toc, content });
                    }
                    Err(Unread::Bad(error)) => return Err(error),
                    Err(Unread::Short) if chunk.is_none() => {
                        return Err(Error::new(ErrorKind::Corrupt, "the archive ends in its table of contents"));
                    }
                    Err(Unread::Short) if head.len() > MAX_HEAD => {
                        return Err(Error::new(ErrorKind::Unsupported, "the archive's table of contents is too large")
                            .with("limit", MAX_HEAD));
                    }
                    Err(Unread::Short) => {}
                }
            }
        };
        opened.await.map_err(|error: Error| error.with("item", &item.name))
    }

    /// Has `pg_restore` read the table of contents, and counts its entries.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if it cannot, or sees another one.
    pub(super) async fn list(&mut self, program: &Program) -> Result<()> {
        let mut child = start(program, &["--list".to_owned()], None).await?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let head = self.content.head.clone();
        let feed = async move {
            if let Some(mut stdin) = stdin {
                // It closes the pipe when it has read enough.
                let _ = stdin.write_all(&head).await;
            }
        };
        let mut listed = Vec::new();
        let read = async {
            match stdout {
                Some(mut stdout) => tokio::io::AsyncReadExt::read_to_end(&mut stdout, &mut listed).await,
                None => Ok(0),
            }
        };
        let ((), read) = tokio::join!(feed, read);
        child.end().await.map_err(|error| damaged(error, &self.content.item))?;
        read.map_err(|error| Error::new(ErrorKind::Other, "pg_restore's list cannot be read").because(error))?;
        let told = entries_told(&String::from_utf8_lossy(&listed));
        if told == Some(self.toc.entries.len()) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Corrupt, "pg_restore reads another table of contents than we do")
            .with("item", &self.content.item.name))
    }
}

impl Content {
    /// Has `pg_restore` parse the whole archive to its end, restoring nothing.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) for what cannot be parsed; what reading the item answers.
    pub(super) async fn parse(self, program: &Program) -> Result<()> {
        let item = self.item.clone();
        // What it writes need not come back to us: it is as much as it reads.
        let child = start(program, &["--file=/dev/null".to_owned()], None).await?;
        self.feed(child).await.map(drop).map_err(|error| damaged(error, &item))
    }

    /// Has `pg_restore` restore it into the server's database.
    ///
    /// # Errors
    /// What `pg_restore` said; what reading the item answers.
    pub(super) async fn restore(self, program: &Program, arguments: &[String], server: &PgConnect) -> Result<Said> {
        let child = start(program, arguments, Some(server)).await?;
        self.feed(child).await
    }

    /// As one stream.
    pub(super) fn into_stream(self) -> ByteStream {
        Box::pin(futures_util::stream::iter([Ok(self.head)]).chain(self.rest))
    }

    /// Gives the program all content, then waits for its end. The item is read to its own end even if the program needs less:
    /// only there is it proved.
    async fn feed(self, mut child: Child) -> Result<Said> {
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let mut content = self.into_stream();
        let write = async {
            let Some(mut stdin) = stdin else { return Ok(()) };
            while let Some(chunk) = content.next().await.transpose()? {
                // A program that reads no more has failed, or has all it needs: its end tells which.
                if stdin.write_all(&chunk).await.is_err() {
                    break;
                }
            }
            Ok::<(), Error>(())
        };
        let read = async {
            if let Some(mut stdout) = stdout {
                // A program that cannot be read from has ended, and its status says how.
                let _ = tokio::io::copy(&mut stdout, &mut sink()).await;
            }
            Ok(())
        };
        tokio::try_join!(write, read)?;
        let said = child.end().await?;
        while content.next().await.transpose()?.is_some() {}
        Ok(said)
    }
}

/// A program that ended on its own, with nothing but an archive before it, ended because of the archive.
fn damaged(error: Error, item: &ItemInfo) -> Error {
    let by_itself = error.context("ended with").is_some_and(|status| status.starts_with("exit status"));
    if !by_itself {
        return error.with("item", &item.name);
    }
    Error::new(ErrorKind::Corrupt, "the archive cannot be read to its end")
        .with("item", &item.name)
        .advise("restore another point; a foreign archive has to be made or copied again")
        .because(error)
}

/// The line `;     TOC Entries: 35` of a list.
fn entries_told(list: &str) -> Option<usize> {
    list.lines().find_map(|line| line.trim_start_matches([';', ' ']).strip_prefix("TOC Entries: ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_in_a_list() {
        assert_eq!(entries_told(";\n; Archive created\n;     TOC Entries: 35\n;     Compression: 0\n"), Some(35));
        assert_eq!(entries_told("7; 2615 16422 SCHEMA - TOC Entries: 3 postgres\n"), None);
    }
}
