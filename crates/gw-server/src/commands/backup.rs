//! `gw-server backup`: a copy of a store with its history, in a file of its own.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use gw_store::{Backup, OpenError};

use super::stored::{self, Stored};
use super::{CommandError, say};
use crate::args::Args;
use crate::error::StartError;

/// Copies the store to a new file.
pub(super) async fn run(args: &Args, to: &Path) -> Result<ExitCode, CommandError> {
    let (place, backup) = match stored::open(args).await {
        Ok(Stored { store, place, .. }) => {
            let backup = store.backup(to).await;
            store.close().await;
            (place, backup?)
        }
        // A gateway runs on it: its file is copied between two of its commits.
        Err(error) => match in_use(&error) {
            Some(file) => (
                file.display().to_string().into(),
                gw_store::backup_file(&file, to).await?,
            ),
            None => return Err(error),
        },
    };
    let Backup {
        revision, commits, ..
    } = backup;
    let to = to.display();
    say(&format!(
        "{to} holds {place} at revision {revision}, with {commits} commits; start from it with --store redb:{to}\n"
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn in_use(error: &CommandError) -> Option<PathBuf> {
    match error {
        CommandError::Start(StartError::Store { source, .. } | StartError::ElsewhereStore { source }) => {
            match source {
                OpenError::Locked { path, .. } => Some(path.clone()),
                _ => None,
            }
        }
        _ => None,
    }
}
