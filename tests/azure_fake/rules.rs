//! What each call does.

use std::fmt::Write as _;

use backstay::jiff::{Timestamp, fmt::rfc2822};
use backstay::{Clock, SystemClock};

use super::blobs::{Account, Blob, Version};
use super::http::{Answer, Request, decoded};

fn date(time: Timestamp) -> String {
    rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time).expect("of today")
}

fn time(text: &str) -> Timestamp {
    rfc2822::DateTimeParser::new().parse_timestamp(text).expect("a date")
}

impl Account {
    pub(super) fn handle(&mut self, request: &Request) -> Answer {
        if request.query("sig") != Some("good") {
            return Answer::error(403, "AuthenticationFailed");
        }
        let container = !request.path.contains('/');
        match (request.method.as_str(), request.query("comp"), request.query("restype")) {
            ("GET", Some("list"), _) => self.list(request),
            ("GET", Some("properties"), Some("service")) => Answer::new(200).body(format!(
                "<StorageServiceProperties><DeleteRetentionPolicy><Enabled>{}</Enabled><Days>7</Days>\
                 </DeleteRetentionPolicy></StorageServiceProperties>",
                self.soft_delete
            )),
            ("GET", Some("properties"), _) => Answer::new(200)
                .with("x-ms-account-kind", "StorageV2")
                .with("x-ms-sku-name", "Standard_ZRS")
                .with("x-ms-is-hns-enabled", self.hierarchical),
            ("GET", None, Some("container")) => {
                let answer = Answer::new(200).with("x-ms-immutable-storage-with-versioning-enabled", self.locks);
                if self.public { answer.with("x-ms-blob-public-access", "blob") } else { answer }
            }
            ("PUT", None, Some("container")) => Answer::error(409, "ContainerAlreadyExists"),
            _ if container => Answer::error(501, "APINotImplemented"),
            ("PUT", Some("block"), _) => self.stage(request),
            ("PUT", Some("blocklist"), _) => self.commit(request),
            ("PUT", Some("tier"), _) => self.tier(request),
            ("PUT", Some("immutabilityPolicies"), _) => self.policy(request),
            ("DELETE", Some("immutabilityPolicies"), _) => self.lift(request),
            ("PUT", Some("legalhold"), _) => self.hold(request),
            ("PUT", None, _) => match request.header("x-ms-copy-source") {
                None => self.create(request, request.body.clone(), None),
                Some(source) => self.copy(request, source),
            },
            ("GET" | "HEAD", None, _) => self.get(request),
            ("DELETE", None, _) => self.delete(request),
            _ => Answer::error(501, "APINotImplemented"),
        }
    }

    pub(super) fn create(&mut self, request: &Request, data: Vec<u8>, claimed: Option<u64>) -> Answer {
        let (versions, locks) = (self.versions, self.locks);
        self.serial += 1;
        let modified = SystemClock.now();
        let id = format!(
            "{}.{:07}Z",
            modified.to_string().trim_end_matches('Z').split('.').next().unwrap_or(""),
            self.serial
        );
        let blob = self.blobs.entry(request.path.clone()).or_default();
        if let Some(current) = blob.current() {
            if request.header("if-none-match") == Some("*") {
                return Answer::error(409, "BlobAlreadyExists");
            }
            if !versions && current.holds() {
                return Answer::error(409, "BlobImmutableDueToPolicy");
            }
        }
        if !versions {
            blob.versions.clear();
        }
        let until = request.header("x-ms-immutability-policy-until-date").filter(|_| locks).map(time);
        let version = Version {
            id: id.clone(),
            data,
            claimed,
            modified,
            tier: request.header("x-ms-access-tier").unwrap_or("Hot").to_owned(),
            thawing: None,
            until,
            locked_mode: request
                .header("x-ms-immutability-policy-mode")
                .is_some_and(|mode| mode.eq_ignore_ascii_case("locked")),
            hold: locks && request.header("x-ms-legal-hold") == Some("true"),
        };
        let answer =
            Answer::new(201).with("etag", format!("\"{}\"", version.etag())).with("last-modified", date(modified));
        blob.versions.push(version);
        blob.current = Some(id.clone());
        self.blocks.remove(&request.path);
        if versions { answer.with("x-ms-version-id", id) } else { answer }
    }

    fn copy(&mut self, request: &Request, source: &str) -> Answer {
        let Ok((data, claimed)) = self.source(request, source) else {
            return Answer::error(403, "CannotVerifyCopySource");
        };
        let Some(data) = data else { return Answer::error(404, "CannotVerifyCopySource") };
        self.create(request, data, claimed)
    }

    /// The content at another URL of this server.
    fn source(&mut self, request: &Request, source: &str) -> Result<(Option<Vec<u8>>, Option<u64>), ()> {
        let (path, query) = source.split_once('?').unwrap_or((source, ""));
        let bearer = request.header("x-ms-copy-source-authorization").is_some();
        if !bearer && !query.contains("sig=good") {
            return Err(());
        }
        let (_, path) = path.split_once("/acct/").ok_or(())?;
        let version = self.blobs.get(&decoded(path)).and_then(Blob::current);
        let pin = request.header("x-ms-source-if-match").map(|etag| etag.trim_matches('"').to_owned());
        let version = version.filter(|version| pin.is_none_or(|pin| pin == version.etag()));
        Ok((version.map(|version| version.data.clone()), version.and_then(|version| version.claimed)))
    }

