//! TLS that is not ended here: a client's connection, bound for a server name, goes to a service as it is.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use gw_balancer::{Handle, Outcome};
use gw_core::{Protocol, Route};
use gw_plugins::Identity;
use gw_router::{InsertError, Lookup, Router, Rule, RuleId};
use http::{HeaderValue, Method, Request};
use imbl::GenericHashMap;
use imbl::shared_ptr::DefaultSharedPtr;
use tokio::io::AsyncWriteExt as _;
use tracing::debug;

use crate::access_log::Record;
use crate::address::Address;
use crate::attempt::{Picker, Try, TryOutcome};
use crate::conn::Connection;
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::hash_key::Stuck;
use crate::io::stream::Socket;
use crate::lock;
use crate::opening::Passed;
use crate::plan::{RoutePlan, ServicePlan};
use crate::proxy_protocol;
use crate::upgrade::Tunnel;
use crate::worker::Worker;

type Rules = GenericHashMap<gw_core::Id<Route>, RuleId, foldhash::quality::RandomState, DefaultSharedPtr>;

/// The routes of TLS that is not ended here, by server name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passages {
    router: Router<Arc<RoutePlan>>,
    rules: Rules,
}

impl Passages {
    /// Whether a route is one of these.
    pub(crate) fn takes(route: &Route) -> bool {
        route.protocols.contains(Protocol::TlsPassthrough)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.router.is_empty()
    }

    /// Puts a route in its place.
    pub(crate) fn set(&mut self, route: &Arc<Route>) -> Result<(), InsertError> {
        self.remove(route.id);
        let plan = Arc::new(RoutePlan::new(Arc::clone(route)));
        let rule = self.router.insert(rule(route), plan)?;
        self.rules.insert(route.id, rule);
        Ok(())
    }

    pub(crate) fn remove(&mut self, id: gw_core::Id<Route>) {
        if let Some(rule) = self.rules.remove(&id) {
            self.router.remove(rule);
        }
    }

    /// Where a connection for this server name, in lower case, goes.
    pub(crate) fn find(&self, server_name: &str, connection: &Connection) -> Option<&Arc<RoutePlan>> {
        let lookup = Lookup::new(&Method::GET, server_name, "/")
            .remote_addr(connection.client.ip().to_canonical())
            .source(connection.client)
            .destination(connection.local);
        self.router.find(&lookup).map(|found| found.value)
    }
}

/// Server names are hosts to the router, so that the one that says most wins: a name, then what begins with `*.`, then what
/// ends with `.*`.
fn rule(route: &Route) -> Rule {
    let told = &route.rule;
    let mut rule = Rule::any().age(told.created()).priority(told.explicit_priority());
    for name in told.snis() {
        rule = rule.host(name.clone());
    }
    for source in told.sources() {
        rule = rule.source(*source);
    }
    for destination in told.destinations() {
        rule = rule.destination(*destination);
    }
    rule
}

/// A connection on its way, and what the access log will say of it.
struct Passage {
    gateway: Arc<Gateway>,
    worker: Arc<Worker>,
    connection: Connection,
    passed: Passed,
    begun: Instant,
    service: Option<Arc<ServicePlan>>,
    tries: Vec<Try>,
    /// When there was a connection to the target.
    connected: Option<Instant>,
    bytes: (u64, u64),
    failure: Option<Failure>,
    /// Whether it has come to its end.
    ended: bool,
}

/// Passes a connection on until both sides have said all, one is gone, or nothing has passed for the service's
/// `read_timeout`. Dropped before, it is logged as aborted.
pub(crate) async fn run(
    gateway: Arc<Gateway>,
    worker: Arc<Worker>,
    connection: Connection,
    mut passed: Passed,
) {
    let stream = passed.take_stream();
    let mut passage = Passage {
        service: passed
            .route
            .route
            .service
            .and_then(|id| passed.snapshot.service(id))
            .cloned(),
        gateway,
        worker,
        connection,
        passed,
        begun: Instant::now(),
        tries: Vec::new(),
        connected: None,
        bytes: (0, 0),
        failure: None,
        ended: false,
    };
    let ended = match (stream, passage.connect().await) {
        (Some(client), Ok((upstream, handle))) => {
            let limit = passage.idle_limit();
            let mut tunnel = Tunnel::new(client, upstream);
            let ended = tunnel.run(limit, |up, down| passage.bytes = (up, down)).await;
            drop(handle); // it counted among the target's connections until now
            ended
        }
        (_, Err(failure)) => {
            passage.failure = Some(failure);
            Ok(())
        }
        (None, _) => Ok(()),
    };
    passage.ended = true;
    if let Err(error) = ended {
        debug!(client = %passage.connection.client, %error, "a connection that is passed on broke");
        match error.kind() {
            io::ErrorKind::TimedOut => passage.failure = Some(Failure::UpstreamTimeout),
            _ => passage.ended = false,
        }
    }
}

