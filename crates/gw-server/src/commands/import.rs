//! `gw-server import`: a file becomes what the store holds, for a gateway that goes on by its Admin API.

use std::path::Path;
use std::process::ExitCode;

use gw_admin::StoreIndex;
use gw_admin::declarative::{self, LoadError};

use super::{CommandError, read, registry, say};
use crate::args::Args;
use crate::error::StartError;
use crate::file::{Environment, FileError, Told};

pub(super) async fn run(
    args: &Args,
    path: &Path,
    environment: Environment,
) -> Result<ExitCode, CommandError> {
    let text = read(path)?;
    let registry = registry(args)?;
    let kinds = registry
        .kinds()
        .map_err(|error| StartError::Schema(error.into()))?;
    let url = format!("file:{}", args.data_dir.display());
    let store = gw_store::open(&url, StoreIndex::new(kinds.clone()))
        .await
        .map_err(|source| StartError::Store {
            data_dir: args.data_dir.clone(),
            source,
        })?;
    let imported = declarative::import(&store, &kinds, &registry, &text, &environment).await;
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
        "{} holds the configuration of {} at revision {}: {} created, {} updated, {} deleted, {} unchanged\n",
        args.data_dir.display(),
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
