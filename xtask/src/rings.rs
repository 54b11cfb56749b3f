//! Which test belongs to which ring.
//!
//! The rule: the first word of a test file's name is its ring (`tests/sim_backup.rs`). Files named otherwise, unit tests
//! and doctests are pure. Examples are programs that prove what they show, and count as tests too.

use std::collections::BTreeSet;
use std::fs;

use crate::result::{Doing, Result};
use crate::workspace::{root, targets_in};

/// A group of tests by what they need from the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ring {
    /// Nothing.
    Pure,
    /// Nothing: the engine on simulated stores, clocks and faults.
    Sim,
    /// Independent programs: age, zstd, ssh-keygen, tar.
    Tools,
    /// Servers on loopback.
    Servers,
    /// What the examples need.
    Examples,
}

impl Ring {
    pub(crate) const ALL: [Self; 5] = [Self::Pure, Self::Sim, Self::Tools, Self::Servers, Self::Examples];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pure => "pure",
            Self::Sim => "sim",
            Self::Tools => "tools",
            Self::Servers => "servers",
            Self::Examples => "examples",
        }
    }

    /// The rings that the arguments of `cargo xtask test` ask for.
    pub(crate) fn chosen(args: &[String]) -> Result<BTreeSet<Self>> {
        let list = match args {
            [] => return Ok(Self::ALL.into()),
            [flag, list] if flag == "--rings" => list.as_str(),
            [arg] if arg.starts_with("--rings=") => arg.trim_start_matches("--rings="),
            _ => return Err(format!("cannot read {args:?}; use --rings with names from {}", known()).into()),
        };
        list.split(',').map(|name| Self::named(name).ok_or_else(|| unknown(name).into())).collect()
    }

    /// The ring of the test file `stem`.
    pub(crate) fn of(stem: &str) -> Self {
        let word = stem.split('_').next().unwrap_or(stem);
        Self::named(word).filter(|ring| *ring != Self::Examples).unwrap_or(Self::Pure)
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ring| ring.name() == name)
    }
}

/// The test files of a ring, of all packages.
pub(crate) fn test_files(ring: Ring) -> Result<BTreeSet<String>> {
    let mut names = targets_in(&root().join("tests"))?;
    let crates = root().join("crates");
    for entry in fs::read_dir(&crates).doing(crates.display())? {
        names.append(&mut targets_in(&entry.doing(crates.display())?.path().join("tests"))?);
    }
    names.retain(|name| Ring::of(name) == ring);
    Ok(names)
}

fn known() -> String {
    Ring::ALL.map(Ring::name).join(",")
}

fn unknown(name: &str) -> String {
    format!("there is no ring {name:?}; there are {}", known())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_of_a_file_is_its_ring() {
        for (stem, ring) in [
            ("sim_backup", Ring::Sim),
            ("sim", Ring::Sim),
            ("tools_by_hand", Ring::Tools),
            ("servers_s3", Ring::Servers),
            ("pure_house", Ring::Pure),
            ("conformance", Ring::Pure),
            ("simple", Ring::Pure),
            ("examples_of_errors", Ring::Pure),
        ] {
            assert_eq!(Ring::of(stem), ring, "{stem}");
        }
    }

    #[test]
    fn all_rings_run_unless_some_are_named() {
        let chosen = |args: &[&str]| Ring::chosen(&args.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
        assert_eq!(chosen(&[]).unwrap(), Ring::ALL.into());
        assert_eq!(chosen(&["--rings", "pure,sim"]).unwrap(), [Ring::Pure, Ring::Sim].into());
        assert_eq!(chosen(&["--rings=tools"]).unwrap(), [Ring::Tools].into());
        for wrong in [&["--rings", "pure,sims"][..], &["--rings"], &["--rings", ""], &["--ring", "pure"], &["pure"]] {
            assert!(chosen(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn this_checkout_has_pure_tests() {
        assert!(test_files(Ring::Pure).unwrap().contains("pure_house"));
    }
}
