//! How an exchange ends, and what is told of it then.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use gw_plugins::cx::{Facts, LogParts, Source, Tries, TryRecord};
use http::uri::PathAndQuery;
use http::{HeaderValue, StatusCode};

use super::Exchange;
use super::record::Record;
use crate::access_log;
use crate::attempt::{Try, TryOutcome};
use crate::chain;
use crate::failure::Failure;
use crate::lock;

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

/// The times of an exchange that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    total: Duration,
    /// From the head of the upstream's answer to the end.
    receive: Option<Duration>,
}

/// What a client that went away is logged with: nginx's number for it.
const GONE: u16 = 499;

impl Exchange {
    /// Ends the exchange: the connection back to its pool, the target's count down, log phase, access log. Once.
    pub(crate) fn finish(&mut self, end: End) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        // A plugin's own request is none of the connection's.
        if self.is_a_clients() {
            self.about.conn.in_flight.fetch_sub(1, Relaxed);
            if end == End::Aborted && self.answered.is_none() {
                self.about.conn.aborted.fetch_add(1, Relaxed);
            }
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
        let ending = Ending {
            total: now.saturating_duration_since(self.about.begun),
            receive: self
                .answered
                .map(|answered| now.saturating_duration_since(answered)),
        };
        if self.run.has_log() {
            self.complete_record();
            chain::log(self, &ending);
        }
        if self.about.conn.gateway.log().is_on() {
            self.write_access_log(&end, ending.total);
        }
    }

    /// Ends what there is between it and the target: the connection back to its pool, the target's count down.
    pub(super) fn release(&mut self, now: Instant) {
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

    /// What plugins are told of it.
    pub(crate) fn log_parts<'e>(&'e self, ending: &Ending, facts: Facts<'e>) -> LogParts<'e> {
        let asked = self.asked.or(self.answered);
        LogParts {
            status: self.status,
            total: ending.total,
            upstream: self.upstream_time().or_else(|| self.tried_time()),
            receive: ending.receive,
            gateway: asked.map_or(ending.total, |asked| {
                asked.saturating_duration_since(self.about.begun)
            }),
            request_bytes: self.upload.as_ref().map_or(self.at_hand, |upload| upload.bytes()),
            response_bytes: self.sent,
            source: match self.from_upstream {
                true => Source::Upstream,
                false => Source::Gateway,
            },
            failure: self.failure,
            tries: self,
            kept: self.record.as_deref().map(Record::kept),
            identity: &self.identity,
            facts,
        }
    }

    /// Puts together what plugins need of it now that it is over.
    fn complete_record(&mut self) {
        let last = self.tries.last().map(|attempt| Arc::clone(&attempt.target));
        let tls = self
            .about
            .service
            .as_deref()
            .is_some_and(|plan| plan.tls.is_some());
        if let Some(record) = &mut self.record {
            record.complete(last.as_deref(), tls);
        }
    }

    fn write_access_log(&self, end: &End, total: Duration) {
        let conn = &self.about.conn;
        let consumer = self.identity.consumer.as_deref();
        conn.gateway.log().write(
            conn.worker.index,
            &access_log::Record {
                time: self.about.wall(),
                request_id: self.about.request_id(),
                parent: self.about.parent.as_ref().and_then(|parent| parent.to_str().ok()),
                client: self.about.client(),
                client_port: self.about.client_port(),
                method: self.about.method.as_str(),
                target: self.about.target.as_ref().map_or("", PathAndQuery::as_str),
                host: self.about.host.as_ref().map_or(&[], HeaderValue::as_bytes),
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

impl Tries for Exchange {
    fn count(&self) -> usize {
        self.tries.len()
    }

    fn at(&self, position: usize) -> Option<TryRecord> {
        let attempt = self.tries.get(position)?;
        let mut record = TryRecord::new(&attempt.target.label, attempt.outcome.name(), attempt.elapsed);
        record.status = attempt.outcome.status();
        record.address = attempt.target.address.ip();
        Some(record)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.finish(End::Aborted);
    }
}
