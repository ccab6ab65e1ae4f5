//! What the node's data plane tells of its routes.

use std::net::IpAddr;

use http::{HeaderMap, Method, StatusCode, Uri};
use uuid::Uuid;

/// Why requests go where they go.
pub trait Routing: Send + Sync {
    /// What would become of a request now, and why.
    fn explain(&self, question: &Question) -> Explanation;

    /// The pairs of routes that are in each other's way.
    fn overlaps(&self) -> Vec<Overlap>;

    /// Those of [`Self::overlaps`] that one route is part of. It costs little, whatever the number of routes.
    fn overlaps_of(&self, route: Uuid) -> Vec<Overlap>;
}

/// A request as it might come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its method.
    pub method: Method,
    /// Its target: a path, or with a host before it.
    pub target: Uri,
    /// Its headers.
    pub headers: HeaderMap,
    /// The client's address.
    pub client: IpAddr,
    /// Whether it comes in over TLS.
    pub tls: bool,
    /// The port that the client connects to.
    pub port: u16,
    /// The server name of the TLS handshake.
    pub sni: Option<Box<str>>,
}

/// What the gateway would do with a request, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// The revision of the configuration that was asked.
    pub revision: u64,
    /// The path that routes are compared with: the request's in normal form.
    pub path: Box<str>,
    /// The route that gets the request.
    pub matched: Option<Matched>,
    /// The other routes that match, the best first.
    pub others: Vec<Candidate>,
    /// The routes that do not match though one of their paths does, the nearest first.
    pub near_misses: Vec<Candidate>,
    /// How many more of these there are.
    pub omitted: usize,
    /// The status of the gateway's own answer, if the request goes nowhere.
    pub status: Option<StatusCode>,
}

/// A route and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The route.
    pub route: Named,
    /// Which of its paths matches; none if it has none.
    pub pattern: Option<Box<str>>,
    /// Which of its hosts matches.
    pub host: Option<Box<str>>,
    /// Why it did not get the request, each reason by itself; empty if it did.
    pub reasons: Vec<Box<str>>,
}

/// The route that gets a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched {
    /// The route, and which of its paths and hosts match.
    pub candidate: Candidate,
    /// Where it sends requests.
    pub service: Option<Uuid>,
    /// The part of the path that its pattern stands for.
    pub matched_path: Option<Box<str>>,
    /// The parameters in the path, in the order of the pattern.
    pub params: Vec<(Box<str>, Box<str>)>,
    /// What it has before the next best.
    pub ahead_by: Option<Box<str>>,
}

/// A route by its id and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: Option<Box<str>>,
}

/// Two routes that are in each other's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// What kind of overlap it is, in a word.
    pub kind: &'static str,
    /// What is the matter, as an operator reads it.
    pub message: Box<str>,
    /// The routes.
    pub routes: Vec<Named>,
}
