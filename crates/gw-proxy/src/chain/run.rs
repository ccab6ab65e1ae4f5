//! A chain on its way through the phases of one request.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use gw_plugins::cx::{BodyParts, RequestParts, ResponseParts};
use gw_plugins::{BodyNeed, Flow, Instance, Outcome, Phase, Reply, Slot, Waiting, variables};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{request, response};
use smallvec::SmallVec;
use tracing::error;

use super::{Caller, Chain, NONE};
use crate::exchange::{Ending, Exchange};
use crate::failure::Failure;

/// A chain in use by one request: what was chosen, and each instance's state.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) chain: Arc<Chain>,
    /// For each step so far, the instance chosen.
    chosen: SmallVec<[u32; 8]>,
    /// For each instance, its state once it has run.
    slots: SmallVec<[Option<Slot>; 8]>,
}

impl Run {
    pub(crate) fn new(chain: Arc<Chain>) -> Self {
        let slots = chain.instances.iter().map(|_| None).collect();
        Self {
            chain,
            chosen: SmallVec::new(),
            slots,
        }
    }

    pub(crate) fn filters_body(&self) -> bool {
        self.chosen
            .iter()
            .any(|index| self.has(*index, Phase::BodyFilter))
    }

    /// Whether what the body filters leave of a body may have another length.
    pub(crate) fn changes_body(&self) -> bool {
        self.chosen.iter().any(|index| {
            let watches = |instance: &Instance| instance.needs.watches_body;
            let instance = self.chain.instances.get(*index as usize);
            self.has(*index, Phase::BodyFilter) && !instance.is_some_and(watches)
        })
    }

    pub(crate) fn has_log(&self) -> bool {
        self.chain.has_log
    }

    fn has(&self, index: u32, phase: Phase) -> bool {
        self.chain
            .instances
            .get(index as usize)
            .is_some_and(|instance| instance.phases.contains(phase))
    }
}

/// Rewrite, then access. The first instance that answers ends it.
pub(crate) async fn request(
    exchange: &mut Exchange,
    head: &mut request::Parts,
    body: &mut Option<Bytes>,
) -> Result<Flow, Failure> {
    let chain = Arc::clone(&exchange.run.chain);
    if chain.is_empty() {
        return Ok(Flow::Continue);
    }
    exchange.about.stamp();
    for index in &chain.rewrite {
        if !applies(exchange, &chain, *index, Some(head)) {
            continue;
        }
        let flow = step(exchange, *index, Phase::Rewrite, head, body).await?;
        if let Flow::Respond(_) = flow {
            choose_rest(exchange, &chain, Some(head));
            return Ok(flow);
        }
    }
    for position in 0..chain.steps.len() {
        // Settled here and not before: the steps above may have found out who calls.
        let index = choose(exchange, &chain, position, Some(head));
        if exchange.run.has(index, Phase::Access) {
            let flow = step(exchange, index, Phase::Access, head, body).await?;
            if let Flow::Respond(_) = flow {
                choose_rest(exchange, &chain, Some(head));
                return Ok(flow);
            }
        }
    }
    Ok(Flow::Continue)
}

fn choose(exchange: &mut Exchange, chain: &Chain, position: usize, head: Option<&request::Parts>) -> u32 {
    let caller = Caller {
        consumer: exchange.identity.consumer.as_deref().map(|consumer| consumer.id),
        config: exchange.about.snapshot.config(),
    };
    let chosen = chain
        .steps
        .get(position)
        .map_or(NONE, |step| step.choose(caller, exchange.about.conn.scheme));
    let index = match applies(exchange, chain, chosen, head) {
        true => chosen,
        false => NONE,
    };
    exchange.run.chosen.push(index);
    index
}

/// Whether the request meets what the instance asks of requests. Where there is no head any more, it does not.
fn applies(exchange: &Exchange, chain: &Chain, index: u32, head: Option<&request::Parts>) -> bool {
    let Some(Some(filter)) = chain.filters.get(index as usize) else {
        return true;
    };
    let facts = exchange.about.facts();
    head.is_some_and(|head| variables::admits(filter, head, &exchange.identity, &facts))
}

/// Chooses for the steps that were not reached: they see the response all the same.
fn choose_rest(exchange: &mut Exchange, chain: &Chain, head: Option<&request::Parts>) {
    for position in exchange.run.chosen.len()..chain.steps.len() {
        choose(exchange, chain, position, head);
    }
}

async fn step(
    exchange: &mut Exchange,
    index: u32,
    phase: Phase,
    head: &mut request::Parts,
    body: &mut Option<Bytes>,
) -> Result<Flow, Failure> {
    let chain = Arc::clone(&exchange.run.chain);
    let index = index as usize;
    let worker = exchange.about.conn.worker.index;
    let flow = {
        let Exchange {
            about,
            identity,
            run,
            steering,
            ..
        } = &mut *exchange;
        let (Some(instance), Some(slot)) = (chain.instances.get(index), run.slots.get_mut(index)) else {
            return Ok(Flow::Continue);
        };
        let parts = RequestParts {
            head,
            body,
            identity,
            steering,
            facts: about.facts(),
        };
        // Taken of few requests, of which the clock is read.
        let begun = (slot.is_none() && instance.stats.run(worker)).then(Instant::now);
        let flow = match start(instance, phase, parts, slot) {
            Ok(Outcome::Done(flow)) => Ok(flow),
            Ok(Outcome::Wait(waiting)) => wait(waiting).await,
            Err(panic) => Err(panic),
        };
        if let Some(begun) = begun {
            instance.stats.took(worker, begun.elapsed());
        }
        if let Ok(Flow::Respond(_)) = flow {
            instance.stats.answered(worker);
        }
        flow
    };
    flow.map_err(|Panicked| panicked(exchange, &chain.instances[index]))
}

