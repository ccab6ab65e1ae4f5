//! Commands that end by themselves: they work with declarative files and do not serve.

mod backup;
mod check;
mod export;
mod import;
mod remote;
mod stored;
mod told;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use gw_admin::declarative::UnknownPlugins;
use gw_plugins::Registry;

use crate::args::{Args, Command};
use crate::error::StartError;
use crate::file::{self, Environment, FileError};
use export::ExportError;
use remote::{How, RemoteError, Wanted};

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CommandError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error("there is no file to check; name one, or set GW_CONFIG")]
    NoFile,
    #[error("cannot bring in {}", path.display())]
    Export { path: PathBuf, source: ExportError },
    #[error(transparent)]
    Backup(#[from] gw_store::BackupError),
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// Runs the command, if it is one of these.
pub(crate) async fn run(args: &Args) -> Option<ExitCode> {
    let environment = Environment {
        unknown_plugins: args.file.unknown_plugins.into(),
    };
    let ended = match args.command.as_ref()? {
        Command::Demo { .. } | Command::Proxy { .. } => return None,
        Command::Check { files, json } => check::run(args, files, *json, environment),
        Command::Export { output } => export::run(args, output.as_deref()).await,
        Command::Backup { file } => backup::run(args, file).await,
        Command::Import {
            file,
            allow_mass_delete,
        } => import::run(args, file, *allow_mass_delete, environment).await,
        Command::Dump { output, remote } => remote::dump(args, remote, output.as_deref()).await,
        Command::Reseal { dry_run, remote } => remote::reseal(args, remote, *dry_run).await,
        Command::Diff { what, json, remote } => match what.file() {
            Some(file) => remote::diff(args, remote, Wanted::new(&file, environment), *json).await,
            None => remote::compare(args, remote, (what.from.as_deref(), what.to.as_deref()), *json).await,
        },
        Command::History { count, json, remote } => remote::history(args, remote, *count, *json).await,
        Command::Rollback {
            to,
            message,
            dry_run,
            allow_mass_delete,
            remote,
        } => {
            let how = How {
                dry_run: *dry_run,
                mass_delete: *allow_mass_delete,
            };
            remote::rollback(args, remote, to, message.as_deref(), how).await
        }
        Command::Tag {
            name,
            revision,
            delete,
            remote,
        } => remote::tag(args, remote, name.as_deref(), revision.as_deref(), *delete).await,
        Command::Sync {
            file,
            dry_run,
            allow_mass_delete,
            remote,
        } => {
            let how = How {
                dry_run: *dry_run,
                mass_delete: *allow_mass_delete,
            };
            remote::sync(args, remote, Wanted::new(file, environment), how).await
        }
    };
    Some(ended.unwrap_or_else(|error| {
        crate::run::report(&error);
        ExitCode::FAILURE
    }))
}

/// Writes to standard output; who does not read to the end has seen enough.
fn say(text: &str) -> Result<(), CommandError> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => Err(CommandError::Write {
            path: PathBuf::from("standard output"),
            source,
        }),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<String, FileError> {
    file::read(path)
}

/// The plugins that would run with these flags.
fn registry(args: &Args) -> Result<Registry, StartError> {
    crate::run::plugins(args)
}

/// This process's environment, with plugins that are not here left out.
const TOLERANT: Environment = Environment {
    unknown_plugins: UnknownPlugins::Ignored,
};
