//! Listings: page by page, in the order of bytes.

use std::sync::atomic::Ordering;

use azure_core::http::pager::PagerOptions;
use azure_core::http::{PageIterator, Response, XmlFormat};
use azure_storage_blob::models::{BlobContainerClientListBlobsOptions, ListBlobsIncludeItem, ListBlobsResponse};
use backstay_core::store::{BoxStream, ListEntry, ListOptions, ObjectMeta, Operation, Prefix};
use backstay_core::{Error, ErrorKind, Result};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use super::page::{self, Line};
use super::{BlobStore, told};
use crate::error::is_status;
use crate::extra::Extra;

/// The first version of the API in which a listing can begin at a name. Older services read from the start.
const STARTS_VERSION: &str = "2026-02-06";

type Pages = PageIterator<Response<ListBlobsResponse, XmlFormat>>;

/// A listing that has not begun.
pub(super) struct Listing {
    store: BlobStore,
    prefix: Prefix,
    options: ListOptions,
    include: Vec<ListBlobsIncludeItem>,
    operation: Operation,
}

/// A listing on its way.
struct Walk {
    listing: Listing,
    pages: Option<Pages>,
    /// The listing began at a name, so that an old service may refuse it.
    begun_within: bool,
    /// The name before.
    last: Option<String>,
    /// Versions of one key, until the next key shows that there are no more.
    versions: Vec<ObjectMeta>,
    done: bool,
}

impl BlobStore {
    pub(super) fn list_blobs(&self, prefix: &Prefix, options: &ListOptions) -> BoxStream<'static, Result<ListEntry>> {
        if options.versions && !self.0.versions {
            let error = Error::new(ErrorKind::Unsupported, "the store was not told that its account keeps versions");
            let error = self.placed(Operation::List, error).with("prefix", prefix);
            let error = error.advise("enable versioning on the account, and say versions(true) to the builder");
            return stream::iter([Err(error)]).boxed();
        }
        Listing::new(self, prefix, options, Operation::List).entries()
    }
}

impl Listing {
    pub(super) fn new(store: &BlobStore, prefix: &Prefix, options: &ListOptions, operation: Operation) -> Self {
        let (store, prefix, options) = (store.clone(), prefix.clone(), options.clone());
        let mut include = Vec::new();
        if options.versions {
            include.push(ListBlobsIncludeItem::Versions);
        }
        if store.0.locks {
            include.extend([ListBlobsIncludeItem::ImmutabilityPolicy, ListBlobsIncludeItem::LegalHold]);
        }
        Self { store, prefix, options, include, operation }
    }

    /// The same, with what the service does not list by itself.
    pub(super) fn including(mut self, what: ListBlobsIncludeItem) -> Self {
        self.include.push(what);
        self
    }

    pub(super) fn entries(self) -> BoxStream<'static, Result<ListEntry>> {
        let listing = self.again();
        let entries = self.lines().map(move |line| match line? {
            Line::Entry(entry) => Ok(entry),
            Line::Blocks(key) => {
                let error = Error::new(ErrorKind::Other, "the service did not tell when the blob was put");
                Err(listing.placed(error).with("key", key))
            }
        });
        entries.boxed()
    }

    pub(super) fn lines(self) -> BoxStream<'static, Result<Line>> {
        let walk = Walk {
            done: self.is_empty(),
            listing: self,
            pages: None,
            begun_within: false,
            last: None,
            versions: Vec::new(),
        };
        let batches = stream::try_unfold(walk, |mut walk| async move {
            let batch = walk.next().await.map_err(|error| walk.listing.placed(error))?;
            Ok::<_, Error>(batch.map(|batch| (stream::iter(batch.into_iter().map(Ok)), walk)))
        });
        batches.try_flatten().boxed()
    }

    /// Whether every key with the prefix comes before the place to start after.
    fn is_empty(&self) -> bool {
        let (prefix, after) = (self.prefix.as_str(), self.options.start_after.as_deref().unwrap_or_default());
        after > prefix && !after.starts_with(prefix)
    }

    /// Where the service may begin; none for the start. A folder is begun whole.
    fn from(&self) -> Option<String> {
        let after = self.options.start_after.as_deref().filter(|after| *after > self.prefix.as_str())?;
        let folder = self.options.folders.then(|| after[self.prefix.as_str().len()..].find('/')).flatten();
        Some(folder.map_or(after, |end| &after[..self.prefix.as_str().len() + end + 1]).to_owned())
    }

    fn pages(&self, from: Option<String>) -> Result<Pages> {
        let mut options = BlobContainerClientListBlobsOptions {
            prefix: Some(self.prefix.as_str().to_owned()).filter(|prefix| !prefix.is_empty()),
            include: Some(self.include.clone()).filter(|include| !include.is_empty()),
            ..Default::default()
        };
        let mut extra = Extra::default();
        if self.options.folders {
            // The service folds, the SDK does not ask it to.
            extra = extra.query("delimiter", "/");
        }
        if from.is_some() {
            extra = extra.header("x-ms-version", STARTS_VERSION);
        }
        options.start_from = from;
        options.method_options = PagerOptions { context: extra.context(), ..PagerOptions::default() };
        let pager = self.store.0.container.list_blobs(Some(options));
        pager.map(azure_core::http::Pager::into_pages).map_err(|error| told(&error))
    }

    fn placed(&self, error: Error) -> Error {
        self.store.placed(self.operation, error).with("prefix", &self.prefix)
    }

    /// Whether a line comes after the place to start after.
    fn wants(&self, line: &Line) -> BoxFuture<'static, Result<bool>> {
        let Some(after) = self.options.start_after.clone() else { return std::future::ready(Ok(true)).boxed() };
        match line {
            // It begins before, and may go on after it.
            Line::Entry(ListEntry::Folder(folder))
                if after.starts_with(folder.as_str()) && after != folder.as_str() =>
            {
                let mut inside = Self { prefix: folder.clone(), ..self.again() };
                inside.options.folders = false;
                let mut rest = inside.entries();
                async move { Ok(rest.next().await.transpose()?.is_some()) }.boxed()
            }
            Line::Entry(ListEntry::Folder(folder)) => std::future::ready(Ok(folder.as_str() >= after.as_str())).boxed(),
            line => std::future::ready(Ok(line.name() > after.as_str())).boxed(),
        }
    }

    fn again(&self) -> Self {
        let Self { store, prefix, options, include, operation } = self;
        Self {
            store: store.clone(),
            prefix: prefix.clone(),
            options: options.clone(),
            include: include.clone(),
            operation: *operation,
        }
    }
}

