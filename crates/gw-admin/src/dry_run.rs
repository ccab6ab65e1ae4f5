//! `?dry_run=1`: what a change would come to, told and not made.

use gw_core::{Document, Kind, KindSpec, index};
use gw_store::{Op, Revision, View};
use serde_json::{Value, json};

use crate::AdminApi;
use crate::answer::Answer;
use crate::changes::{self, Changes, name_of};
use crate::declarative::aside;
use crate::entity::Entities;
use crate::explain::{self, WARNINGS};
use crate::plan::{Left, Worked};
use crate::ports::{Forecast, Named, Planned, Traffic};
use crate::problem::Problem;

impl AdminApi {
    /// Answers what a change would come to if it were made now: what the change itself would be refused for, that is
    /// refused. `meant` says that much may go.
    pub(crate) async fn rehearse(
        &self,
        meant: bool,
        work: impl FnOnce(&Self, &View) -> Result<Worked, Problem> + Send + 'static,
    ) -> Result<Answer, Problem> {
        let api = self.clone();
        aside(move || {
            let view = api.store().view();
            let worked = work(&api, &view)?;
            let (mut told, refused) = api.foretold(&view, &worked.after, &worked.ops, (meant, true));
            if let [left] = worked.left.as_slice() {
                told.insert("status".to_owned(), left.status.as_u16().into());
                told.insert("document".to_owned(), document(left));
            } else if !worked.left.is_empty() {
                told.insert("results".to_owned(), results(&worked.left));
            }
            Ok(foreseen(told, refused, view.revision()))
        })
        .await?
    }

    /// What would become of the configuration, and of requests, and what the change would be refused for. It may take a
    /// while. With `listed`, what changes is told entity by entity.
    pub(crate) fn foretold(
        &self,
        before: &View,
        after: &View,
        ops: &[Op],
        (meant, listed): (bool, bool),
    ) -> (Document, Option<Problem>) {
        let (old, new) = (self.entities(before), self.entities(after));
        let mut told = Document::new();
        told.insert("dry_run".to_owned(), true.into());
        told.insert("revision".to_owned(), before.revision().0.into());
        if listed {
            told.extend(Changes::between(&old, &new).told());
        }
        let planned = changes::planned(before, &new);
        let forecast = if planned.is_empty() {
            Forecast::default()
        } else {
            self.ports().foresee(&planned)
        };
        let mut warnings: Vec<Value> = forecast.overlaps.iter().map(explain::overlap).collect();
        warnings.extend(forecast.unable.iter().map(|unable| {
            let (kind, id) = (unable.kind.name(), unable.id);
            let message = format!("{kind} '{id}' could not run: {}", unable.message);
            json!({ "kind": "cannot_run", "message": message, "entity_name": kind, "entity_id": id })
        }));
        warnings.extend(about_upstreams(&old, &new, &planned));
        let mut refused = None;
        if let Some(losses) = self.ports().too_much(before, ops) {
            let message = if meant {
                format!("this would remove {losses}, as it is meant to")
            } else {
                refused.insert(Problem::MassDeletion { losses }).to_string()
            };
            warnings.push(json!({ "kind": "mass_deletion", "message": message }));
        }
        told.insert(WARNINGS.to_owned(), warnings.into());
        told.insert(
            "traffic".to_owned(),
            forecast.traffic.as_ref().map(traffic).unwrap_or_default(),
        );
        (told, refused)
    }
}

/// The answer that tells what would be; if that is to be refused, as the change itself would be.
pub(crate) fn foreseen(mut told: Document, refused: Option<Problem>, revision: Revision) -> Answer {
    let Some(problem) = refused else {
        return Answer::ok(told.into(), revision);
    };
    let refusal = Answer::from(problem);
    if told.contains_key("status") {
        told.insert("status".to_owned(), refusal.status.as_u16().into());
    }
    if let Some(Value::Object(why)) = refusal.body {
        told.extend(why);
    }
    Answer {
        status: refusal.status,
        ..Answer::ok(told.into(), revision)
    }
}

/// What steps leave, each as its own answer would say.
pub(crate) fn results(left: &[Left]) -> Value {
    let results = left
        .iter()
        .map(|left| json!({ "status": left.status.as_u16(), "etag": left.tag, "document": document(left) }));
    results.collect()
}

