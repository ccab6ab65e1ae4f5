//! One request's owned state, from its head to the last byte of its response; finished exactly once.

mod ending;
mod record;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use bytes::Bytes;
use gw_balancer::Handle;
use gw_plugins::{BodyNeed, Identity, Reply, ReplyBody, Steering, UpstreamChoice};
use http::header::{ACCEPT, CONTENT_LENGTH};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, request, response};
use http_body::Body as _;
use smallvec::SmallVec;

use crate::about::About;
use crate::arrival::{Arrival, Asked};
use crate::attempt::{Try, discard};
use crate::body::{Content, RequestBody, Upload};
use crate::cell::Member;
use crate::chain::{self, Passing, Run};
use crate::conn::Conn;
use crate::document::document;
use crate::failure::Failure;
use crate::forward::{self, Inbound};
use crate::hash_key::Stuck;
use crate::hop;
use crate::inner::{DEEPEST, Within};
use crate::lock;
use crate::overload::Held;
use crate::plan::{RoutePlan, ServicePlan, is_grpc};
use crate::pool::Lease;
use crate::upgrade::Upgrade;

pub(crate) use ending::{End, Ending};
use record::Record;

/// One request from its head to the last byte of its response. It rides in the response's body.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) about: About,
    accept: Option<HeaderValue>,
    /// Whether it is a call of gRPC.
    grpc: bool,
    /// How much of the request's path the route matched; none if the route has no paths.
    pub(crate) matched: Option<usize>,
    pub(crate) identity: Identity,
    /// Where plugins want it to go.
    pub(crate) steering: Steering,
    /// What plugins need of it when it is over.
    record: Option<Box<Record>>,
    /// What the client spoke, if what the upstream is told of it is not among the request's headers.
    pub(crate) told_apart: Option<Version>,
    /// What it sticks to a target by.
    pub(crate) stuck: Stuck,
    pub(crate) run: Run,
    pub(crate) upload: Option<Arc<Upload>>,
    /// What it asks for, if that is a WebSocket.
    pub(crate) upgrade: Option<Upgrade>,
    pub(crate) tries: SmallVec<[Try; 1]>,
    /// The try under way.
    pub(crate) trying: Option<(Arc<Member>, Instant)>,
    /// Counts the target's requests in flight; dropped with the last byte.
    pub(crate) handle: Option<Handle>,
    pub(crate) lease: Option<Lease>,
    /// From when to when the upstream was waited for.
    pub(crate) asked: Option<Instant>,
    pub(crate) answered: Option<Instant>,
    /// Bytes of its bodies that are held in memory.
    held: usize,
    /// Bytes of the request's body, if that did not stream.
    at_hand: u64,
    status: StatusCode,
    /// Whether the response is the upstream's.
    from_upstream: bool,
    sent: u64,
    failure: Option<&'static str>,
    finished: bool,
}

impl Exchange {
    /// Takes up a request.
    pub(crate) fn begin(
        conn: &Arc<Conn>,
        within: Option<Box<Within>>,
        request: &Request<RequestBody>,
    ) -> Box<Self> {
        conn.worker.counters.requests.fetch_add(1, Relaxed);
        let (snapshot, real, depth, parent) = match within {
            Some(within) => (
                within.snapshot,
                within.real,
                within.depth,
                Some(Box::new(within.parent)),
            ),
            None => {
                conn.heads.fetch_add(1, Relaxed);
                conn.in_flight.fetch_add(1, Relaxed);
                let snapshot = conn.gateway.snapshot(); // one `Arc` clone, no lock
                (snapshot, conn.real_client(request.headers()), 0, None)
            }
        };
        Box::new(Self {
            run: Run::new(Arc::clone(snapshot.global_chain())),
            about: About {
                conn: Arc::clone(conn),
                snapshot,
                id: lock(&conn.worker.ids).next(),
                route: None,
                service: None,
                real,
                wall: None,
                begun: Instant::now(),
                method: request.method().clone(),
                target: request.uri().path_and_query().cloned(),
                host: None,
                captures: Vec::new(),
                depth,
                parent,
            },
            accept: request.headers().get(ACCEPT).cloned(),
            grpc: request.version() == Version::HTTP_2 && is_grpc(request.headers()),
            matched: None,
            identity: Identity::default(),
            steering: Steering::default(),
            record: None,
            told_apart: None,
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
            at_hand: 0,
            status: StatusCode::OK,
            from_upstream: false,
            sent: 0,
            failure: None,
            finished: false,
        })
    }

    /// Whether the gateway takes it up: what it carries already, how many headers it has, how long its body says it is.
    pub(crate) fn admit(&self, head: &request::Parts, body: &RequestBody) -> Result<(), Failure> {
        let conn = &self.about.conn;
        if self.about.depth > DEEPEST {
            return Err(Failure::TooDeep);
        }
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

    /// Counts what it holds of its bodies.
    pub(crate) fn held(&mut self) -> Held<'_> {
        self.reading().1
    }

