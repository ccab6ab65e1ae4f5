//! From an address to an open store.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::embedded::RedbLog;
use crate::error::OpenError;
use crate::index::Indexer;
use crate::log::CommitLog;
use crate::memory::MemoryLog;
use crate::store::Store;

/// The store's file in a data directory.
const FILE: &str = "store.redb";

/// How long not to ask again whether a store is free.
const PAUSE: Duration = Duration::from_millis(10);

/// Opens the store at `url`, creating it and its directory if there is none:
///
/// | address | store |
/// |---|---|
/// | `memory:` | in memory, empty, gone with the process |
/// | `redb:FILE` | in this file |
/// | `file:DIRECTORY`, or the bare path of a directory | in `store.redb` in this directory |
/// | `etcd://HOSTS/PREFIX`, or `etcds://` for TLS | in an etcd cluster (feature `etcd`) |
///
/// # Errors
/// When the address is not understood, the file is in use, damaged or of a newer format, or the disk or etcd refuses.
pub async fn open(url: &str, indexer: impl Indexer) -> Result<Store, OpenError> {
    Store::open(open_log(url).await?, indexer).await
}

/// As [`open`], but a store that another process has open is waited for, for as long as `patience`: that process is
/// about to let go of it.
///
/// # Errors
/// As [`open`].
pub async fn open_when_free(
    url: &str,
    indexer: impl Indexer,
    patience: Duration,
) -> Result<Store, OpenError> {
    let deadline = Instant::now() + patience;
    let log = loop {
        match open_log(url).await {
            Err(OpenError::Locked { .. }) if Instant::now() < deadline => {
                sleep_until(Instant::now() + PAUSE).await;
            }
            opened => break opened?,
        }
    };
    Store::open(log, indexer).await
}

/// Tells whether this is the address of a store that other processes may have open at the same time, and that may be
/// out of reach.
#[must_use]
pub fn is_shared(url: &str) -> bool {
    url.starts_with("etcd://") || url.starts_with("etcds://")
}

/// Opens the log at `url`, for a store that shall start before the log answers. An etcd cluster is connected to later.
///
/// # Errors
/// As [`open`], but that etcd does not answer is none.
///
/// # Panics
/// Outside a tokio runtime.
pub async fn open_log(url: &str) -> Result<Arc<dyn CommitLog>, OpenError> {
    Ok(match Place::parse(url)? {
        Place::Etcd(url) => etcd_log(&url)?,
        Place::Memory => Arc::new(MemoryLog::new()),
        Place::File(path) => Arc::new(RedbLog::open(path).await?),
        Place::Directory(path) if path.exists() && !path.is_dir() => {
            return Err(OpenError::WrongKind {
                path,
                expected: "directory",
            });
        }
        Place::Directory(path) => Arc::new(RedbLog::open(path.join(FILE)).await?),
    })
}

#[cfg(feature = "etcd")]
fn etcd_log(url: &str) -> Result<Arc<dyn CommitLog>, OpenError> {
    Ok(Arc::new(crate::etcd::EtcdLog::open(url)?))
}

#[cfg(not(feature = "etcd"))]
fn etcd_log(url: &str) -> Result<Arc<dyn CommitLog>, OpenError> {
    // What may be a password is not shown.
    let hosts = url.rsplit_once('@').map_or(url, |(_, hosts)| hosts);
    Err(OpenError::NoEtcd { url: hosts.into() })
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Memory,
    File(PathBuf),
    Directory(PathBuf),
    Etcd(String),
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
            Some(("etcd" | "etcds", _)) => Ok(Self::Etcd(url.to_owned())),
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
            ("etcd://a,b/gw", Some(Place::Etcd("etcd://a,b/gw".to_owned()))),
            ("etcds://a", Some(Place::Etcd("etcds://a".to_owned()))),
            ("memory:x", None),
            ("redb:", None),
            ("file:", None),
            ("", None),
            ("postgres://db/gw", None),
        ] {
            assert_eq!(Place::parse(url).ok(), place, "{url}");
        }
    }

    #[tokio::test]
    async fn a_store_in_use_is_waited_for_and_not_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("file:{}", dir.path().display());
        let first = open(&url, ()).await.unwrap();
        let taken = open_when_free(&url, (), PAUSE * 3).await;
        assert!(matches!(taken, Err(OpenError::Locked { .. })), "{taken:?}");
        let second = tokio::spawn(async move { open_when_free(&url, (), Duration::from_secs(10)).await });
        tokio::task::yield_now().await;
        first.close().await;
        second.await.unwrap().unwrap();
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
