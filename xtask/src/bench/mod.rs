//! `cargo xtask bench`: Backstay beside the programs that it replaces, in one run on one machine.
//!
//! Standard output has one line per result and nothing else; what goes on meanwhile is told on standard error.

mod azure;
mod compare;
mod content;
mod data;
mod embed;
mod own_s3;
mod pipeline;
mod place;
mod postgres;
mod replicate;
mod requests;
mod retention;
mod s3;
mod shop;
mod side;

use crate::families;
use crate::result::Result;

/// What a benchmark is called and what makes its line.
const BENCHES: [(&str, Measure); 24] = [
    ("pipeline.backup", Measure::Ratio(pipeline::backup)),
    ("pipeline.restore", Measure::Ratio(pipeline::restore)),
    ("pipeline.incompressible", Measure::Ratio(pipeline::incompressible)),
    ("pipeline.size", Measure::Figure(pipeline::size, "of-theirs")),
    ("pipeline.peak_64_workers", Measure::Figure(pipeline::peak_64_workers, "MiB")),
    ("directory.small", Measure::Ratio(pipeline::small_files)),
    ("directory.large", Measure::Ratio(pipeline::large_files)),
    ("embed.crates", Measure::Figure(embed::crates, "crates")),
    ("embed.build_s", Measure::Figure(embed::build_seconds, "s")),
    ("postgres.dump", Measure::Ratio(postgres::dump)),
    ("postgres.recipe", Measure::Ratio(postgres::recipe)),
    ("postgres.verify", Measure::Ratio(postgres::verify)),
    ("postgres.restore", Measure::Ratio(postgres::restore)),
    ("s3.upload", Measure::Ratio(s3::upload)),
    ("s3.download", Measure::Ratio(s3::download)),
    ("s3.cli", Measure::Ratio(s3::cli)),
    ("s3.point", Measure::Ratio(s3::point)),
    ("s3.small", Measure::Ratio(s3::small)),
    ("s3.peak", Measure::Figure(s3::peak, "MiB")),
    ("azure.upload", Measure::Ratio(azure::upload)),
    ("replicate.local", Measure::Ratio(replicate::local)),
    ("status.requests_100k", Measure::Figure(requests::status, "requests")),
    ("options.requests_100k", Measure::Figure(requests::options, "requests")),
    ("retention.million", Measure::Figure(retention::million, "s")),
];

enum Measure {
    Ratio(fn() -> Result<compare::Ratio>),
    Figure(fn() -> Result<f64>, &'static str),
}

/// Runs the benchmarks that `names` lists, or all. True if each gave its line.
pub(crate) fn run(names: &[String]) -> Result<bool> {
    if let Some(name) = names.iter().find(|name| BENCHES.iter().all(|(known, _)| known != name)) {
        let known: Vec<&str> = BENCHES.iter().map(|(name, _)| *name).collect();
        return Err(format!("there is no benchmark {name:?}; there are {}", known.join(", ")).into());
    }
    let mut complete = true;
    let chosen = || BENCHES.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|n| n == name));
    families::ensure(chosen().map(|(name, _)| *name))?;
    for (name, measure) in chosen() {
        eprintln!("{name} ...");
        let line = match measure {
            Measure::Ratio(ratio) => ratio().map(|ratio| format!("ratio {name} {ratio}")),
            Measure::Figure(figure, unit) => {
                figure().map(|value| format!("figure {name} {} {unit}", (value * 1e3).round() / 1e3))
            }
        };
        match line {
            Ok(line) => println!("{line}"),
            Err(error) => {
                eprintln!("{name}: {error}");
                complete = false;
            }
        }
    }
    Ok(complete)
}
