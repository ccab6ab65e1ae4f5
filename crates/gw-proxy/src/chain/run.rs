//! A chain on its way through the phases of one request.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use gw_plugins::cx::{BodyParts, Facts, RequestParts, ResponseParts};
use gw_plugins::{
    BodyNeed, Flow, Identity, Instance, Outcome, Phase, Reply, Slot, Steering, Waiting, variables,
};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{request, response};
use smallvec::SmallVec;
use tracing::error;

use super::{Caller, Chain, NONE, Step};
use crate::about::About;
use crate::exchange::{Ending, Exchange};
use crate::failure::Failure;

/// A chain in use by one request: what was chosen, and each instance's state.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) chain: Arc<Chain>,
    chosen: Chosen,
    slots: Slots,
}

/// For each step so far, the instance chosen.
type Chosen = SmallVec<[u32; 8]>;

/// For each instance, its state once it has run.
type Slots = SmallVec<[Option<Slot>; 6]>;

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

/// What a request phase works on: the exchange in its parts, and what does not change, put together once.
struct Stage<'e> {
    chain: &'e Chain,
    about: &'e About,
    facts: &'e Facts<'e>,
    identity: &'e mut Identity,
    steering: &'e mut Steering,
    chosen: &'e mut Chosen,
    slots: &'e mut Slots,
}

/// Rewrite, then access. The first instance that answers ends it.
pub(crate) async fn request(
    exchange: &mut Exchange,
    head: &mut request::Parts,
    body: &mut Option<Bytes>,
) -> Result<Flow, Failure> {
    if exchange.run.chain.is_empty() {
        return Ok(Flow::Continue);
    }
    exchange.about.stamp();
    let Exchange {
        about,
        identity,
        steering,
        run: Run { chain, chosen, slots },
        ..
    } = exchange;
    let facts = about.facts();
    let mut stage = Stage {
        chain,
        about,
        facts: &facts,
        identity,
        steering,
        chosen,
        slots,
    };
    let flow = stage.run(head, body).await?;
    if let Flow::Respond(_) = flow {
        stage.choose_rest(head);
    }
    Ok(flow)
}

impl Stage<'_> {
    async fn run(&mut self, head: &mut request::Parts, body: &mut Option<Bytes>) -> Result<Flow, Failure> {
        let chain = self.chain;
        for index in &chain.rewrite {
            if !applies(chain, *index, Some(head), self.identity, self.facts) {
                continue;
            }
            let flow = self.step(*index, Phase::Rewrite, head, body).await?;
            if let Flow::Respond(_) = flow {
                return Ok(flow);
            }
        }
        let settled = chain.settled(self.facts.scheme);
        self.chosen.extend_from_slice(settled.unwrap_or_default());
        for (place, step) in chain.steps.iter().enumerate() {
            let index = match settled.and_then(|settled| settled.get(place)) {
                Some(index) => *index,
                None => {
                    // Not before: the steps above may have found out who calls.
                    let index = choose(chain, step, Some(head), self.identity, self.facts);
                    self.chosen.push(index);
                    index
                }
            };
            let instance = chain.instances.get(index as usize);
            if instance.is_some_and(|instance| instance.phases.contains(Phase::Access)) {
                let flow = self.step(index, Phase::Access, head, body).await?;
                if let Flow::Respond(_) = flow {
                    return Ok(flow);
                }
            }
        }
        Ok(Flow::Continue)
    }

    async fn step(
        &mut self,
        index: u32,
        phase: Phase,
        head: &mut request::Parts,
        body: &mut Option<Bytes>,
    ) -> Result<Flow, Failure> {
        let index = index as usize;
        let (Some(instance), Some(slot)) = (self.chain.instances.get(index), self.slots.get_mut(index))
        else {
            return Ok(Flow::Continue);
        };
        let worker = self.facts.worker;
        let parts = RequestParts {
            head,
            body,
            identity: self.identity,
            steering: self.steering,
            facts: self.facts,
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
        flow.map_err(|Panicked| panicked(self.about, instance))
    }

    /// Chooses for the steps that were not reached: they see the response all the same.
    fn choose_rest(&mut self, head: &request::Parts) {
        let chain = self.chain;
        for step in chain.steps.iter().skip(self.chosen.len()) {
            let index = choose(chain, step, Some(head), self.identity, self.facts);
            self.chosen.push(index);
        }
    }
}

