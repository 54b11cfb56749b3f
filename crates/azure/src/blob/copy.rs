//! Copies on the service's side: it reads the source by itself.

use std::fmt;
use std::sync::Arc;

use azure_core::credentials::TokenRequestOptions;
use azure_core::http::{RequestContent, Url};
use azure_storage_blob::models::{
    BlobClientGetPropertiesOptions, BlockBlobClientCommitBlockListOptions, BlockBlobClientStageBlockFromUrlOptions,
    BlockBlobClientUploadBlobFromUrlOptions, BlockLookupList, HttpRange,
};
use azure_storage_blob::{BlobClient, BlobClientOptions};
use backstay_core::store::{Key, Location, ObjectMeta, Operation, PutOptions};
use backstay_core::{ErrorKind, Result, Secret};

use super::{API_VERSION, BlobStore, meta, told};
use crate::connect::is_loopback;
use crate::error::code;
use crate::wire::Wire;

const SCHEME: &str = "azblob";
/// One call copies so much: the service's limit is 5,000 MiB, and it must be done before the connection is given up.
const ONE_CALL: u64 = 256 << 20;
/// Blocks of larger ones.
const BLOCK: u64 = 256 << 20;

/// A container that may be read by a SAS.
#[derive(Clone)]
pub(super) struct Source {
    place: String,
    sas: Secret<String>,
}

impl Source {
    /// None if the URL is none.
    pub(super) fn new(url: &str, sas: &Secret<String>) -> Option<Self> {
        let url = Url::parse(url).ok().filter(|url| url.query().is_none())?;
        if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
            return None;
        }
        let sas = sas.expose().trim().trim_start_matches('?').to_owned();
        Some(Self { place: url.as_str().trim_end_matches('/').to_owned(), sas: Secret::new(sas) })
    }
}

/// Where the service reads, and by whose leave. It holds secrets, so it shows nothing.
struct Reader {
    url: String,
    authorization: Option<String>,
    etag: String,
    size: u64,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("place", &self.place).finish_non_exhaustive()
    }
}

impl BlobStore {
    pub(super) fn location(&self, key: &Key) -> Location {
        Location::new(SCHEME, self.0.container.url().as_str().trim_end_matches('/'), key.as_str())
    }

    pub(super) async fn copy_blob(
        &self,
        from: &Location,
        to: &Key,
        options: &PutOptions,
    ) -> Result<Option<ObjectMeta>> {
        let operation = Operation::CopyIn;
        // The service proves MD5 and CRC64 of what it copies, never a SHA-256, so who wants that streams.
        if from.scheme != SCHEME || options.sha256.is_some() {
            return Ok(None);
        }
        let terms = self.terms(operation, to, options)?;
        // A copy takes no lock with it. It would be without one until another call sets it.
        if options.lock.is_some() {
            return Ok(None);
        }
        let Some(reader) = self.reader(from, to).await? else { return Ok(None) };
        if reader.size > ONE_CALL {
            return self.copy_blocks(&reader, to, options).await;
        }
        let all = BlockBlobClientUploadBlobFromUrlOptions {
            if_none_match: terms.create.then(|| "*".into()),
            source_if_match: Some(reader.etag.clone().into()),
            copy_source_authorization: reader.authorization.clone(),
            tier: terms.tier,
            blob_tags_string: terms.tags,
            ..Default::default()
        };
        let blob = self.blob(to).block_blob_client();
        match blob.upload_blob_from_url(reader.url.clone(), Some(all)).await {
            Ok(answer) => {
                let meta = meta::of_headers(to, reader.size, answer.headers());
                meta.map(Some).map_err(|error| self.placed(operation, error))
            }
            Err(error) if cannot(&error) => Ok(None),
            Err(error) => Err(self.refused(operation, to, options.mode, &error)),
        }
    }

