//! Why a request goes where it goes, for people: asked of the snapshot that requests are served by.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use gw_core::{Id, Protocol, Route, Service};
use gw_router::{Candidate, Lookup, Overlap, Party, Verdict};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};

use crate::arrival::{Arrival, Asked};
use crate::failure::Failure;
use crate::forward;
use crate::gateway::Gateway;
use crate::plan::RoutePlan;
use crate::snapshot::Snapshot;

/// A request as it might come in.
#[derive(Clone, Debug)]
pub struct Question {
    /// Its method.
    pub method: Method,
    /// Its target: a path, or with a host before it.
    pub target: Uri,
    /// Its headers, `Host` among them unless the target has one.
    pub headers: HeaderMap,
    /// The client's address.
    pub client: IpAddr,
    /// How it comes in: [`Protocol::Http`] or [`Protocol::Https`].
    pub scheme: Protocol,
    /// The port that the client connects to.
    pub port: u16,
    /// The server name of the TLS handshake.
    pub sni: Option<Box<str>>,
}

/// What the gateway would do with a request, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteExplanation {
    /// The revision of the configuration that was asked.
    pub revision: u64,
    /// The path that routes are compared with: the request's in normal form.
    pub path: Box<str>,
    /// The route that gets the request.
    pub matched: Option<MatchedRoute>,
    /// The other routes that match, the best first.
    pub others: Vec<RouteCandidate>,
    /// The routes that do not match though one of their paths does, the nearest first.
    pub near_misses: Vec<RouteCandidate>,
    /// How many more of these there are.
    pub omitted: usize,
    /// The status of the gateway's own answer, if the request goes nowhere.
    pub status: Option<StatusCode>,
}

/// A route and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteCandidate {
    /// The route.
    pub route: RouteName,
    /// Which of its paths matches; none if it has none.
    pub pattern: Option<Box<str>>,
    /// Which of its hosts matches.
    pub host: Option<Box<str>>,
    /// Why it did not get the request, each reason by itself; empty if it did.
    pub reasons: Vec<Box<str>>,
}

/// The route that gets a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MatchedRoute {
    /// The route, and which of its paths and hosts match.
    pub candidate: RouteCandidate,
    /// Where it sends requests.
    pub service: Option<Id<Service>>,
    /// The part of the path that its pattern stands for.
    pub matched_path: Option<Box<str>>,
    /// The parameters in the path, in the order of the pattern.
    pub params: Vec<(Box<str>, Box<str>)>,
    /// What it has before the next best.
    pub ahead_by: Option<Box<str>>,
}

/// A route by its id and name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteName {
    /// Its id.
    pub id: Id<Route>,
    /// Its name.
    pub name: Option<Box<str>>,
}

impl Gateway {
    /// What would become of a request now, and why.
    #[must_use]
    pub fn explain(&self, question: &Question) -> RouteExplanation {
        let snapshot = self.snapshot();
        let mut explanation = RouteExplanation {
            revision: snapshot.revision(),
            path: question.target.path().into(),
            matched: None,
            others: Vec::new(),
            near_misses: Vec::new(),
            omitted: 0,
            status: None,
        };
        let mut request = Request::new(());
        request.method_mut().clone_from(&question.method);
        request.uri_mut().clone_from(&question.target);
        request.headers_mut().clone_from(&question.headers);
        let (mut head, ()) = request.into_parts();
        let mut host = None;
        let limit = self.settings().limits.target;
        let inbound = match forward::settle(&mut head, limit, &mut host) {
            Ok(inbound) => inbound,
            Err(failure) => {
                explanation.status = Some(failure.status());
                return explanation;
            }
        };
        let path = inbound.normal.as_deref().unwrap_or(head.uri.path());
        explanation.path = path.into();
        let host = host.as_ref().map_or(Cow::default(), |host: &HeaderValue| {
            String::from_utf8_lossy(host.as_bytes())
        });
        let arrival = Arrival {
            client: question.client.to_canonical(),
            scheme: question.scheme,
            port: question.port,
            sni: question.sni.as_deref(),
        };
        let lookup = arrival.lookup(Asked {
            method: &head.method,
            host: &host,
            path,
            query: head.uri.query(),
            headers: &head.headers,
        });
        let plan = fill(&mut explanation, &snapshot, &lookup);
        let refused = |plan: &RoutePlan| plan.refuses(question.scheme, &head, &host, path);
        let failure = plan.map_or(Some(Failure::NoRoute), refused);
        explanation.status = failure.map(|failure| failure.status());
        explanation
    }
}

