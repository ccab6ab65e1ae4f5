//! The plugin steps of one place, compiled; which of them run is chosen for each request.

mod run;

use std::collections::HashMap;

use gw_core::{Config, Consumer, ConsumerGroup, Expr, Id, PluginUse, Protocol, Protocols};
use gw_plugins::{Instance, Needs, Phase};
use smallvec::SmallVec;

pub(crate) use run::{Passing, Run, body_filter, header_filter, log, request, response_body};

/// The plugin instances that may run for the requests of one place, compiled.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    instances: Box<[Instance]>,
    /// For each instance, what requests must meet for it to run.
    filters: Box<[Option<Expr>]>,
    /// One per plugin name and one per global rule, in the order in which they run.
    steps: Box<[Step]>,
    /// For each step the instance that runs, for plain requests and for those over TLS; if that depends on nothing else.
    settled: [Option<Box<[u32]>>; 2],
    /// Instances bound to nothing that have the rewrite phase, in the order in which they run.
    rewrite: Box<[u32]>,
    /// What may be needed for plain requests, and for those over TLS.
    needs: [Needs; 2],
    has_log: bool,
}

/// One plugin: which of its instances runs is settled for each request.
#[derive(Debug, Default)]
struct Step {
    /// By falling specificity.
    general: Box<[Candidate]>,
    /// Those bound to a consumer, by falling specificity.
    personal: HashMap<Id<Consumer>, SmallVec<[Candidate; 1]>>,
    /// Those bound to a group of consumers, by falling specificity.
    of_groups: HashMap<Id<ConsumerGroup>, SmallVec<[Candidate; 1]>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Candidate {
    specificity: u8,
    protocols: Protocols,
    instance: u32,
}

/// For whom an instance may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom {
    /// Everybody.
    All,
    One(Id<Consumer>),
    Group(Id<ConsumerGroup>),
}

/// Who calls, as far as it decides on which instances run.
#[derive(Clone, Copy, Debug)]
struct Caller<'c> {
    consumer: Option<Id<Consumer>>,
    config: &'c Config,
}

/// No instance of a plugin covers the request.
const NONE: u32 = u32::MAX;

impl Chain {
    /// Whether the other runs what this one runs, whoever calls: each instance that would be chosen here would be chosen there.
    pub(crate) fn is_within(&self, other: &Self, protocol: Protocol) -> bool {
        let is_kept = |step: &Step| {
            let Some((whom, first)) = step.pieces(protocol).next() else {
                return true; // it runs nothing
            };
            let theirs = other.steps.iter().find(|theirs| {
                let found = theirs.piece(whom, protocol);
                found.is_some_and(|found| self.is_same(first, other, found))
            });
            theirs.is_some_and(|theirs| self.keeps(step, other, theirs, protocol))
        };
        self.steps.iter().all(is_kept)
    }

    /// Whether a step of the other chain chooses what this one does wherever this one chooses something.
    fn keeps(&self, step: &Step, other: &Self, theirs: &Step, protocol: Protocol) -> bool {
        let least = step.pieces(protocol).map(|(_, piece)| piece.specificity).min();
        let is_there = |(whom, piece): (Whom, Candidate)| {
            let found = theirs.piece(whom, protocol);
            found.is_some_and(|found| self.is_same(piece, other, found))
        };
        // What only the other has must give way to what both have.
        let gives_way = |(whom, piece): (Whom, Candidate)| {
            step.piece(whom, protocol).is_some() || Some(piece.specificity) < least
        };
        step.pieces(protocol).all(is_there) && theirs.pieces(protocol).all(gives_way)
    }

    fn is_same(&self, piece: Candidate, other: &Self, found: Candidate) -> bool {
        let own = self.instances.get(piece.instance as usize);
        let theirs = other.instances.get(found.instance as usize);
        own.zip(theirs).is_some_and(|(own, theirs)| own.is(theirs))
    }

