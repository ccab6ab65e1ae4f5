//! `gw-server export` and its way back: everything a store holds as one JSON text, to the last byte of every document.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use gw_admin::declarative::Removal;
use gw_core::{Document, Kinds, index};
use gw_store::{CommitError, ContentHash, Meta, Op, Store, View};
use serde_json::Value;
use serde_json::value::RawValue;

use super::stored::{self, Stored};
use super::{CommandError, say};
use crate::args::Args;

/// How an export begins, and by what it is known from a declarative file. The number is the form's.
const BEGINNING: &str = "{\"_export\":";

/// The form this release writes, and the newest it reads.
const VERSION: u64 = 1;

/// Bound: complaints about one export.
const COMPLAINTS: usize = 20;

/// Why an export cannot be brought into a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ExportError {
    #[error("it has form {found}, this release reads up to {VERSION}; use the release that wrote it")]
    Newer { found: u64 },
    #[error("it is no export; write it anew with `gw-server export`")]
    Malformed(#[source] serde_json::Error),
    #[error("it lacks its {0}; write it anew with `gw-server export`")]
    Lacks(&'static str),
    #[error("these entries cannot be read here, nothing was written:\n{}", .0.join("\n"))]
    Unreadable(Vec<String>),
    #[error(
        "it was changed after it was written: its entries have the hash {found}, not {said}; take its `hash` out if that was meant"
    )]
    Changed { said: String, found: ContentHash },
    #[error("the store did not take it")]
    Commit(#[source] CommitError<TooMuch>),
}

/// What an export would take away.
#[derive(Debug, thiserror::Error)]
#[error("it would remove {0}; if that is meant, say so with --allow-mass-delete")]
pub(crate) struct TooMuch(Box<str>);

/// Writes down everything a store holds.
pub(super) async fn run(args: &Args, output: Option<&Path>) -> Result<ExitCode, CommandError> {
    let Stored { store, .. } = stored::open(args).await?;
    let text = write(&store.view());
    store.close().await;
    match output {
        Some(path) => save(path, &text).map_err(|source| CommandError::Write {
            path: path.to_owned(),
            source,
        })?,
        None => say(&text)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Private keys may be in it.
fn save(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The documents as they are stored, one a line in the order of their keys. What is the store's own, such as names of
/// its revisions, means nothing elsewhere and stays behind.
fn write(view: &View) -> String {
    let mut text = format!(
        "{BEGINNING}{VERSION},\"hash\":\"{}\",\"incarnation\":\"{}\",\"revision\":{},\"entries\":{{",
        view.hash(),
        view.incarnation(),
        view.revision()
    );
    let mut separator = "\n";
    for (key, entry) in view.list("", None).filter(|(key, _)| !key.is_reserved()) {
        let key = Value::from(key.as_str());
        let document = String::from_utf8_lossy(&entry.value);
        // Writing to a string does not fail.
        write!(text, "{separator}{key}:{document}").ok();
        separator = ",\n";
    }
    text.push_str("\n}}\n");
    text
}

/// Tells an export from a declarative file.
pub(super) fn is_export(text: &str) -> bool {
    let mut rest = text.chars().filter(|letter| !letter.is_whitespace());
    BEGINNING.chars().all(|letter| rest.next() == Some(letter))
}

/// What bringing an export into a store came to.
pub(super) struct Imported {
    pub(super) revision: u64,
    pub(super) written: usize,
    pub(super) deleted: usize,
}

/// Makes an export what a store holds, in one commit.
pub(super) async fn import(
    store: &Store,
    kinds: &Kinds,
    text: &str,
    removal: Removal<'_>,
) -> Result<Imported, ExportError> {
    let parts: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(ExportError::Malformed)?;
    let part = |name| {
        parts
            .get(name)
            .map(|raw| raw.get())
            .ok_or(ExportError::Lacks(name))
    };
    let found = serde_json::from_str(part("_export")?).map_err(ExportError::Malformed)?;
    if found > VERSION {
        return Err(ExportError::Newer { found });
    }
    let raw: BTreeMap<String, &RawValue> =
        serde_json::from_str(part("entries")?).map_err(ExportError::Malformed)?;
    let mut entries: BTreeMap<&str, Cow<'_, str>> = raw
        .iter()
        .map(|(key, raw)| (key.as_str(), Cow::Borrowed(raw.get())))
        .collect();
    match part("hash") {
        Ok(said) => {
            let said: String = serde_json::from_str(said).map_err(ExportError::Malformed)?;
            let documents = entries.iter().map(|(key, document)| (*key, document.as_bytes()));
            let found = ContentHash::of(documents);
            if found.to_string() != said {
                return Err(ExportError::Changed { said, found });
            }
        }
        // Somebody has edited it; what is stored has no spaces all the same.
        Err(_) => {
            for document in entries.values_mut() {
                let read: Value = serde_json::from_str(document).map_err(ExportError::Malformed)?;
                *document = Cow::Owned(read.to_string());
            }
        }
    }
    let complaints: Vec<String> = entries
        .iter()
        .filter_map(|(key, document)| complaint(kinds, key, document))
        .take(COMPLAINTS)
        .collect();
    if !complaints.is_empty() {
        return Err(ExportError::Unreadable(complaints));
    }
    let mut counts = (0, 0);
    let meta = Meta::new("import", "the contents of an export");
    let change = |view: &View| -> Result<_, TooMuch> {
        let ops = ops(view, &entries);
        let deleted = ops.iter().filter(|op| matches!(op, Op::Delete { .. })).count();
        counts = (ops.len() - deleted, deleted);
        Ok((removal.judge(view, ops, &meta).map_err(TooMuch)?, ()))
    };
    let done = store.commit(meta.clone(), change).await;
    let done = done.map_err(ExportError::Commit)?;
    Ok(Imported {
        revision: done.revision.0,
        written: counts.0,
        deleted: counts.1,
    })
}

/// What makes the view hold these entries and no others.
fn ops(view: &View, entries: &BTreeMap<&str, Cow<'_, str>>) -> Vec<Op> {
    let gone = view
        .list("", None)
        .filter(|(key, _)| !key.is_reserved() && !entries.contains_key(key.as_str()))
        .map(|(key, _)| Op::delete(key.clone()));
    let new = entries
        .iter()
        .filter(|(key, document)| {
            let held = view.get(key).map(|entry| &*entry.value);
            held != Some(document.as_bytes())
        })
        .map(|(key, document)| Op::put(*key, document.clone().into_owned()));
    gone.chain(new).collect()
}

/// What is wrong with one entry: what no gateway of this release could serve is not brought in.
fn complaint(kinds: &Kinds, key: &str, document: &str) -> Option<String> {
    let Some((name, id)) = index::split_entity_key(key) else {
        return Some(format!("{key}: it is not the key of an entity"));
    };
    let Some(spec) = kinds.by_name(name) else {
        return Some(format!("{key}: no plugin here declares the kind '{name}'"));
    };
    let document: Document = match serde_json::from_str(document) {
        Ok(document) => document,
        Err(error) => return Some(format!("{key}: {error}")),
    };
    match kinds.load(spec.kind, document) {
        Ok(entity) if entity.id().to_string() != id => {
            Some(format!("{key}: it says that its id is {}", entity.id()))
        }
        Ok(_) => None,
        Err(violations) => Some(format!("{key}: {violations}")),
    }
}
