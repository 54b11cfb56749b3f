//! Which servers and programs a test, an example or a benchmark needs: its name says so.

use std::collections::BTreeSet;

use crate::result::{Doing, Result};
use crate::{azure, postgres, python, s3, terraform};

/// What is installed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    Postgres,
    /// Servers that speak S3's protocol.
    S3,
    Azure,
    /// moto, and the clients of others.
    Python,
    Terraform,
}

impl Family {
    /// By the first word, after that of the ring.
    pub(crate) fn of(name: &str) -> &'static [Self] {
        match word(name) {
            "postgres" => &[Self::Postgres],
            "s3" => &[Self::S3, Self::Python],
            "azure" => &[Self::Azure, Self::Python],
            "secrets" => &[Self::Python],
            "terraform" => &[Self::S3, Self::Python, Self::Terraform],
            "dr" => &[Self::S3, Self::Python],
            "objects" => &[Self::S3, Self::Azure, Self::Python, Self::Terraform],
            _ => &[],
        }
    }

    fn ensure(self) -> Result<Vec<String>> {
        match self {
            Self::Postgres => return postgres::ensure(),
            Self::S3 => s3::ensure(),
            Self::Azure => azure::ensure(),
            Self::Python => python::ensure(),
            Self::Terraform => terraform::ensure(),
        }
        .map(|()| Vec::new())
        .doing(format_args!("{self:?}"))
    }
}

/// The first word of a name, after that of the ring.
pub(crate) fn word(name: &str) -> &str {
    let name = name.strip_prefix("servers_").unwrap_or(name);
    name.split(['_', '.']).next().unwrap_or(name)
}

/// Installs what those of these names need. Returns what is not to be had, and why: they run without it.
pub(crate) fn ensure<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Vec<String>> {
    let families: BTreeSet<Family> = names.into_iter().flat_map(Family::of).copied().collect();
    let mut left_out = Vec::new();
    for family in families {
        left_out.append(&mut family.ensure()?);
    }
    Ok(left_out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rings::{Ring, test_files};

    #[test]
    fn the_first_word_says_who_wants_a_server() {
        for (name, wants) in [
            ("postgres", &[Family::Postgres][..]),
            ("postgres_drill", &[Family::Postgres]),
            ("postgres.dump", &[Family::Postgres]),
            ("servers_postgres_start", &[Family::Postgres]),
            ("s3", &[Family::S3, Family::Python]),
            ("azure.upload", &[Family::Azure, Family::Python]),
            ("postgresql", &[]),
            ("quickstart", &[]),
        ] {
            assert_eq!(Family::of(name), wants, "{name}");
        }
    }

    #[test]
    fn every_test_with_servers_says_which() {
        for name in test_files(Ring::Servers).unwrap() {
            assert!(!Family::of(&name).is_empty(), "{name} needs what? Say it in Family::of");
        }
    }
}
