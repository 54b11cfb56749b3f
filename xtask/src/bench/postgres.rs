//! A database of a real server against the client programs and a pipe.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;

use backstay_test_servers::postgres::Server;

use super::compare::{Ratio, alternate};
use super::place::Place;
use super::shop;
use super::side::{OurSide, pipe};
use crate::result::{Doing, Result};
use crate::servers::{DATABASE, filled};

// `$1` is where the client programs are, `$2` the server and database, `$3` the recipient, `$4` the output.
const SEAL: &str = r#""$1"/pg_dump -Fc -Z0 "$2" | zstd -3 -T0 -q | age -r "$3" > "$4"; sync "$4""#;
const RECIPE: &str = r#""$1"/pg_dump -Fp "$2" | gzip > "$4"; sync "$4""#;
const USUAL: &str = r#""$1"/pg_dump -Fc "$2" > "$3""#;
const PLAIN: &str = r#""$1"/pg_dump -Fc -Z0 "$2" > "$3""#;
const PARSE: &str = r#""$1"/pg_restore -f /dev/null "$2""#;
// `$2` is the server with the database to be made.
const RESTORE: &str = r#""$1"/pg_restore -d "$2" "$3""#;

const TARGET: &str = "shop_target";
/// What the issue's own measurements had: 1.4 GB of stream.
const MEGABYTES: u64 = 1_300;

pub(super) fn dump() -> Result<Ratio> {
    against(SEAL)
}

pub(super) fn recipe() -> Result<Ratio> {
    against(RECIPE)
}

pub(super) fn verify() -> Result<Ratio> {
    let (bench, place) = (Bench::get()?, Place::new()?);
    let (folder, archive) = (bench.dumped(&place)?, place.file("usual.dump"));
    pipe(USUAL, &[bench.bin.as_os_str(), bench.url(DATABASE).as_ref(), archive.as_os_str()])?;
    let side = OurSide::build("postgres_verify")?;
    alternate(
        bench.bytes,
        || Ok(side.run(&[bench.url(DATABASE).as_ref(), folder.as_os_str()])?.run),
        || pipe(PARSE, &[&bench.bin, &archive]),
    )
}

pub(super) fn restore() -> Result<Ratio> {
    let (bench, place) = (Bench::get()?, Place::new()?);
    let (folder, archive) = (bench.dumped(&place)?, place.file("plain.dump"));
    pipe(PLAIN, &[bench.bin.as_os_str(), bench.url(DATABASE).as_ref(), archive.as_os_str()])?;
    let side = OurSide::build("postgres_restore")?;
    alternate(
        bench.bytes,
        || {
            bench.drop_target();
            Ok(side.run(&[bench.url("postgres").as_ref(), folder.as_os_str(), TARGET.as_ref()])?.run)
        },
        || {
            bench.drop_target();
            bench.server.psql("postgres", &format!("CREATE DATABASE {TARGET} TEMPLATE template0"));
            pipe(RESTORE, &[bench.bin.as_os_str(), bench.url(TARGET).as_ref(), archive.as_os_str()])
        },
    )
}

fn against(script: &str) -> Result<Ratio> {
    let (bench, place) = (Bench::get()?, Place::new()?);
    let side = OurSide::build("postgres_dump")?;
    alternate(
        bench.bytes,
        || Ok(side.run(&[bench.url(DATABASE).as_ref(), place.fresh("ours")?.as_os_str()])?.run),
        || {
            let (url, out) = (bench.url(DATABASE), place.fresh("theirs")?);
            pipe(script, &[bench.bin.as_os_str(), url.as_ref(), place.recipient.as_ref(), out.as_os_str()])
        },
    )
}

/// A server with a database of the size that is measured, filled once for all benchmarks.
pub(super) struct Bench {
    server: Server,
    pub(super) bin: PathBuf,
    /// Of the stream that `pg_dump` writes without compression.
    pub(super) bytes: u64,
}

impl Bench {
    pub(super) fn get() -> Result<&'static Self> {
        static BENCH: OnceLock<Bench> = OnceLock::new();
        if let Some(bench) = BENCH.get() {
            return Ok(bench);
        }
        eprintln!("  filling PostgreSQL with {MEGABYTES} MB");
        let server = filled(2)?;
        shop::fill(&server, DATABASE, MEGABYTES)?;
        let mut dump = server.client("pg_dump", DATABASE);
        let mut child = dump.args(["-Fc", "-Z0"]).stdout(Stdio::piped()).spawn().doing("run pg_dump")?;
        let mut stream = child.stdout.take().ok_or("pg_dump has no output")?;
        let bytes = std::io::copy(&mut stream, &mut std::io::sink()).doing("read pg_dump")?;
        if !child.wait().doing("wait for pg_dump")?.success() {
            return Err("pg_dump failed".into());
        }
        Ok(BENCH.get_or_init(|| Self { bin: server.bin(), server, bytes }))
    }

    pub(super) fn url(&self, database: &str) -> String {
        self.server.url(database)
    }

    fn drop_target(&self) {
        self.server.psql("postgres", &format!("DROP DATABASE IF EXISTS {TARGET}"));
    }

    /// The folder of a vault that the database was dumped into.
    fn dumped(&self, place: &Place) -> Result<PathBuf> {
        let folder = place.fresh("ours")?;
        OurSide::build("postgres_dump")?.run(&[self.url(DATABASE).as_ref(), folder.as_os_str()])?;
        Ok(folder)
    }
}
