//! Which item of a component is the database that is asked for.

use backstay_core::source::{ItemInfo, ItemSource};
use backstay_core::{Error, ErrorKind, Result};
use futures_util::StreamExt as _;

use crate::facts::{ARCHIVE, DATABASES, GLOBALS, SCRIPT, SCRIPT_ITEM};

/// What a component holds for us.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) archives: Vec<ItemInfo>,
    pub(super) globals: Option<ItemInfo>,
}

pub(super) fn accepts(item: &ItemInfo) -> bool {
    matches!(item.format.as_str(), ARCHIVE | GLOBALS) || (item.format == SCRIPT && item.name == SCRIPT_ITEM)
}

/// # Errors
/// [`Invalid`](ErrorKind::Invalid) for an item of another format.
pub(super) async fn find(items: &dyn ItemSource) -> Result<Found> {
    let mut found = Found::default();
    let mut list = items.list();
    while let Some(item) = list.next().await.transpose()? {
        match item.format.as_str() {
            ARCHIVE => found.archives.push(item),
            GLOBALS => found.globals = Some(item),
            _ if accepts(&item) => {}
            _ => {
                return Err(Error::new(ErrorKind::Invalid, "an item is no archive of pg_dump's")
                    .with("item", item.name)
                    .with("format", item.format)
                    .advise("choose the importer for this kind of component"));
            }
        }
    }
    Ok(found)
}

impl Found {
    /// The archive of the database `name`, or the only one.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if it is not there, [`Invalid`](ErrorKind::Invalid) if it was not said which.
    pub(super) fn archive(&self, name: Option<&str>) -> Result<&ItemInfo> {
        let names = || self.archives.iter().map(database).collect::<Vec<_>>().join(", ");
        match (name, self.archives.as_slice()) {
            (Some(name), archives) => archives.iter().find(|item| database(item) == name).ok_or_else(|| {
                Error::new(ErrorKind::NotFound, "the component has no archive of this database")
                    .with("database", name)
                    .advise(format!("it has: {}", names()))
            }),
            (None, [only]) => Ok(only),
            (None, []) => Err(Error::new(ErrorKind::NotFound, "the component has no archive of a database")),
            (None, _) => Err(Error::new(ErrorKind::Invalid, "the component has several databases")
                .advise(format!("name one by `database`: {}", names()))),
        }
    }
}

/// The database that an item is the archive of.
pub(super) fn database(item: &ItemInfo) -> &str {
    item.name.strip_prefix(DATABASES).unwrap_or(&item.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_is_named_or_the_only_one() {
        let item = |name: &str| ItemInfo::new("db", "postgres.dump", name, ARCHIVE, 1);
        let found = |names: &[&str]| Found { archives: names.iter().map(|name| item(name)).collect(), globals: None };
        let two = found(&["databases/a", "databases/b/c"]);
        assert_eq!(two.archive(Some("b/c")).unwrap().name, "databases/b/c");
        assert_eq!(two.archive(None).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(two.archive(Some("x")).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(found(&["their.dump"]).archive(None).unwrap().name, "their.dump");
        assert_eq!(found(&[]).archive(None).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
