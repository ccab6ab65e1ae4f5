//! `RedbLog`: a log in one file, written by one process, synchronised before a commit is acknowledged.

use std::fmt;
use std::future::ready;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use redb::Database;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::announced::Announcements;
use crate::commit::{CommitId, Incarnation, Revision};
use crate::embedded::desk::{Desk, Interrupted};
use crate::embedded::file::Locked;
use crate::error::OpenError;
use crate::log::{Announced, AppendError, BoxFuture, CommitLog, Head, LogError, Record};

mod desk;
mod file;
pub(crate) mod live;
mod snapshot;
mod tables;

pub(crate) use snapshot::Snapshot;

/// Bound: the largest commit, in bytes.
const LIMIT: usize = 64 * 1024 * 1024;

/// A log in a redb file. Everything that touches the disk runs on a thread of its own.
///
/// After a failed write the file is opened anew before the next use, so that a full disk heals once there is room.
pub struct RedbLog {
    core: Arc<Core>,
    desk: Desk,
}

struct Core {
    path: PathBuf,
    incarnation: Incarnation,
    session: Mutex<Session>,
    standing: watch::Sender<Standing>,
    /// Held while an append is under way, until its caller has the answer.
    appending: tokio::sync::Mutex<()>,
    nodes: Announcements,
}

/// Where the log stands, as far as this process has seen: nobody else writes it.
#[derive(Clone, Copy)]
struct Standing {
    head: Head,
    closed: bool,
}

/// Invariant: no lock, no database: dropping the lock is what lets another process in.
struct Session {
    database: Option<Database>,
    lock: Option<Locked>,
}

impl RedbLog {
    /// Opens the log in the file at `path`, creating it and its directory if there is none.
    ///
    /// # Errors
    /// When another handle has it open, it is damaged or of a newer format, or the disk refuses.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref().to_path_buf();
        let place = path.clone();
        // From one of the runtime's threads that may wait, whose priority it has too.
        let desk = spawn_blocking(Desk::open).await.map_err(io::Error::from);
        let desk = desk.and_then(|desk| desk).map_err(|source| OpenError::Io {
            path: place.clone(),
            source,
        })?;
        match desk.run(move || Core::open(path)).await {
            Ok(core) => Ok(Self {
                core: Arc::new(core?),
                desk,
            }),
            Err(error) => Err(OpenError::Damaged {
                path: place,
                source: error.into(),
            }),
        }
    }

    /// Runs `work` on the log's thread, to its end even if the future is dropped.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let core = Arc::clone(&self.core);
        match self.desk.run(move || work(&core)).await {
            Ok(result) => result,
            Err(error) => Err(self.core.interrupted(error)),
        }
    }

    async fn wait(&self, after: Head) -> Result<Revision, LogError> {
        let mut standing = self.core.standing.subscribe();
        let now = *standing.borrow();
        // What is not in this history is not worth waiting for. The newest commit is: that need not be read.
        if now.head != after || after.last.is_none() {
            self.run(move |core| {
                core.with(|database| tables::check_within(database, core.incarnation, after))
            })
            .await??;
        }
        let past = |standing: &Standing| standing.closed || standing.head.revision > after.revision;
        if standing.wait_for(past).await.is_err() {
            return Err(LogError::Closed);
        }
        // Whoever appended hears of it first: most often it is who waits, and needs not read what it has written.
        drop(self.core.appending.lock().await);
        let now = *self.core.standing.borrow();
        match now.closed {
            true => Err(LogError::Closed),
            false => Ok(now.head.revision),
        }
    }
}

impl CommitLog for RedbLog {
    fn head(&self) -> BoxFuture<'_, Result<Head, LogError>> {
        Box::pin(self.run(|core| core.with(|database| tables::head(database, core.incarnation))))
    }

    fn append(
        &self,
        expect: Head,
        record: Bytes,
        id: CommitId,
    ) -> BoxFuture<'_, Result<Revision, AppendError>> {
        Box::pin(async move {
            let _appending = self.core.appending.lock().await;
            let core = Arc::clone(&self.core);
            match self.desk.run(move || core.append(expect, &record, id)).await {
                Ok(result) => result,
                Err(error) => Err(AppendError::Unknown(self.core.interrupted(error))),
            }
        })
    }

    fn find(&self, id: CommitId) -> BoxFuture<'_, Result<Option<Revision>, LogError>> {
        Box::pin(self.run(move |core| core.with(|database| tables::find(database, id))))
    }

    fn read(&self, after: Head) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        Box::pin(async move {
            self.run(move |core| core.with(|database| tables::page(database, core.incarnation, after)))
                .await?
        })
    }

    fn wait_past(&self, after: Head) -> BoxFuture<'_, Result<Revision, LogError>> {
        Box::pin(self.wait(after))
    }

    fn checkpoint(&self, at: Revision, state: Bytes) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(self.run(move |core| core.with(|database| tables::write_checkpoint(database, at, &state))))
    }

    fn checkpoint_until(&self, until: Revision) -> BoxFuture<'_, Result<Option<Record>, LogError>> {
        Box::pin(self.run(move |core| core.with(|database| tables::checkpoint_until(database, until))))
    }

    fn prune(&self, upto: Revision, keep: Vec<Revision>) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(self.run(move |core| core.with(|database| tables::prune(database, upto, &keep))))
    }

    fn pruned(&self) -> BoxFuture<'_, Result<Revision, LogError>> {
        Box::pin(self.run(|core| core.with(tables::pruned)))
    }

    fn announce(&self, node: &str, about: Bytes, lasting: Duration) -> BoxFuture<'_, Result<(), LogError>> {
        let said = self
            .core
            .check_open()
            .map(|()| self.core.nodes.say(node, about, lasting));
        Box::pin(ready(said))
    }

    fn announced(&self) -> BoxFuture<'_, Result<Vec<Announced>, LogError>> {
        Box::pin(ready(self.core.check_open().map(|()| self.core.nodes.all())))
    }

    fn place(&self) -> Box<str> {
        self.core.place()
    }

    fn limit(&self) -> usize {
        LIMIT
    }

    fn close(&self) {
        let mut session = self.core.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.database = None;
        session.lock = None;
        drop(session);
        self.core.standing.send_modify(|standing| standing.closed = true);
    }
}

