//! The errors of what users call: open, commit, look back.

use std::path::PathBuf;

use crate::commit::{CommitId, Key, Revision};
use crate::log::{BoxError, LogError};

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The address names no backend.
    #[error(
        "store `{url}` is not understood; write `memory:`, `redb:FILE`, `file:DIRECTORY`, `etcd://HOSTS/PREFIX` or a directory"
    )]
    BadUrl {
        /// What was asked for.
        url: Box<str>,
    },
    /// The address of an etcd cluster is not understood.
    #[error("store `{url}`: {why}; write `etcd://host1:2379,host2:2379/prefix`, or `etcds://` for TLS")]
    BadEtcdUrl {
        /// What was asked for, without user and password.
        url: Box<str>,
        /// What is wrong with it.
        why: Box<str>,
    },
    /// A backend that this build was made without.
    #[error("store `{url}` needs etcd, which this build was made without; build it with the feature `etcd`")]
    NoEtcd {
        /// What was asked for, without user and password.
        url: Box<str>,
    },
    /// A file that TLS needs cannot be used.
    #[error("`{}` cannot be used for TLS; it must be readable and hold certificates or a key as PEM", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: BoxError,
    },
    /// A file is where a directory should be, or the other way round.
    #[error("`{}` is not a {expected}; write `redb:FILE` for a file, or the bare path of a directory", path.display())]
    WrongKind {
        /// What was asked for.
        path: PathBuf,
        /// `file` or `directory`.
        expected: &'static str,
    },
    /// The directory or a file in it cannot be used.
    #[error("cannot use `{}`; check that it exists and that this user may write there", path.display())]
    Io {
        /// What was being opened or created.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process, or another handle in this one, has the store open.
    #[error("`{}` is in use by {}; stop it, or choose another data directory", path.display(), holder(*pid))]
    Locked {
        /// The store's file.
        path: PathBuf,
        /// The process that holds it, where that is known.
        pid: Option<u32>,
    },
    /// The file is not a store, or was cut or overwritten.
    #[error("`{}` is not a readable store; restore it from a backup, or move it away to start empty", path.display())]
    Damaged {
        /// The store's file.
        path: PathBuf,
        /// What is wrong with it.
        source: BoxError,
    },
    /// The file was written by a newer release.
    #[error("`{}` has format {found}, this release reads up to {supported}; install the release that wrote it", path.display())]
    NewerFormat {
        /// The store's file.
        path: PathBuf,
        /// The format it has.
        found: u8,
        /// The newest format read here.
        supported: u8,
    },
    /// The log does not answer.
    #[error("the store's log cannot be read")]
    Log(#[from] LogError),
}

/// Why a commit was not made, or is not known to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError<E> {
    /// The closure refused.
    #[error(transparent)]
    Refused(E),
    /// A key, a value or the whole commit is over its bound; nothing was written.
    #[error("{part} has {size} bytes, the limit is {limit}; make it smaller")]
    TooLarge {
        /// What is too large.
        part: Part,
        /// How large it is.
        size: usize,
        /// How large it may be.
        limit: usize,
    },
    /// A commit with this id was made before; nothing was written now.
    #[error("commit {id} was made before, as revision {revision}")]
    Duplicate {
        /// The id both share.
        id: CommitId,
        /// What the first one made.
        revision: Revision,
    },
    /// The store accepts no writes; nothing was written.
    #[error("the store is read-only")]
    ReadOnly {
        /// What the log said.
        source: LogError,
    },
    /// The log does not answer; nothing was written.
    #[error("the store is not available, nothing was written; try again")]
    Unavailable {
        /// What the log said.
        source: LogError,
    },
    /// It may have been written. `Store::find` tells, once the log answers again.
    #[error("commit {id} may have been written or not; look for it before trying again")]
    Unknown {
        /// The commit's id.
        id: CommitId,
        /// What the log said.
        source: LogError,
    },
    /// The store was closed; nothing was written.
    #[error("the store is closed, nothing was written")]
    Closed,
}

/// Why an earlier revision cannot be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// It was dropped, since enough newer ones are kept.
    #[error("the history is kept from revision {oldest} on; name that one or a later one")]
    Pruned {
        /// The oldest revision whose contents can be read, apart from those that are kept by name.
        oldest: Revision,
    },
    /// It is still to come.
    #[error("the store is at revision {head}; name that one or an earlier one")]
    Future {
        /// The newest revision.
        head: Revision,
    },
    /// The log does not tell.
    #[error("the store's history cannot be read")]
    Log(#[source] LogError),
}

impl From<LogError> for HistoryError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Compacted { upto } => Self::Pruned { oldest: upto },
            error => Self::Log(error),
        }
    }
}

/// Why a backup was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// There is a file already; it is left alone.
    #[error("`{}` is there already; choose another name, or remove it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The disk refuses.
    #[error("cannot write `{}`; check that this user may write there and that there is room", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: BoxError,
    },
    /// The log does not tell.
    #[error("the store cannot be read")]
    Log(#[from] LogError),
}

/// What of a commit is too large.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// The key itself, shown by its beginning.
    Key(Box<str>),
    /// The value of this key.
    Value(Key),
    /// All of it together.
    Commit,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(beginning) => write!(f, "the key that begins with `{beginning}`"),
            Self::Value(key) => write!(f, "the value of `{key}`"),
            Self::Commit => f.write_str("the commit"),
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