    /// Compiles the instances bound to a place. Order does not matter.
    pub(crate) fn compile<'a>(uses: impl Iterator<Item = (&'a PluginUse, &'a Instance)>) -> Self {
        let mut uses: Vec<_> = uses.collect();
        uses.sort_by_key(|(bound, instance)| {
            let specificity = std::cmp::Reverse(bound.scope.specificity());
            (
                !bound.global_rule, // they are a chain of their own, in front of the others
                std::cmp::Reverse(instance.priority),
                instance.name,
                specificity,
                bound.id,
            )
        });
        let mut steps: Vec<(&PluginUse, Step)> = Vec::new();
        let mut rewrite = Vec::new();
        for ((bound, instance), index) in uses.iter().zip(0..) {
            let specificity = bound.scope.specificity();
            if specificity == 0 && instance.phases.contains(Phase::Rewrite) {
                rewrite.push(index);
            }
            let goes_on = |(first, _): &(&PluginUse, Step)| {
                first.name == bound.name && !first.global_rule && !bound.global_rule
            };
            if !steps.last().is_some_and(goes_on) {
                steps.push((bound, Step::default()));
            }
            let candidate = Candidate {
                specificity,
                protocols: bound.protocols,
                instance: index,
            };
            let Some((_, step)) = steps.last_mut() else {
                continue;
            };
            match (bound.scope.consumer, bound.scope.consumer_group) {
                (Some(consumer), _) => step.personal.entry(consumer).or_default().push(candidate),
                (None, Some(group)) => step.of_groups.entry(group).or_default().push(candidate),
                (None, None) => step.general = step.general.iter().copied().chain([candidate]).collect(),
            }
        }
        let depends = uses.iter().any(|(bound, _)| bound.filter.is_some())
            || steps.iter().any(|(_, step)| step.is_personal());
        let instances: Box<[Instance]> = uses.iter().map(|(_, instance)| (*instance).clone()).collect();
        Self {
            needs: [Protocol::Http, Protocol::Https].map(|protocol| {
                let possible = steps.iter().flat_map(|(_, step)| step.possible(protocol));
                possible.fold(Needs::none(), |needs, index| {
                    needs.and(instances[index as usize].needs)
                })
            }),
            settled: [Protocol::Http, Protocol::Https].map(|protocol| {
                let chosen = steps.iter().map(|(_, step)| step.choose_for_all(protocol));
                (!depends).then(|| chosen.collect())
            }),
            has_log: instances
                .iter()
                .any(|instance| instance.phases.contains(Phase::Log)),
            filters: uses.iter().map(|(bound, _)| bound.filter.clone()).collect(),
            steps: steps.into_iter().map(|(_, step)| step).collect(),
            rewrite: rewrite.into(),
            instances,
        }
    }

    /// What may be needed. It is prepared before it is known who calls, so what a consumer's own instances need counts too.
    pub(crate) fn needs(&self, protocol: Protocol) -> Needs {
        let [plain, tls] = self.needs;
        if protocol == Protocol::Https { tls } else { plain }
    }

    /// The instances that run, one for each step, if neither callers nor requests decide on that.
    fn settled(&self, protocol: Protocol) -> Option<&[u32]> {
        let [plain, tls] = &self.settled;
        match protocol {
            Protocol::Http => plain.as_deref(),
            Protocol::Https => tls.as_deref(),
            _ => None,
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
                .or_else(|| step.personal.values().next()?.first())
                .or_else(|| step.of_groups.values().next()?.first());
            let name = first.map_or("", |candidate| self.instances[candidate.instance as usize].name);
            (
                name,
                step.general
                    .iter()
                    .map(|candidate| candidate.specificity)
                    .collect(),
                step.personal.len() + step.of_groups.len(),
            )
        };
        self.steps.iter().map(outline).collect()
    }
}

impl Step {
    /// The instances that may be chosen: the one for callers without instances of their own, and those of consumers and groups.
    fn possible(&self, protocol: Protocol) -> impl Iterator<Item = u32> {
        let covers = move |candidate: &&Candidate| candidate.protocols.contains(protocol);
        let general = self.general.iter().find(covers);
        let personal = self.personal.values().flatten().filter(covers);
        let of_groups = self.of_groups.values().flatten().filter(covers);
        general
            .into_iter()
            .chain(personal)
            .chain(of_groups)
            .map(|candidate| candidate.instance)
    }

    /// For each of those for whom it has instances, the one that competes with those of the others.
    fn pieces(&self, protocol: Protocol) -> impl Iterator<Item = (Whom, Candidate)> {
        let personal = self.personal.keys().copied().map(Whom::One);
        let of_groups = self.of_groups.keys().copied().map(Whom::Group);
        let all = std::iter::once(Whom::All).chain(personal).chain(of_groups);
        all.filter_map(move |whom| Some((whom, self.piece(whom, protocol)?)))
    }

    fn piece(&self, whom: Whom, protocol: Protocol) -> Option<Candidate> {
        let candidates: &[Candidate] = match whom {
            Whom::All => &self.general,
            Whom::One(consumer) => self.personal.get(&consumer)?,
            Whom::Group(group) => self.of_groups.get(&group)?,
        };
        let covers = |candidate: &&Candidate| candidate.protocols.contains(protocol);
        candidates.iter().find(covers).copied()
    }

    /// Whether it may matter who calls.
    fn is_personal(&self) -> bool {
        !(self.personal.is_empty() && self.of_groups.is_empty())
    }

    /// Kong's choice where it does not matter who calls.
    fn choose_for_all(&self, protocol: Protocol) -> u32 {
        let covers = |candidate: &&Candidate| candidate.protocols.contains(protocol);
        let best = self.general.iter().find(covers);
        best.map_or(NONE, |candidate| candidate.instance)
    }

