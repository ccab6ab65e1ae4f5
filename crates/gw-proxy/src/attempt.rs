//! One request's tries: pick a target, connect, send; on failure decide whether another target may fare better.

mod direct;
mod discard;
mod picker;
mod spare;

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gw_balancer::Outcome;
use gw_core::Retry;
use http::header::HOST;
use http::{Request, Response, StatusCode};
use http_body::Body as _;

use crate::attempt::direct::Road;
use crate::attempt::spare::{Spare, is_repeatable};
use crate::body::{Content, RequestBody};
use crate::cell::Member;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::forward;
use crate::hop;
use crate::io::upstream::Link;
use crate::lock;
use crate::plan::ServicePlan;
use crate::pool::{self, Lease, Speaks};
use crate::upgrade;
use crate::upstream_tls::Wanted;

pub(crate) use crate::attempt::discard::discard;
pub(crate) use crate::attempt::picker::Picker;
pub(crate) use crate::attempt::spare::is_safe;

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
    /// A connection, which is all that was wanted.
    Connected,
    /// No connection.
    ConnectFailed,
    /// No connection in time.
    ConnectTimeout,
    /// No answer in time.
    TimedOut,
    /// The connection broke.
    Broken,
    /// A connection that had been kept was closed: that says nothing of the target.
    Closed,
    /// No agreement on TLS.
    TlsFailed,
    /// What came back is not HTTP.
    BadResponse,
    /// The client went away, or its body failed.
    Aborted,
}

/// What a try brought.
type Brought = Result<Response<Content>, Failure>;

/// The request, after a try with it.
enum Left {
    /// It is where it was, and may be sent again.
    Whole,
    /// It is gone, and this may be sent in its place.
    Spare(Spare),
    /// It must not be sent again.
    Nothing,
}

/// Why a request over a connection has no response.
enum Unsent {
    /// Nothing was sent: the request is whole.
    Whole,
    /// Something was, or may have been.
    Spent(Failure),
}

/// Sends the request to one target after the other until one answers well or no other may be tried; then the last one's
/// answer, or failure, is what the client gets.
pub(crate) async fn send(exchange: &mut Exchange, request: &mut Request<RequestBody>) -> Brought {
    let Some(service) = exchange.about.service.clone() else {
        return Err(Failure::NoService);
    };
    let retry = &service.service.retry;
    let repeatable = is_repeatable(request, retry);
    let mut picker = Picker::new(&service, exchange.stuck.key, repeatable);
    let mut picked = picker.first(exchange.waited()).await?;
    let mut left = retry.most;
    loop {
        exchange.asked.get_or_insert(picked.at);
        exchange.trying = Some((Arc::clone(&picked.target), picked.at));
        exchange.handle = Some(picked.handle);
        if !exchange.names_the_host() {
            request
                .headers_mut()
                .insert(HOST, picked.target.host(service.tls.is_some()).clone());
        }
        let patience = Patience::new(retry, picked.at);
        let (brought, rest) = attempt(exchange, &service, &picked.target, request, &patience).await;
        let brought = brought.and_then(|response| vet(exchange, response));
        let now = Instant::now();
        close_try(exchange, &brought, now);
        // No target has a certificate for a name that only the client knows.
        let misnamed = matches!(brought, Err(Failure::UpstreamTls)) && exchange.names_the_host();
        let again = left > 0 && !misnamed && is_worth_another(&brought, retry);
        let next = match again {
            true if rest.restore(request) => picker.another(&exchange.tries, now),
            _ => None,
        };
        let Some(next) = next else {
            if brought.is_ok() {
                exchange.answered = Some(now);
                picker.answered(now);
                if let Some(wire) = exchange.lease.as_mut().and_then(Lease::wire) {
                    wire.recycle(std::mem::take(request.headers_mut()));
                }
            }
            return brought;
        };
        if let (Ok(response), Some(lease)) = (brought, exchange.lease.take()) {
            discard(response.into_body(), lease, &exchange.about.conn.worker);
        }
        picked = next;
        left -= 1;
    }
}

