//! `/config/history`, `/config/at/{revision}`, `/config/diff`: what was, and what has changed since.

use std::collections::BTreeMap;

use gw_core::{Document, index};
use gw_store::{Commit, HistoryError, Op, Revision, View};
use serde_json::{Number, Value, json};

use crate::AdminApi;
use crate::answer::Answer;
use crate::changes::{Changes, name_of};
use crate::conditions::Conditions;
use crate::declarative::aside;
use crate::marks::{self, HEAD};
use crate::page::Paging;
use crate::problem::Problem;

/// Bound: entities of one commit that the history names; the rest are counted.
const MAX_NAMED: usize = 100;

impl AdminApi {
    /// `GET /config/history?size=100&before=…`, newest first.
    pub(crate) async fn history(&self, query: &[(String, String)]) -> Result<Answer, Problem> {
        let size = Paging::read(query)?.size;
        let before = match argument(query, "before").map(str::parse) {
            None => None,
            Some(Ok(before)) => Some(Revision(before)),
            Some(Err(_)) => {
                return Err(Problem::Argument {
                    why: "before must be a revision, a number",
                });
            }
        };
        let commits = self.store().history(before, size).await;
        let commits = commits.map_err(|error| self.unknown(error, before.unwrap_or_default()))?;
        let api = self.clone();
        aside(move || {
            let view = api.store().view();
            let names = marks::by_revision(&view);
            let data: Value = commits.iter().map(|commit| api.told_of(commit, &names)).collect();
            let last = commits
                .last()
                .map(|last| last.revision.0)
                .filter(|last| *last > 1);
            let next = last.map(|last| format!("/config/history?before={last}&size={size}"));
            Answer::ok(json!({ "data": data, "next": next }), view.revision())
        })
        .await
    }

    /// `GET /config/at/{revision}`
    pub(crate) async fn config_at(&self, name: &str, conditions: &Conditions) -> Result<Answer, Problem> {
        let view = self.at(name).await?;
        self.export(view, conditions).await
    }

    /// `GET /config/diff?from=…&to=…`
    pub(crate) async fn compare(&self, query: &[(String, String)]) -> Result<Answer, Problem> {
        let to = self.at(argument(query, "to").unwrap_or(HEAD)).await?;
        let from = match argument(query, "from") {
            Some(from) => self.at(from).await?,
            None => self.at(&to.revision().0.saturating_sub(1).to_string()).await?,
        };
        let api = self.clone();
        aside(move || {
            let mut told = Changes::between(&api.entities(&from), &api.entities(&to)).told();
            told.insert("from".to_owned(), from.revision().0.into());
            told.insert("to".to_owned(), to.revision().0.into());
            Answer::ok(told.into(), to.revision())
        })
        .await
    }

    /// The contents at a revision: its number, the name of a tag, or `head`.
    pub(crate) async fn at(&self, name: &str) -> Result<View, Problem> {
        let view = self.store().view();
        if name == HEAD {
            return Ok(view);
        }
        let revision = name
            .parse()
            .ok()
            .map(Revision)
            .or_else(|| marks::named(&view, name));
        let Some(revision) = revision else {
            return Err(Problem::NoRevision {
                name: name.to_owned(),
            });
        };
        self.store()
            .at(revision)
            .await
            .map_err(|error| self.unknown(error, revision))
    }

    /// Why nothing is told of a revision.
    fn unknown(&self, error: HistoryError, revision: Revision) -> Problem {
        match error {
            HistoryError::Pruned { oldest } => Problem::Forgotten {
                revision: revision.0,
                oldest: oldest.0,
            },
            HistoryError::Future { .. } => Problem::NoRevision {
                name: revision.to_string(),
            },
            HistoryError::Log(error) => self.unavailable(&error),
            error => {
                tracing::error!(%error, "the history was not told");
                Problem::Internal
            }
        }
    }

    fn told_of(&self, commit: &Commit, names: &BTreeMap<u64, Vec<&str>>) -> Value {
        let (mut written, mut deleted, mut entities) = (0_u64, 0_u64, Vec::new());
        for op in commit.ops.iter().filter(|op| !op.key().is_reserved()) {
            let (action, value) = match op {
                Op::Put { value, .. } => {
                    written += 1;
                    ("write", Some(value))
                }
                Op::Delete { .. } => {
                    deleted += 1;
                    ("delete", None)
                }
            };
            if entities.len() == MAX_NAMED {
                continue;
            }
            let Some((kind, id)) = index::split_entity_key(op.key().as_str()) else {
                continue;
            };
            let name = self.kinds().by_name(kind).and_then(|spec| {
                let document: Document = serde_json::from_slice(value?).ok()?;
                name_of(spec, &document).map(str::to_owned)
            });
            entities.push(json!({ "action": action, "entity_name": kind, "entity_id": id, "name": name }));
        }
        let meta = &commit.meta;
        json!({
            "revision": commit.revision.0,
            "id": meta.id.to_string(),
            "at": seconds(meta.at),
            "author": meta.author,
            "message": meta.message,
            "request_id": Some(&meta.request).filter(|request| !request.is_empty()),
            "hash": commit.hash.map(|hash| hash.to_string()),
            "tags": names.get(&commit.revision.0).map(Vec::as_slice).unwrap_or_default(),
            "summary": { "write": written, "delete": deleted },
            "entities": entities,
        })
    }
}

/// Unix milliseconds as seconds.
pub(crate) fn seconds(millis: u64) -> Value {
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds since 1970 fit in 53 bits for 285,000 years"
    )]
    let seconds = Number::from_f64(millis as f64 / 1000.0);
    seconds.map_or(Value::Null, Value::Number)
}

fn argument<'q>(query: &'q [(String, String)], name: &str) -> Option<&'q str> {
    let found = query.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str())
}