/// A plugin panicked; the hook has printed where.
struct Panicked;

fn start<'a>(
    instance: &'a Instance,
    phase: Phase,
    parts: RequestParts<'a>,
    slot: &'a mut Option<Slot>,
) -> Result<Outcome<'a>, Panicked> {
    let run = move || {
        let (parts, slot) = (parts, slot);
        let slot = slot.get_or_insert_with(|| instance.slot());
        match phase {
            Phase::Rewrite => instance.rewrite(parts, slot),
            _ => instance.access(parts, slot),
        }
    };
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| Panicked)
}

async fn wait(mut waiting: Waiting<'_>) -> Result<Flow, Panicked> {
    std::future::poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| waiting.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        },
    )
    .await
}

/// Runs the phase over the instances chosen.
fn each(
    exchange: &mut Exchange,
    phase: Phase,
    mut call: impl FnMut(&mut Exchange, &Instance, &mut Slot),
) -> Result<(), Failure> {
    let chain = Arc::clone(&exchange.run.chain);
    if chain.is_empty() {
        return Ok(());
    }
    exchange.about.stamp();
    choose_rest(exchange, &chain, None);
    let mut result = Ok(());
    for position in 0..exchange.run.chosen.len() {
        let index = exchange.run.chosen[position];
        let Some(instance) = chain.instances.get(index as usize) else {
            continue;
        };
        if !instance.phases.contains(phase) {
            continue;
        }
        // Taken out, so that the call may have the exchange.
        let slot = exchange.run.slots[index as usize].take();
        let called = catch_unwind(AssertUnwindSafe(|| {
            let mut slot = slot.unwrap_or_else(|| {
                instance.stats.run(exchange.about.conn.worker.index);
                instance.slot()
            });
            call(exchange, instance, &mut slot);
            slot
        }));
        match called {
            Ok(slot) => exchange.run.slots[index as usize] = Some(slot),
            Err(_) => {
                result = Err(panicked(exchange, instance));
                if phase != Phase::Log {
                    break;
                }
            }
        }
    }
    result
}

/// A response on its way to the client, as the chain sees it.
#[derive(Debug)]
pub(crate) struct Passing<'a> {
    pub(crate) head: &'a mut response::Parts,
    /// The whole body, if it is at hand.
    pub(crate) body: &'a mut Option<Bytes>,
    /// Whether it is the upstream's still.
    pub(crate) upstream: bool,
}

/// What the instances want to see of the response's body.
pub(crate) fn response_body(
    exchange: &mut Exchange,
    head: &mut response::Parts,
) -> Result<BodyNeed, Failure> {
    let mut need = BodyNeed::None;
    each(exchange, Phase::HeaderFilter, |exchange, instance, slot| {
        if !instance.needs.response_body {
            return;
        }
        let parts = ResponseParts {
            head,
            body: &mut None,
            reply: &mut None,
            upstream: true,
            identity: &exchange.identity,
            facts: exchange.about.facts(),
        };
        need = need.and(instance.response_body(parts, slot));
    })?;
    Ok(need)
}

/// Lets the instances see the response's head. One may answer in the response's place: `body` is the answer's then, and it is
/// no longer the upstream's.
pub(crate) fn header_filter(exchange: &mut Exchange, passing: &mut Passing<'_>) -> Result<(), Failure> {
    each(exchange, Phase::HeaderFilter, |exchange, instance, slot| {
        let mut reply = None;
        let parts = ResponseParts {
            head: passing.head,
            body: passing.body,
            reply: &mut reply,
            upstream: passing.upstream,
            identity: &exchange.identity,
            facts: exchange.about.facts(),
        };
        instance.header_filter(parts, slot);
        if let Some(reply) = reply {
            instance.stats.answered(exchange.about.conn.worker.index);
            replace(exchange, passing, *reply);
        }
    })
}

fn replace(exchange: &Exchange, passing: &mut Passing<'_>, reply: Reply) {
    let (head, body) = exchange.written(reply).into_parts();
    *passing.head = head;
    *passing.body = Some(body);
    passing.upstream = false;
}

impl Passing<'_> {
    /// Has the head tell the length of a body that is at hand.
    pub(crate) fn tell_length(&mut self) {
        if let Some(body) = self.body {
            self.head.headers.remove(TRANSFER_ENCODING);
            self.head.headers.insert(CONTENT_LENGTH, body.len().into());
        }
    }
}

pub(crate) fn body_filter(exchange: &mut Exchange, chunk: &mut Bytes, last: bool) -> Result<(), Failure> {
    each(exchange, Phase::BodyFilter, |exchange, instance, slot| {
        instance.body_filter(
            BodyParts {
                chunk,
                last,
                facts: exchange.about.facts(),
            },
            slot,
        );
    })
}

/// A panic here has nobody left to be told but the operator.
pub(crate) fn log(exchange: &mut Exchange, ending: &Ending) {
    let logged = each(exchange, Phase::Log, |exchange, instance, slot| {
        instance.log(exchange.log_parts(ending), slot);
    });
    drop(logged);
}

/// Counted and logged once.
fn panicked(exchange: &Exchange, instance: &Instance) -> Failure {
    let worker = &exchange.about.conn.worker;
    worker.counters.panics.fetch_add(1, Relaxed);
    instance.stats.panicked(worker.index);
    error!(
        plugin = instance.name,
        request_id = exchange.about.request_id(),
        "plugin panicked"
    );
    Failure::PluginPanicked
}