/// The instance of a step that runs.
fn choose(
    chain: &Chain,
    step: &Step,
    head: Option<&request::Parts>,
    identity: &Identity,
    facts: &Facts<'_>,
) -> u32 {
    let caller = Caller {
        consumer: identity.consumer.as_deref().map(|consumer| consumer.id),
        config: facts.config,
    };
    let chosen = step.choose(caller, facts.scheme);
    match applies(chain, chosen, head, identity, facts) {
        true => chosen,
        false => NONE,
    }
}

/// Whether the request meets what the instance asks of requests. Where there is no head any more, it does not.
fn applies(
    chain: &Chain,
    index: u32,
    head: Option<&request::Parts>,
    identity: &Identity,
    facts: &Facts<'_>,
) -> bool {
    let Some(Some(filter)) = chain.filters.get(index as usize) else {
        return true;
    };
    head.is_some_and(|head| variables::admits(filter, head, identity, facts))
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
    mut call: impl FnMut(&Exchange, &Facts<'_>, &Instance, &mut Slot),
) -> Result<(), Failure> {
    if exchange.run.chain.is_empty() {
        return Ok(());
    }
    exchange.about.stamp();
    // Taken out, so that the calls may have the exchange.
    let mut slots = std::mem::take(&mut exchange.run.slots);
    let mut chosen = std::mem::take(&mut exchange.run.chosen);
    let lent = &*exchange;
    let (chain, facts) = (&*lent.run.chain, lent.about.facts());
    for step in chain.steps.iter().skip(chosen.len()) {
        chosen.push(choose(chain, step, None, &lent.identity, &facts));
    }
    let mut result = Ok(());
    for index in &chosen {
        let index = *index as usize;
        let (Some(instance), Some(slot)) = (chain.instances.get(index), slots.get_mut(index)) else {
            continue;
        };
        if !instance.phases.contains(phase) {
            continue;
        }
        let called = catch_unwind(AssertUnwindSafe(|| {
            let slot = slot.get_or_insert_with(|| {
                instance.stats.run(facts.worker);
                instance.slot()
            });
            call(lent, &facts, instance, slot);
        }));
        if called.is_err() {
            *slot = None;
            result = Err(panicked(&lent.about, instance));
            if phase != Phase::Log {
                break;
            }
        }
    }
    (exchange.run.slots, exchange.run.chosen) = (slots, chosen);
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
    each(
        exchange,
        Phase::HeaderFilter,
        |exchange, facts, instance, slot| {
            if !instance.needs.response_body {
                return;
            }
            let parts = ResponseParts {
                head,
                body: &mut None,
                reply: &mut None,
                upstream: true,
                identity: &exchange.identity,
                facts,
            };
            need = need.and(instance.response_body(parts, slot));
        },
    )?;
    Ok(need)
}

/// Lets the instances see the response's head. One may answer in the response's place: `body` is the answer's then, and it is
/// no longer the upstream's.
pub(crate) fn header_filter(exchange: &mut Exchange, passing: &mut Passing<'_>) -> Result<(), Failure> {
    each(
        exchange,
        Phase::HeaderFilter,
        |exchange, facts, instance, slot| {
            let mut reply = None;
            let parts = ResponseParts {
                head: passing.head,
                body: passing.body,
                reply: &mut reply,
                upstream: passing.upstream,
                identity: &exchange.identity,
                facts,
            };
            instance.header_filter(parts, slot);
            if let Some(reply) = reply {
                instance.stats.answered(facts.worker);
                replace(exchange, passing, *reply);
            }
        },
    )
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
    each(exchange, Phase::BodyFilter, |_, facts, instance, slot| {
        instance.body_filter(BodyParts { chunk, last, facts }, slot);
    })
}

/// A panic here has nobody left to be told but the operator.
pub(crate) fn log(exchange: &mut Exchange, ending: &Ending) {
    let logged = each(exchange, Phase::Log, |exchange, facts, instance, slot| {
        instance.log(exchange.log_parts(ending, *facts), slot);
    });
    drop(logged);
}

/// Counted and logged once.
fn panicked(about: &About, instance: &Instance) -> Failure {
    let worker = &about.conn.worker;
    worker.counters.panics.fetch_add(1, Relaxed);
    instance.stats.panicked(worker.index);
    error!(
        plugin = instance.name,
        request_id = about.request_id(),
        "plugin panicked"
    );
    Failure::PluginPanicked
}
