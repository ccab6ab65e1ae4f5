//! What a change would do to requests of late: each is asked for its route twice, of what is served and of what would be.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gw_core::{Id, Route};
use http::{HeaderName, Method};

use crate::arrival::{Arrival, Asked};
use crate::explain::RouteName;
use crate::foresight::Foreseen;
use crate::gateway::Gateway;
use crate::snapshot::Snapshot;
use crate::traffic::{Part, Shape};

/// Bound: pairs of routes that are told.
const MOST: usize = 100;

/// Bound: characters of an example.
const EXAMPLE: usize = 256;

/// What a change would do to requests of late.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replay {
    /// Requests that were looked at.
    pub seen: u64,
    /// Those that would go elsewhere, most of them first.
    pub moved: Vec<MovedRequests>,
    /// Those that have a route now and would have none.
    pub lost: u64,
    /// Those that have none now and would have one.
    pub gained: u64,
    /// Those of which too little was kept: what is served now is not said to route them as it did.
    pub unsure: u64,
    /// How long ago the first of them came.
    pub span: Duration,
}

/// Requests that would go from one route to another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MovedRequests {
    /// The route that gets them now; none if none does.
    pub from: Option<RouteName>,
    /// The route that would; none if none would.
    pub to: Option<RouteName>,
    /// How many.
    pub count: u64,
    /// One of them: method, host and path.
    pub example: Box<str>,
}

impl Gateway {
    /// What would become of requests of late; none if they are not kept. It takes a while where many are.
    #[must_use]
    pub fn replay(&self, foreseen: &Foreseen) -> Option<Replay> {
        (self.settings().traffic.samples > 0).then(|| {
            let names = &self.settings().traffic.headers;
            replay(&self.recent(), names, &foreseen.now, &foreseen.then)
        })
    }
}

/// From which route to which; none = no route.
type Move = (Option<Id<Route>>, Option<Id<Route>>);

fn replay(parts: &[Arc<Part>], names: &[HeaderName], now: &Snapshot, then: &Snapshot) -> Replay {
    let mut replay = Replay::default();
    let mut moved: HashMap<Move, MovedRequests> = HashMap::new();
    let first = parts.iter().filter_map(|part| part.first()).min();
    replay.span = first.map_or(Duration::ZERO, |first| {
        Instant::now().saturating_duration_since(first)
    });
    for shape in parts.iter().flat_map(|part| part.shapes()) {
        let Ok(method) = Method::from_bytes(shape.method.as_bytes()) else {
            continue;
        };
        let headers = shape.headers(names);
        let arrival = Arrival {
            client: shape.client,
            scheme: shape.scheme,
            port: shape.port,
            sni: shape.sni,
        };
        let lookup = arrival.lookup(Asked {
            method: &method,
            host: shape.host,
            path: shape.path,
            query: None,
            headers: &headers,
        });
        let route = |snapshot: &Snapshot| -> Option<RouteName> {
            let found = snapshot.router().find(&lookup)?;
            Some(RouteName {
                id: found.value.route.id,
                name: found.value.route.name.clone(),
            })
        };
        replay.seen += 1;
        let from = route(now);
        let was = from.as_ref().map(|route| route.id);
        if shape.revision == now.revision() && shape.route != was {
            replay.unsure += 1;
            continue;
        }
        let to = route(then);
        let will_be = to.as_ref().map(|route| route.id);
        if was == will_be {
            continue;
        }
        replay.lost += u64::from(to.is_none());
        replay.gained += u64::from(from.is_none());
        let moved = moved.entry((was, will_be)).or_insert_with(|| MovedRequests {
            from,
            to,
            count: 0,
            example: example(&shape),
        });
        moved.count += 1;
    }
    replay.moved = moved.into_values().collect();
    let order = |moved: &MovedRequests| {
        let id = |route: &Option<RouteName>| route.as_ref().map(|route| route.id.uuid());
        (std::cmp::Reverse(moved.count), id(&moved.from), id(&moved.to))
    };
    replay.moved.sort_by_key(order);
    replay.moved.truncate(MOST);
    replay
}

fn example(shape: &Shape<'_>) -> Box<str> {
    let text = format!("{} {}{}", shape.method, shape.host, shape.path);
    text.chars().take(EXAMPLE).collect::<String>().into()
}