impl Left {
    /// Puts the request back where it was; false if it must not be sent again.
    fn restore(self, request: &mut Request<RequestBody>) -> bool {
        match self {
            Self::Whole => true,
            Self::Spare(spare) => spare.request().map(|spare| *request = spare).is_some(),
            Self::Nothing => false,
        }
    }
}

/// What came back, if it is an answer.
fn vet(exchange: &mut Exchange, mut response: Response<Content>) -> Brought {
    if let Some(lease) = &exchange.lease {
        lease.link.taken();
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS && exchange.upgrade.is_some() {
        upgrade::agreed(exchange, &mut response);
        return Ok(response);
    }
    // No other upgrade is asked for, and hyper has taken the other interim responses.
    let headers = response.headers();
    if response.status().is_informational() || hop::is_coded(headers) || hop::is_ambiguous(headers) {
        exchange.lease = None;
        return Err(Failure::BadResponse);
    }
    Ok(response)
}

fn is_worth_another(brought: &Brought, retry: &Retry) -> bool {
    match brought {
        Ok(response) => retry.statuses.contains(response.status().as_u16()),
        Err(failure) => failure.retryable(),
    }
}

/// Records a try and tells the balancer; what that changes takes effect with the next pick.
fn close_try(exchange: &mut Exchange, brought: &Brought, now: Instant) {
    let Some((target, since)) = exchange.trying.take() else {
        return;
    };
    let outcome = match brought {
        Ok(response) => TryOutcome::Answered(response.status().as_u16()),
        Err(failure) => outcome(failure),
    };
    let elapsed = now.saturating_duration_since(since);
    if let Some(handle) = &exchange.handle {
        let report = match outcome {
            TryOutcome::Answered(status) => Some(Outcome::Status(status)),
            TryOutcome::Connected => Some(Outcome::Success),
            TryOutcome::ConnectFailed => Some(Outcome::ConnectFailed),
            TryOutcome::ConnectTimeout | TryOutcome::TimedOut => Some(Outcome::TimedOut),
            TryOutcome::Broken | TryOutcome::BadResponse => Some(Outcome::Broken),
            // The name that the certificate is to be for may be the client's, and then says nothing of the target.
            TryOutcome::TlsFailed => Some(Outcome::TlsFailed).filter(|_| !exchange.names_the_host()),
            TryOutcome::Closed | TryOutcome::Aborted => None,
        };
        let transition = report.and_then(|report| handle.report(report, now));
        if let (Some(transition), Some(service)) = (transition, &exchange.about.service) {
            service.cell.heed(&target, &transition);
        }
    }
    exchange.tries.push(Try {
        target,
        outcome,
        elapsed,
    });
}

fn outcome(failure: &Failure) -> TryOutcome {
    match failure {
        Failure::ConnectFailed => TryOutcome::ConnectFailed,
        Failure::UpstreamClosed => TryOutcome::Closed,
        Failure::UpstreamTls => TryOutcome::TlsFailed,
        Failure::ConnectTimeout => TryOutcome::ConnectTimeout,
        Failure::UpstreamTimeout => TryOutcome::TimedOut,
        Failure::BadResponse => TryOutcome::BadResponse,
        Failure::UpstreamBroken => TryOutcome::Broken,
        _ => TryOutcome::Aborted,
    }
}

/// One try at one target, and what that leaves of the request.
async fn attempt(
    exchange: &mut Exchange,
    service: &ServicePlan,
    target: &Member,
    request: &mut Request<RequestBody>,
    patience: &Patience,
) -> (Brought, Left) {
    let tls = service.tls.as_deref();
    let host = tls.and_then(|_| request.headers().get(HOST).cloned());
    let preamble = exchange.about.preamble();
    let wanted = Wanted::new(tls, host.as_ref(), preamble.as_deref());
    let road = Road {
        service,
        target,
        wanted,
    };
    if is_direct(exchange, service, request.body()) {
        return direct::attempt(exchange, &road, request, patience).await;
    }
    // Its state apart, for it would make the future of every request larger.
    Box::pin(driven(exchange, &road, request, patience)).await
}

/// Whether the exchange drives its connection to the upstream itself: what it sends is there whole.
pub(crate) fn is_direct(exchange: &Exchange, service: &ServicePlan, body: &RequestBody) -> bool {
    let whole = exchange.upgrade.is_none() && !matches!(body, RequestBody::Stream(_));
    whole && service.speaks == Speaks::Http1
}

/// One try over a connection of hyper's, which drives it beside this exchange.
async fn driven(
    exchange: &mut Exchange,
    road: &Road<'_>,
    slot: &mut Request<RequestBody>,
    patience: &Patience,
) -> (Brought, Left) {
    let Road {
        service,
        target,
        wanted,
    } = *road;
    let retry = &service.service.retry;
    let speaks = service.speaks;
    let bounded;
    let patience = match speaks {
        Speaks::Whole | Speaks::Http1 => patience, // the connection itself notices who stalls
        Speaks::Http2 => {
            bounded = patience.within(service.service.timeouts.read);
            &bounded
        }
    };
    let spared = |spare: Option<Spare>| spare.map_or(Left::Nothing, Left::Spare);
    let pooled = lock(exchange.about.pool()).take(&target.address, wanted, speaks);
    let pooled = match pooled {
        Some(lease) => lease.ready().await,
        None => None,
    };
    if let Some(lease) = pooled {
        let link = Arc::clone(&lease.link);
        let spare = Spare::of(slot, &lease, retry);
        match over(exchange, service, lease, slot, patience).await {
            Ok(response) => return (Ok(response), spared(spare)),
            Err(Unsent::Whole) => {}
            // It closed while it idled: that says nothing of the target, a fresh connection does. In HTTP/2 others may be on
            // it, and what ends in good order is told apart.
            Err(Unsent::Spent(Failure::UpstreamBroken)) if speaks == Speaks::Http1 && !link.is_answered() => {
                match spare.and_then(Spare::request) {
                    Some(spare) => *slot = spare,
                    None => return (Err(Failure::UpstreamClosed), Left::Nothing),
                }
            }
            Err(Unsent::Spent(failure)) => return (Err(failure), spared(spare)),
        }
    }
    let limit = patience.of(service.service.timeouts.connect);
    let own = &exchange.about.conn.gateway.settings().own;
    let lease = pool::connect(&target.address, target.tenure.clone(), wanted, speaks, limit, own).await;
    let lease = match lease {
        Ok(lease) => lease,
        Err(failure) => return (Err(failure), Left::Whole),
    };
    if speaks == Speaks::Http2 {
        lock(exchange.about.pool()).share(&lease, wanted, Instant::now());
    }
    let spare = Spare::of(slot, &lease, retry);
    match over(exchange, service, lease, slot, patience).await {
        Ok(response) => (Ok(response), spared(spare)),
        Err(Unsent::Whole) => (Err(Failure::UpstreamBroken), Left::Whole),
        Err(Unsent::Spent(failure)) => (Err(failure), spared(spare)),
    }
}

/// How long a try may take.
struct Patience {
    /// Until when it should be answered, and how long it was given.
    end: Option<(Instant, Duration)>,
}

impl Patience {
    /// Of a try that began then.
    fn new(retry: &Retry, begun: Instant) -> Self {
        let end = |limit| Some((begun.checked_add(limit)?, limit));
        Self {
            end: retry.try_timeout.and_then(end),
        }
    }

    /// The same, and at most this from now on.
    fn within(&self, limit: Duration) -> Self {
        let now = Instant::now();
        let own = now.checked_add(limit).map(|end| (end, limit));
        let end = match (self.end, own) {
            (Some(one), Some(other)) => Some(if one.0 <= other.0 { one } else { other }),
            (one, other) => one.or(other),
        };
        Self { end }
    }

    /// A limit, or what is left if that is less.
    fn of(&self, limit: Duration) -> Duration {
        self.end.map_or(limit, |(end, _)| {
            limit.min(end.saturating_duration_since(Instant::now()))
        })
    }

    /// Waits for an answer; none if it does not come in time. An upstream is not late while the client still uploads: after
    /// that it has the whole time once more.
    async fn wait<T>(&self, answer: impl Future<Output = T>, link: &Link) -> Option<T> {
        let Some((end, limit)) = self.end else {
            return Some(answer.await);
        };
        tokio::pin!(answer);
        let mut end = tokio::time::Instant::from_std(end);
        loop {
            match tokio::time::timeout_at(end, &mut answer).await {
                Ok(answer) => return Some(answer),
                Err(_) if link.is_uploading() => end = tokio::time::Instant::now() + limit,
                Err(_) => return None,
            }
        }
    }
}

/// Sends the request over this connection and waits for the head of its response.
async fn over(
    exchange: &mut Exchange,
    service: &ServicePlan,
    mut lease: Lease,
    slot: &mut Request<RequestBody>,
    patience: &Patience,
) -> Result<Response<Content>, Unsent> {
    let timeouts = &service.service.timeouts;
    let streams = matches!(slot.body(), RequestBody::Stream(_)) && !slot.body().is_end_stream();
    lease.link.begin(timeouts.read, timeouts.write, streams);
    let mut request = std::mem::replace(slot, Request::new(RequestBody::Empty));
    request.body_mut().attach(&lease.link);
    if lease.speaks() == Speaks::Http2 && !forward::to_http2(&mut request, lease.is_secure()) {
        return Err(Unsent::Spent(Failure::BadRequest));
    }
    let link = Arc::clone(&lease.link);
    let Some(answer) = patience.wait(lease.send(request), &link).await else {
        return Err(Unsent::Spent(Failure::UpstreamTimeout));
    };
    match answer {
        Some(Ok(response)) => {
            let content = |body| match lease.speaks() {
                Speaks::Http2 => Content::timed(body, timeouts.read, Arc::clone(&lease.link)),
                Speaks::Whole | Speaks::Http1 => Content::Upstream(body),
            };
            let response = response.map(content);
            exchange.lease = Some(lease);
            Ok(response)
        }
        Some(Err(mut error)) => match error.take_message() {
            Some(mut request) => {
                forward::from_http2(&mut request);
                *slot = request;
                Err(Unsent::Whole)
            }
            None => Err(Unsent::Spent(diagnose(exchange, &lease, error.error()))),
        },
        None => Err(Unsent::Spent(Failure::Internal)),
    }
}

/// Whether a server of HTTP/2 has ended its connection in good order, or taken no more on it.
fn is_refusal(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    let refused = |error: &h2::Error| error.reason() == Some(h2::Reason::REFUSED_STREAM);
    let ended = |error: &h2::Error| error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
    cause.is_some_and(|error| refused(error) || ended(error))
}

fn diagnose(exchange: &Exchange, lease: &Lease, error: &hyper::Error) -> Failure {
    let client = exchange.upload.as_ref().and_then(|upload| upload.failure());
    match client {
        Some(failure) => failure,
        None if lease.link.is_late() => Failure::UpstreamTimeout,
        None if lease.speaks() == Speaks::Http2 && is_refusal(error) => Failure::UpstreamClosed,
        None if error.is_parse() => Failure::BadResponse,
        None => Failure::UpstreamBroken,
    }
}

impl TryOutcome {
    /// The name used in logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Answered(_) => "answered",
            Self::Connected => "connected",
            Self::ConnectFailed => "connect_failed",
            Self::ConnectTimeout => "connect_timeout",
            Self::TimedOut => "timed_out",
            Self::Broken => "broken",
            Self::Closed => "closed",
            Self::TlsFailed => "tls_failed",
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