    async fn copy_blocks(&self, reader: &Reader, to: &Key, options: &PutOptions) -> Result<Option<ObjectMeta>> {
        let operation = Operation::CopyIn;
        let terms = self.terms(operation, to, options)?;
        let mut attempt = [0; 16];
        self.0.random.fill(&mut attempt);
        let blob = self.blob(to).block_blob_client();
        let mut blocks = Vec::new();
        while (blocks.len() as u64) * BLOCK < reader.size {
            let at = blocks.len() as u64 * BLOCK;
            let id = [&attempt[..], &(blocks.len() as u32).to_be_bytes()].concat();
            let one = BlockBlobClientStageBlockFromUrlOptions {
                source_range: Some(HttpRange::new(at, BLOCK.min(reader.size - at))),
                source_if_match: Some(reader.etag.clone().into()),
                copy_source_authorization: reader.authorization.clone(),
                ..Default::default()
            };
            match blob.stage_block_from_url(&id, 0, reader.url.clone(), Some(one)).await {
                Ok(_) => blocks.push(id),
                Err(error) if cannot(&error) => return Ok(None),
                Err(error) => return Err(self.failed(operation, to, &error)),
            }
        }
        let list = BlockLookupList { uncommitted: Some(blocks), ..Default::default() };
        let list = RequestContent::try_from(list).map_err(|error| self.placed(operation, told(&error)))?;
        let commit = BlockBlobClientCommitBlockListOptions {
            if_none_match: terms.create.then(|| "*".into()),
            tier: terms.tier,
            blob_tags_string: terms.tags,
            ..Default::default()
        };
        let answer = blob.commit_block_list(list, Some(commit)).await;
        let answer = answer.map_err(|error| self.refused(operation, to, options.mode, &error))?;
        let meta = meta::of_headers(to, reader.size, answer.headers());
        meta.map(Some).map_err(|error| self.placed(operation, error))
    }

    /// How the service may read the source; none if we know of no way.
    async fn reader(&self, from: &Location, to: &Key) -> Result<Option<Reader>> {
        let Ok(mut url) = Url::parse(&from.place) else { return Ok(None) };
        match url.path_segments_mut() {
            Ok(mut path) => path.pop_if_empty().push(&from.key),
            Err(()) => return Ok(None),
        };
        let known = self.0.sources.iter().find(|source| source.place == from.place);
        let mut options = self.0.client_options.clone();
        // A key of ours is none at the source.
        options.per_try_policies.clear();
        let wire = Wire::new(Arc::clone(&self.0.client), known.map(|source| source.sas.clone()));
        options.transport = Some(azure_core::http::Transport::new(Arc::new(wire)));
        let token = if known.is_some() { None } else { self.0.token.clone() };
        if known.is_none() && token.is_none() {
            return Ok(None);
        }
        let options = BlobClientOptions { client_options: options, version: API_VERSION.to_owned() };
        let Ok(source) = BlobClient::new(url.clone(), token.clone(), Some(options)) else { return Ok(None) };
        let there = match source.get_properties(Some(BlobClientGetPropertiesOptions::default())).await {
            Ok(there) => there,
            // Who streams may have other rights.
            Err(error) if matches!(told(&error).kind(), ErrorKind::Denied | ErrorKind::Unavailable) => return Ok(None),
            Err(error) => {
                let told = self.placed(Operation::CopyIn, told(&error)).with("key", to);
                return Err(told.with("from", format!("{}/{}", from.place, from.key)));
            }
        };
        let headers = there.headers();
        let (Some(etag), Some(size)) = (
            meta::header(headers, "etag").map(meta::quoted),
            meta::header(headers, "content-length").and_then(|size| size.parse().ok()),
        ) else {
            return Ok(None);
        };
        let authorization = match token {
            None => None,
            Some(token) => {
                let given =
                    token.get_token(&["https://storage.azure.com/.default"], None::<TokenRequestOptions<'_>>).await;
                let given = given.map_err(|error| self.placed(Operation::CopyIn, told(&error)))?;
                Some(format!("Bearer {}", given.token.secret()))
            }
        };
        url.set_query(known.map(|source| source.sas.expose().as_str()));
        Ok(Some(Reader { url: url.into(), authorization, etag, size }))
    }
}

/// Whether the service cannot do it, so that somebody has to stream.
fn cannot(error: &azure_core::Error) -> bool {
    let told = told(error).kind();
    told == ErrorKind::Unsupported || (told == ErrorKind::Denied && code(error) == Some("CannotVerifyCopySource"))
}