/// Sorts the candidates by what became of them; returns the one that gets the request.
fn fill<'s>(
    explanation: &mut RouteExplanation,
    snapshot: &'s Snapshot,
    lookup: &Lookup<'_>,
) -> Option<&'s RoutePlan> {
    let router = snapshot.router();
    let told = router.explain(lookup);
    explanation.omitted = told.omitted;
    for seen in &told.candidates {
        match &seen.verdict {
            Verdict::Won => {}
            Verdict::Lost { by } => {
                let reason = by.to_string().into();
                explanation.others.push(candidate(seen, vec![reason]));
            }
            Verdict::Failed(failures) => {
                let reasons = failures.iter().map(|failure| failure.to_string().into());
                explanation.near_misses.push(candidate(seen, reasons.collect()));
            }
            _ => {}
        }
    }
    let found = router.find(lookup)?;
    let plan: &RoutePlan = found.value;
    explanation.matched = Some(MatchedRoute {
        candidate: RouteCandidate {
            route: name(plan),
            pattern: found.pattern().map(|pattern| pattern.as_str().into()),
            host: found.host().map(|host| host.to_string().into()),
            reasons: Vec::new(),
        },
        service: plan.route.service,
        matched_path: found.pattern().map(|_| found.matched_path().into()),
        params: found
            .params()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        ahead_by: explanation
            .others
            .first()
            .and_then(|next| next.reasons.first().cloned()),
    });
    Some(plan)
}

fn candidate(seen: &Candidate<'_, Arc<RoutePlan>>, reasons: Vec<Box<str>>) -> RouteCandidate {
    RouteCandidate {
        route: name(seen.value),
        pattern: seen.pattern.map(|pattern| pattern.as_str().into()),
        host: seen.host.map(|host| host.to_string().into()),
        reasons,
    }
}

fn name(plan: &RoutePlan) -> RouteName {
    RouteName {
        id: plan.route.id,
        name: plan.route.name.clone(),
    }
}

// --- overlaps ---

/// Two routes that get in each other's way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteOverlap {
    /// Which variant of [`Overlap`] it is, in snake case.
    pub kind: &'static str,
    /// What is the matter, as an operator reads it.
    pub message: Box<str>,
    /// The two, in the order in which the message names them.
    pub routes: Vec<RouteName>,
}

impl Gateway {
    /// The routes that get in each other's way: [`gw_router::Router::overlaps`]. In a large table this takes a while.
    #[must_use]
    pub fn overlaps(&self) -> Vec<RouteOverlap> {
        let snapshot = self.snapshot();
        told(&snapshot, &snapshot.router().overlaps())
    }

    /// Those of [`Self::overlaps`] that one route is part of; what this takes is bounded.
    #[must_use]
    pub fn overlaps_of(&self, route: Id<Route>) -> Vec<RouteOverlap> {
        overlaps_of(&self.snapshot(), route)
    }
}

/// What one route of a snapshot is in the way of, and what is in its way.
pub(crate) fn overlaps_of(snapshot: &Snapshot, route: Id<Route>) -> Vec<RouteOverlap> {
    let overlaps = snapshot
        .rule(route)
        .map(|rule| snapshot.router().overlaps_of(rule));
    told(snapshot, &overlaps.unwrap_or_default())
}

fn told(snapshot: &Snapshot, overlaps: &[Overlap]) -> Vec<RouteOverlap> {
    let plan = |party: &Party| snapshot.router().get(party.id).map(|plan| &**plan);
    let overlaps = overlaps.iter().filter_map(|overlap| {
        let (kind, one, other) = match overlap {
            Overlap::NeverWins { rule, behind } => ("never_wins", rule, behind),
            Overlap::Undecided { first, second } => ("undecided", first, second),
            Overlap::CutsSegment { prefix, other } => ("cuts_segment", prefix, other),
            _ => return None,
        };
        let plans = (plan(one)?, plan(other)?);
        let (a, b) = (label(plans.0, one), label(plans.1, other));
        let message = match kind {
            "never_wins" => format!("{a} never wins: {b} matches whatever it does, and goes before it"),
            "undecided" => format!("{a} goes before {b} only because it is older"),
            _ => format!("{a} ends within a segment with which {b} goes on"),
        };
        Some(RouteOverlap {
            kind,
            message: message.into(),
            routes: vec![name(plans.0), name(plans.1)],
        })
    });
    overlaps.collect()
}

fn label(plan: &RoutePlan, party: &Party) -> String {
    match &party.pattern {
        Some(pattern) => format!("route '{}' (`{pattern}`)", plan.label()),
        None => format!("route '{}' (any path)", plan.label()),
    }
}
