//! An S3 server in memory whose faults are scripted.
