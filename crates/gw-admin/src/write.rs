//! From a change that is asked for to the answer, once it is served.

use std::time::Duration;

use gw_core::{Document, Kind};
use gw_store::{CommitError, LogError, Meta, Op, Revision, View};
use http::{HeaderName, StatusCode};
use serde_json::Value;

use crate::AdminApi;
use crate::answer::Answer;
use crate::api::Site;
use crate::explain;
use crate::intent::Intent;
use crate::plan::{Left, Step, Worked};
use crate::ports;
use crate::problem::Problem;

/// Bound: how long an answer waits for this node to serve what was written.
const APPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// Bound: how long the store is asked whether it wrote, when it did not say.
const FIND_TIMEOUT: Duration = Duration::from_secs(5);

/// Bound: nodes that a header names.
const MAX_NAMED: usize = 32;

const APPLIED: HeaderName = HeaderName::from_static("x-config-applied");
const PENDING: HeaderName = HeaderName::from_static("x-config-pending");

/// What a change came to.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) revision: Revision,
    /// Whether a commit was made.
    pub(crate) committed: bool,
    pub(crate) left: Vec<Left>,
}

impl AdminApi {
    /// Makes a change of one entity, or tells what it would come to.
    pub(crate) async fn change(&self, step: Step, intent: Intent) -> Result<Answer, Problem> {
        let (does, what) = (step.does(), entities_of(&step.site));
        self.refuse_without_database(does, &what)?;
        if intent.dry_run {
            let work = move |api: &Self, view: &View| api.work_out(view, &step);
            return self.rehearse(intent.mass_delete, work).await;
        }
        let made = self.make(intent.clone(), does, what, move |api, view| {
            api.work_out(view, &step)
        });
        let made = made.await?;
        let left = made.left.into_iter().next();
        let mut answer = Answer {
            revision: Some(made.revision),
            ..Answer::empty(left.as_ref().map_or(StatusCode::OK, |left| left.status))
        };
        answer = self
            .when_served(answer, &intent, made.revision, made.committed)
            .await;
        let Some(mut left) = left else {
            return Ok(answer);
        };
        if let (Some(Kind::Route), Some(route), false) = (left.kind, &mut left.document, answer.pending) {
            self.warn(route);
        }
        answer.tag = left.tag;
        answer.body = left.document.map(Value::Object);
        Ok(answer)
    }

    /// Where the configuration comes from a file as a whole, nothing of it is written alone.
    pub(crate) fn refuse_without_database(&self, verb: &'static str, what: &str) -> Result<(), Problem> {
        if self.options().without_database {
            return Err(Problem::WithoutDatabase {
                verb,
                what: what.to_owned(),
            });
        }
        Ok(())
    }

