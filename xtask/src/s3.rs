//! Servers that speak S3's protocol.

use backstay_test_servers::s3::{Minio, Rclone, Versitygw};

use crate::go::{self, Source};
use crate::result::Result;

/// Builds what is missing.
pub(crate) fn ensure() -> Result<()> {
    let source = |program, module, folder| Source { program, module, folder, replace: "" };
    go::ensure(&[
        source(Versitygw::program(), "github.com/versity/versitygw", "/cmd/versitygw"),
        source(Minio::program(), "github.com/minio/minio", ""),
        source(Rclone::program(), "github.com/rclone/rclone", ""),
    ])
}
