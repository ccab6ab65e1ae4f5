//! The file below `RedbLog`: its lock, how it comes into being, and how it is recognised.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, Durability, ReadableDatabase, TableDefinition};

use crate::commit::Incarnation;
use crate::error::OpenError;

const ABOUT: TableDefinition<'_, &str, u128> = TableDefinition::new("about");
const FORMAT: &str = "format";
const INCARNATION: &str = "incarnation";

/// The layout of tables this release writes, and the newest it reads.
const VERSION: u8 = 1;

/// Bound: memory redb may use for pages.
const CACHE: usize = 8 * 1024 * 1024;

/// The right to use the store's file: a lock on a file beside it, which the system takes back when the process ends
/// in whatever way. It outlives the database, so that the database can be closed and opened without a gap in which
/// another process could slip in.
pub(super) struct Locked {
    file: File,
}

impl Locked {
    pub(super) fn acquire(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io {
            path: path.to_path_buf(),
            source,
        };
        if let Some(directory) = path
            .parent()
            .filter(|directory| !directory.as_os_str().is_empty())
        {
            create_directory(directory).map_err(|source| OpenError::Io {
                path: directory.to_path_buf(),
                source,
            })?;
        }
        if path.is_dir() {
            return Err(OpenError::WrongKind {
                path: path.to_path_buf(),
                expected: "file",
            });
        }
        let mut file = private()
            .create(true)
            .truncate(false)
            .open(beside(path, "lock"))
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked {
                    path: path.to_path_buf(),
                    pid: owner(&mut file),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // Who holds it is a courtesy to the next one who asks.
        file.set_len(0)
            .and_then(|()| write!(file, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(Self { file })
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Said aloud, since closing the file is not enough while a child process that is just being started still has
        // a copy of the handle. There is nobody to tell of a failure, and the system unlocks at the end anyway.
        self.file.unlock().ok();
    }
}

/// Makes an empty store if there is no file: under another name first, so that whatever is found under the store's
/// own name was once complete, and an empty file there is damage, never a fresh start.
pub(super) fn create_if_missing(path: &Path, _lock: &Locked) -> Result<(), OpenError> {
    let failed = |source| OpenError::Io {
        path: path.to_path_buf(),
        source,
    };
    if path.try_exists().map_err(failed)? {
        return Ok(());
    }
    let fresh = beside(path, "new");
    let file = private()
        .create(true)
        .truncate(true)
        .open(&fresh)
        .map_err(failed)?;
    initialise(file).map_err(|error| match error {
        redb::Error::Io(source) => failed(source),
        error => OpenError::Damaged {
            path: fresh.clone(),
            source: error.into(),
        },
    })?;
    fs::rename(&fresh, path).map_err(failed)?;
    sync_directory(path).map_err(failed)
}

/// Opens the store in an existing file and reads which history it has.
pub(super) fn open(path: &Path) -> Result<(Database, Incarnation), OpenError> {
    let damaged = |error: redb::Error| match error {
        redb::Error::Io(source) if !is_damage(&source) => OpenError::Io {
            path: path.to_path_buf(),
            source,
        },
        redb::Error::DatabaseAlreadyOpen => OpenError::Locked {
            path: path.to_path_buf(),
            pid: None,
        },
        error => OpenError::Damaged {
            path: path.to_path_buf(),
            source: error.into(),
        },
    };
    let database = reopen(path).map_err(damaged)?;
    let (format, incarnation) = about(&database).map_err(damaged)?;
    match (u8::try_from(format), incarnation) {
        (Ok(VERSION), Some(incarnation)) => Ok((database, Incarnation::from_u128(incarnation))),
        (Ok(found), _) if found > VERSION => Err(OpenError::NewerFormat {
            path: path.to_path_buf(),
            found,
            supported: VERSION,
        }),
        _ => Err(damaged(redb::Error::Corrupted(
            "it does not say which store it is".to_owned(),
        ))),
    }
}

/// Opens the database in an existing file; an empty or missing one is not made into a new database.
pub(super) fn reopen(path: &Path) -> Result<Database, redb::Error> {
    if fs::metadata(path)?.len() == 0 {
        return Err(redb::Error::Corrupted("it is empty".to_owned()));
    }
    Database::builder()
        .set_cache_size(CACHE)
        .open(path)
        .map_err(|error| match error {
            DatabaseError::UpgradeRequired(version) => redb::Error::Corrupted(format!(
                "it has redb's file format {version}, which is no longer read"
            )),
            error => error.into(),
        })
}

fn initialise(file: File) -> Result<(), redb::Error> {
    let kept = file.try_clone()?;
    let database = Database::builder().set_cache_size(CACHE).create_file(file)?;
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction
        .open_table(ABOUT)?
        .insert(FORMAT, u128::from(VERSION))?;
    transaction
        .open_table(ABOUT)?
        .insert(INCARNATION, Incarnation::random().as_u128())?;
    transaction.open_table(super::LOG)?;
    transaction.open_table(super::IDS)?;
    transaction.open_table(super::CHECKPOINTS)?;
    transaction.commit()?;
    drop(database);
    kept.sync_all()?;
    Ok(())
}

fn about(database: &Database) -> Result<(u128, Option<u128>), redb::Error> {
    let table = database.begin_read()?.open_table(ABOUT)?;
    let format = table.get(FORMAT)?.map_or(0, |format| format.value());
    let incarnation = table.get(INCARNATION)?.map(|incarnation| incarnation.value());
    Ok((format, incarnation))
}

fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    )
}

/// `store.redb` to `store.redb.lock`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

fn owner(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(20).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Options for a file that only its owner may read: a store holds keys and passwords.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn create_directory(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// Makes the file's name as durable as its contents.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    let directory = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}
