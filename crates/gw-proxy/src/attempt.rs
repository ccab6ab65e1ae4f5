//! One request's tries: pick a target, connect, send; on failure decide whether another target may fare better.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gw_balancer::{Outcome, Rng, Tried};
use http::header::HOST;
use http::{Method, Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::body::RequestBody;
use crate::cell::Member;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::hop;
use crate::lock;
use crate::plan::ServicePlan;
use crate::pool::{self, Lease};

/// One try: where it went and what came of it.
#[derive(Debug)]
pub(crate) struct Try {
    pub(crate) target: Arc<Member>,
    pub(crate) outcome: TryOutcome,
    pub(crate) elapsed: Duration,
}

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TryOutcome {
    /// The head of a response with this status.
    Answered(u16),
    /// No connection.
    ConnectFailed,
    /// No connection in time.
    ConnectTimeout,
    /// No answer in time.
    TimedOut,
    /// The connection broke.
    Broken,
    /// What came back is not HTTP.
    BadResponse,
    /// The client went away, or its body failed.
    Aborted,
}

/// Why a request over a connection has no response.
enum Unsent {
    /// Nothing was sent: the request is whole.
    Whole(Box<Request<RequestBody>>),
    /// Something was, or may have been.
    Spent(Failure),
}

/// Sends the request to one target after the other until one answers or no other is left.
pub(crate) async fn send(
    exchange: &mut Exchange,
    mut request: Request<RequestBody>,
) -> Result<Response<Incoming>, Failure> {
    let Some(service) = exchange.about.service.clone() else {
        return Err(Failure::NoService);
    };
    let preserve_host = exchange
        .about
        .route
        .as_deref()
        .is_some_and(|plan| plan.route.preserve_host);
    let mut picker = Picker::new(&service);
    let mut left = service.service.retries;
    loop {
        let target = picker.pick(exchange).await?;
        let begun = Instant::now();
        exchange.asked.get_or_insert(begun);
        exchange.trying = Some((Arc::clone(&target), begun));
        if !preserve_host || exchange.host.is_none() {
            request.headers_mut().insert(HOST, target.host.clone());
        }
        let failure = match attempt(exchange, &service, &target, request, left > 0).await {
            Ok(response) => return accept(exchange, response),
            Err((failure, again)) => {
                close_try(exchange, outcome(&failure));
                match again {
                    Some(whole) if left > 0 && failure.retryable() => request = *whole,
                    _ => return Err(failure),
                }
                failure
            }
        };
        left -= 1;
        picker.last = Some(failure);
    }
}

fn accept(exchange: &mut Exchange, response: Response<Incoming>) -> Result<Response<Incoming>, Failure> {
    exchange.answered = Some(Instant::now());
    let status = response.status();
    // An upgrade was not asked for, and hyper has taken the other interim responses.
    if status.is_informational() || hop::is_coded(response.headers()) {
        exchange.lease = None;
        close_try(exchange, TryOutcome::BadResponse);
        return Err(Failure::BadResponse);
    }
    close_try(exchange, TryOutcome::Answered(status.as_u16()));
    Ok(response)
}

/// Records a try and tells the balancer; what that changes takes effect with the next pick.
fn close_try(exchange: &mut Exchange, outcome: TryOutcome) {
    let Some((target, since)) = exchange.trying.take() else {
        return;
    };
    let now = exchange.answered.unwrap_or_else(Instant::now);
    if let Some(handle) = &exchange.handle {
        let report = match outcome {
            TryOutcome::Answered(status) => Some(Outcome::Status(status)),
            TryOutcome::ConnectFailed => Some(Outcome::ConnectFailed),
            TryOutcome::ConnectTimeout | TryOutcome::TimedOut => Some(Outcome::TimedOut),
            TryOutcome::Broken | TryOutcome::BadResponse => Some(Outcome::Broken),
            TryOutcome::Aborted => None,
        };
        let transition = report.and_then(|report| handle.report(report, now));
        if let (Some(transition), Some(service)) = (transition, &exchange.about.service) {
            service.cell.heed(&target, &transition);
        }
    }
    exchange.tries.push(Try {
        target,
        outcome,
        elapsed: now.saturating_duration_since(since),
    });
}

fn outcome(failure: &Failure) -> TryOutcome {
    match failure {
        Failure::ConnectFailed => TryOutcome::ConnectFailed,
        Failure::ConnectTimeout => TryOutcome::ConnectTimeout,
        Failure::UpstreamTimeout => TryOutcome::TimedOut,
        Failure::BadResponse => TryOutcome::BadResponse,
        Failure::UpstreamBroken => TryOutcome::Broken,
        _ => TryOutcome::Aborted,
    }
}

/// Picks targets, never one twice.
struct Picker<'s> {
    service: &'s ServicePlan,
    tried: Tried,
    /// Of the members that `tried` has indices into.
    generation: u64,
    /// Why the last target failed.
    last: Option<Failure>,
    rng: Rng,
}

impl<'s> Picker<'s> {
    fn new(service: &'s ServicePlan) -> Self {
        Self {
            service,
            tried: Tried::new(),
            generation: 0,
            last: None,
            rng: Rng::seeded(fastrand::u64(..)),
        }
    }

