//! The plugin steps of one request: compiled per place, chosen for the consumer once it is known.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use gw_core::{Consumer, Id, PluginUse, Protocol, Protocols};
use gw_plugins::cx::{BodyParts, RequestParts, ResponseParts};
use gw_plugins::{BodyNeed, Flow, Instance, Outcome, Phase, Slot, Waiting};
use http::{request, response};
use smallvec::SmallVec;
use tracing::error;

use crate::exchange::Exchange;
use crate::failure::Failure;

/// The plugin instances that may run for the requests of one place, compiled.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    instances: Box<[Instance]>,
    /// One per plugin name, by falling priority.
    steps: Box<[Step]>,
    /// Instances bound to nothing that have the rewrite phase, by falling priority.
    rewrite: Box<[u32]>,
    /// What is wanted of request bodies.
    pub(crate) request_body: BodyNeed,
    has_log: bool,
}

/// One plugin: which of its instances runs is settled for each request.
#[derive(Debug)]
struct Step {
    /// By falling specificity.
    general: Box<[Candidate]>,
    /// Those bound to a consumer, by falling specificity.
    personal: HashMap<Id<Consumer>, SmallVec<[Candidate; 1]>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Candidate {
    specificity: u8,
    protocols: Protocols,
    instance: u32,
}

/// No instance of a plugin covers the request.
const NONE: u32 = u32::MAX;

impl Chain {
    /// Compiles the instances bound to a place. Order does not matter.
    pub(crate) fn compile<'a>(uses: impl Iterator<Item = (&'a PluginUse, &'a Instance)>) -> Self {
        let mut uses: Vec<_> = uses.collect();
        uses.sort_by_key(|(bound, instance)| {
            let specificity = std::cmp::Reverse(bound.scope.specificity());
            (
                std::cmp::Reverse(instance.priority),
                instance.name,
                specificity,
                bound.id,
            )
        });
        let instances: Box<[Instance]> = uses.iter().map(|(_, instance)| (*instance).clone()).collect();
        let mut steps: Vec<(&str, Step)> = Vec::new();
        let mut rewrite = Vec::new();
        for ((bound, instance), index) in uses.iter().zip(0..) {
            let specificity = bound.scope.specificity();
            if specificity == 0 && instance.phases.contains(Phase::Rewrite) {
                rewrite.push(index);
            }
            if steps.last().is_none_or(|(name, _)| *name != instance.name) {
                steps.push((
                    instance.name,
                    Step {
                        general: Box::default(),
                        personal: HashMap::new(),
                    },
                ));
            }
            let candidate = Candidate {
                specificity,
                protocols: bound.protocols,
                instance: index,
            };
            let Some((_, step)) = steps.last_mut() else {
                continue;
            };
            match bound.scope.consumer {
                Some(consumer) => step.personal.entry(consumer).or_default().push(candidate),
                None => step.general = step.general.iter().copied().chain([candidate]).collect(),
            }
        }
        Self {
            request_body: instances.iter().fold(BodyNeed::None, |need, instance| {
                need.and(instance.needs.request_body)
            }),
            has_log: instances
                .iter()
                .any(|instance| instance.phases.contains(Phase::Log)),
            steps: steps.into_iter().map(|(_, step)| step).collect(),
            rewrite: rewrite.into(),
            instances,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }

    /// The plugins in order, and for each the instances that may run, most specific first; for tests and listings.
    #[cfg(test)]
    pub(crate) fn outline(&self) -> Vec<(&'static str, Vec<u8>, usize)> {
        let outline = |step: &Step| {
            let first = step
                .general
                .first()
                .or_else(|| step.personal.values().next()?.first());
            let name = first.map_or("", |candidate| self.instances[candidate.instance as usize].name);
            (
                name,
                step.general
                    .iter()
                    .map(|candidate| candidate.specificity)
                    .collect(),
                step.personal.len(),
            )
        };
        self.steps.iter().map(outline).collect()
    }
}

impl Step {
    /// Kong's choice: the most specific instance that covers the request.
    fn choose(&self, consumer: Option<Id<Consumer>>, protocol: Protocol) -> u32 {
        let covers = |candidate: &&Candidate| candidate.protocols.contains(protocol);
        let general = self.general.iter().find(covers);
        let personal = consumer.and_then(|consumer| self.personal.get(&consumer)?.iter().find(covers));
        let best = general
            .into_iter()
            .chain(personal)
            .max_by_key(|candidate| candidate.specificity);
        best.map_or(NONE, |candidate| candidate.instance)
    }
}

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
    exchange.about.stamp();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(specificity: u8, protocol: Protocol, instance: u32) -> Candidate {
        Candidate {
            specificity,
            protocols: [protocol].into_iter().collect(),
            instance,
        }
    }

    #[test]
    fn the_most_specific_instance_that_covers_the_request_is_chosen() {
        let (ann, bob) = (Id::random(), Id::random());
        let step = Step {
            general: [
                candidate(4, Protocol::Https, 0),
                candidate(2, Protocol::Http, 1),
                candidate(0, Protocol::Http, 2),
            ]
            .into(),
            personal: HashMap::from([(ann, [candidate(3, Protocol::Http, 3)].into_iter().collect())]),
        };
        for (consumer, protocol, chosen) in [
            (None, Protocol::Http, 1),
            (Some(bob), Protocol::Http, 1),
            (Some(ann), Protocol::Http, 3),
            (Some(ann), Protocol::Https, 0),
            (None, Protocol::Grpc, NONE),
        ] {
            assert_eq!(
                step.choose(consumer, protocol),
                chosen,
                "{consumer:?} {protocol:?}"
            );
        }
    }
}
