//! What a shop's database is full of: numbers, times, identifiers, words and JSON. How well it compresses decides how fast
//! gzip is, so rows that repeat themselves would measure nothing: gzip leaves about a third of these.

use std::io::{self, BufWriter, Write};
use std::process::Stdio;

use backstay_test_servers::postgres::Server;

use super::content::SplitMix;
use crate::result::{Doing, Result};

/// How many tables the rows are in. The first has half of them.
const TABLES: u64 = 16;
/// The bytes of a row in a dump, about.
const ROW: u64 = 350;
const STATES: [&str; 5] = ["new", "paid", "shipped", "returned", "cancelled"];

/// Adds about `megabytes` of rows to the database, with keys and indexes. The same each time.
pub(super) fn fill(server: &Server, database: &str, megabytes: u64) -> Result<()> {
    let rows = (megabytes << 20) / ROW;
    for table in 0..TABLES {
        let (name, rows) =
            (format!("bulk.orders_{table}"), if table == 0 { rows / 2 } else { rows / 2 / (TABLES - 1) });
        server.psql(
            database,
            &format!(
                "CREATE TABLE {name} (id bigint, customer integer, placed timestamptz, reference uuid,
                 amount numeric(10, 2), state text, note text, details jsonb)"
            ),
        );
        let mut psql = server.client("psql", database);
        psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--command", &format!("COPY {name} FROM STDIN")]);
        let mut child = psql.stdin(Stdio::piped()).spawn().doing("run psql")?;
        let stdin = child.stdin.take().ok_or("psql has no input")?;
        write_rows(BufWriter::with_capacity(1 << 16, stdin), table, rows).doing("write rows")?;
        if !child.wait().doing("wait for psql")?.success() {
            return Err("psql failed".into());
        }
        server.psql(
            database,
            &format!("ALTER TABLE {name} ADD PRIMARY KEY (id); CREATE INDEX ON {name} (placed); ANALYZE {name}"),
        );
    }
    Ok(())
}

/// Rows as `COPY` reads them.
fn write_rows(mut out: impl Write, seed: u64, rows: u64) -> io::Result<()> {
    let mut random = SplitMix(seed);
    let words = SplitMix(0).words(4_000);
    let mut milliseconds = 0;
    for id in 1..=rows {
        milliseconds += random.below(40_000);
        let (hours, minutes) = (milliseconds / 3_600_000, milliseconds / 60_000 % 60);
        let (year, month, day) = (2024 + hours / 8_064 % 3, hours / 672 % 12 + 1, hours / 24 % 28 + 1);
        write!(out, "{id}\t{}\t{year}-{month:02}-{day:02} ", random.skewed(200_000) + 1)?;
        write!(out, "{:02}:{minutes:02}:{:02}.{:03}\t", hours % 24, milliseconds / 1_000 % 60, milliseconds % 1_000)?;
        write!(out, "{:016x}{:016x}\t", random.next(), random.next())?;
        write!(out, "{}.{:02}\t{}\t", random.skewed(5_000), random.below(100), STATES[random.skewed(STATES.len())])?;
        for _ in 0..4 + random.skewed(60) {
            write!(out, "{} ", words[random.skewed(words.len())])?;
        }
        write!(out, "\t{{\"sku\": \"{}-{}\", ", words[random.skewed(200)], random.below(10_000))?;
        write!(out, "\"quantity\": {}, \"gift\": {}, ", random.skewed(20) + 1, random.below(10) == 0)?;
        write!(out, "\"carrier\": \"{}\", ", words[random.skewed(12)])?;
        let (first, last) = (&words[random.skewed(2_000)], &words[random.skewed(4_000)]);
        writeln!(
            out,
            "\"email\": \"{first}.{last}@example.com\", \"tags\": [\"{}\", \"{}\"]}}",
            words[random.skewed(50)],
            words[random.skewed(50)]
        )?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_same_each_time_and_of_the_size_that_is_told() {
        let rows = |seed| {
            let mut bytes = Vec::new();
            write_rows(&mut bytes, seed, 2_000).unwrap();
            bytes
        };
        let (one, other) = (rows(1), rows(2));
        assert!(one == rows(1) && one != other);
        assert!((one.len() as u64 / 2_000).abs_diff(ROW) < ROW / 10, "{}", one.len() / 2_000);
    }
}
