//! `RedbLog`: a log in one file, written by one process, synchronised before a commit is acknowledged.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::watch;
use tokio::task::{JoinError, spawn_blocking};

use crate::commit::{CommitId, Incarnation, Revision};
use crate::embedded::file::Locked;
use crate::error::OpenError;
use crate::log::{AppendError, BoxFuture, CommitLog, Head, LogError, Record};

mod file;

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const IDS: TableDefinition<'_, u128, u64> = TableDefinition::new("ids");
const CHECKPOINTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("checkpoints");

/// Bound: the largest commit, in bytes.
const LIMIT: usize = 64 * 1024 * 1024;

/// Bound: records handed out by one `read`, and their bytes.
const PAGE: (usize, usize) = (256, 8 * 1024 * 1024);

/// Checkpoints kept: the newest, and one to fall back to.
const CHECKPOINTS_KEPT: usize = 2;

/// A log in a redb file. Everything that touches the disk runs on a blocking thread.
///
/// After a failed write the file is opened anew before the next use, so that a full disk heals once there is room.
pub struct RedbLog {
    core: Arc<Core>,
}

struct Core {
    path: PathBuf,
    incarnation: Incarnation,
    session: Mutex<Session>,
    /// The head, and whether the log is closed.
    standing: watch::Sender<(Revision, bool)>,
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
        match spawn_blocking(move || Core::open(path)).await {
            Ok(core) => Ok(Self {
                core: Arc::new(core?),
            }),
            // redb trusts some of what it reads: on a damaged file it may panic instead of answering.
            Err(error) => Err(OpenError::Damaged {
                path: place,
                source: error.into(),
            }),
        }
    }

    /// Runs `work` on a blocking thread, to its end even if the future is dropped.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let core = Arc::clone(&self.core);
        match spawn_blocking(move || work(&core)).await {
            Ok(result) => result,
            Err(error) => Err(self.core.interrupted(error)),
        }
    }

    async fn wait(&self, after: Revision) -> Result<Revision, LogError> {
        let mut standing = self.core.standing.subscribe();
        match standing
            .wait_for(|(head, closed)| *closed || *head > after)
            .await
            .as_deref()
        {
            Ok((head, false)) => Ok(*head),
            Ok((_, true)) | Err(_) => Err(LogError::Closed),
        }
    }
}