    /// The connection that the answer comes over, and what counts the bytes that are held of it.
    pub(crate) fn reading(&mut self) -> (Option<&mut Lease>, Held<'_>) {
        let conn = &self.about.conn;
        let held = conn.gateway.overload().held(&conn.worker, &mut self.held);
        (self.lease.as_mut(), held)
    }

    /// Takes what the request asks for beyond an answer. What was `CONNECT` is `GET` then.
    pub(crate) fn ask(&mut self, upgrade: Option<Upgrade>) {
        if upgrade.is_some() {
            self.about.method = Method::GET;
        }
        self.upgrade = upgrade;
    }

    /// Finds the route, its service and its chain.
    pub(crate) fn route(&mut self, head: &request::Parts, inbound: &Inbound) -> Result<(), Failure> {
        let path = inbound.normal.as_deref().unwrap_or(head.uri.path());
        let host = self
            .about
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
        let found = self.about.snapshot.router().find(&lookup);
        if self.is_a_clients() {
            let got = found.as_ref().map(|found| found.value.route.id);
            let got = (got, self.about.snapshot.revision());
            conn.worker.traffic.note(self.about.begun, &arrival, &asked, got);
        }
        let Some(found) = found else {
            return Err(Failure::NoRoute);
        };
        let target = self.about.target.as_ref().map_or("/", PathAndQuery::as_str);
        let refuses = |plan: &RoutePlan| {
            let refused = plan.refuses(conn.scheme_of(&head.headers), head, host, target);
            let lacking = || plan.route.require_client_certificate.then(|| conn.tls.lacks());
            refused.or_else(|| lacking().flatten())
        };
        let refused = refuses(found.value);
        if let Some(second) = &inbound.second {
            let snapshot = &self.about.snapshot;
            let other = arrival.lookup(Asked {
                path: second,
                ..asked
            });
            let other = snapshot.router().find(&other);
            let is_guarded = |other: &RoutePlan| {
                let chain = snapshot.chain(&found.value.route);
                let theirs = snapshot.chain(&other.route);
                let same = Arc::ptr_eq(chain, theirs) || theirs.is_within(chain, conn.scheme);
                !same || (refused.is_none() && refuses(other).is_some())
            };
            if other.is_some_and(|other| is_guarded(other.value)) {
                return Err(Failure::BadRequest); // another server would find what only that route protects
            }
        }
        self.matched = found.pattern().map(|_| inbound.encoded_len(found.matched_path()));
        let chain = self.about.snapshot.chain(&found.value.route);
        if chain.needs(conn.scheme).captures {
            self.about.captures = named(&found.captures());
        }
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
        self.about.route = Some(route);
        refused.map_or(Ok(()), Err)
    }

    /// When the upstream is first asked: now, or when it began if nothing could have been waited for since.
    pub(crate) fn waited(&self) -> Instant {
        let nothing = self.run.chain.is_empty() && self.upload.is_none();
        if nothing { self.about.begun } else { Instant::now() }
    }

    /// Whether the `Host` that the upstream is sent is the client's or a plugin's.
    pub(crate) fn names_the_host(&self) -> bool {
        if self.steering.host.is_some() {
            return true;
        }
        let preserved = |plan: &RoutePlan| plan.route.preserve_host;
        self.about.host.is_some() && self.about.route.as_deref().is_some_and(preserved)
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
        match self.filtered(response) {
            Ok(response) => self.made(response),
            Err(panicked) => {
                self.failure = Some(panicked.code());
                let response = panicked.response(self.accept.as_ref(), self.about.request_id());
                self.made(response)
            }
        }
    }

    /// The answer a plugin makes in the upstream's place.
    pub(crate) fn reply(&mut self, reply: Reply) -> Result<Response<Content>, Failure> {
        let response = self.written(reply);
        let response = self.filtered(response)?;
        Ok(self.made(response))
    }

    /// A plugin's answer, written out.
    pub(crate) fn written(&self, reply: Reply) -> Response<Bytes> {
        let mut response = match reply.body {
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
        forward::merge(response.headers_mut(), reply.headers);
        response
    }

    /// Lets the plugins see an answer that is not the upstream's.
    fn filtered(&mut self, response: Response<Bytes>) -> Result<Response<Bytes>, Failure> {
        let (mut head, body) = response.into_parts();
        let mut body = Some(body);
        let mut passing = Passing {
            head: &mut head,
            body: &mut body,
            upstream: false,
        };
        chain::header_filter(self, &mut passing)?;
        if passing.head.headers.contains_key(CONTENT_LENGTH) && self.about.method != Method::HEAD {
            passing.tell_length();
        }
        Ok(Response::from_parts(head, body.unwrap_or_default()))
    }

    /// What plugins want to see of the body of the upstream's answer.
    pub(crate) fn response_need(&mut self, head: &mut response::Parts) -> Result<BodyNeed, Failure> {
        let asked = self.run.chain.needs(self.about.conn.scheme).response_body;
        if !asked || head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(BodyNeed::None);
        }
        self.status = head.status;
        chain::response_body(self, head)
    }

