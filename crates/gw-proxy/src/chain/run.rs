//! A chain on its way through the phases of one request.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use gw_plugins::cx::{BodyParts, RequestParts, ResponseParts};
use gw_plugins::{Flow, Instance, Outcome, Phase, Slot, Waiting};
use http::{request, response};
use smallvec::SmallVec;
use tracing::error;

use super::{Chain, NONE};
use crate::exchange::Exchange;
use crate::failure::Failure;

/// A chain in use by one request: what was chosen, and each instance's state.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) chain: Arc<Chain>,
    /// For each step so far, the instance chosen.
    chosen: SmallVec<[u32; 4]>,
    /// For each instance, its state once it has run.
    slots: SmallVec<[Option<Slot>; 4]>,
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
        let flow = step(exchange, *index, Phase::Rewrite, head, body).await?;
        if let Flow::Respond(_) = flow {
            return Ok(flow);
        }
    }
    for position in 0..chain.steps.len() {
        // Settled here and not before: the steps above may have found out who calls.
        let index = choose(exchange, &chain, position);
        if exchange.run.has(index, Phase::Access) {
            let flow = step(exchange, index, Phase::Access, head, body).await?;
            if let Flow::Respond(_) = flow {
                return Ok(flow);
            }
        }
    }
    Ok(Flow::Continue)
}

fn choose(exchange: &mut Exchange, chain: &Chain, position: usize) -> u32 {
    let consumer = exchange.identity.consumer.as_deref().map(|consumer| consumer.id);
    let index = chain
        .steps
        .get(position)
        .map_or(NONE, |step| step.choose(consumer, exchange.about.conn.scheme));
    exchange.run.chosen.push(index);
    index
}

/// Chooses for the steps that were not reached: they see the response all the same.
fn choose_rest(exchange: &mut Exchange, chain: &Chain) {
    for position in exchange.run.chosen.len()..chain.steps.len() {
        choose(exchange, chain, position);
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
    let flow = {
        let Exchange {
            about, identity, run, ..
        } = &mut *exchange;
        let (Some(instance), Some(slot)) = (chain.instances.get(index), run.slots.get_mut(index)) else {
            return Ok(Flow::Continue);
        };
        let parts = RequestParts {
            head,
            body,
            identity,
            facts: about.facts(),
        };
        match start(instance, phase, parts, slot) {
            Ok(Outcome::Done(flow)) => Ok(flow),
            Ok(Outcome::Wait(waiting)) => wait(waiting).await,
            Err(panic) => Err(panic),
        }
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
    choose_rest(exchange, &chain);
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
            let mut slot = slot.unwrap_or_else(|| instance.slot());
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

pub(crate) fn header_filter(exchange: &mut Exchange, head: &mut response::Parts) -> Result<(), Failure> {
    each(exchange, Phase::HeaderFilter, |exchange, instance, slot| {
        let parts = ResponseParts {
            head,
            identity: &exchange.identity,
            facts: exchange.about.facts(),
        };
        instance.header_filter(parts, slot);
    })
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
pub(crate) fn log(exchange: &mut Exchange, total: Duration) {
    let logged = each(exchange, Phase::Log, |exchange, instance, slot| {
        instance.log(exchange.log_parts(total), slot);
    });
    drop(logged);
}

/// Counted and logged once.
fn panicked(exchange: &Exchange, instance: &Instance) -> Failure {
    exchange.about.conn.worker.counters.panics.fetch_add(1, Relaxed);
    error!(
        plugin = instance.name,
        request_id = exchange.about.request_id(),
        "plugin panicked"
    );
    Failure::PluginPanicked
}
