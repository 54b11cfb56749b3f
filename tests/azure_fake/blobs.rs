//! What the account holds, and what it was told to do wrong.

use std::collections::{BTreeMap, VecDeque};

use backstay::jiff::{Timestamp, fmt::rfc2822};
use backstay::{Clock, SystemClock};

use super::http::{Answer, Request};

#[derive(Default)]
pub struct Account {
    pub versions: bool,
    /// Policies and holds hold. Without it they are taken and dropped.
    pub locks: bool,
    pub hierarchical: bool,
    pub public: bool,
    /// Lists backwards.
    pub out_of_order: bool,
    pub soft_delete: bool,
    /// Tells no times in its listings.
    pub untimed: bool,
    /// Knows no place to begin a listing at.
    pub old: bool,
    /// Lists no more than this at once.
    pub page: Option<usize>,
    /// What happens to the next requests, one after the other.
    pub faults: VecDeque<Fault>,
    /// Every request that came.
    pub requests: Vec<Request>,
    pub blobs: BTreeMap<String, Blob>,
    pub blocks: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    pub serial: u64,
}

#[derive(Clone, Debug)]
pub enum Fault {
    /// None: this request is answered well.
    Good,
    /// This status and code.
    Status(u16, &'static str),
    /// This, and it is done all the same.
    After(u16, &'static str),
    /// The connection is cut.
    Cut,
    /// A body is answered with this much of it, and a length that agrees.
    Short(usize),
    /// The answer says this in a header, whatever it brings.
    Says(&'static str, &'static str),
    /// Somebody else puts this content under this name first.
    Raced(&'static str, &'static str),
}

/// The versions of a name, the oldest first.
#[derive(Clone, Default)]
pub struct Blob {
    pub(super) versions: Vec<Version>,
    pub(super) current: Option<String>,
}

#[derive(Clone)]
pub struct Version {
    pub(super) id: String,
    pub(super) data: Vec<u8>,
    /// Its length, where it is said to be longer than the data.
    pub(super) claimed: Option<u64>,
    pub(super) modified: Timestamp,
    pub(super) tier: String,
    pub(super) thawing: Option<String>,
    pub(super) until: Option<Timestamp>,
    pub(super) locked_mode: bool,
    pub(super) hold: bool,
}

impl Version {
    pub(super) fn holds(&self) -> bool {
        self.hold || self.until.is_some_and(|until| until > SystemClock.now())
    }

    pub(super) fn size(&self) -> u64 {
        self.claimed.unwrap_or(self.data.len() as u64)
    }

    pub(super) fn etag(&self) -> String {
        format!("0x{}", self.id.replace([':', '-', '.'], ""))
    }
}

impl Blob {
    pub(super) fn current(&self) -> Option<&Version> {
        self.versions.iter().find(|version| Some(&version.id) == self.current.as_ref())
    }

    pub(super) fn version(&mut self, id: Option<&str>) -> Option<&mut Version> {
        let id = id.map(str::to_owned).or_else(|| self.current.clone())?;
        self.versions.iter_mut().find(|version| version.id == id)
    }
}

impl Account {
    /// Says that a blob is longer than it is.
    pub fn claim(&mut self, name: &str, size: u64) {
        let blob = self.blobs.get_mut(name).expect("it is there");
        blob.version(None).expect("it has content").claimed = Some(size);
    }

    /// Somebody else puts something.
    fn put(&mut self, name: &str, content: &str) {
        let (method, path) = ("PUT".to_owned(), name.to_owned());
        let put = Request { method, path, query: BTreeMap::new(), headers: BTreeMap::new(), body: Vec::new() };
        self.create(&put, content.into(), None);
    }

    /// What was asked to be thawed is thawed now.
    pub fn thaw_all(&mut self) {
        for version in self.blobs.values_mut().flat_map(|blob| &mut blob.versions) {
            if let Some(tier) = version.thawing.take() {
                version.tier = tier;
            }
        }
    }

    /// The requests that came since this was asked last.
    pub fn take_requests(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.requests)
    }

    pub(super) fn answer(&mut self, request: Request) -> Option<Answer> {
        self.requests.push(request.clone());
        let answer = match self.faults.pop_front().unwrap_or(Fault::Good) {
            Fault::Good => self.handle(&request),
            Fault::Status(status, code) => Answer::error(status, code),
            Fault::After(status, code) => {
                self.handle(&request);
                Answer::error(status, code)
            }
            Fault::Cut => return None,
            Fault::Raced(name, content) => {
                self.put(name, content);
                self.handle(&request)
            }
            Fault::Says(name, value) => {
                let mut answer = self.handle(&request);
                answer.headers.retain(|(known, _)| known != name);
                answer.with(name, value)
            }
            Fault::Short(left) => {
                let mut answer = self.handle(&request);
                answer.body.truncate(left);
                answer.headers.retain(|(name, _)| name != "content-length");
                answer
            }
        };
        let date = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&SystemClock.now()).expect("of today");
        Some(answer.with("date", date).with("x-ms-request-id", "fake").with("x-ms-version", "2025-11-05"))
    }
}