    /// Makes one commit of what `work` comes to, whether or not anybody waits for it.
    pub(crate) async fn make(
        &self,
        intent: Intent,
        does: &'static str,
        what: String,
        mut work: impl FnMut(&Self, &View) -> Result<Worked, Problem> + Send + 'static,
    ) -> Result<Made, Problem> {
        // On a task of its own: a client that goes away leaves the change whole.
        let api = self.clone();
        let making = tokio::spawn(async move {
            // What the newest run left: kept here, because not every end of a commit hands it back.
            let mut left = Vec::new();
            let change = |view: &View| {
                let worked = work(&api, view)?;
                left = worked.left;
                Ok(worked.ops)
            };
            let (revision, committed) = api.commit_ops(&intent, does, what, change).await?;
            Ok(Made {
                revision,
                committed,
                left,
            })
        });
        making.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a change did not come to an end");
            Err(Problem::Internal)
        })
    }

    /// Makes one commit, and tells which revision holds its outcome and whether it was made. `does` and `what` say
    /// what it does, in Kong's words.
    pub(crate) async fn commit_ops(
        &self,
        intent: &Intent,
        does: &'static str,
        what: String,
        mut change: impl FnMut(&View) -> Result<Vec<Op>, Problem>,
    ) -> Result<(Revision, bool), Problem> {
        let store = self.store();
        let message = intent.message.clone().unwrap_or_else(|| format!("{does} {what}"));
        let mut meta = Meta::new(intent.author.as_str(), message);
        meta.request.clone_from(&intent.request);
        let id = meta.id;
        let mark = intent.mass_delete.then(|| ports::mark(&meta));
        let change = |view: &View| {
            let mut ops = change(view)?;
            if mark.is_none()
                && let Some(losses) = self.ports().too_much(view, &ops)
            {
                return Err(Problem::MassDeletion { losses });
            }
            if !ops.is_empty() {
                ops.extend(mark.clone());
            }
            Ok((ops, ()))
        };
        match store.commit(meta, change).await {
            // There may be something newer, by which there is something to change.
            Ok(committed) if !committed.changed && self.stale_for().is_some() => {
                Err(Problem::Unavailable { place: store.place() })
            }
            Ok(committed) => Ok((committed.revision, committed.changed)),
            Err(CommitError::Refused(problem)) => Err(problem),
            // The id is ours alone: it is this change that was made.
            Err(CommitError::Duplicate { revision, .. }) => Ok((revision, true)),
            Err(CommitError::Unknown { source, .. }) => {
                tracing::error!(commit = %id, error = %source, "the store did not confirm a commit");
                match tokio::time::timeout(FIND_TIMEOUT, store.find(id)).await {
                    Ok(Ok(Some(revision))) => Ok((revision, true)),
                    Ok(Ok(None)) => Err(self.unavailable(&source)),
                    Ok(Err(_)) | Err(_) => Err(Problem::Unknown),
                }
            }
            Err(error @ CommitError::TooLarge { .. }) => Err(Problem::TooLarge {
                why: error.to_string(),
            }),
            Err(CommitError::ReadOnly { .. }) => Err(Problem::ReadOnly { verb: does, what }),
            Err(CommitError::Unavailable { source }) => Err(self.unavailable(&source)),
            Err(error) => {
                tracing::error!(%error, "the store refused a commit");
                Err(Problem::Unavailable { place: store.place() })
            }
        }
    }

    /// What is said where the store does not answer.
    pub(crate) fn unavailable(&self, error: &LogError) -> Problem {
        tracing::error!(%error, source = error as &dyn std::error::Error, "the store does not answer");
        Problem::Unavailable {
            place: self.store().place(),
        }
    }

    /// The answer to a write, once this node serves it, or all nodes if the request asks for that.
    pub(crate) async fn when_served(
        &self,
        answer: Answer,
        intent: &Intent,
        revision: Revision,
        committed: bool,
    ) -> Answer {
        let pending = committed && !self.is_served(revision).await;
        let answer = Answer { pending, ..answer };
        let Some(patience) = intent.everywhere else {
            return answer;
        };
        match self.ports().served_by_all(revision.0, patience).await {
            Ok(behind) if behind.is_empty() => answer.with(APPLIED, "cluster"),
            Ok(behind) => {
                let named = behind.iter().take(MAX_NAMED);
                let named = named.map(|behind| format!("{}/{}", behind.node.hostname, behind.node.id));
                let named = named.collect::<Vec<_>>().join(", ");
                Answer {
                    pending: true,
                    ..answer.with(PENDING, &named)
                }
            }
            Err(error) => {
                tracing::warn!(%error, "whether all nodes serve a change is not known");
                answer.with(APPLIED, "unknown")
            }
        }
    }

    /// Waits until this node serves a revision; false if it does not in time.
    pub(crate) async fn is_served(&self, revision: Revision) -> bool {
        // It may take an operator to end that.
        if self.ports().holds_back() {
            return false;
        }
        let applied = self.ports().wait(revision.0);
        let in_time = tokio::time::timeout(APPLY_TIMEOUT, applied).await.is_ok();
        if !in_time {
            tracing::warn!(
                revision = revision.0,
                "a change is stored and not yet served by this node"
            );
        }
        in_time
    }

    /// Adds to the answer to a write what is the matter with the route, beside others; nothing if nothing is.
    fn warn(&self, route: &mut Document) {
        let id = route.get("id").and_then(Value::as_str);
        let overlaps = id
            .and_then(|id| id.parse().ok())
            .map(|id| self.ports().overlaps_of(id));
        if let Some(warnings) = overlaps.and_then(|overlaps| explain::warnings(&overlaps)) {
            route.insert(explain::WARNINGS.to_owned(), warnings);
        }
    }
}

/// What a path leads to, in Kong's words.
fn entities_of(site: &Site) -> String {
    let kind = site.endpoint.kind();
    kind.map(|kind| format!("'{kind}' entities")).unwrap_or_default()
}