impl CommitLog for RedbLog {
    fn head(&self) -> BoxFuture<'_, Result<Head, LogError>> {
        let incarnation = self.core.incarnation;
        Box::pin(async move {
            let revision = self.run(|core| core.with(read_head)).await?;
            Ok(Head {
                incarnation,
                revision,
            })
        })
    }

    fn append(
        &self,
        expect: Revision,
        record: Bytes,
        id: CommitId,
    ) -> BoxFuture<'_, Result<Revision, AppendError>> {
        Box::pin(async move {
            let core = Arc::clone(&self.core);
            match spawn_blocking(move || core.append(expect, &record, id)).await {
                Ok(result) => result,
                Err(error) if error.is_cancelled() => {
                    Err(AppendError::Rejected(self.core.interrupted(error)))
                }
                Err(error) => Err(AppendError::Unknown(self.core.interrupted(error))),
            }
        })
    }

    fn find(&self, id: CommitId) -> BoxFuture<'_, Result<Option<Revision>, LogError>> {
        Box::pin(self.run(move |core| core.with(|database| find(database, id))))
    }

    fn read(&self, after: Revision) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        Box::pin(self.run(move |core| core.with(|database| read_page(database, after))))
    }

    fn wait_past(&self, after: Revision) -> BoxFuture<'_, Result<Revision, LogError>> {
        Box::pin(self.wait(after))
    }

    fn checkpoint(&self, at: Revision, state: Bytes) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(self.run(move |core| core.with(|database| write_checkpoint(database, at, &state))))
    }

    fn checkpoint_until(&self, until: Revision) -> BoxFuture<'_, Result<Option<Record>, LogError>> {
        Box::pin(self.run(move |core| core.with(|database| read_checkpoint(database, until))))
    }

    fn limit(&self) -> usize {
        LIMIT
    }

    fn close(&self) {
        let mut session = self.core.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.database = None;
        session.lock = None;
        drop(session);
        self.core.standing.send_modify(|(_, closed)| *closed = true);
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
        let head = read_head(&database).map_err(damaged)?;
        let session = Mutex::new(Session {
            database: Some(database),
            lock: Some(lock),
        });
        Ok(Self {
            incarnation,
            session,
            standing: watch::Sender::new((head, false)),
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

    fn append(&self, expect: Revision, record: &[u8], id: CommitId) -> Result<Revision, AppendError> {
        let mut begun = false;
        let appended = self.with(|database| append(database, expect, record, id, &mut begun));
        let made = match appended {
            Ok(appended) => appended?,
            Err(error) if !begun => return Err(AppendError::Rejected(error)),
            // The write failed midway. The file, opened anew, knows how it ended.
            Err(error) => match self.with(|database| find(database, id)) {
                Ok(Some(revision)) => revision,
                Ok(None) => return Err(AppendError::Rejected(error)),
                Err(_) => return Err(AppendError::Unknown(error)),
            },
        };
        self.standing.send_modify(|(head, _)| *head = made.max(*head));
        Ok(made)
    }

    fn place(&self) -> Box<str> {
        self.path.display().to_string().into()
    }

    fn interrupted(&self, error: JoinError) -> LogError {
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

// --- transactions ---

/// Appends in one transaction; the outer error is redb's, the inner one the log's. `begun` is set before the step
/// whose failure leaves the outcome open.
fn append(
    database: &Database,
    expect: Revision,
    record: &[u8],
    id: CommitId,
    begun: &mut bool,
) -> Result<Result<Revision, AppendError>, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    let made = {
        let mut ids = transaction.open_table(IDS)?;
        let mut log = transaction.open_table(LOG)?;
        if let Some(revision) = ids.get(id.as_u128())? {
            return Ok(Err(AppendError::Duplicate {
                revision: Revision(revision.value()),
            }));
        }
        let head = Revision(log.last()?.map_or(0, |(revision, _)| revision.value()));
        if head != expect {
            return Ok(Err(AppendError::Conflict { head }));
        }
        let made = head.next();
        log.insert(made.0, record)?;
        ids.insert(id.as_u128(), made.0)?;
        made
    };
    *begun = true;
    transaction.commit()?;
    Ok(Ok(made))
}

fn read_head(database: &Database) -> Result<Revision, redb::Error> {
    let log = database.begin_read()?.open_table(LOG)?;
    Ok(Revision(log.last()?.map_or(0, |(revision, _)| revision.value())))
}

fn find(database: &Database, id: CommitId) -> Result<Option<Revision>, redb::Error> {
    let ids = database.begin_read()?.open_table(IDS)?;
    Ok(ids.get(id.as_u128())?.map(|revision| Revision(revision.value())))
}

fn read_page(database: &Database, after: Revision) -> Result<Vec<Record>, redb::Error> {
    let log = database.begin_read()?.open_table(LOG)?;
    let (count, bytes) = PAGE;
    let mut page = Vec::new();
    let mut size = 0;
    for entry in log.range(after.next().0..)? {
        let (revision, record) = entry?;
        let record = Bytes::copy_from_slice(record.value());
        size += record.len();
        page.push(Record {
            revision: Revision(revision.value()),
            bytes: record,
        });
        if page.len() >= count || size >= bytes {
            break;
        }
    }
    Ok(page)
}

fn write_checkpoint(database: &Database, at: Revision, state: &[u8]) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    {
        let mut checkpoints = transaction.open_table(CHECKPOINTS)?;
        checkpoints.insert(at.0, state)?;
        let mut old = Vec::new();
        for entry in checkpoints.iter()?.rev().skip(CHECKPOINTS_KEPT) {
            old.push(entry?.0.value());
        }
        for revision in old {
            checkpoints.remove(revision)?;
        }
    }
    transaction.commit()?;
    Ok(())
}

fn read_checkpoint(database: &Database, until: Revision) -> Result<Option<Record>, redb::Error> {
    let checkpoints = database.begin_read()?.open_table(CHECKPOINTS)?;
    let newest = checkpoints.range(..=until.0)?.next_back().transpose()?;
    Ok(newest.map(|(revision, state)| Record {
        revision: Revision(revision.value()),
        bytes: Bytes::copy_from_slice(state.value()),
    }))
}
