//! One request's owned state, from its head to the last byte of its response; finished exactly once.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use gw_balancer::Handle;
use gw_core::Retry;
use gw_plugins::cx::{Facts, LogParts};
use gw_plugins::{Identity, Reply, ReplyBody};
use http::header::ACCEPT;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, request, response};
use http_body::Body as _;
use smallvec::SmallVec;

use crate::access_log::Record;
use crate::arrival::{Arrival, Asked};
use crate::attempt::{Try, TryOutcome};
use crate::body::{Content, RequestBody, Upload};
use crate::cell::Member;
use crate::chain::{self, Run};
use crate::conn::{Conn, Connection};
use crate::document::document;
use crate::failure::Failure;
use crate::forward::{self, Inbound};
use crate::hash_key::Stuck;
use crate::hop;
use crate::lock;
use crate::overload::Held;
use crate::plan::{RoutePlan, ServicePlan, is_grpc};
use crate::pool::{Lease, Pool};
use crate::proxy_protocol;
use crate::real_ip::RealClient;
use crate::snapshot::Snapshot;
use crate::upgrade::Upgrade;

/// What does not change while a request goes through its phases, once it is known.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) conn: Arc<Conn>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) id: HeaderValue,
    pub(crate) route: Option<Arc<RoutePlan>>,
    pub(crate) service: Option<Arc<ServicePlan>>,
    /// Whom it is from, if a proxy that is trusted says that it is not whoever speaks.
    real: Option<Box<RealClient>>,
    /// When the request began; read only if somebody wants to know.
    wall: Option<SystemTime>,
}

/// One request from its head to the last byte of its response. It rides in the response's body.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) about: About,
    pub(crate) begun: Instant,
    pub(crate) method: Method,
    /// The target as the client sent it.
    pub(crate) target: Option<PathAndQuery>,
    accept: Option<HeaderValue>,
    /// Whether it is a call of gRPC.
    grpc: bool,
    /// The client's `Host`.
    pub(crate) host: Option<HeaderValue>,
    /// How much of the request's path the route matched; none if the route has no paths.
    pub(crate) matched: Option<usize>,
    pub(crate) identity: Identity,
    /// What it sticks to a target by.
    pub(crate) stuck: Stuck,
    pub(crate) run: Run,
    pub(crate) upload: Option<Arc<Upload>>,
    /// What it asks for, if that is a WebSocket.
    pub(crate) upgrade: Option<Upgrade>,
    pub(crate) tries: SmallVec<[Try; 2]>,
    /// The try under way.
    pub(crate) trying: Option<(Arc<Member>, Instant)>,
    /// Counts the target's requests in flight; dropped with the last byte.
    pub(crate) handle: Option<Handle>,
    pub(crate) lease: Option<Lease>,
    /// From when to when the upstream was waited for.
    pub(crate) asked: Option<Instant>,
    pub(crate) answered: Option<Instant>,
    /// Bytes of the request's body that are held in memory.
    held: usize,
    status: StatusCode,
    sent: u64,
    failure: Option<&'static str>,
    finished: bool,
}

/// How an exchange ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The last byte went out.
    Complete,
    /// The client went away.
    Aborted,
    /// The response's body failed.
    Failed(Failure),
}

/// What a client that went away is logged with: nginx's number for it.
const GONE: u16 = 499;

impl About {
    /// What a plugin is told.
    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts {
            config: self.snapshot.config(),
            client: self.client(),
            scheme: self.conn.scheme,
            client_certificate: self.conn.tls.certificate(),
            request_id: self.request_id(),
            route: self.route.as_deref().map(|plan| &plan.route),
            service: self.service.as_deref().map(|plan| &plan.service),
            now: self.wall.unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }

    /// Whom the request is from.
    pub(crate) fn client(&self) -> IpAddr {
        self.real
            .as_ref()
            .map_or(self.conn.client, |real| real.address.ip())
    }

    fn client_port(&self) -> u16 {
        let real = self.real.as_ref();
        real.map_or(self.conn.client_port, |real| real.address.port())
    }

