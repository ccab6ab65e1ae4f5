//! `gw-server dump`, `diff` and `sync`: declarative files and a gateway that runs, by its Admin API.

mod client;
mod history;
mod private;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use gw_admin::declarative::{self, Rendered};
use http::{Method, StatusCode};
use serde_json::Value;

use self::client::{Client, ClientError};
pub(super) use self::history::{compare, history, rollback, tag};
use super::{CommandError, read, registry, say, told};
use crate::args::Args;
use crate::args::file::{Compared, RemoteArgs};
use crate::error::StartError;
use crate::file::{Environment, FileError};

/// Why a gateway that runs did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RemoteError {
    /// It was not reached, or did not answer.
    #[error("--admin-url {url}")]
    Client { url: String, source: ClientError },
    /// It answered that it will not.
    #[error("--admin-url {url}: answered {status}: {message}")]
    Refused {
        url: String,
        status: StatusCode,
        message: String,
    },
    /// It answered something else than a configuration.
    #[error("--admin-url {url}: the answer has no configuration; is this the Admin API of a gateway?")]
    NoConfiguration { url: String },
    /// A name that none is.
    #[error("'{name}' is no name for a revision; use letters, digits, '.', '_', '~' and '-'")]
    Tag { name: String },
    /// Something is wrong with the file.
    #[error("the gateway refuses the file:\n{}", lines.join("\n"))]
    File { lines: Vec<String> },
}

/// How a command ends that has found a difference.
const DIFFERENT: u8 = 2;

/// A file, and what it is to a gateway that runs.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    path: &'a Path,
    environment: Environment,
    replace_everything: bool,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(file: &'a Compared, environment: Environment) -> Self {
        Self {
            path: &file.file,
            environment,
            replace_everything: file.replace_everything,
        }
    }
}

/// How a change of a gateway that runs is asked for.
#[derive(Clone, Copy)]
pub(super) struct How {
    /// Says what would change, and changes nothing.
    pub(super) dry_run: bool,
    /// Much may go.
    pub(super) mass_delete: bool,
}

impl How {
    /// A path with what this says; an argument stands there already.
    fn at(self, path: &str) -> String {
        let meant = if self.mass_delete {
            "&allow_mass_delete=1"
        } else {
            ""
        };
        format!("{path}{meant}")
    }
}

/// A gateway that runs.
struct Remote {
    url: String,
    client: Client,
}

