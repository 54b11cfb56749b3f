//! An S3 server in memory, for tests of faults and policies and for benchmarks. It answers as AWS does, until it is told to
//! go wrong.
//!
//! ```
//! use backstay_test_s3::{Bucket, Fault, Op, Server};
//! use std::time::Duration;
//!
//! let s3 = Server::start(); // path style at s3.endpoint(), with s3.keys()
//! s3.create_bucket("vault", Bucket::versioned().with_object_lock());
//!
//! // What goes wrong, and when. The first fault that applies to a call acts; delays add up.
//! s3.fault(Fault::slow_down(Duration::from_secs(1)).on(Op::PutObject).under("items/").first(2));
//! s3.fault(Fault::reset().done_first().on(Op::CompleteMultipartUpload).nth(1));
//! s3.heal();
//!
//! // A user with the very policy that is rendered for people. What it has and the server does not play, panics.
//! let writer = s3.user("writer");
//! s3.allow(&writer, r#"{"Version": "2012-10-17", "Statement": [
//!     {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::vault/*"}]}"#);
//!
//! assert_eq!(s3.calls(Op::PutObject), 0);
//! ```
//!
//! # What it plays
//!
//! - The operations of [`Op`]: objects, uploads in parts, listings in byte order, versions and delete markers, Object Lock,
//!   conditional writes, archive classes that are thawed when [the test says so](Server::thawed), tags, and the
//!   configuration of a bucket. Any other is answered with 501.
//! - Signatures, `aws-chunked` bodies with trailers and XML are those of [s3s]. Whatever checksum a client sends is
//!   verified; none is computed that nobody sent, but of parts that are copied.
//! - Policies of users: `Effect`, `Action`, `Resource` and their reverse, conditions with the usual operators over the keys
//!   that calls have, `s3:if-none-match`, `s3:ObjectCreationOperation` and `s3:object-lock-remaining-retention-days`
//!   among them. The loopback counts as TLS. A bucket's policy is kept and acts on nobody.
//!
//! # What it does not
//!
//! Virtual hosts, ACLs, SSE-C, real encryption, requester pays, directory buckets, checksums other than CRC32, CRC32C,
//! CRC64NVME, SHA-1 and SHA-256, and anything that S3 does later by itself: lifecycle, replication and thaws are only kept.
//! Versions never expire, and an upload that was completed or aborted is unknown.
//!
//! Everything here is for tests: what fails panics, and says what to do.

mod body;
mod bucket;
mod clock;
mod complete;
mod condition;
mod config;
mod copy;
mod delete;
mod error;
mod fault;
mod gate;
mod get;
mod list;
mod lock;
mod object;
mod op;
mod policy;
mod put;
mod query;
mod receive;
mod run;
mod said;
mod server;
mod service;
mod socket;
mod sums;
mod upload;
mod wire;
mod world;

pub use crate::bucket::{ACCOUNT, Bucket};
pub use crate::fault::Fault;
pub use crate::op::Op;
pub use crate::server::{Keys, Server};

/// Where buckets are unless told otherwise.
pub const REGION: &str = "us-east-1";