    /// The upstream's answer on its way to the client; `whole` is its body if plugins wanted all of it.
    pub(crate) fn answer(
        &mut self,
        mut head: response::Parts,
        mut whole: Option<Bytes>,
        body: Content,
    ) -> Result<Response<Content>, Failure> {
        hop::strip_response(&mut head.headers);
        self.stuck.set_cookie(&mut head.headers);
        let mut passing = Passing {
            head: &mut head,
            body: &mut whole,
            upstream: true,
        };
        chain::header_filter(self, &mut passing)?;
        if !passing.upstream {
            if let Some(lease) = self.lease.take() {
                discard(body, lease, &self.about.conn.worker);
            }
            self.handle = None;
            return Ok(self.made(Response::from_parts(head, whole.unwrap_or_default())));
        }
        if self.about.method != Method::HEAD {
            passing.tell_length();
        }
        self.from_upstream = true;
        forward::proxied(self, &mut head);
        let mut response = Response::from_parts(head, whole.map_or(body, Content::Bytes));
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(upgrade) = &self.upgrade
        {
            upgrade.grant(&mut response);
        }
        Ok(self.sending(response))
    }

    fn made(&mut self, response: Response<Bytes>) -> Response<Content> {
        let mut response = response.map(Content::Bytes);
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
        if self.run.changes_body() && !response.body().is_end_stream() {
            // What the filters leave has another length.
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        self.status = response.status();
        if let Some(record) = &mut self.record {
            record.comes_down(response.headers());
        }
        response
    }

    /// Whether a client has sent it, and not a plugin.
    pub(crate) fn is_a_clients(&self) -> bool {
        self.about.depth == 0
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

    /// Counts a piece of the response's body, and keeps what is wanted of it.
    pub(crate) fn passed(&mut self, piece: &[u8]) {
        self.count(piece.len());
        if let Some(record) = &mut self.record {
            record.piece(piece);
        }
    }

    /// Begins to keep what plugins need of it when it is over.
    pub(crate) fn keep(&mut self, head: &request::Parts) {
        let needs = self.run.chain.needs(self.about.conn.scheme);
        if needs.record {
            self.record = Some(Box::new(Record::new(needs, &head.headers)));
        }
    }

    /// Notes what the request's body is that plugins have seen.
    pub(crate) fn at_hand(&mut self, body: Option<&Bytes>) {
        let Some(body) = body else { return };
        self.at_hand = body.len() as u64;
        if let Some(record) = &mut self.record {
            record.whole(body);
        }
    }

    /// Notes what goes upstream.
    pub(crate) fn goes_up(&mut self, request: &mut Request<RequestBody>) {
        if let RequestBody::Buffered(bytes) = request.body() {
            self.at_hand = bytes.len() as u64;
        }
        if let Some(record) = &mut self.record {
            let (headers, uri) = (request.headers().clone(), request.uri().clone());
            record.goes_up(&headers, &uri, request.body_mut());
        }
    }

    /// Whether plugins need to know what went up and came down.
    pub(crate) fn is_recorded(&self) -> bool {
        self.record.is_some()
    }

    /// Has it go where plugins want it to go.
    pub(crate) fn steer(&mut self, body: &mut RequestBody) -> Result<(), Failure> {
        if let Some(most) = self.steering.most_body {
            body.limit(most)?;
        }
        let Some(choice) = self.steering.upstream else {
            return Ok(());
        };
        let plan = self.about.service.as_deref().ok_or(Failure::NoService)?;
        let snapshot = &self.about.snapshot;
        let chosen = match choice {
            UpstreamChoice::Stored(id) => snapshot.config().upstream(id).zip(snapshot.cell(id)),
            UpstreamChoice::Own(id) => snapshot.own_upstream(id),
            _ => None,
        };
        let (upstream, cell) = chosen.ok_or(Failure::NoPeer)?;
        let plan = plan.toward(upstream, cell);
        // It was found out for another upstream.
        self.stuck = Stuck::default();
        self.about.service = Some(Arc::new(plan));
        Ok(())
    }

    /// Whether the response has no body by nature, whatever its content.
    pub(crate) fn wants_no_body(&self) -> bool {
        self.about.method == Method::HEAD
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
}

/// Groups by their numbers, and those that have names by these too.
fn named(captures: &[(&str, Option<&str>)]) -> Vec<(Box<str>, Box<str>)> {
    let mut taken: Vec<(Box<str>, Box<str>)> = Vec::new();
    for (number, (name, value)) in (1_u32..).zip(captures) {
        let Some(value) = value else { continue };
        taken.push((number.to_string().into(), (*value).into()));
        if !name.is_empty() {
            taken.push(((*name).into(), (*value).into()));
        }
    }
    taken
}
