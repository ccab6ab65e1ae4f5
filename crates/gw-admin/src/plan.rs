//! From what is asked to what would be stored: one write, or several that are one.

use gw_core::{Document, Kind, index};
use gw_store::{Op, View};
use http::{Method, StatusCode};
use serde_json::Value;

use crate::AdminApi;
use crate::api::{Endpoint, Site};
use crate::body::Arguments;
use crate::conditions::Conditions;
use crate::entity::{Entities, Verb};
use crate::problem::Problem;

/// One write of one entity, or of what ties two.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) site: Site,
    pub(crate) action: Action,
    pub(crate) conditions: Conditions,
}

/// What is done there.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Write(Verb, Arguments),
    Delete { query: Vec<(String, String)> },
}

/// What a step leaves behind.
#[derive(Clone, Debug)]
pub(crate) struct Left {
    pub(crate) status: StatusCode,
    pub(crate) kind: Option<Kind>,
    /// The document, unless it deleted one.
    pub(crate) document: Option<Document>,
    /// Its ETag, once this is stored.
    pub(crate) tag: Option<String>,
}

/// What steps come to, one after the other.
#[derive(Debug)]
pub(crate) struct Worked {
    pub(crate) ops: Vec<Op>,
    /// The contents they lead to.
    pub(crate) after: View,
    pub(crate) left: Vec<Left>,
}

impl Step {
    /// Whether something that a path leads to can be written as part of a change.
    pub(crate) fn is_possible(endpoint: &Endpoint, method: &Method) -> bool {
        let writes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(method);
        let of_entities = matches!(
            endpoint,
            Endpoint::List { .. }
                | Endpoint::One { .. }
                | Endpoint::Referred { .. }
                | Endpoint::Members(_)
                | Endpoint::Member(_)
        );
        writes && of_entities && endpoint.methods().contains(method)
    }

    /// What it does to entities, in Kong's words.
    pub(crate) fn does(&self) -> &'static str {
        match self.action {
            Action::Write(Verb::Create, _) => "create",
            Action::Write(Verb::Replace, _) => "create or update",
            Action::Write(Verb::Patch, _) => "update",
            Action::Delete { .. } => "delete",
        }
    }

    fn status(&self) -> StatusCode {
        match self.action {
            Action::Delete { .. } => StatusCode::NO_CONTENT,
            Action::Write(Verb::Create, _) => StatusCode::CREATED,
            Action::Write(Verb::Replace | Verb::Patch, _) => StatusCode::OK,
        }
    }

    /// The operations that do it, and the document it leaves.
    fn take(&self, entities: &Entities<'_>) -> Result<(Vec<Op>, Option<Document>), Problem> {
        let site = &self.site;
        if self.conditions != Conditions::default() {
            self.conditions.check(entities.version(site)?.state())?;
        }
        Ok(match (&self.action, &site.endpoint) {
            (Action::Delete { .. }, Endpoint::Members(link)) => {
                (entities.unlink(link, site.name(0)?, None)?, None)
            }
            (Action::Delete { .. }, Endpoint::Member(link)) => {
                (entities.unlink(link, site.name(0)?, Some(site.name(1)?))?, None)
            }
            (Action::Delete { query }, _) => (entities.delete(site, query)?, None),
            (Action::Write(_, sent), Endpoint::Members(link)) => {
                let (ops, left) = entities.link(link, site.name(0)?, sent)?;
                (ops, Some(left))
            }
            (Action::Write(verb, sent), _) => {
                let (ops, left) = entities.write(site, *verb, sent)?;
                (ops, Some(left))
            }
        })
    }
}

impl AdminApi {
    /// What one step comes to.
    pub(crate) fn work_out(&self, view: &View, step: &Step) -> Result<Worked, Problem> {
        let (ops, document) = step.take(&self.entities(view))?;
        let after = self.store().preview(view, ops.clone());
        let left = self.left(&after, step, document);
        Ok(Worked {
            ops,
            after,
            left: vec![left],
        })
    }

    /// What several steps come to, each on what those before it leave; all of them, or none.
    pub(crate) fn work_out_all(&self, view: &View, steps: &[Step]) -> Result<Worked, Problem> {
        let (mut ops, mut documents) = (Vec::new(), Vec::with_capacity(steps.len()));
        let mut so_far = view.clone();
        for (index, step) in steps.iter().enumerate() {
            let (more, document) =
                step.take(&self.entities(&so_far))
                    .map_err(|problem| Problem::InOperation {
                        index,
                        problem: Box::new(problem),
                    })?;
            so_far = self.store().preview(&so_far, more.clone());
            ops.extend(more);
            documents.push(document);
        }
        // As one commit they make one revision, by which what they leave is tagged.
        let after = self.store().preview(view, ops.clone());
        let left = steps.iter().zip(documents);
        let left = left
            .map(|(step, document)| self.left(&after, step, document))
            .collect();
        Ok(Worked { ops, after, left })
    }

    fn left(&self, after: &View, step: &Step, document: Option<Document>) -> Left {
        let kind = match &step.site.endpoint {
            Endpoint::Members(_) | Endpoint::Member(_) => None,
            endpoint => endpoint.kind(),
        };
        let tag = kind.zip(document.as_ref()).and_then(|(kind, document)| {
            let (entities, spec) = (self.entities(after), self.kinds().spec(kind)?);
            let id = document.get("id").and_then(Value::as_str)?;
            entities.tag(spec, &entities.document(spec, &index::entity_key(kind, id))?)
        });
        Left {
            status: step.status(),
            kind,
            document,
            tag,
        }
    }
}