    /// The next target. Waits for a name that has never been answered, as long as connecting may take.
    async fn pick(&mut self, exchange: &mut Exchange) -> Result<Arc<Member>, Failure> {
        if let Some(target) = self.pick_now(exchange)? {
            return Ok(target);
        }
        let deadline = tokio::time::Instant::now() + self.service.service.timeouts.connect;
        loop {
            let changed = self.service.cell.changed().notified();
            tokio::pin!(changed);
            // Enabled before looking again, so that a change in between is not missed.
            changed.as_mut().enable();
            if let Some(target) = self.pick_now(exchange)? {
                return Ok(target);
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return Err(Failure::NameResolution);
            }
        }
    }

    /// A target; none if one may come up.
    fn pick_now(&mut self, exchange: &mut Exchange) -> Result<Option<Arc<Member>>, Failure> {
        let members = self.service.cell.members();
        if members.generation != self.generation {
            self.generation = members.generation;
            self.tried = members.tried(&exchange.tries);
        }
        let picked = members
            .balancer
            .pick(None, &self.tried, exchange.begun, &mut self.rng);
        if let Some(handle) = picked {
            let target = handle.target();
            self.tried.insert(target);
            exchange.handle = Some(handle);
            return members.member(target).cloned().map(Some).ok_or(Failure::Internal);
        }
        match self.last.take() {
            Some(last) => Err(last),
            None if members.pending => Ok(None),
            None => Err(members.failure()),
        }
    }
}

type Again = Option<Box<Request<RequestBody>>>;

/// One try at one target. With the failure comes the request, if it may be sent again.
async fn attempt(
    exchange: &mut Exchange,
    service: &ServicePlan,
    target: &Member,
    mut request: Request<RequestBody>,
    more: bool,
) -> Result<Response<Incoming>, (Failure, Again)> {
    let pooled = lock(&exchange.about.conn.worker.pool).take(target.address);
    let pooled = match pooled {
        Some(lease) => lease.ready().await,
        None => None,
    };
    if let Some(lease) = pooled {
        let spare = copy(&request);
        let link = Arc::clone(&lease.link);
        match over(exchange, service, lease, request).await {
            Ok(response) => return Ok(response),
            // It closed while it idled: that says nothing of the target, a fresh connection does.
            Err(Unsent::Whole(whole)) => request = *whole,
            Err(Unsent::Spent(failure)) => match spare {
                Some(spare) if failure == Failure::UpstreamBroken && !link.is_answered() => request = spare,
                spare => return Err((failure, spare.map(Box::new))),
            },
        }
    }
    let lease = match pool::connect(target.address, service.service.timeouts.connect).await {
        Ok(lease) => lease,
        Err(failure) => return Err((failure, Some(Box::new(request)))),
    };
    let spare = if more { copy(&request) } else { None };
    match over(exchange, service, lease, request).await {
        Ok(response) => Ok(response),
        Err(Unsent::Whole(whole)) => Err((Failure::UpstreamBroken, Some(whole))),
        Err(Unsent::Spent(failure)) => Err((failure, spare.map(Box::new))),
    }
}

/// Whether a request that may have reached one target can be sent to another.
fn is_idempotent(method: &Method) -> bool {
    !matches!(*method, Method::POST | Method::PATCH) && method.as_str() != "LOCK"
}

/// Takes a small body whole, where that makes a second try possible. Larger ones stream, and are tried once.
pub(crate) async fn keep_small(method: &Method, body: RequestBody) -> Result<RequestBody, Failure> {
    /// Bound: in bytes.
    const SMALL: usize = 64 << 10;
    let is_small = body
        .size_hint()
        .exact()
        .is_some_and(|length| length <= SMALL as u64);
    match body {
        RequestBody::Stream(_) if is_small && is_idempotent(method) => {
            body.collect(SMALL).await.map(RequestBody::Buffered)
        }
        body => Ok(body),
    }
}

/// The same request again, if sending it twice does no harm and its body can be had twice.
fn copy(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let body = request
        .body()
        .replay()
        .filter(|_| is_idempotent(request.method()))?;
    let mut copy = Request::new(body);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// Sends the request over this connection and waits for the head of its response.
async fn over(
    exchange: &mut Exchange,
    service: &ServicePlan,
    mut lease: Lease,
    mut request: Request<RequestBody>,
) -> Result<Response<Incoming>, Unsent> {
    let timeouts = &service.service.timeouts;
    lease
        .link
        .begin(timeouts.read, timeouts.write, !request.body().is_end_stream());
    request.body_mut().attach(&lease.link);
    match lease.sender.try_send_request(request).await {
        Ok(response) => {
            exchange.lease = Some(lease);
            Ok(response)
        }
        Err(mut error) => match error.take_message() {
            Some(request) => Err(Unsent::Whole(Box::new(request))),
            None => Err(Unsent::Spent(diagnose(exchange, &lease, error.error()))),
        },
    }
}

fn diagnose(exchange: &Exchange, lease: &Lease, error: &hyper::Error) -> Failure {
    let client = exchange.upload.as_ref().and_then(|upload| upload.failure());
    match client {
        Some(failure) => failure,
        None if lease.link.is_late() => Failure::UpstreamTimeout,
        None if error.is_parse() => Failure::BadResponse,
        None => Failure::UpstreamBroken,
    }
}

impl TryOutcome {
    /// The name used in logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Answered(_) => "answered",
            Self::ConnectFailed => "connect_failed",
            Self::ConnectTimeout => "connect_timeout",
            Self::TimedOut => "timed_out",
            Self::Broken => "broken",
            Self::BadResponse => "bad_response",
            Self::Aborted => "aborted",
        }
    }

    /// The status of the response, if there was one.
    pub(crate) fn status(self) -> Option<u16> {
        match self {
            Self::Answered(status) => Some(status),
            _ => None,
        }
    }
}
