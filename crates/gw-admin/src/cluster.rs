//! `/cluster`, `/problems`, and what `/status` says of them: who serves what, and what is not served.

use std::time::SystemTime;

use gw_core::index;
use gw_store::{Freshness, Revision};
use serde_json::{Value, json};

use crate::AdminApi;
use crate::answer::Answer;
use crate::changes::name_of;
use crate::history::seconds;
use crate::intent::Intent;
use crate::node;
use crate::ports::{Alarm, ClusterNode, ObjectProblem, Word};
use crate::problem::Problem;

/// The alarm of a node that does not serve what is stored, because too much is missing in it.
const HELD_BACK: &str = "held_back";

impl AdminApi {
    /// `GET /cluster`
    pub(crate) async fn cluster(&self) -> Result<Answer, Problem> {
        let nodes = self.ports().nodes().await;
        let info = self.store().info();
        let (nodes, why) = match nodes {
            Ok(nodes) => (nodes, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let head = Head {
            incarnation: info.incarnation.to_string(),
            revision: info.revision.0,
            hash: info.hash.to_string(),
        };
        let data: Value = nodes.iter().map(|one| shown(one, &nodes, &head)).collect();
        let body = json!({
            "store": self.about_store(),
            "incarnation": head.incarnation,
            "revision": head.revision,
            "hash": head.hash,
            "data": data,
            "next": null,
            "error": why,
        });
        Ok(Answer::ok(body, info.revision))
    }

    /// `POST /cluster/accept`
    pub(crate) async fn accept(&self, intent: Intent) -> Result<Answer, Problem> {
        if intent.dry_run {
            let alarms = self.ports().alarms();
            let held = alarms.iter().find(|alarm| &*alarm.kind == HELD_BACK);
            let message = held.map_or("nothing is held back", |held| &*held.message);
            let body = json!({ "dry_run": true, "message": message, "accepted": null });
            return Ok(Answer::ok(body, self.store().info().revision));
        }
        let word = Word {
            author: intent.author.clone(),
            message: intent.message.clone(),
            request: intent.request.clone(),
        };
        // Whoever failed has told why.
        let unavailable = |_| Problem::Unavailable {
            place: self.store().place(),
        };
        let accepted = self.ports().accept(word).await.map_err(unavailable)?;
        let message = match accepted {
            Some(revision) => format!("revision {revision} says that it was meant"),
            None => "nothing was held back".to_owned(),
        };
        let body = json!({ "message": message, "accepted": accepted });
        let Some(revision) = accepted.map(Revision) else {
            return Ok(Answer::ok(body, self.store().info().revision));
        };
        let answer = Answer::ok(body, revision);
        Ok(self.when_served(answer, &intent, revision, true).await)
    }

    /// `GET /problems`
    pub(crate) fn problems(&self) -> Value {
        let view = self.store().view();
        let entities = self.entities(&view);
        let problems = self.ports().problems();
        let data = problems.iter().map(|problem| {
            let ObjectProblem {
                kind,
                id,
                message,
                kept,
                revision,
                since,
            } = problem;
            let spec = self.kinds().by_name(kind);
            let name = spec.and_then(|spec| {
                let document = entities.document(spec, &index::entity_key(spec.kind, id))?;
                name_of(spec, &document).map(str::to_owned)
            });
            json!({
                "entity_name": kind, "entity_id": id, "name": name, "message": message, "kept": kept,
                "revision": revision, "since": time(*since),
            })
        });
        let data: Value = data.collect();
        let alarms: Value = self.ports().alarms().iter().map(alarm).collect();
        json!({ "data": data, "next": null, "alarms": alarms })
    }

    /// `GET /status`
    pub(crate) fn status(&self, query: &[(String, String)]) -> Result<Value, Problem> {
        let view = self.store().view();
        let ports = &**self.ports();
        let mut status = node::status(&view, ports, query, self.configuration_hash())?;
        let store = self.about_store();
        if status.get("database").is_some() {
            let reachable = store["reached"] == true && store["stale"].is_null();
            status["database"] = json!({ "reachable": reachable });
        }
        status["configuration"]["hash"] = view.hash().to_string().into();
        status["configuration"]["problems"] = ports.problems().len().into();
        status["configuration"]["alarms"] = ports.alarms().iter().map(alarm).collect();
        status["store"] = store;
        Ok(status)
    }

    fn about_store(&self) -> Value {
        let info = self.store().info();
        let stale = match &info.freshness {
            Freshness::Stale { since, why } => {
                let seconds = since.elapsed().unwrap_or_default().as_secs();
                json!({ "since": time(*since), "seconds": seconds, "why": why })
            }
            _ => Value::Null,
        };
        json!({ "place": self.store().place(), "reached": info.reached, "stale": stale })
    }
}

/// Where the store stands.
struct Head {
    incarnation: String,
    revision: u64,
    hash: String,
}

fn shown(one: &ClusterNode, all: &[ClusterNode], head: &Head) -> Value {
    let same_history = *one.incarnation == *head.incarnation;
    let at_head = same_history && one.applied == head.revision;
    // Of two that differ at one revision either may be the wrong one.
    let differs = |other: &&ClusterNode| {
        (&other.incarnation, other.applied) == (&one.incarnation, one.applied) && other.hash != one.hash
    };
    let diverged = at_head && *one.hash != *head.hash || all.iter().any(|other| differs(&other));
    let behind = same_history.then(|| head.revision.saturating_sub(one.applied));
    let state = match (diverged, one.stale_since, behind) {
        (true, _, _) => "diverged",
        (_, _, None) => "other_history",
        (_, Some(_), _) => "stale",
        (_, None, Some(0)) => "current",
        (_, None, Some(_)) => "behind",
    };
    json!({
        "id": one.node.id,
        "hostname": one.node.hostname,
        "this": one.is_this,
        "version": one.version,
        "started_at": time(one.started),
        "state": state,
        "incarnation": one.incarnation,
        "revision": one.applied,
        "behind": behind,
        "hash": one.hash,
        "applied_at": time(one.applied_at),
        "stale_since": one.stale_since.map(time),
        "problems": one.problems,
    })
}

fn alarm(alarm: &Alarm) -> Value {
    let Alarm {
        kind,
        message,
        since,
        revision,
    } = alarm;
    json!({ "kind": kind, "message": message, "since": time(*since), "revision": revision })
}

/// Unix seconds.
fn time(at: SystemTime) -> Value {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    seconds(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