/// Writes down what a gateway has.
pub(super) async fn dump(
    args: &Args,
    remote: &RemoteArgs,
    output: Option<&Path>,
) -> Result<ExitCode, CommandError> {
    let remote = Remote::new(args, remote)?;
    let (_, answer) = remote.call(Method::GET, "/config", None).await?;
    let Some(text) = answer["config"].as_str() else {
        let url = remote.url;
        return Err(RemoteError::NoConfiguration { url }.into());
    };
    match output {
        // There may be secrets in it.
        Some(path) => private::write(path, text).map_err(|source| CommandError::Write {
            path: path.to_owned(),
            source,
        })?,
        None => say(text)?,
    }
    let omitted = answer["omitted"].as_array().map_or(0, Vec::len);
    if omitted > 0 {
        tell(&format!(
            "{omitted} entities lack their private keys, which are never shown"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what a file would change.
pub(super) async fn diff(
    args: &Args,
    remote: &RemoteArgs,
    wanted: Wanted<'_>,
    json: bool,
) -> Result<ExitCode, CommandError> {
    let remote = Remote::new(args, remote)?;
    let (path, file) = (wanted.path, render(args, wanted)?);
    let (told, _) = remote.compare(wanted, &file, "/config?dry_run=1").await?;
    if json {
        say(&format!("{told:#}\n"))?;
    } else {
        tell(&told::notices(path, &file, &told));
        say(&told::changes(&told))?;
    }
    Ok(if told::is_changed(&told) {
        ExitCode::from(DIFFERENT)
    } else {
        ExitCode::SUCCESS
    })
}

/// Makes a file what a gateway has.
pub(super) async fn sync(
    args: &Args,
    remote: &RemoteArgs,
    wanted: Wanted<'_>,
    how: How,
) -> Result<ExitCode, CommandError> {
    let remote = Remote::new(args, remote)?;
    let (path, file) = (wanted.path, render(args, wanted)?);
    let (told, refused) = remote
        .compare(wanted, &file, &how.at("/config?dry_run=1"))
        .await?;
    tell(&told::notices(path, &file, &told));
    say(&told::changes(&told))?;
    if let Some(refused) = refused {
        return Err(refused.into());
    }
    if how.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    let (status, answer) = remote
        .send(wanted, &file, &how.at("/config?check_hash=1"))
        .await?;
    let done = match status {
        StatusCode::NOT_MODIFIED => "nothing has changed",
        StatusCode::CREATED => "done, in one commit",
        _ => return Err(remote.refused(path, &file, status, &answer).into()),
    };
    say(&format!("{done}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Seals secrets with the key that seals now, or says how they are stored.
pub(super) async fn reseal(
    args: &Args,
    remote: &RemoteArgs,
    dry_run: bool,
) -> Result<ExitCode, CommandError> {
    const UNOPENED: u8 = 2;
    let remote = Remote::new(args, remote)?;
    let method = if dry_run { Method::GET } else { Method::POST };
    let (_, answer) = remote.call(method, "/config/reseal", None).await?;
    say(&told::sealing(&answer))?;
    let unopened = answer["unopened"].as_array().is_some_and(|all| !all.is_empty());
    Ok(if unopened {
        ExitCode::from(UNOPENED)
    } else {
        ExitCode::SUCCESS
    })
}

/// Whether an answer tells what would change, be it refused or not.
fn tells(answer: &Value) -> bool {
    answer["dry_run"] == true
}

fn render(args: &Args, wanted: Wanted<'_>) -> Result<Rendered, CommandError> {
    let Wanted {
        path, environment, ..
    } = wanted;
    let text = read(path)?;
    let registry = registry(args)?;
    let kinds = registry
        .kinds()
        .map_err(|error| StartError::Schema(error.into()))?;
    let rendered = declarative::render(&text, &kinds, &registry, &environment);
    Ok(rendered.map_err(|refusal| FileError::Refused {
        path: PathBuf::from(path),
        refusal: Box::new(refusal),
    })?)
}

impl Remote {
    fn new(args: &Args, remote: &RemoteArgs) -> Result<Self, CommandError> {
        let token = crate::access::token(&args.admin).map_err(StartError::from)?;
        let client = Client::new(&remote.admin_url, remote.admin_ca.as_deref(), token);
        let url = remote.admin_url.clone();
        match client {
            Ok(client) => Ok(Self { url, client }),
            Err(source) => Err(RemoteError::Client { url, source }.into()),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<(StatusCode, Value), RemoteError> {
        let answered = self.client.call(method, path, body).await;
        answered.map_err(|source| RemoteError::Client {
            url: self.url.clone(),
            source,
        })
    }

    /// A call that is to succeed.
    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<(StatusCode, Value), RemoteError> {
        let (status, answer) = self.exchange(method, path, body).await?;
        if status.is_success() {
            return Ok((status, answer));
        }
        Err(self.answered(status, &answer))
    }

    fn answered(&self, status: StatusCode, answer: &Value) -> RemoteError {
        let message = answer["message"].as_str();
        RemoteError::Refused {
            url: self.url.clone(),
            status,
            message: message.map_or_else(|| answer.to_string(), str::to_owned),
        }
    }

    async fn send(
        &self,
        wanted: Wanted<'_>,
        file: &Rendered,
        path: &str,
    ) -> Result<(StatusCode, Value), RemoteError> {
        let path = match wanted.replace_everything {
            true => &format!("{path}&replace_everything=1"),
            false => path,
        };
        let body = Value::Object(file.document().clone()).to_string();
        self.exchange(Method::POST, path, Some(body)).await
    }

    /// What a file would change, and why that is refused if it is. What the environment holds is not told.
    async fn compare(
        &self,
        wanted: Wanted<'_>,
        file: &Rendered,
        path: &str,
    ) -> Result<(Value, Option<RemoteError>), RemoteError> {
        let (status, mut answer) = self.send(wanted, file, path).await?;
        let refused = match status.is_success() {
            true => None,
            false if tells(&answer) => Some(self.answered(status, &answer)),
            false => return Err(self.refused(wanted.path, file, status, &answer)),
        };
        told::conceal(&mut answer, |value| file.tells_of_environment(value));
        Ok((answer, refused))
    }

    fn refused(&self, path: &Path, file: &Rendered, status: StatusCode, answer: &Value) -> RemoteError {
        match answer["code"].as_u64() {
            // Kong's code of a configuration that is wrong.
            Some(14) => RemoteError::File {
                lines: told::violations(path, file, answer),
            },
            _ => self.answered(status, answer),
        }
    }
}

#[expect(clippy::print_stderr, reason = "what is said beside what was asked for")]
fn tell(text: &str) {
    if !text.is_empty() {
        eprintln!("{}", text.trim_end());
    }
}
