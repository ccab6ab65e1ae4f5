//! `Snapshot`: a store's file written in one go, under another name until it is whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use redb::{Database, Durability};

use crate::commit::{CommitId, Incarnation, Revision};
use crate::embedded::{file, tables};
use crate::log::Record;

/// A file on its way to `to`. Dropped before it is finished, it is removed.
pub(crate) struct Snapshot {
    to: PathBuf,
    half: PathBuf,
    database: Option<Database>,
}

impl Snapshot {
    pub(crate) fn begin(to: &Path, incarnation: Incarnation) -> Result<Self, redb::Error> {
        if to.try_exists()? {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists).into());
        }
        let half = file::beside(to, "new");
        let database = file::initialise(&half, incarnation)?;
        Ok(Self {
            to: to.to_path_buf(),
            half,
            database: Some(database),
        })
    }

    /// Adds commits and checkpoints; what is added is on the disk when the snapshot is finished.
    pub(crate) fn add(
        &self,
        commits: &[(CommitId, Record)],
        checkpoints: &[Record],
    ) -> Result<(), redb::Error> {
        let Some(database) = &self.database else {
            return Ok(());
        };
        let mut transaction = database.begin_write()?;
        transaction.set_durability(Durability::None)?;
        tables::add(&transaction, commits, checkpoints)?;
        transaction.commit()?;
        Ok(())
    }

    /// Makes the file durable and gives it its name.
    pub(crate) fn finish(mut self, pruned: Revision, last: Option<CommitId>) -> Result<(), redb::Error> {
        if let Some(database) = self.database.take() {
            let transaction = tables::begin(&database)?;
            tables::stand(&transaction, pruned, last)?;
            transaction.commit()?;
        }
        fs::File::open(&self.half)?.sync_all()?;
        if self.to.try_exists()? {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists).into());
        }
        fs::rename(&self.half, &self.to)?;
        file::sync_directory(&self.to)?;
        Ok(())
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.database = None;
        // Under its own name there is nothing any more if it was finished.
        fs::remove_file(&self.half).ok();
    }
}
