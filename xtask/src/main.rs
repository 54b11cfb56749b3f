//! The project's own tasks: `cargo xtask test`, `servers`, `example`, `bench`.

mod azure;
mod bench;
mod example;
mod families;
mod go;
mod postgres;
mod python;
mod result;
mod rings;
mod s3;
mod servers;
mod terraform;
mod test;
mod tools;
mod workspace;

use std::env;
use std::process::ExitCode;

use crate::result::Result;

const USAGE: &str = "\
cargo xtask test [--rings RING,..]   install what the tests need, run them, say per ring what ran
cargo xtask servers                  start the test servers and print their addresses until Ctrl-C
cargo xtask example NAME [ARGS]      start what an example needs and run it
cargo xtask bench [NAME...]          compare with the bare pipe, build and count; all of them by default

rings: pure, sim, tools, servers, examples
";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let (command, rest) = match args.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("", &[][..]),
    };
    let outcome: Result<bool> = match command {
        "test" => test::run(rest),
        "servers" => servers::run(rest),
        "example" => example::run(rest),
        "bench" => bench::run(rest),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask {command}: {error}");
            ExitCode::FAILURE
        }
    }
}