impl Walk {
    /// The lines of the next page; none at the end.
    async fn next(&mut self) -> Result<Option<Vec<Line>>> {
        if self.done {
            return Ok(None);
        }
        let Some(body) = self.page().await? else {
            self.done = true;
            let mut last = Vec::new();
            self.flush(&mut last);
            return Ok(Some(last));
        };
        let mut lines = Vec::new();
        for line in page::read(&body)? {
            self.in_order(&line)?;
            if !self.listing.wants(&line).await? {
                continue;
            }
            match line {
                Line::Entry(ListEntry::Object(meta)) if self.listing.options.versions => {
                    if self.versions.first().is_some_and(|before| before.key != meta.key) {
                        self.flush(&mut lines);
                    }
                    self.versions.push(meta);
                }
                line => {
                    self.flush(&mut lines);
                    lines.push(line);
                }
            }
        }
        Ok(Some(lines))
    }

    async fn page(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            let pages = match &mut self.pages {
                Some(pages) => pages,
                None => {
                    let within = !self.listing.store.0.lists_from_start.load(Ordering::Relaxed);
                    let from = self.listing.from().filter(|_| within);
                    self.begun_within = from.is_some();
                    self.pages.insert(self.listing.pages(from)?)
                }
            };
            match pages.next().await {
                None => return Ok(None),
                Some(Ok(page)) => return Ok(Some(page.into_body().as_ref().to_vec())),
                // A service that does not know of it is read from the start, now and from now on.
                Some(Err(error)) if self.begun_within && self.last.is_none() && is_status(&error, 400) => {
                    self.listing.store.0.lists_from_start.store(true, Ordering::Relaxed);
                    self.pages = None;
                }
                Some(Err(error)) => return Err(told(&error)),
            }
        }
    }

    /// Refuses a listing that jumps back: what is decided on it would be wrong.
    fn in_order(&mut self, line: &Line) -> Result<()> {
        let name = line.name();
        let repeats = self.listing.options.versions && self.last.as_deref() == Some(name);
        if self.last.as_deref().is_some_and(|last| last >= name) && !repeats {
            return Err(Error::new(ErrorKind::Unsupported, "the account does not list in the order of bytes")
                .with("after", self.last.as_deref().unwrap_or_default())
                .with("came", name)
                .advise("use an account without a hierarchical namespace"));
        }
        self.last = Some(name.to_owned());
        Ok(())
    }

    /// Hands the versions of a key on, the newest first. Their ids are times.
    fn flush(&mut self, lines: &mut Vec<Line>) {
        let mut versions = std::mem::take(&mut self.versions);
        versions.sort_by(|a, b| b.version.cmp(&a.version));
        lines.extend(versions.into_iter().map(ListEntry::Object).map(Line::Entry));
    }
}
