//! From an address to an open store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::embedded::RedbLog;
use crate::error::OpenError;
use crate::log::CommitLog;
use crate::memory::MemoryLog;
use crate::store::Store;
use crate::view::Indexer;

/// The store's file in a data directory.
const FILE: &str = "store.redb";

/// Opens the store at `url`, creating it and its directory if there is none:
///
/// | address | store |
/// |---|---|
/// | `memory:` | in memory, empty, gone with the process |
/// | `redb:FILE` | in this file |
/// | `file:DIRECTORY`, or the bare path of a directory | in `store.redb` in this directory |
///
/// # Errors
/// When the address is not understood, the file is in use, damaged or of a newer format, or the disk refuses.
pub async fn open(url: &str, indexer: impl Indexer) -> Result<Store, OpenError> {
    let log: Arc<dyn CommitLog> = match Place::parse(url)? {
        Place::Memory => Arc::new(MemoryLog::new()),
        Place::File(path) => Arc::new(RedbLog::open(path).await?),
        Place::Directory(path) if path.exists() && !path.is_dir() => {
            return Err(OpenError::WrongKind {
                path,
                expected: "directory",
            });
        }
        Place::Directory(path) => Arc::new(RedbLog::open(path.join(FILE)).await?),
    };
    Store::open(log, indexer).await
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Memory,
    File(PathBuf),
    Directory(PathBuf),
}

impl Place {
    fn parse(url: &str) -> Result<Self, OpenError> {
        let bad = || OpenError::BadUrl { url: url.into() };
        let some = |path: &str| {
            if path.is_empty() {
                Err(bad())
            } else {
                Ok(Path::new(path).to_path_buf())
            }
        };
        match url.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("redb", path)) => some(path).map(Self::File),
            Some(("file", path)) => some(path).map(Self::Directory),
            // A scheme has no slash and more than the one letter of a drive.
            Some((scheme, _)) if scheme.len() > 1 && !scheme.contains(['/', '\\']) => Err(bad()),
            _ => some(url).map(Self::Directory),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_one_place() {
        let file = |path: &str| Some(Place::File(path.into()));
        let directory = |path: &str| Some(Place::Directory(path.into()));
        for (url, place) in [
            ("memory:", Some(Place::Memory)),
            ("redb:a/b.redb", file("a/b.redb")),
            ("redb:/a/b.redb", file("/a/b.redb")),
            ("redb:///a/b.redb", file("/a/b.redb")),
            ("file:/var/lib/gw", directory("/var/lib/gw")),
            ("/var/lib/gw", directory("/var/lib/gw")),
            ("data", directory("data")),
            ("./odd:name", directory("./odd:name")),
            ("memory:x", None),
            ("redb:", None),
            ("file:", None),
            ("", None),
            ("postgres://db/gw", None),
        ] {
            assert_eq!(Place::parse(url).ok(), place, "{url}");
        }
    }

    #[test]
    fn a_bad_address_is_told_the_good_ones() {
        let error = Place::parse("postgres://db/gw").unwrap_err().to_string();
        assert!(
            error.contains("postgres://db/gw") && error.contains("redb:FILE"),
            "{error}"
        );
    }
}
