//! The data directory of a gateway whose configuration is elsewhere: its lock, its name and its checkpoints.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gw_admin::ports::Node;
use gw_store::checkpoint::Checkpoints;
use tokio::time::{Instant, sleep_until};

use crate::ports;

/// How many checkpoints are kept.
const KEEP: usize = 3;

/// How long not to ask again whether the directory is free.
const PAUSE: Duration = Duration::from_millis(10);

/// The right to use a data directory; the system takes it back when the process ends in whatever way.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// Another gateway uses it.
    #[error("{} is in use by another gateway; give each its own --data-dir", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// It cannot be made or written.
    #[error("cannot use {}; choose a directory that this user may write with --data-dir", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl DataDir {
    /// Takes a directory, made if there is none. With `patience`, one that is in use is waited for: the process that
    /// has it is about to let go.
    pub(crate) async fn take(path: &Path, patience: Duration) -> Result<Self, DataDirError> {
        let failed = |source| DataDirError::Io {
            path: path.to_owned(),
            source,
        };
        make(path).map_err(failed)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let lock = options.open(path.join("gateway.lock")).map_err(failed)?;
        let deadline = Instant::now() + patience;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    sleep_until(Instant::now() + PAUSE).await;
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(DataDirError::InUse {
                        path: path.to_owned(),
                    });
                }
            }
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// The node that lives here.
    pub(crate) fn node(&self) -> Result<Node, DataDirError> {
        Self::node_in(&self.path)
    }

    /// The node that lives in a directory which another lock protects: the store's own.
    pub(crate) fn node_in(path: &Path) -> Result<Node, DataDirError> {
        let node = make(path).and_then(|()| ports::node(path));
        node.map_err(|source| DataDirError::Io {
            path: path.to_owned(),
            source,
        })
    }

    /// What was served here last.
    pub(crate) fn checkpoints(&self) -> Checkpoints {
        Checkpoints::in_directory(self.path.join("checkpoints"), KEEP)
    }
}

/// There are credentials in it.
fn make(path: &Path) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_directory_has_one_gateway_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        let first = DataDir::take(&path, Duration::ZERO).await.unwrap();
        let name = first.node().unwrap();
        let taken = DataDir::take(&path, PAUSE * 2).await;
        assert!(matches!(taken, Err(DataDirError::InUse { .. })), "{taken:?}");
        let waiting = tokio::spawn({
            let path = path.clone();
            async move { DataDir::take(&path, Duration::from_secs(10)).await }
        });
        tokio::task::yield_now().await;
        drop(first);
        let second = waiting.await.unwrap().unwrap();
        assert_eq!(second.node().unwrap(), name, "the name stays with the directory");
    }

    #[tokio::test]
    async fn a_file_is_no_directory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let taken = DataDir::take(file.path(), Duration::ZERO).await;
        assert!(matches!(taken, Err(DataDirError::Io { .. })), "{taken:?}");
    }
}
