//! A text becomes the configuration: through a running Admin API, or straight into a store.

use gw_core::Kinds;
use gw_plugins::Registry;
use gw_store::{CommitError, Meta, Store, View};
use tokio::runtime::Handle;

use super::diff::{Diff, Summary, diff};
use super::endpoint::aside;
use super::removal::Removal;
use super::{Configuration, Ignored, Notice, Refusal, Surroundings, Verdict, read};
use crate::AdminApi;
use crate::entity::Entities;
use crate::intent::Intent;
use crate::problem::Problem;

/// A text that was made the configuration.
#[derive(Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The revision that holds it.
    pub revision: u64,
    /// Whether it differs from what was there.
    pub changed: bool,
    /// How many entities it has.
    pub entities: usize,
    /// How many of them are new, and so on.
    pub summary: Summary,
    /// What was read otherwise than its writer may think.
    pub notices: Vec<Notice>,
    /// What was left out.
    pub ignored: Vec<Ignored>,
}

/// Why a text was not made the configuration; what was there before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Something is wrong with it.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// It configures nothing, where something is configured.
    #[error(
        "it configures nothing, and so is taken for a file that is not written to its end; `POST /config` makes the \
         configuration empty, if that is meant"
    )]
    Nothing,
    /// It would take so much away that gateways which follow the store would hold it back.
    #[error(
        "this would remove {losses}, nothing was written; if that is meant, say so with --allow-mass-delete"
    )]
    TooMuch {
        /// What it would take away.
        losses: Box<str>,
    },
    /// The store did not take it.
    #[error("{0}")]
    Store(String),
}

impl AdminApi {
    /// Makes a text the configuration, in one commit, and returns when this node serves it. With `something`, a text that
    /// configures nothing does not take the place of what is there.
    ///
    /// # Errors
    /// Everything that is wrong with it, or the store's reason.
    pub async fn load_text(
        &self,
        text: String,
        surroundings: impl Surroundings + Send + Sync + 'static,
        something: bool,
    ) -> Result<Loaded, LoadError> {
        let (api, runtime) = (self.clone(), Handle::current());
        let loaded = aside(move || {
            runtime.block_on(async move {
                let _turn = api.config_turn().await;
                let read = read(&text, api.kinds(), api.registry(), &surroundings);
                let configuration = read.map_err(refused)?;
                if something && configuration.entries.is_empty() && !api.is_empty() {
                    return Err(LoadError::Nothing);
                }
                let mut made = None;
                let (revision, changed) = api
                    .commit_ops(
                        &Intent::of("file"),
                        "replace",
                        "the configuration".to_owned(),
                        |view| {
                            let mut diff = diff(&api.entities(view), &configuration)?;
                            let ops = std::mem::take(&mut diff.ops);
                            made = Some(diff);
                            Ok(ops)
                        },
                    )
                    .await
                    .map_err(|problem| store(&problem))?;
                api.remember(&text);
                if changed {
                    // Bound: it says by itself when that takes too long.
                    let _in_time: bool = api.is_served(revision).await;
                }
                Ok(loaded(revision.0, changed, made, configuration))
            })
        });
        loaded.await.map_err(|problem| store(&problem))?
    }

    fn is_empty(&self) -> bool {
        let view = self.store().view();
        view.list("", None).all(|(key, _)| key.is_reserved())
    }
}

/// Makes a text what a store holds, in one commit; nobody need serve it.
///
/// # Errors
/// Everything that is wrong with it, what is too much of what it removes, or the store's reason.
pub async fn import(
    store: &Store,
    kinds: &Kinds,
    registry: &Registry,
    text: &str,
    surroundings: &(dyn Surroundings + Sync),
    removal: Removal<'_>,
) -> Result<Loaded, LoadError> {
    let configuration = read(text, kinds, registry, surroundings).map_err(refused)?;
    let mut made = None;
    let meta = Meta::new("import", "replace");
    let change = |view: &View| {
        let entities = Entities {
            kinds,
            registry,
            view,
            now: surroundings.now(),
        };
        let mut diff = diff(&entities, &configuration).map_err(|problem| self::store(&problem))?;
        let ops = std::mem::take(&mut diff.ops);
        made = Some(diff);
        let judged = removal.judge(view, ops, &meta);
        let ops = judged.map_err(|losses| LoadError::TooMuch { losses })?;
        Ok((ops, ()))
    };
    let committed = store.commit(meta.clone(), change).await;
    let committed = committed.map_err(|error| match error {
        CommitError::Refused(error) => error,
        error => LoadError::Store(error.to_string()),
    })?;
    Ok(loaded(
        committed.revision.0,
        committed.changed,
        made,
        configuration,
    ))
}

fn loaded(revision: u64, changed: bool, diff: Option<Diff>, configuration: Configuration) -> Loaded {
    let mut notices = configuration.notices;
    let undone = configuration
        .remarks
        .into_iter()
        .filter(|(remark, _)| remark.verdict == Verdict::Unsupported);
    notices.extend(undone.map(|(remark, position)| Notice {
        position,
        message: match remark.remedy.as_str() {
            "" => format!("not done here: {}", remark.what),
            remedy => format!("not done here: {}; {remedy}", remark.what),
        },
        pointer: remark.pointer,
    }));
    Loaded {
        revision,
        changed,
        entities: configuration.entries.len(),
        summary: diff.map(|diff| diff.summary()).unwrap_or_default(),
        notices,
        ignored: configuration.ignored,
    }
}

fn refused(refusal: Refusal) -> LoadError {
    LoadError::Refused(Box::new(refusal))
}

fn store(problem: &Problem) -> LoadError {
    LoadError::Store(problem.to_string())
}
