//! Servers that speak Amazon S3's protocol. Each starts empty; tests make their buckets.

mod minio;
mod rclone;
mod server;
mod versitygw;

pub use self::minio::Minio;
pub use self::rclone::Rclone;
pub(crate) use self::server::Keys;
pub use self::server::Server;
pub use self::versitygw::Versitygw;