    /// The same address, as it stands in headers.
    pub(crate) fn client_value(&self) -> &HeaderValue {
        self.real
            .as_ref()
            .map_or(&self.conn.client_value, |real| &real.value)
    }

    /// What a connection to an upstream begins with that is to be told of the client.
    pub(crate) fn preamble(&self) -> Option<Box<[u8]>> {
        let version = self.service.as_deref()?.proxy_protocol?;
        let connection = Connection {
            client: SocketAddr::new(self.client(), self.client_port()),
            local: self.conn.local,
            scheme: self.conn.scheme,
        };
        let unix = self.conn.peer.unix && self.real.is_none();
        Some(proxy_protocol::write(version, connection.origin(unix)).into())
    }

    /// Where the connections to upstreams are that may serve it: among all of the worker's, unless they are told whom they
    /// are for.
    pub(crate) fn pool(&self) -> &Mutex<Pool> {
        let told = self
            .service
            .as_deref()
            .is_some_and(|plan| plan.proxy_protocol.is_some());
        if told {
            self.conn.own_pool()
        } else {
            &self.conn.worker.pool
        }
    }

    /// When it is tried again, if there is a service to try.
    pub(crate) fn retry(&self) -> Option<&Retry> {
        Some(&self.service.as_deref()?.service.retry)
    }

    pub(crate) fn request_id(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }

    /// Reads the wall clock, if that has not been done. Needed before [`About::facts`].
    pub(crate) fn stamp(&mut self) {
        self.wall.get_or_insert_with(SystemTime::now);
    }
}

impl Exchange {
    /// Takes up a request.
    pub(crate) fn begin(conn: &Arc<Conn>, request: &Request<RequestBody>) -> Box<Self> {
        conn.heads.fetch_add(1, Relaxed);
        conn.in_flight.fetch_add(1, Relaxed);
        conn.worker.counters.requests.fetch_add(1, Relaxed);
        let snapshot = conn.gateway.snapshot(); // one `Arc` clone, no lock
        let log_wants_time = conn.gateway.log().is_on();
        Box::new(Self {
            run: Run::new(Arc::clone(snapshot.global_chain())),
            about: About {
                conn: Arc::clone(conn),
                snapshot,
                id: lock(&conn.worker.ids).next(),
                route: None,
                service: None,
                real: conn.real_client(request.headers()),
                wall: log_wants_time.then(SystemTime::now),
            },
            begun: Instant::now(),
            method: request.method().clone(),
            target: request.uri().path_and_query().cloned(),
            accept: request.headers().get(ACCEPT).cloned(),
            grpc: request.version() == Version::HTTP_2 && is_grpc(request.headers()),
            host: None,
            matched: None,
            identity: Identity::default(),
            stuck: Stuck::default(),
            upload: request.body().upload(),
            upgrade: None,
            tries: SmallVec::new(),
            trying: None,
            handle: None,
            lease: None,
            asked: None,
            answered: None,
            held: 0,
            status: StatusCode::OK,
            sent: 0,
            failure: None,
            finished: false,
        })
    }

    /// Whether the gateway takes it up: what it carries already, how many headers it has, how long its body says it is.
    pub(crate) fn admit(&self, head: &request::Parts, body: &RequestBody) -> Result<(), Failure> {
        let conn = &self.about.conn;
        conn.gateway.overload().admit(&conn.worker)?;
        let limits = &conn.gateway.settings().limits;
        if head.headers.len() > limits.headers {
            return Err(Failure::TooManyHeaders);
        }
        if limits.body.is_some_and(|most| body.size_hint().lower() > most) {
            return Err(Failure::BodyTooLarge);
        }
        Ok(())
    }

    /// Whether its route has the gateway read requests ahead, so that a slow client does not hold an upstream. A call of gRPC may
    /// be a conversation.
    pub(crate) fn buffers_request(&self) -> bool {
        let buffers = |plan: &RoutePlan| plan.route.request_buffering;
        !self.grpc && self.about.route.as_deref().is_some_and(buffers)
    }

