//! `CommitLog`, the one thing a backend implements: an append-only log with compare-and-set on its head.

use std::fmt;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::codec::DecodeError;
use crate::commit::{CommitId, Incarnation, Revision};

/// A boxed future, so that `CommitLog` can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The error below ours: a file, a network, a library.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An ordered log of commits. Each backend implements this and nothing else.
///
/// Invariants every backend keeps, checked by the `contract` suite:
/// - Revisions are dense: the first commit makes revision 1, each one after it adds one.
/// - Exactly one append succeeds for each expected head.
/// - An append that returned `Ok` is durable, as far as the backend is at all.
/// - A dropped future leaves a commit whole or absent, and the log usable.
/// - A head that is not in this history is answered by [`LogError::Reset`], and only that is: neither an empty answer,
///   nor a refusal, nor silence is ever taken for one.
pub trait CommitLog: Send + Sync + 'static {
    /// Returns where the log stands.
    fn head(&self) -> BoxFuture<'_, Result<Head, LogError>>;

    /// Appends `record` if the head is still at `expect`; returns the revision it made.
    fn append(
        &self,
        expect: Head,
        record: Bytes,
        id: CommitId,
    ) -> BoxFuture<'_, Result<Revision, AppendError>>;

    /// Returns the revision made under `id`, as far back as commits are kept.
    fn find(&self, id: CommitId) -> BoxFuture<'_, Result<Option<Revision>, LogError>>;

    /// Returns the records after `after` in order, as many as the backend likes to hand out at once;
    /// none means that there are none yet.
    fn read(&self, after: Head) -> BoxFuture<'_, Result<Vec<Record>, LogError>>;

    /// Resolves once the head is past `after`, whoever appended; answers `Reset` once `after` is not in this history,
    /// and `Closed` once the log is closed.
    fn wait_past(&self, after: Head) -> BoxFuture<'_, Result<Revision, LogError>>;

    /// Keeps `state`, the whole contents at revision `at`, so that opening need not read the log from its start.
    /// It is kept until it is pruned; one that is there already is replaced.
    fn checkpoint(&self, at: Revision, state: Bytes) -> BoxFuture<'_, Result<(), LogError>>;

    /// Returns the newest checkpoint at or before `until`.
    fn checkpoint_until(&self, until: Revision) -> BoxFuture<'_, Result<Option<Record>, LogError>>;

    /// Drops the commits up to and including `upto`, at which there is a checkpoint, and the checkpoints before it
    /// except those at the revisions of `keep`.
    fn prune(&self, upto: Revision, keep: Vec<Revision>) -> BoxFuture<'_, Result<(), LogError>>;

    /// Returns the newest revision whose commit was dropped; zero if none was.
    fn pruned(&self) -> BoxFuture<'_, Result<Revision, LogError>>;

    /// Tells whether what this log last told is known to be current.
    fn freshness(&self) -> Freshness {
        Freshness::Current
    }

    /// Says that `node` is alive for `lasting`, and what it is at. Say it again before it lapses.
    fn announce(&self, node: &str, about: Bytes, lasting: Duration) -> BoxFuture<'_, Result<(), LogError>>;

    /// Returns the nodes whose word has not lapsed, in the order of their names.
    fn announced(&self) -> BoxFuture<'_, Result<Vec<Announced>, LogError>>;

    /// Returns where the log lives, for messages: a path, or an address without what is secret in it.
    fn place(&self) -> Box<str>;

    /// Returns the size of the largest record that `append` takes, in bytes.
    fn limit(&self) -> usize;

    /// Lets go of what the log holds, a file lock say. Blocks while a write is under way; later calls answer
    /// `Closed`. Closing twice is harmless.
    fn close(&self);
}

impl fmt::Debug for dyn CommitLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CommitLog")
    }
}

/// Where a log stands; also the position a reader has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Head {
    /// Which history this is.
    pub incarnation: Incarnation,
    /// The newest commit in it.
    pub revision: Revision,
    /// The id of that commit, [`CommitId::NONE`] before the first: a history that was restored from a backup and went
    /// on otherwise has the same revisions and other commits. Logs always tell it; of a position, none means that it
    /// is not known, and then it is not compared.
    pub last: Option<CommitId>,
}

/// Bytes at a revision: an encoded commit, or an encoded checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The revision the bytes belong to.
    pub revision: Revision,
    /// What was handed to `append` or `checkpoint`.
    pub bytes: Bytes,
}

/// Whether what a log last told is known to be current.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Freshness {
    /// It is.
    Current,
    /// The log has not answered for a while: there may be commits that are not seen here.
    Stale {
        /// Since when it is not known.
        since: SystemTime,
        /// What is the matter.
        why: Box<str>,
    },
}

/// A node that said it is alive, and has not been silent for too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Its name.
    pub node: Box<str>,
    /// What it said about itself.
    pub about: Bytes,
}

/// Why a log could not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The log was closed.
    #[error("the store is closed; open it again")]
    Closed,
    /// The commits asked for were dropped after a checkpoint.
    #[error("commits up to revision {upto} are no longer kept; start from the newest checkpoint")]
    Compacted {
        /// The newest revision that is gone.
        upto: Revision,
    },
    /// The position asked from is not in this history: it belongs to another one, or the head is before it.
    #[error("the store holds another history, which stands at revision {}; read it anew", head.revision)]
    Reset {
        /// Where the log stands.
        head: Head,
    },
    /// The place the log lives in does not know this user, or does not let it do this.
    #[error("`{place}` refuses this user; check its name, its password and its role")]
    Denied {
        /// Where the log lives.
        place: Box<str>,
        /// What it said.
        source: BoxError,
    },
    /// The place the log lives in accepts no writes.
    #[error("`{place}` accepts no writes; check its permissions and whether the disk is mounted read-only")]
    ReadOnly {
        /// Where the log lives.
        place: Box<str>,
        /// What the system said.
        source: BoxError,
    },
    /// The place the log lives in cannot be reached, or is full.
    #[error("`{place}` does not answer; see the cause, the next call tries again")]
    Unavailable {
        /// Where the log lives.
        place: Box<str>,
        /// What the system said.
        source: BoxError,
    },
    /// One commit in the log cannot be read.
    #[error("the commit that made revision {revision} cannot be read; restore the store from a backup")]
    Record {
        /// Which commit.
        revision: Revision,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// What was stored cannot be read back.
    #[error("`{place}` is damaged; restore it from a backup")]
    Damaged {
        /// Where the log lives.
        place: Box<str>,
        /// What is wrong with it.
        source: BoxError,
    },
}

/// Why an append did not return a revision.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The head has moved; nothing was written.
    #[error("the head is at revision {head}, another commit came first; look again and retry")]
    Conflict {
        /// Where the head is.
        head: Revision,
    },
    /// A commit with this id is in the log already; nothing was written.
    #[error("this commit was made before, as revision {revision}")]
    Duplicate {
        /// What it made.
        revision: Revision,
    },
    /// Nothing was written.
    #[error("the commit was not written")]
    Rejected(#[source] LogError),
    /// It may have been written: ask `find` for the id.
    #[error("the commit may have been written or not; ask for it by its id")]
    Unknown(#[source] LogError),
}