    fn stage(&mut self, request: &Request) -> Answer {
        let mut data = request.body.clone();
        if let Some(source) = request.header("x-ms-copy-source") {
            match self.source(request, source) {
                Ok((Some(found), _)) => data = found,
                _ => return Answer::error(403, "CannotVerifyCopySource"),
            }
        }
        let id = request.query("blockid").expect("a block has an id").to_owned();
        self.blocks.entry(request.path.clone()).or_default().insert(id, data);
        Answer::new(201)
    }

    fn commit(&mut self, request: &Request) -> Answer {
        let text = String::from_utf8_lossy(&request.body).into_owned();
        let ids = text.split("<Uncommitted>").skip(1).filter_map(|rest| rest.split_once('<')).map(|(id, _)| id);
        let staged = self.blocks.get(&request.path).cloned().unwrap_or_default();
        let mut data = Vec::new();
        for id in ids {
            let Some(block) = staged.get(id) else { return Answer::error(400, "InvalidBlockList") };
            data.extend_from_slice(block);
        }
        self.create(request, data, None)
    }

    fn get(&mut self, request: &Request) -> Answer {
        let Some(blob) = self.blobs.get(&request.path) else { return Answer::error(404, "BlobNotFound") };
        let current = blob.current.clone();
        let Some(version) = blob.clone().version(request.query("versionid")).cloned() else {
            return Answer::error(404, "BlobNotFound");
        };
        if request.header("if-match").is_some_and(|etag| etag.trim_matches('"') != version.etag()) {
            return Answer::error(412, "ConditionNotMet");
        }
        let mut answer = Answer::new(200)
            .with("etag", format!("\"{}\"", version.etag()))
            .with("last-modified", date(version.modified))
            .with("x-ms-blob-type", "BlockBlob")
            .with("x-ms-access-tier", &version.tier);
        if self.versions {
            answer = answer.with("x-ms-version-id", &version.id);
            if current.as_deref() == Some(&version.id) {
                answer = answer.with("x-ms-is-current-version", true);
            }
        }
        if let Some(tier) = &version.thawing {
            answer = answer.with("x-ms-archive-status", format!("rehydrate-pending-to-{}", tier.to_lowercase()));
        }
        if let Some(until) = version.until {
            let mode = if version.locked_mode { "locked" } else { "unlocked" };
            answer = answer
                .with("x-ms-immutability-policy-until-date", date(until))
                .with("x-ms-immutability-policy-mode", mode);
        }
        if version.hold {
            answer = answer.with("x-ms-legal-hold", true);
        }
        if request.method == "HEAD" {
            return answer.with("content-length", version.size());
        }
        if version.tier == "Archive" {
            return Answer::error(409, "BlobArchived");
        }
        let range =
            request.header("range").or(request.header("x-ms-range")).and_then(|range| range.strip_prefix("bytes="));
        let Some((first, last)) = range.and_then(|range| range.split_once('-')) else {
            return answer.body(version.data);
        };
        let (first, last) = (first.parse::<usize>().expect("a number"), last.parse::<usize>().unwrap_or(usize::MAX));
        let size = version.data.len();
        if first >= size {
            return Answer::error(416, "InvalidRange");
        }
        let end = size.min(last.saturating_add(1));
        answer.status = 206;
        answer.with("content-range", format!("bytes {first}-{}/{size}", end - 1)).body(&version.data[first..end])
    }

    fn delete(&mut self, request: &Request) -> Answer {
        let (versions, id) = (self.versions, request.query("versionid").map(str::to_owned));
        let Some(blob) = self.blobs.get_mut(&request.path) else { return Answer::error(404, "BlobNotFound") };
        let current = blob.current.clone();
        let Some(version) = blob.version(id.as_deref()).cloned() else { return Answer::error(404, "BlobNotFound") };
        if request.header("if-none-match") == Some("*") {
            return Answer::error(412, "ConditionNotMet");
        }
        if request.header("if-match").is_some_and(|etag| etag.trim_matches('"') != version.etag()) {
            return Answer::error(412, "ConditionNotMet");
        }
        if id.is_some() && id == current {
            return Answer::error(403, "OperationNotAllowedOnRootBlob");
        }
        if id.is_none() && versions {
            blob.current = None;
            return Answer::new(202);
        }
        if version.holds() {
            return Answer::error(409, "BlobImmutableDueToPolicy");
        }
        blob.versions.retain(|other| other.id != version.id);
        if blob.versions.is_empty() {
            self.blobs.remove(&request.path);
        }
        Answer::new(202)
    }

    fn change(&mut self, request: &Request, change: impl FnOnce(&mut Version) -> Answer) -> Answer {
        let id = request.query("versionid").map(str::to_owned);
        match self.blobs.get_mut(&request.path).and_then(|blob| blob.version(id.as_deref())) {
            None => Answer::error(404, "BlobNotFound"),
            Some(version) => change(version),
        }
    }

