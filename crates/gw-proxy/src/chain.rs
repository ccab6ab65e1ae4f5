//! The plugin steps of one place, compiled; which of them run is chosen for each request.

mod run;

use std::collections::HashMap;

use gw_core::{Consumer, Id, PluginUse, Protocol, Protocols};
use gw_plugins::{BodyNeed, Instance, Phase};
use smallvec::SmallVec;

pub(crate) use run::{Run, body_filter, header_filter, log, request};

/// The plugin instances that may run for the requests of one place, compiled.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    instances: Box<[Instance]>,
    /// One per plugin name, by falling priority.
    steps: Box<[Step]>,
    /// Instances bound to nothing that have the rewrite phase, by falling priority.
    rewrite: Box<[u32]>,
    /// What may be wanted of the bodies of plain requests, and of those over TLS.
    request_body: [BodyNeed; 2],
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
    /// Whether each of its instances is one of the other's too.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        let is_there = |one: &Instance| other.instances.iter().any(|instance| instance.is(one));
        self.instances.iter().all(is_there)
    }

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
            request_body: [Protocol::Http, Protocol::Https].map(|protocol| {
                let chosen = steps.iter().flat_map(|(_, step)| step.possible(protocol));
                chosen.fold(BodyNeed::None, |need, index| {
                    need.and(instances[index as usize].needs.request_body)
                })
            }),
            has_log: instances
                .iter()
                .any(|instance| instance.phases.contains(Phase::Log)),
            steps: steps.into_iter().map(|(_, step)| step).collect(),
            rewrite: rewrite.into(),
            instances,
        }
    }

    /// What may be wanted of a request's body. It is read before it is known who calls, so what a consumer's own
    /// instances want counts too.
    pub(crate) fn request_body(&self, protocol: Protocol) -> BodyNeed {
        let [plain, tls] = self.request_body;
        if protocol == Protocol::Https { tls } else { plain }
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
    /// The instances that may be chosen: the one for callers without instances of their own, and those of consumers.
    fn possible(&self, protocol: Protocol) -> impl Iterator<Item = u32> {
        let general = Some(self.choose(None, protocol)).filter(|index| *index != NONE);
        let covers = move |candidate: &&Candidate| candidate.protocols.contains(protocol);
        let personal = self.personal.values().flatten().filter(covers);
        general
            .into_iter()
            .chain(personal.map(|candidate| candidate.instance))
    }

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
