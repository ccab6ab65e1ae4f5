//! Least requests: the target with the fewest in flight for its weight.

use std::sync::Arc;

use crate::policy::LeastRequest;
use crate::random::Random;
use crate::round_robin::{Position, RoundRobin};
use crate::target::{Eligible, eligible};
use crate::{Algorithm, Ask, Load, Rng, Target, TargetIdx};

/// The target with the least (requests in flight + 1) / weight.
///
/// Up to 16 targets are all compared. Of more, a few are drawn by weight and the best of them is taken: nearly as even,
/// and it costs the same for ten thousand.
///
/// Between equals the turn of smooth weighted round robin decides; a target without any request in flight has nobody below
/// it, so it takes its turn as it comes (where targets are drawn: the first that was drawn). Without that, one client that
/// sends one request after the other would only ever see the target of the largest weight.
#[derive(Debug)]
pub struct LeastLoaded(Size);

#[derive(Debug)]
enum Size {
    Few(RoundRobin),
    Many { random: Random, choices: usize },
}

/// Up to how many targets all are compared.
const FEW: usize = 16;

/// The most that are drawn.
const CHOICES: usize = 8;

impl LeastLoaded {
    /// A table over `targets`.
    pub fn new(policy: &LeastRequest, targets: &[Target]) -> Self {
        Self::over(policy, &eligible(targets), Arc::default())
    }

    pub(crate) fn over(policy: &LeastRequest, eligible: &[Eligible], position: Arc<Position>) -> Self {
        Self(match eligible.len() {
            ..=FEW => Size::Few(RoundRobin::at(position, eligible)),
            _ => Size::Many {
                random: Random::over(eligible),
                choices: usize::from(policy.choices).clamp(2, CHOICES),
            },
        })
    }
}

impl Algorithm for LeastLoaded {
    fn pick(&self, ask: &Ask<'_>, load: &(impl Load + ?Sized), rng: &mut Rng) -> Option<TargetIdx> {
        match &self.0 {
            Size::Few(turns) => least_of_all(turns, ask, load, rng),
            Size::Many { random, choices } => least_of_drawn(random, *choices, ask, load, rng),
        }
    }
}

/// `turns` says who would be next by weight, and of a retry who of the untried.
fn least_of_all(
    turns: &RoundRobin,
    ask: &Ask<'_>,
    load: &(impl Load + ?Sized),
    rng: &mut Rng,
) -> Option<TargetIdx> {
    let turn = turns.pick(ask, load, rng)?;
    if load.in_flight(turn) == 0 {
        return Some(turn);
    }
    let all = turns.eligible();
    let place = all.iter().position(|entry| entry.target == turn)?;
    let (before, after) = all.split_at(place);
    // From the one whose turn it is, so that it wins among equals.
    let untried = after
        .iter()
        .chain(before)
        .filter(|entry| !ask.tried.contains(entry.target));
    let candidates = untried.map(|entry| Candidate::new(entry.target, entry.weight, load));
    Some(candidates.reduce(Candidate::lesser)?.target)
}

fn least_of_drawn(
    random: &Random,
    choices: usize,
    ask: &Ask<'_>,
    load: &(impl Load + ?Sized),
    rng: &mut Rng,
) -> Option<TargetIdx> {
    if choices == 2 && ask.tried.is_empty() {
        let [one, other] = random.two(rng)?;
        let one = Candidate::new(one.target, one.weight, load);
        if one.in_flight == 0 {
            return Some(one.target);
        }
        return Some(
            one.lesser(Candidate::new(other.target, other.weight, load))
                .target,
        );
    }
    let untried = |target| !ask.tried.contains(target);
    let first = random.draw(rng, untried)?;
    let mut best = Candidate::new(first.target, first.weight, load);
    if best.in_flight == 0 {
        return Some(best.target);
    }
    let mut drawn = [first.target; CHOICES];
    for number in 1..choices {
        let Some(next) = random.draw(rng, |target| untried(target) && !drawn.contains(&target)) else {
            break;
        };
        drawn[number] = next.target;
        best = best.lesser(Candidate::new(next.target, next.weight, load));
    }
    Some(best.target)
}

#[derive(Clone, Copy)]
struct Candidate {
    target: TargetIdx,
    weight: u64,
    in_flight: u32,
}

impl Candidate {
    fn new(target: TargetIdx, weight: u64, load: &(impl Load + ?Sized)) -> Self {
        Self {
            target,
            weight,
            in_flight: load.in_flight(target),
        }
    }

    /// This one, unless the other has less to do for its weight.
    fn lesser(self, other: Self) -> Self {
        // Bound: a weight of 2³² and more, which takes as many duplicates, counts as the largest there is.
        let cost = |one: &Self, weight: u64| (u64::from(one.in_flight) + 1).saturating_mul(weight);
        if cost(&other, self.weight) < cost(&self, other.weight) {
            other
        } else {
            self
        }
    }
}
