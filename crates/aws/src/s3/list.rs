//! Listings: page by page, in the byte order of the keys.

use std::collections::VecDeque;

use backstay_core::store::{BoxStream, ListEntry, ListOptions, Prefix};
use backstay_core::{ErrorKind, Result};
use futures_util::stream;

use super::page::{Line, Next, Page};
use super::store::S3Store;
use crate::error::Call;

pub(super) const LIST: Call = Call { name: "list", api: "ListObjectsV2", right: "s3:ListBucket" };
pub(super) const LIST_VERSIONS: Call = Call { name: "list", api: "ListObjectVersions", right: "s3:ListBucketVersions" };

/// Where a listing is.
struct Listing {
    store: S3Store,
    prefix: String,
    options: ListOptions,
    next: Option<Next>,
    lines: VecDeque<Line>,
    last: Option<String>,
    /// Whether a name that is no key was met before.
    odd: bool,
}

impl S3Store {
    pub(super) fn list_objects(&self, prefix: &Prefix, options: &ListOptions) -> BoxStream<'static, Result<ListEntry>> {
        let (prefix, mut options) = (prefix.as_str().to_owned(), options.clone());
        // Servers differ in what they make of a bound that lies outside of the prefix.
        let after = options.start_after.take();
        let beyond = after.as_deref().is_some_and(|after| after > prefix.as_str() && !after.starts_with(&prefix));
        options.start_after = after.filter(|after| after.starts_with(&prefix));
        let next = (!beyond).then_some(Next::First);
        let listing =
            Listing { store: self.clone(), prefix, options, next, lines: VecDeque::new(), last: None, odd: false };
        Box::pin(stream::try_unfold(listing, |mut listing| async move {
            Ok(listing.next_entry().await?.map(|entry| (entry, listing)))
        }))
    }
}

impl Listing {
    async fn next_entry(&mut self) -> Result<Option<ListEntry>> {
        loop {
            while let Some(line) = self.lines.pop_front() {
                if let Some(entry) = self.entry(line)? {
                    return Ok(Some(entry));
                }
            }
            let Some(next) = self.next.take() else { return Ok(None) };
            if let (Next::First, Some(folder)) = (&next, self.folder_of_bound()) {
                self.enter(folder).await?;
                continue;
            }
            let Page { lines, next } = self.page(next).await?;
            (self.lines, self.next) = (lines.into(), next);
        }
    }

    async fn page(&self, next: Next) -> Result<Page> {
        if self.options.versions {
            return self.store.page_of_versions(&self.prefix, &self.options, next).await;
        }
        self.store.page_of_keys(&self.prefix, &self.options, next).await
    }

    /// The folder that the bound lies in, where folders are folded: servers differ in whether they list it.
    fn folder_of_bound(&self) -> Option<String> {
        let bound = self.options.start_after.as_deref().filter(|_| self.options.folders)?;
        let end = self.prefix.len() + bound.get(self.prefix.len()..)?.find('/')? + 1;
        Some(bound[..end].to_owned())
    }

    /// Begins with the folder, if a key of it lies after the bound, and goes on behind it.
    async fn enter(&mut self, folder: String) -> Result<()> {
        let mut inside = ListOptions::default();
        (inside.start_after, inside.versions) = (self.options.start_after.clone(), self.options.versions);
        let page = match inside.versions {
            true => self.store.page_of_versions(&folder, &inside, Next::First).await?,
            false => self.store.page_of_keys(&folder, &inside, Next::First).await?,
        };
        if page.lines.iter().any(|line| Some(line.name()) > inside.start_after.as_deref()) {
            self.lines.push_back(Line::Folder(folder.clone()));
        }
        // The greatest character comes after every key of the folder; the folder itself is behind us then.
        self.options.start_after = Some(format!("{folder}\u{10ffff}"));
        self.next = Some(Next::Behind);
        Ok(())
    }

    /// The line, if it lies after the bound and is a key.
    fn entry(&mut self, line: Line) -> Result<Option<ListEntry>> {
        let name = line.name();
        let is_entered = matches!(line, Line::Folder(_)) && self.last.is_none();
        if !is_entered && self.options.start_after.as_deref().is_some_and(|after| name <= after) {
            return Ok(None);
        }
        let again = self.options.versions;
        if self.last.as_deref().is_some_and(|last| if again { name < last } else { name <= last }) {
            let message = format!("the server lists {name:?} after {:?}", self.last.as_deref().unwrap_or_default());
            let error = self.store.fault(LIST, ErrorKind::Unsupported, message, "");
            return Err(error.advise("a vault needs listings in the byte order of the keys: use another server"));
        }
        self.last = Some(name.to_owned());
        let entry = line.entry();
        if entry.is_none() && !std::mem::replace(&mut self.odd, true) {
            tracing::debug!(
                bucket = self.store.0.bucket,
                name = self.last,
                "names that are no keys are left out of a listing"
            );
        }
        Ok(entry)
    }
}