    /// The same of responses.
    pub(crate) fn buffers_response(&self) -> bool {
        let buffers = |plan: &RoutePlan| plan.route.response_buffering;
        !self.grpc && self.upgrade.is_none() && self.about.route.as_deref().is_some_and(buffers)
    }

    /// Lets go of the upstream, of whose answer nothing is to come any more.
    pub(crate) fn let_go(&mut self) {
        let now = self.answered.unwrap_or_else(Instant::now);
        self.release(now);
    }

    /// Counts what it holds of the request's body.
    pub(crate) fn held(&mut self) -> Held<'_> {
        let conn = &self.about.conn;
        conn.gateway.overload().held(&conn.worker, &mut self.held)
    }

    /// Takes what the request asks for beyond an answer. What was `CONNECT` is `GET` then.
    pub(crate) fn ask(&mut self, upgrade: Option<Upgrade>) {
        if upgrade.is_some() {
            self.method = Method::GET;
        }
        self.upgrade = upgrade;
    }

    /// Finds the route, its service and its chain.
    pub(crate) fn route(&mut self, head: &request::Parts, inbound: &Inbound) -> Result<(), Failure> {
        let path = inbound.normal.as_deref().unwrap_or(head.uri.path());
        let host = self
            .host
            .as_ref()
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default();
        let conn = &self.about.conn;
        if let Some(refusal) = conn.tls.refusal() {
            return Err(refusal.clone());
        }
        let arrival = Arrival {
            client: self.about.client(),
            ..conn.arrival()
        };
        let asked = Asked {
            method: &head.method,
            host,
            path,
            query: head.uri.query(),
            headers: &head.headers,
        };
        let lookup = arrival.lookup(asked);
        let Some(found) = self.about.snapshot.router().find(&lookup) else {
            return Err(Failure::NoRoute);
        };
        if let Some(second) = &inbound.second {
            let snapshot = &self.about.snapshot;
            let other = arrival.lookup(Asked {
                path: second,
                ..asked
            });
            let other = snapshot.router().find(&other);
            let chain = snapshot.chain(&found.value.route);
            if other.is_some_and(|other| !snapshot.chain(&other.value.route).is_within(chain)) {
                return Err(Failure::BadRequest); // another server would find what only that route protects
            }
        }
        self.matched = found.pattern().map(|_| inbound.encoded_len(found.matched_path()));
        let route = Arc::clone(found.value);
        self.about.service = route
            .route
            .service
            .and_then(|id| self.about.snapshot.service(id))
            .cloned();
        if let Some(sticking) = self.about.service.as_deref().and_then(ServicePlan::sticking) {
            self.stuck = sticking.routed(path, |name| found.param(name));
        }
        self.run = Run::new(Arc::clone(self.about.snapshot.chain(&route.route)));
        let target = self.target.as_ref().map_or("/", PathAndQuery::as_str);
        let refused = route.refuses(conn.scheme_of(&head.headers), head, host, target);
        let lacking = match route.route.require_client_certificate {
            true => conn.tls.lacks(),
            false => None,
        };
        self.about.route = Some(route);
        refused.or(lacking).map_or(Ok(()), Err)
    }

    /// When the upstream is first asked: now, or when it began if nothing could have been waited for since.
    pub(crate) fn waited(&self) -> Instant {
        let nothing = self.run.chain.is_empty() && self.upload.is_none();
        if nothing { self.begun } else { Instant::now() }
    }

    /// Whether the `Host` that the upstream is sent is the client's.
    pub(crate) fn names_the_host(&self) -> bool {
        let preserved = |plan: &RoutePlan| plan.route.preserve_host;
        self.host.is_some() && self.about.route.as_deref().is_some_and(preserved)
    }

    /// Finds out what it sticks to a target by, once the consumer is known.
    pub(crate) fn stick(&mut self, head: &request::Parts) {
        if let Some(sticking) = self.about.service.as_deref().and_then(ServicePlan::sticking) {
            sticking.settle(&mut self.stuck, &self.identity, self.about.client_value(), head);
        }
    }

    /// The answer to a request that failed: the only place where a failure becomes a response.
    pub(crate) fn rescue(&mut self, failure: &Failure) -> Response<Content> {
        self.failure = Some(failure.code());
        if *failure == Failure::ClientTimeout {
            self.about.conn.worker.counters.slow_clients.fetch_add(1, Relaxed);
        }
        let response = failure.response(self.accept.as_ref(), self.about.request_id());
        let (mut head, body) = response.into_parts();
        if chain::header_filter(self, &mut head).is_err() {
            let panicked = Failure::PluginPanicked;
            self.failure = Some(panicked.code());
            let response = panicked.response(self.accept.as_ref(), self.about.request_id());
            return self.made(response.map(Content::Bytes));
        }
        self.made(Response::from_parts(head, Content::Bytes(body)))
    }

    /// The answer a plugin makes in the upstream's place.
    pub(crate) fn reply(&mut self, reply: Reply) -> Result<Response<Content>, Failure> {
        let response = match reply.body {
            ReplyBody::Bytes(bytes) => {
                let mut response = Response::new(bytes);
                *response.status_mut() = reply.status;
                response
            }
            ReplyBody::Message(message) => document(
                reply.status,
                &message,
                self.accept.as_ref(),
                self.about.request_id(),
            ),
        };
        let (mut head, body) = response.into_parts();
        forward::merge(&mut head.headers, reply.headers);
        chain::header_filter(self, &mut head)?;
        Ok(self.made(Response::from_parts(head, Content::Bytes(body))))
    }

    /// The upstream's answer on its way to the client.
    pub(crate) fn answer(
        &mut self,
        mut head: response::Parts,
        body: Content,
    ) -> Result<Response<Content>, Failure> {
        hop::strip_response(&mut head.headers);
        self.stuck.set_cookie(&mut head.headers);
        chain::header_filter(self, &mut head)?;
        forward::proxied(self, &mut head);
        let mut response = Response::from_parts(head, body);
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(upgrade) = &self.upgrade
        {
            upgrade.grant(&mut response);
        }
        Ok(self.sending(response))
    }

    fn made(&mut self, mut response: Response<Content>) -> Response<Content> {
        forward::made(self, response.headers_mut());
        if self.grpc {
            response = forward::grpc_status(response);
        }
        self.sending(response)
    }

    fn sending(&mut self, mut response: Response<Content>) -> Response<Content> {
        if let Some(upgrade) = &self.upgrade {
            upgrade.settle(&mut response);
        }
        if self.filters_body() && !response.body().is_end_stream() {
            // What the filters leave has another length.
            response.headers_mut().remove(http::header::CONTENT_LENGTH);
        }
        self.status = response.status();
        response
    }

    pub(crate) fn filters_body(&self) -> bool {
        self.run.filters_body()
    }

    /// Lets the body filters see a chunk.
    pub(crate) fn body_filter(&mut self, chunk: &mut Bytes, last: bool) -> Result<(), Failure> {
        chain::body_filter(self, chunk, last)
    }

    pub(crate) fn count(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// Whether the response has no body by nature, whatever its content.
    pub(crate) fn wants_no_body(&self) -> bool {
        self.method == Method::HEAD
            || matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }

    /// Why the upstream's body broke off.
    pub(crate) fn body_failure(&self) -> Failure {
        let late = self.lease.as_ref().is_some_and(Lease::is_late);
        if late {
            Failure::UpstreamTimeout
        } else {
            Failure::UpstreamBroken
        }
    }

    /// Ends the exchange: the connection back to its pool, the target's count down, log phase, access log. Once.
    pub(crate) fn finish(&mut self, end: End) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.about.conn.in_flight.fetch_sub(1, Relaxed);
        if end == End::Aborted && self.answered.is_none() {
            self.about.conn.aborted.fetch_add(1, Relaxed);
        }
        self.about.conn.worker.counters.finished.fetch_add(1, Relaxed);
        if self.held > 0 {
            self.about.conn.worker.held.fetch_sub(self.held, Relaxed);
        }
        if self.upload.as_ref().is_some_and(|upload| !upload.is_done()) {
            self.about.conn.unread.store(true, Relaxed);
        }
        // A look at the clock, if somebody wants to know the time it took.
        let timed = self.run.has_log() || self.about.conn.gateway.log().is_on();
        let now = match self.answered {
            Some(answered) if !timed => answered,
            _ => Instant::now(),
        };
        if end == End::Complete {
            self.release(now);
        } else {
            (self.handle, self.lease) = (None, None);
        }
        if let Some((target, since)) = self.trying.take() {
            let elapsed = now.saturating_duration_since(since);
            self.tries.push(Try {
                target,
                outcome: TryOutcome::Aborted,
                elapsed,
            });
        }
        match &end {
            End::Failed(failure) => self.failure = Some(failure.code()),
            // The head never went out.
            End::Aborted if self.answered.is_none() && self.sent == 0 && self.failure.is_none() => {
                self.status = StatusCode::from_u16(GONE).unwrap_or(StatusCode::BAD_REQUEST);
            }
            End::Aborted | End::Complete => {}
        }
        let total = now.saturating_duration_since(self.begun);
        if self.run.has_log() {
            chain::log(self, total);
        }
        if self.about.conn.gateway.log().is_on() {
            self.write_access_log(&end, total);
        }
    }

    /// Ends what there is between it and the target: the connection back to its pool, the target's count down.
    fn release(&mut self, now: Instant) {
        self.handle = None;
        let Some(lease) = self.lease.take() else { return };
        lease.link.end();
        let uploaded = self.upload.as_ref().is_none_or(|upload| upload.is_done());
        if uploaded {
            lock(self.about.pool()).put(lease, now);
        }
    }

    /// How long the upstream was waited for.
    pub(crate) fn upstream_time(&self) -> Option<Duration> {
        let answered = self.answered?;
        Some(answered.saturating_duration_since(self.asked?))
    }

    /// How long targets were tried in vain.
    fn tried_time(&self) -> Option<Duration> {
        (!self.tries.is_empty()).then(|| self.tries.iter().map(|attempt| attempt.elapsed).sum())
    }

    pub(crate) fn log_parts(&self, total: Duration) -> LogParts<'_> {
        LogParts {
            status: self.status,
            total,
            upstream: self.upstream_time(),
            identity: &self.identity,
            facts: self.about.facts(),
        }
    }

    fn write_access_log(&self, end: &End, total: Duration) {
        let conn = &self.about.conn;
        let consumer = self.identity.consumer.as_deref();
        conn.gateway.log().write(
            conn.worker.index,
            &Record {
                time: self.about.wall.unwrap_or_else(SystemTime::now),
                request_id: self.about.request_id(),
                client: self.about.client(),
                client_port: self.about.client_port(),
                method: self.method.as_str(),
                target: self.target.as_ref().map_or("", PathAndQuery::as_str),
                host: self.host.as_ref().map_or(&[], HeaderValue::as_bytes),
                sni: None,
                client_verify: conn.tls.told(),
                status: self.status.as_u16(),
                bytes_in: self.upload.as_ref().map_or(0, |upload| upload.bytes()),
                bytes_out: self.sent,
                total,
                upstream: self.upstream_time().or_else(|| self.tried_time()),
                route: self.about.route.as_deref().map(|plan| plan.label()),
                service: self.about.service.as_deref().map(|plan| &*plan.label),
                consumer: consumer
                    .and_then(|consumer| consumer.username.as_deref().or(consumer.custom_id.as_deref())),
                revision: self.about.snapshot.revision(),
                tries: &self.tries,
                failure: self.failure,
                aborted: *end == End::Aborted,
            },
        );
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.finish(End::Aborted);
    }
}
