//! A copy of a store's file while another process writes it.

use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::path::Path;

use redb::{Database, Durability};

use crate::backup::Backup;
use crate::embedded::{file, tables};

/// Tries to copy the file between two commits.
const TRIES: usize = 50;

/// Bytes at the beginning of the file that each commit writes, and nothing else does: pages are never changed in
/// place, so that what lies between two equal beginnings is the state of the one commit they tell of.
const BEGINNING: usize = 512;

/// Copies the store's file at `from` to `to`, whether or not somebody has it open, and reads the copy.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<Backup, redb::Error> {
    if to.try_exists()? {
        return Err(io::Error::from(io::ErrorKind::AlreadyExists).into());
    }
    let half = file::beside(to, "new");
    let copied = copy_to(from, &half).and_then(|backup| {
        std::fs::rename(&half, to)?;
        file::sync_directory(to)?;
        Ok(backup)
    });
    if copied.is_err() {
        // What it could not be made into a backup is of no use.
        std::fs::remove_file(&half).ok();
    }
    copied
}

fn copy_to(from: &Path, half: &Path) -> Result<Backup, redb::Error> {
    let mut source = File::open(from)?;
    for _ in 0..TRIES {
        let before = beginning(&mut source)?;
        let mut copy = file::private().create(true).truncate(true).open(half)?;
        source.rewind()?;
        io::copy(&mut source, &mut copy)?;
        if beginning(&mut source)? != before || beginning(&mut copy)? != before {
            continue;
        }
        copy.sync_all()?;
        drop(copy);
        return read(half);
    }
    Err(io::Error::new(
        io::ErrorKind::ResourceBusy,
        "it is written to all the time; try again",
    )
    .into())
}

fn beginning(file: &mut File) -> io::Result<[u8; BEGINNING]> {
    let mut bytes = [0; BEGINNING];
    file.rewind()?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Opens the copy, which checks it page by page, as after a crash; and marks it as closed in order.
fn read(half: &Path) -> Result<Backup, redb::Error> {
    let database: Database = file::reopen(half)?;
    let (_, incarnation) = tables::about(&database)?;
    let incarnation = incarnation.ok_or_else(|| redb::Error::Corrupted("it is no store".to_owned()))?;
    let head = tables::head(&database, crate::Incarnation::from_u128(incarnation))?;
    let pruned = tables::pruned(&database)?;
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.commit()?;
    drop(database);
    Ok(Backup {
        revision: head.revision,
        commits: head.revision.0.saturating_sub(pruned.0),
    })
}
