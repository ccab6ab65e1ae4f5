//! `gw-server history`, `rollback`, `tag`, and `diff` of two revisions: what a gateway that runs was, and the way back.

use std::process::ExitCode;

use http::Method;
use serde_json::{Value, json};

use super::{DIFFERENT, How, Remote, RemoteError, tells};
use crate::args::Args;
use crate::args::file::RemoteArgs;
use crate::commands::{CommandError, say, told};

/// Bound: commits that are asked for at once.
const PAGE: u32 = 100;

/// Says who changed what, newest first.
pub(in crate::commands) async fn history(
    args: &Args,
    remote: &RemoteArgs,
    count: u32,
    json: bool,
) -> Result<ExitCode, CommandError> {
    let remote = Remote::new(args, remote)?;
    let (mut path, mut commits) = (format!("/config/history?size={}", count.min(PAGE)), Vec::new());
    loop {
        let (_, mut answer) = remote.call(Method::GET, &path, None).await?;
        if let Value::Array(page) = answer["data"].take() {
            commits.extend(page);
        }
        match answer["next"].as_str() {
            Some(next) if commits.len() < count as usize => next.clone_into(&mut path),
            _ => break,
        }
    }
    commits.truncate(count as usize);
    let commits = Value::from(commits);
    if json {
        say(&format!("{commits:#}\n"))?;
    } else {
        say(&told::history(&commits))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what is otherwise at one revision than at another.
pub(in crate::commands) async fn compare(
    args: &Args,
    remote: &RemoteArgs,
    (from, to): (Option<&str>, Option<&str>),
    json: bool,
) -> Result<ExitCode, CommandError> {
    let remote = Remote::new(args, remote)?;
    let named = [("from", from), ("to", to)];
    let query = named
        .iter()
        .filter_map(|(name, revision)| Some(format!("{name}={}", (*revision)?)));
    let query = query.collect::<Vec<_>>().join("&");
    let (_, answer) = remote
        .call(Method::GET, &format!("/config/diff?{query}"), None)
        .await?;
    if json {
        say(&format!("{answer:#}\n"))?;
    } else {
        say(&told::changed(&answer))?;
    }
    Ok(if told::is_changed(&answer) {
        ExitCode::from(DIFFERENT)
    } else {
        ExitCode::SUCCESS
    })
}

/// Makes everything as it was at an earlier revision, by a new commit.
pub(in crate::commands) async fn rollback(
    args: &Args,
    remote: &RemoteArgs,
    to: &str,
    message: Option<&str>,
    how: How,
) -> Result<ExitCode, CommandError> {
    let remote = Remote::new(args, remote)?;
    let path = how.at(&format!("/config/rollback?dry_run={}", u8::from(how.dry_run)));
    let mut body = json!({ "to": to });
    if let Some(message) = message {
        body["message"] = message.into();
    }
    let (status, answer) = remote
        .exchange(Method::POST, &path, Some(body.to_string()))
        .await?;
    let refused = (!status.is_success()).then(|| remote.answered(status, &answer));
    if let Some(refused) = refused {
        if tells(&answer) {
            say(&told::changed(&answer))?;
        }
        return Err(refused.into());
    }
    let mut text = told::changed(&answer);
    text.push_str(&told::warnings(&answer));
    if !how.dry_run {
        text.push_str(&format!(
            "revision {} is as revision {} was\n",
            answer["revision"], answer["to"]
        ));
    }
    say(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Gives a revision a name, takes one away, or lists them.
pub(in crate::commands) async fn tag(
    args: &Args,
    remote: &RemoteArgs,
    name: Option<&str>,
    revision: Option<&str>,
    delete: bool,
) -> Result<ExitCode, CommandError> {
    let remote = Remote::new(args, remote)?;
    let Some(name) = name else {
        let (_, answer) = remote.call(Method::GET, "/config/tags", None).await?;
        say(&told::tags(&answer))?;
        return Ok(ExitCode::SUCCESS);
    };
    if name.contains(['/', '?', '#', '%', ' ']) {
        return Err(RemoteError::Tag {
            name: name.to_owned(),
        }
        .into());
    }
    let path = format!("/config/tags/{name}");
    if delete {
        remote.call(Method::DELETE, &path, None).await?;
        say(&format!("there is no tag '{name}' any more\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let body = json!({ "revision": revision.unwrap_or("head") });
    let (_, answer) = remote.call(Method::PUT, &path, Some(body.to_string())).await?;
    say(&format!("'{name}' is revision {}\n", answer["revision"]))?;
    Ok(ExitCode::SUCCESS)
}
