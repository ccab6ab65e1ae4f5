//! `gw-server import`: a declarative file or an export becomes what the store holds.

use std::path::Path;
use std::process::ExitCode;

use gw_admin::declarative::{self, LoadError, Removal};
use gw_store::{Op, View};

use super::export::{self, Imported};
use super::stored::{self, Stored};
use super::{CommandError, say};
use crate::args::Args;
use crate::file::{self, Environment, FileError, Told};

/// Bound: the largest file that is brought in, in bytes.
const MAX_IMPORT: u64 = 1024 * 1024 * 1024;

pub(super) async fn run(
    args: &Args,
    path: &Path,
    allow_mass_delete: bool,
    environment: Environment,
) -> Result<ExitCode, CommandError> {
    let text = file::read_up_to(path, MAX_IMPORT)?;
    let Stored {
        store,
        kinds,
        registry,
        place,
    } = stored::open(args).await?;
    let bounds = crate::run::bounds(args);
    let too_much = |view: &View, changes: &[Op]| bounds?.too_much_of(&kinds, view, changes);
    let removal = match allow_mass_delete {
        true => Removal::Meant,
        false => Removal::Unless(&too_much),
    };
    if export::is_export(&text) {
        let imported = export::import(&store, &kinds, &text, removal).await;
        store.close().await;
        let Imported {
            revision,
            written,
            deleted,
        } = imported.map_err(|source| CommandError::Export {
            path: path.to_owned(),
            source,
        })?;
        say(&format!(
            "{place} holds the export of {} at revision {revision}: {written} written, {deleted} deleted\n",
            path.display()
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    let imported = declarative::import(&store, &kinds, &registry, &text, &environment, removal).await;
    store.close().await;
    let imported = imported.map_err(|error| match error {
        LoadError::Refused(refusal) => FileError::Refused {
            path: path.to_owned(),
            refusal,
        },
        source => FileError::Load {
            path: path.to_owned(),
            source,
        },
    })?;
    let mut told = String::new();
    for notice in &imported.notices {
        told.push_str(&format!("{} (notice)\n", Told(path, notice)));
    }
    for ignored in &imported.ignored {
        let line = ignored.position.map_or(0, |at| at.line);
        told.push_str(&format!(
            "{}:{line}: left out: {}; {}\n",
            path.display(),
            ignored.what,
            ignored.remedy
        ));
    }
    let summary = imported.summary;
    told.push_str(&format!(
        "{place} holds the configuration of {} at revision {}: {} created, {} updated, {} deleted, {} unchanged\n",
        path.display(),
        imported.revision,
        summary.created,
        summary.updated,
        summary.deleted,
        summary.unchanged
    ));
    say(&told)?;
    Ok(ExitCode::SUCCESS)
}
