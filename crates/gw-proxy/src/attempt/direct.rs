//! Tries over connections that the exchange drives itself.

use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};

use super::{Brought, Left, Patience};
use crate::attempt::spare::is_repeatable;
use crate::body::{Content, RequestBody};
use crate::cell::Member;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::forward::told;
use crate::lock;
use crate::own::OwnAddresses;
use crate::plan::ServicePlan;
use crate::pool::{self, Lease, Speaks};
use crate::upstream_tls::Wanted;
use crate::wire::{Limits, Unanswered};

/// Where a try goes, and how.
#[derive(Clone, Copy)]
pub(super) struct Road<'a> {
    pub(super) service: &'a ServicePlan,
    pub(super) target: &'a Member,
    pub(super) wanted: Option<Wanted<'a>>,
}

impl Road<'_> {
    fn limits(&self) -> Limits {
        let timeouts = &self.service.service.timeouts;
        Limits {
            read: timeouts.read,
            write: timeouts.write,
        }
    }

    fn pooled(&self, exchange: &Exchange) -> Option<Lease> {
        lock(exchange.about.pool()).take(&self.target.address, self.wanted, Speaks::Whole)
    }

    async fn fresh(&self, own: &OwnAddresses, patience: &Patience) -> Result<Lease, Failure> {
        let limit = patience.of(self.service.service.timeouts.connect);
        let (address, tenure) = (&self.target.address, self.target.tenure.clone());
        pool::connect(address, tenure, self.wanted, Speaks::Whole, limit, own).await
    }
}

/// One try over a connection that this exchange drives.
pub(super) async fn attempt(
    exchange: &mut Exchange,
    road: &Road<'_>,
    request: &mut Request<RequestBody>,
    patience: &Patience,
) -> (Brought, Left) {
    let safe = match is_repeatable(request, &road.service.service.retry) {
        true => Left::Whole,
        false => Left::Nothing,
    };
    let at = exchange.trying.as_ref().map(|(_, at)| *at);
    if let Some(lease) = road.pooled(exchange) {
        match ask(exchange, road, lease, (request, at), patience).await {
            Ok(response) => return (Ok(response), safe),
            // It closed while it idled: that says nothing of the target, a fresh connection does.
            Err((Unanswered::Unsent, _)) => {}
            Err((Unanswered::Broken, false)) => match safe {
                Left::Whole => {}
                _ => return (Err(Failure::UpstreamClosed), Left::Nothing),
            },
            Err((unanswered, _)) => return (Err(unanswered.into()), safe),
        }
    }
    let own = &exchange.about.conn.gateway.settings().own;
    let lease = match Box::pin(road.fresh(own, patience)).await {
        Ok(lease) => lease,
        Err(failure) => return (Err(failure), Left::Whole),
    };
    match ask(exchange, road, lease, (request, None), patience).await {
        Ok(response) => (Ok(response), safe),
        Err((Unanswered::Unsent, _)) => (Err(Failure::UpstreamBroken), Left::Whole),
        Err((unanswered, _)) => (Err(unanswered.into()), safe),
    }
}

/// Sends a whole request over this connection, and waits from then on for the head of its answer. If there is none, also
/// says whether a byte of it came.
async fn ask(
    exchange: &mut Exchange,
    road: &Road<'_>,
    mut lease: Lease,
    (request, at): (&mut Request<RequestBody>, Option<Instant>),
    patience: &Patience,
) -> Result<Response<Content>, (Unanswered, bool)> {
    let Some(wire) = lease.wire() else {
        return Err((Unanswered::Unsent, false));
    };
    let at = at.unwrap_or_else(Instant::now);
    let told = |head: &mut Vec<u8>| told::write(exchange, head);
    wire.begin(request, told, road.limits(), at);
    let answer = wire.answer();
    let answer = match patience.end {
        None => answer.await,
        Some((end, _)) => {
            let timed = Box::pin(tokio::time::timeout_at(end.into(), answer)).await;
            timed.unwrap_or(Err(Unanswered::Late))
        }
    };
    let wire_answered = wire.is_answered();
    let mut response = answer.map_err(|unanswered| (unanswered, wire_answered))?;
    let whole = response.body_mut().take_whole(wire);
    exchange.lease = Some(lease);
    Ok(response.map(|reader| match whole {
        Some(bytes) => Content::Bytes(bytes),
        None if reader.is_done() => Content::Bytes(Bytes::new()),
        None => Content::Wire(reader),
    }))
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Late => Self::UpstreamTimeout,
            Unanswered::Malformed => Self::BadResponse,
            Unanswered::Unsent | Unanswered::Broken => Self::UpstreamBroken,
        }
    }
}
