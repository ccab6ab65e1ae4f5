//! The file below `RedbLog`: its lock, how it comes into being, and how it is recognised.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError};

use crate::commit::Incarnation;
use crate::embedded::tables;
use crate::error::OpenError;

/// The layout of tables this release writes, and the newest it reads; older ones are upgraded when they are opened.
const VERSION: u8 = 2;

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
    initialise(&fresh, Incarnation::random())
        .map(drop)
        .map_err(|error| match error {
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
    let (format, incarnation) = tables::about(&database).map_err(damaged)?;
    match (u8::try_from(format), incarnation) {
        (Ok(VERSION), Some(incarnation)) => Ok((database, Incarnation::from_u128(incarnation))),
        (Ok(old @ 1..VERSION), Some(incarnation)) => {
            drop(database);
            copy_aside(path, old)?;
            let database = reopen(path).map_err(damaged)?;
            upgrade(&database).map_err(damaged)?;
            Ok((database, Incarnation::from_u128(incarnation)))
        }
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

/// Makes an empty store in a file that nobody looks for yet, whatever was in it.
pub(super) fn initialise(path: &Path, incarnation: Incarnation) -> Result<Database, redb::Error> {
    let file = private().create(true).truncate(true).open(path)?;
    let kept = file.try_clone()?;
    let database = Database::builder().set_cache_size(CACHE).create_file(file)?;
    let transaction = tables::begin(&database)?;
    tables::create(&transaction, VERSION, incarnation)?;
    transaction.commit()?;
    kept.sync_all()?;
    Ok(database)
}

fn upgrade(database: &Database) -> Result<(), redb::Error> {
    let transaction = tables::begin(database)?;
    tables::upgrade(&transaction, VERSION)?;
    transaction.commit()?;
    Ok(())
}

/// Copies a file of an older format to `store.redb.format1`, for the release that wrote it. A copy that is there
/// already is left alone: it may be the only one of what was before.
fn copy_aside(path: &Path, format: u8) -> Result<(), OpenError> {
    let copy = beside(path, &format!("format{format}"));
    let failed = |source| OpenError::Io {
        path: copy.clone(),
        source,
    };
    if copy.try_exists().map_err(failed)? {
        return Ok(());
    }
    let half = beside(path, "new");
    let mut from = File::open(path).map_err(failed)?;
    let mut to = private()
        .create(true)
        .truncate(true)
        .open(&half)
        .map_err(failed)?;
    io::copy(&mut from, &mut to)
        .and_then(|_| to.sync_all())
        .and_then(|()| fs::rename(&half, &copy))
        .and_then(|()| sync_directory(path))
        .map_err(failed)
}

fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    )
}

/// `store.redb` to `store.redb.lock`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
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
pub(super) fn private() -> OpenOptions {
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
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    let directory = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}