impl Passage {
    /// Bound: how long nothing may pass.
    fn idle_limit(&self) -> Duration {
        self.service
            .as_ref()
            .map_or(Duration::ZERO, |plan| plan.service.timeouts.read)
    }

    /// Connects to one target after the other, until one takes it or no other may be tried.
    async fn connect(&mut self) -> Result<(Socket, Handle), Failure> {
        let service = self.service.clone().ok_or(Failure::NoService)?;
        use Protocol::{Tcp, Tls, TlsPassthrough};
        if !matches!(service.service.target.protocol, TlsPassthrough | Tls | Tcp) {
            return Err(Failure::UnsupportedProtocol);
        }
        let mut picker = Picker::new(&service, self.key(&service), true);
        let mut picked = picker.first(Instant::now()).await?;
        let mut left = service.service.retry.most;
        loop {
            let connecting = self.open(&service, &picked.target.address);
            let limit = service.service.timeouts.connect;
            let brought = match tokio::time::timeout(limit, connecting).await {
                Ok(Ok(socket)) => Ok(socket),
                Ok(Err(error)) => {
                    debug!(target = %picked.target.label, %error, "no connection to a target");
                    Err(Failure::ConnectFailed)
                }
                Err(_) => Err(Failure::ConnectTimeout),
            };
            let now = Instant::now();
            let (outcome, report) = match &brought {
                Ok(_) => (TryOutcome::Connected, Outcome::Success),
                Err(Failure::ConnectTimeout) => (TryOutcome::ConnectTimeout, Outcome::TimedOut),
                Err(_) => (TryOutcome::ConnectFailed, Outcome::ConnectFailed),
            };
            if let Some(transition) = picked.handle.report(report, now) {
                service.cell.heed(&picked.target, &transition);
            }
            self.tries.push(Try {
                target: Arc::clone(&picked.target),
                outcome,
                elapsed: now.saturating_duration_since(picked.at),
            });
            match brought {
                Ok(socket) => {
                    picker.answered(now);
                    self.connected = Some(now);
                    return Ok((socket, picked.handle));
                }
                Err(failure) if left == 0 => return Err(failure),
                Err(failure) => picked = picker.another(&self.tries, now).ok_or(failure)?,
            }
            left -= 1;
        }
    }

    async fn open(&self, service: &ServicePlan, address: &Address) -> io::Result<Socket> {
        let mut socket = address.connect().await?;
        if self.gateway.settings().own.is_reached(&socket) {
            return Err(io::Error::other("it is the gateway's own address"));
        }
        if let Some(version) = service.proxy_protocol {
            let origin = self.connection.origin(self.passed.peer.unix);
            socket.write_all(&proxy_protocol::write(version, origin)).await?;
        }
        Ok(socket)
    }

    /// What it sticks to a target by: its client's address is all there is.
    fn key(&self, service: &ServicePlan) -> Option<u64> {
        let sticking = service.sticking()?;
        let client = self.connection.client.ip().to_canonical().to_string();
        let client = HeaderValue::try_from(client).ok()?;
        let mut stuck = Stuck::default();
        let (head, ()) = Request::new(()).into_parts();
        sticking.settle(&mut stuck, &Identity::default(), &client, &head);
        stuck.key
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let (up, down) = self.bytes;
        let counters = &self.worker.counters;
        counters.bytes_in.fetch_add(up, Relaxed);
        counters.bytes_out.fetch_add(down, Relaxed);
        if !self.gateway.log().is_on() {
            return;
        }
        let (now, id) = (Instant::now(), lock(&self.worker.ids).next());
        let total = now.saturating_duration_since(self.begun);
        let wall = SystemTime::now();
        let record = Record {
            time: wall.checked_sub(total).unwrap_or(wall),
            request_id: id.to_str().unwrap_or_default(),
            client: self.connection.client.ip().to_canonical(),
            client_port: self.connection.client.port(),
            sni: Some(&self.passed.server_name),
            status: self
                .failure
                .as_ref()
                .map_or(200, |failure| failure.status().as_u16()),
            bytes_in: up,
            bytes_out: down,
            total,
            upstream: self.connected.map(|at| now.saturating_duration_since(at)),
            route: Some(self.passed.route.label()),
            service: self.service.as_deref().map(|plan| &*plan.label),
            revision: self.passed.snapshot.revision(),
            tries: &self.tries,
            failure: self.failure.as_ref().map(Failure::code),
            aborted: !self.ended,
            ..Record::default()
        };
        self.gateway.log().write(self.worker.index, &record);
    }
}