    /// Kong's choice: the most specific instance that covers the request.
    fn choose(&self, caller: Caller<'_>, protocol: Protocol) -> u32 {
        let covers = |candidate: &&Candidate| candidate.protocols.contains(protocol);
        let mut best = self.general.iter().find(covers);
        if let Some(consumer) = caller.consumer {
            let personal = self.personal.get(&consumer);
            best = fitter(
                best,
                personal.and_then(|candidates| candidates.iter().find(covers)),
            );
            if !self.of_groups.is_empty() {
                for group in caller.config.groups_of(consumer) {
                    let of_group = self.of_groups.get(&group.id);
                    best = fitter(
                        best,
                        of_group.and_then(|candidates| candidates.iter().find(covers)),
                    );
                }
            }
        }
        best.map_or(NONE, |candidate| candidate.instance)
    }
}

/// Whichever is more specific.
fn fitter<'a>(best: Option<&'a Candidate>, other: Option<&'a Candidate>) -> Option<&'a Candidate> {
    best.into_iter()
        .chain(other)
        .max_by_key(|candidate| candidate.specificity)
}

#[cfg(test)]
mod tests {
    use gw_plugins::{BuildEnv, BuildError, Definition, Phases, Plugin, Registry};
    use serde_json::{Value, json};

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
            of_groups: HashMap::new(),
        };
        let config = Config::default();
        for (consumer, protocol, chosen) in [
            (None, Protocol::Http, 1),
            (Some(bob), Protocol::Http, 1),
            (Some(ann), Protocol::Http, 3),
            (Some(ann), Protocol::Https, 0),
            (None, Protocol::Grpc, NONE),
        ] {
            assert_eq!(
                step.choose(
                    Caller {
                        consumer,
                        config: &config
                    },
                    protocol
                ),
                chosen,
                "{consumer:?} {protocol:?}"
            );
        }
    }

    struct Mark;

    impl Definition for Mark {
        const NAME: &'static str = "mark";
        const PRIORITY: i32 = 1;
        const PHASES: Phases = Phases::of(&[Phase::Access]);
        const SCHEMA: &'static str = r#"{ "type": "object" }"#;
        type Config = Value;
        fn build(_: Value, _: &BuildEnv) -> Result<Self, BuildError> {
            Ok(Self)
        }
    }

    impl Plugin for Mark {
        type State = ();
    }

    #[test]
    fn a_chain_is_within_one_that_chooses_the_same_for_whoever_calls() {
        let registry = Registry::new().with::<Mark>();
        let built = || registry.build(Id::random(), "mark", &json!({})).unwrap();
        let marks = [built(), built(), built()];
        let (ann, group) = (Whom::One(Id::random()), Whom::Group(Id::random()));
        // A step of instances by their place in `marks`: for whom they are, and how specific.
        let chain = |pieces: &[(Whom, u8, usize)]| {
            let mut step = Step::default();
            for (index, (whom, specificity, _)) in pieces.iter().enumerate() {
                let candidate = candidate(*specificity, Protocol::Http, index as u32);
                match whom {
                    Whom::All => step.general = step.general.iter().copied().chain([candidate]).collect(),
                    Whom::One(id) => step.personal.entry(*id).or_default().push(candidate),
                    Whom::Group(id) => step.of_groups.entry(*id).or_default().push(candidate),
                }
            }
            let instances = pieces.iter().map(|(_, _, mark)| marks[*mark].clone());
            Chain {
                instances: instances.collect(),
                steps: [step].into(),
                ..Chain::default()
            }
        };
        let all = Whom::All;
        type Pieces<'a> = &'a [(Whom, u8, usize)];
        let cases: [(Pieces<'_>, Pieces<'_>, bool); 11] = [
            (&[], &[(all, 1, 0)], true),
            (&[(all, 1, 0)], &[], false),
            (&[(all, 1, 0)], &[(all, 1, 0)], true),
            (&[(all, 1, 0)], &[(all, 1, 1)], false),
            // Overridden for all, for one, for a group.
            (&[(all, 1, 0)], &[(all, 2, 1), (all, 1, 0)], false),
            (&[(all, 1, 0)], &[(all, 1, 0), (ann, 9, 1)], false),
            (&[(all, 1, 0)], &[(all, 1, 0), (group, 6, 1)], false),
            // One more, which gives way.
            (&[(ann, 4, 0)], &[(ann, 4, 0), (all, 1, 1)], true),
            (&[(ann, 4, 0)], &[(ann, 4, 0), (all, 5, 1)], false),
            (
                &[(all, 1, 0), (ann, 4, 1), (group, 3, 2)],
                &[(group, 3, 2), (ann, 4, 1), (all, 1, 0)],
                true,
            ),
            (&[(all, 1, 0), (ann, 4, 1)], &[(all, 1, 0), (ann, 4, 2)], false),
        ];
        for (pieces, other, expected) in cases {
            let (chain, other) = (chain(pieces), chain(other));
            assert_eq!(chain.is_within(&other, Protocol::Http), expected, "{pieces:?}");
            assert!(
                chain.is_within(&other, Protocol::Https),
                "nothing runs: {pieces:?}"
            );
        }
    }
}