    fn policy(&mut self, request: &Request) -> Answer {
        let until = time(request.header("x-ms-immutability-policy-until-date").expect("a policy has an end"));
        let locked =
            request.header("x-ms-immutability-policy-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("locked"));
        self.change(request, |version| {
            if version.locked_mode && (version.until > Some(until) || !locked) {
                return Answer::error(409, "BlobImmutableDueToPolicy");
            }
            (version.until, version.locked_mode) = (Some(until), locked);
            Answer::new(200)
        })
    }

    fn lift(&mut self, request: &Request) -> Answer {
        self.change(request, |version| {
            if version.locked_mode {
                return Answer::error(409, "BlobImmutableDueToPolicy");
            }
            version.until = None;
            Answer::new(200)
        })
    }

    fn hold(&mut self, request: &Request) -> Answer {
        let hold = request.header("x-ms-legal-hold") == Some("true");
        self.change(request, |version| {
            version.hold = hold;
            Answer::new(200)
        })
    }

    fn tier(&mut self, request: &Request) -> Answer {
        let tier = request.header("x-ms-access-tier").expect("a tier").to_owned();
        self.change(request, |version| {
            if version.tier == "Archive" {
                version.thawing = Some(tier);
                return Answer::new(202);
            }
            version.tier = tier;
            Answer::new(200)
        })
    }

    fn list(&mut self, request: &Request) -> Answer {
        let from_is_new = request.query("startfrom").is_some() && self.old;
        if from_is_new || (self.old && request.header("x-ms-version") != Some("2025-11-05")) {
            return Answer::error(400, "InvalidHeaderValue");
        }
        let prefix = request.query("prefix").unwrap_or_default();
        let start = request.query("startfrom").unwrap_or_default();
        let marker = request.query("marker").unwrap_or_default();
        let include = request.query("include").unwrap_or_default();
        let (mut lines, mut folder, mut count, mut next) = (String::new(), String::new(), 0, String::new());
        let container = format!("{}/", request.path);
        if self.out_of_order {
            // Two pages, the later name first.
            let name = if marker.is_empty() { "b" } else { "a" };
            let next = if marker.is_empty() { "more" } else { "" };
            return Answer::new(200).body(format!(
                "<EnumerationResults><Blobs><Blob><Name>{name}</Name><Properties><Last-Modified>{}</Last-Modified></Properties>\
                 </Blob></Blobs><NextMarker>{next}</NextMarker></EnumerationResults>",
                date(SystemClock.now())
            ));
        }
        let of_here = self.blobs.iter().filter_map(|(name, blob)| Some((name.strip_prefix(&container)?, blob)));
        for (name, blob) in of_here {
            if !name.starts_with(prefix)
                || name < start
                || name < marker
                || (!folder.is_empty() && name.starts_with(&folder))
            {
                continue;
            }
            let shown: Vec<&Version> = match include.contains("versions") {
                true => blob.versions.iter().collect(),
                false => blob.current().into_iter().collect(),
            };
            if shown.is_empty() {
                continue;
            }
            if self.page.is_some_and(|page| count >= page) {
                name.clone_into(&mut next);
                break;
            }
            count += 1;
            let deeper = request.query("delimiter").and_then(|_| name[prefix.len()..].find('/'));
            if let Some(end) = deeper {
                name[..prefix.len() + end + 1].clone_into(&mut folder);
                let _ = write!(lines, "<BlobPrefix><Name>{}</Name></BlobPrefix>", escaped(&folder));
                continue;
            }
            for version in shown {
                let id = match self.versions {
                    false => String::new(),
                    true if blob.current.as_ref() == Some(&version.id) => {
                        format!("<VersionId>{}</VersionId><IsCurrentVersion>true</IsCurrentVersion>", version.id)
                    }
                    true => format!("<VersionId>{}</VersionId>", version.id),
                };
                let modified = match self.untimed {
                    false => format!("<Last-Modified>{}</Last-Modified>", date(version.modified)),
                    true => String::new(),
                };
                let _ = write!(
                    lines,
                    "<Blob><Name>{}</Name>{id}<Properties>{modified}<Etag>{}</Etag><Content-Length>{}</Content-Length>\
                     <AccessTier>{}</AccessTier></Properties></Blob>",
                    escaped(name),
                    version.etag(),
                    version.size(),
                    version.tier
                );
            }
        }
        if include.contains("uncommittedblobs") {
            let staged = self.blocks.keys().filter_map(|name| name.strip_prefix(&container));
            for name in staged.filter(|name| name.starts_with(prefix)) {
                // As the service does: no time and no etag.
                let _ = write!(
                    lines,
                    "<Blob><Name>{}</Name><Properties><Content-Length>0</Content-Length></Properties></Blob>",
                    escaped(name)
                );
            }
        }
        let body = format!(
            "<EnumerationResults><Blobs>{lines}</Blobs><NextMarker>{}</NextMarker></EnumerationResults>",
            escaped(&next)
        );
        Answer::new(200).body(body)
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