fn document(left: &Left) -> Value {
    left.document.clone().map(Value::Object).unwrap_or_default()
}

fn traffic(traffic: &Traffic) -> Value {
    let named = |route: &Option<Named>| {
        let route = route.as_ref();
        route.map(|route| json!({ "id": route.id, "name": route.name }))
    };
    let moved = traffic.moved.iter().map(|moved| {
        json!({
            "from": named(&moved.from), "to": named(&moved.to), "count": moved.count, "example": moved.example,
        })
    });
    json!({
        "seen": traffic.seen, "lost": traffic.lost, "gained": traffic.gained, "moved": moved.collect::<Value>(),
        "unsure": traffic.unsure, "seconds": traffic.span.as_secs(),
    })
}

/// Services refer to upstreams by nothing but their host: what a change of upstreams does to them is told here.
fn about_upstreams(old: &Entities<'_>, new: &Entities<'_>, planned: &[Planned]) -> Vec<Value> {
    let touched: Vec<&Planned> = planned
        .iter()
        .filter(|planned| matches!(planned.kind, Kind::Upstream | Kind::Service))
        .collect();
    let (Some(upstreams), Some(services)) = (new.kinds.spec(Kind::Upstream), new.kinds.spec(Kind::Service))
    else {
        return Vec::new();
    };
    let mut warnings = Vec::new();
    for planned in touched {
        let key = index::entity_key(planned.kind, planned.id);
        match planned.kind {
            Kind::Upstream => {
                let name = |entities: &Entities<'_>| {
                    let document = entities.document(upstreams, &key)?;
                    name_of(upstreams, &document).map(str::to_owned)
                };
                let (before, after) = (name(old), name(new));
                if before == after {
                    continue;
                }
                for (name, kind) in [(before, "upstream_gone"), (after, "upstream_takes_over")] {
                    let Some(name) = name else { continue };
                    for (id, service) in with_host(new, services, &name) {
                        let message = match kind {
                            "upstream_gone" => format!(
                                "service '{service}' goes to the host '{name}', which is no upstream any more but a name to be looked up"
                            ),
                            _ => format!(
                                "service '{service}' has the host '{name}', and so goes to the targets of this upstream"
                            ),
                        };
                        warnings.push(told(kind, message, services, &id));
                    }
                }
            }
            _ => warnings.extend(without_targets(new, services, upstreams, &key)),
        }
    }
    warnings
}

/// A service whose upstream has no targets answers nothing but 503.
fn without_targets(
    entities: &Entities<'_>,
    services: &KindSpec,
    upstreams: &KindSpec,
    key: &str,
) -> Option<Value> {
    let service = entities.document(services, key)?;
    let host = service.get("host").and_then(Value::as_str)?;
    let named = index::unique(Kind::Upstream, "name", host);
    let upstream = entities.holders(upstreams, &named).next()?;
    let upstream = upstream.get("id").and_then(Value::as_str)?;
    let targets = index::referring(Kind::Upstream, upstream, Kind::Target);
    if entities.view.index_range(&targets, None).next().is_some() {
        return None;
    }
    let id = service.get("id").and_then(Value::as_str).unwrap_or_default();
    let name = name_of(services, &service).unwrap_or(id);
    let message = format!("service '{name}' goes to the upstream '{host}', which has no targets");
    Some(told("no_targets", message, services, id))
}

/// The services that have a host: ids and names.
fn with_host<'e>(
    entities: &'e Entities<'_>,
    services: &'e KindSpec,
    host: &'e str,
) -> impl Iterator<Item = (String, String)> + 'e {
    let all = entities.view.index_range(&index::all(Kind::Service), None);
    let found = all.filter_map(move |(_, key)| {
        let service = entities.document(services, key.as_str())?;
        let is_meant = service
            .get("host")
            .and_then(Value::as_str)?
            .eq_ignore_ascii_case(host);
        let id = service.get("id").and_then(Value::as_str)?.to_owned();
        let name = name_of(services, &service).unwrap_or(&id).to_owned();
        is_meant.then_some((id, name))
    });
    // Bound: enough to see what is the matter.
    found.take(100)
}

fn told(kind: &str, message: String, spec: &KindSpec, id: &str) -> Value {
    json!({ "kind": kind, "message": message, "entity_name": spec.kind.name(), "entity_id": id })
}
