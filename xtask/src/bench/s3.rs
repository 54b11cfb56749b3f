//! S3 against loops over the SDK, the `aws` program and a pipe.

use std::cell::Cell;

use backstay_test_servers::python;
use backstay_test_servers::s3::Versitygw;

use super::compare::{Ratio, alternate};
use super::data;
use super::own_s3::{BUCKET, OwnS3, alone};
use super::place::Place;
use super::postgres::Bench;
use super::side::{OurSide, bare, pipe_in};
use crate::result::Result;
use crate::servers::{DATABASE, start};

const BARE_UPLOAD: &str = r#""$1" s3_upload "$2" "$3" object"#;
const BARE_DOWNLOAD: &str = r#""$1" s3_download "$2" object"#;
const COPY: &str = r#""$1"/aws s3 cp --quiet "$2" "s3://$3/object""#;
const SYNC: &str = r#""$1"/aws s3 sync --quiet "$2" "s3://$3""#;
const MAKE_BUCKET: &str = r#""$1"/aws s3api create-bucket --bucket "$2""#;
// `$1` is where PostgreSQL's client programs are, `$2` server and database, `$3` the recipient, `$4` where `aws` is, `$5` the
// bucket.
const SEAL: &str =
    r#""$1"/pg_dump -Fc -Z0 "$2" | zstd -3 -T0 -q | age -r "$3" | "$4"/aws s3 cp --quiet - "s3://$5/point""#;

/// 1 GiB in parts.
pub(super) fn upload() -> Result<Ratio> {
    let (side, bare, s3) = (OurSide::build("s3_upload")?, bare()?, OwnS3::build()?);
    let file = data::random()?;
    alternate(
        data::bytes_in(&file)?,
        || Ok(side.run_in(&s3.start()?.env, &[file.as_os_str(), BUCKET.as_ref(), "object".as_ref()])?.run),
        || pipe_in(&s3.start()?.env, BARE_UPLOAD, &[bare.as_os_str(), file.as_os_str(), BUCKET.as_ref()]),
    )
}

/// That object by ranges.
pub(super) fn download() -> Result<Ratio> {
    let (side, bare, s3) = (OurSide::build("s3_download")?, bare()?, OwnS3::build()?);
    let (file, server) = (data::random()?, s3.start()?);
    pipe_in(&server.env, BARE_UPLOAD, &[bare.as_os_str(), file.as_os_str(), BUCKET.as_ref()])?;
    alternate(
        data::bytes_in(&file)?,
        || Ok(side.run_in(&server.env, &[BUCKET, "object"])?.run),
        || pipe_in(&server.env, BARE_DOWNLOAD, &[bare.as_os_str(), BUCKET.as_ref()]),
    )
}

/// 1 GiB against the program that most scripts call. Neither side compresses or seals.
pub(super) fn cli() -> Result<Ratio> {
    let (side, s3, file, bin) = (OurSide::build("s3_upload")?, OwnS3::build()?, data::random()?, python::bin());
    alternate(
        data::bytes_in(&file)?,
        || Ok(side.run_in(&s3.start()?.env, &[file.as_os_str(), BUCKET.as_ref(), "object".as_ref()])?.run),
        || pipe_in(&s3.start()?.env, COPY, &[bin.as_os_str(), file.as_os_str(), BUCKET.as_ref()]),
    )
}

pub(super) fn small() -> Result<Ratio> {
    let (side, s3, files, bin) = (OurSide::build("s3_small")?, OwnS3::build()?, data::tiny_files()?, python::bin());
    alternate(
        data::bytes_in(&files)?,
        || Ok(side.run_in(&s3.start()?.env, &[files.as_os_str(), BUCKET.as_ref()])?.run),
        || pipe_in(&s3.start()?.env, SYNC, &[bin.as_os_str(), files.as_os_str(), BUCKET.as_ref()]),
    )
}

/// A database into versitygw: compressed, sealed, with all that makes it a point.
pub(super) fn point() -> Result<Ratio> {
    let (bench, place, side) = (Bench::get()?, Place::new()?, OurSide::build("s3_point")?);
    let (bin, server) = (python::bin(), start(Versitygw::start)?);
    let own = server.env().into_iter().map(|(name, value)| (name.to_owned(), value));
    let env: Vec<_> = alone().into_iter().chain(own).collect();
    let (url, made) = (bench.url(DATABASE), Cell::new(0));
    let bucket = || -> Result<String> {
        let name = format!("bench-{}", made.replace(made.get() + 1));
        pipe_in(&env, MAKE_BUCKET, &[bin.as_os_str(), name.as_ref()])?;
        Ok(name)
    };
    alternate(
        bench.bytes,
        || {
            let (bucket, keys) = (bucket()?, place.fresh("ours")?);
            Ok(side.run_in(&env, &[url.as_ref(), bucket.as_ref(), keys.as_os_str()])?.run)
        },
        || {
            let (bucket, _) = (bucket()?, place.fresh("theirs")?);
            let (dump, recipient) = (bench.bin.as_os_str(), place.recipient.as_ref());
            pipe_in(&env, SEAL, &[dump, url.as_ref(), recipient, bin.as_os_str(), bucket.as_ref()])
        },
    )
}

/// The most memory of a process that backs 1 GiB up with the default limits.
pub(super) fn peak() -> Result<f64> {
    let (side, place, server) = (OurSide::build("s3_backup")?, Place::new()?, OwnS3::build()?.start()?);
    let (file, keys) = (data::random()?, place.fresh("ours")?);
    Ok(side.run_in(&server.env, &[file.as_os_str(), BUCKET.as_ref(), keys.as_os_str()])?.value("peak_kib")? / 1024.0)
}