impl fmt::Debug for RedbLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbLog")
            .field("path", &self.core.path)
            .finish_non_exhaustive()
    }
}

impl Core {
    fn open(path: PathBuf) -> Result<Self, OpenError> {
        let lock = Locked::acquire(&path)?;
        file::create_if_missing(&path, &lock)?;
        let (database, incarnation) = file::open(&path)?;
        let damaged = |error: redb::Error| OpenError::Damaged {
            path: path.clone(),
            source: error.into(),
        };
        let head = tables::head(&database, incarnation).map_err(damaged)?;
        let session = Mutex::new(Session {
            database: Some(database),
            lock: Some(lock),
        });
        Ok(Self {
            incarnation,
            session,
            standing: watch::Sender::new(Standing { head, closed: false }),
            appending: tokio::sync::Mutex::default(),
            nodes: Announcements::default(),
            path,
        })
    }

    /// Runs `work` on the open file. After an error the file is closed; the next call opens it anew.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, LogError> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if session.lock.is_none() {
            return Err(LogError::Closed);
        }
        // Taken out while it works: if `work` panics, the database is dropped and opened anew as well.
        let database = match session.database.take() {
            Some(database) => database,
            None => file::reopen(&self.path).map_err(|error| self.failed(error))?,
        };
        match work(&database) {
            Ok(value) => {
                session.database = Some(database);
                Ok(value)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    fn check_open(&self) -> Result<(), LogError> {
        match self.standing.borrow().closed {
            true => Err(LogError::Closed),
            false => Ok(()),
        }
    }

    fn append(&self, expect: Head, record: &[u8], id: CommitId) -> Result<Revision, AppendError> {
        let mut begun = false;
        let incarnation = self.incarnation;
        let appended =
            self.with(|database| tables::append(database, incarnation, expect, record, id, &mut begun));
        let made = match appended {
            Ok(appended) => appended?,
            Err(error) if !begun => return Err(AppendError::Rejected(error)),
            // The write failed midway. The file, opened anew, knows how it ended.
            Err(error) => match self.with(|database| tables::find(database, id)) {
                Ok(Some(revision)) => revision,
                Ok(None) => return Err(AppendError::Rejected(error)),
                Err(_) => return Err(AppendError::Unknown(error)),
            },
        };
        self.standing.send_if_modified(|standing| {
            let is_newest = made > standing.head.revision;
            if is_newest {
                standing.head = Head {
                    revision: made,
                    last: Some(id),
                    ..standing.head
                };
            }
            is_newest
        });
        Ok(made)
    }

    fn place(&self) -> Box<str> {
        self.path.display().to_string().into()
    }

    fn interrupted(&self, error: Interrupted) -> LogError {
        LogError::Unavailable {
            place: self.place(),
            source: error.into(),
        }
    }

    fn failed(&self, error: redb::Error) -> LogError {
        use std::io::ErrorKind::{InvalidData, PermissionDenied, ReadOnlyFilesystem, UnexpectedEof};
        let place = self.place();
        match &error {
            redb::Error::Corrupted(_) => LogError::Damaged {
                place,
                source: error.into(),
            },
            redb::Error::Io(io) => match io.kind() {
                ReadOnlyFilesystem | PermissionDenied => LogError::ReadOnly {
                    place,
                    source: error.into(),
                },
                InvalidData | UnexpectedEof => LogError::Damaged {
                    place,
                    source: error.into(),
                },
                _ => LogError::Unavailable {
                    place,
                    source: error.into(),
                },
            },
            _ => LogError::Unavailable {
                place,
                source: error.into(),
            },
        }
    }
}
