//! What a balancer's tables are made of: who is in, with what weight, for what share of the requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::groups::{self, Census, Lot};
use crate::health::Checks;
use crate::seat::{Seat, Standing};
use crate::table;
use crate::target::Eligible;
use crate::{Policy, SlowStart, Target, TargetIdx, Weights};

/// The targets of one priority.
#[derive(Debug)]
pub(super) struct Rank {
    pub(super) priority: u32,
    pub(super) eligible: Box<[Eligible]>,
    pub(super) plan: table::Plan,
}

/// What follows from the health that the targets have now.
#[derive(Debug, Default)]
pub(super) struct Muster {
    /// For each rank.
    pub(super) shares: Vec<Share>,
    pub(super) out: Vec<Out>,
    pub(super) weights: Weights,
    /// When the tables change though nothing happens.
    pub(super) next: Option<Instant>,
}

/// Who of a rank is sent requests, and how many the rank is given.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) lot: Lot,
    pub(super) chosen: Vec<Eligible>,
}

/// One that is out and is tried by a request.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) target: TargetIdx,
    pub(super) due: Instant,
    pub(super) ticket: u64,
}

/// Parts the targets by priority, the lowest number first.
pub(super) fn ranks(policy: &Policy, targets: &[Target], eligible: Vec<Eligible>) -> Box<[Rank]> {
    let priority = |entry: &Eligible| {
        let target = targets.get(entry.target.index());
        target.map_or(0, |target| target.priority)
    };
    let mut eligible: Vec<(u32, Eligible)> = eligible
        .into_iter()
        .map(|entry| (priority(&entry), entry))
        .collect();
    eligible.sort_by_key(|(priority, _)| *priority);
    let ranks = eligible.chunk_by(|(before, _), (after, _)| before == after);
    let rank = |chunk: &[(u32, Eligible)]| {
        let eligible: Box<[Eligible]> = chunk.iter().map(|(_, entry)| *entry).collect();
        Rank {
            priority: chunk.first().map_or(0, |(priority, _)| *priority),
            plan: table::Plan::new(policy, &eligible, targets),
            eligible,
        }
    };
    ranks.map(rank).collect()
}

impl Muster {
    /// Without `now` nothing has just begun.
    pub(super) fn new(
        policy: &Policy,
        checks: &Checks,
        ranks: &[Rank],
        seats: &[Arc<Seat>],
        now: Option<Instant>,
    ) -> Self {
        let mut muster = Self::default();
        let slow = checks.slow_start.filter(|_| !policy.is_keyed());
        let tried_by_requests = !checks.probes_heal();
        let standing = |entry: &Eligible| seats.get(entry.target.index()).map(|seat| seat.standing());
        let standings: Vec<Vec<Option<Standing>>> = ranks
            .iter()
            .map(|rank| rank.eligible.iter().map(standing).collect())
            .collect();
        let census: Vec<Census> = standings.iter().map(|standings| count(standings)).collect();
        let lots = groups::share(checks.failover, checks.panic, &census);
        for ((rank, standings), lot) in ranks.iter().zip(&standings).zip(lots) {
            let mut crew = Crew::default();
            for (entry, standing) in rank.eligible.iter().zip(standings) {
                let Some(standing) = standing else { continue };
                let condition = &standing.condition;
                muster.weights.total += entry.weight;
                if condition.healthy {
                    muster.weights.available += entry.weight;
                } else if let Some(due) = condition.trial.filter(|_| tried_by_requests) {
                    muster.out.push(Out {
                        target: entry.target,
                        due,
                        ticket: standing.ticket,
                    });
                }
                if condition.healthy || (lot.panics && !condition.held) {
                    crew.chosen.push(*entry);
                    crew.started.push(standing.started);
                }
            }
            if let (Some(slow), Some(now)) = (slow.filter(|_| !lot.panics), now) {
                let all = rank.eligible.iter().map(|entry| entry.weight).sum();
                muster.next = earlier(muster.next, crew.slow_down(&slow, all, now));
            }
            muster.shares.push(Share {
                lot,
                chosen: crew.chosen,
            });
        }
        muster
    }

    /// Whether nothing may be sent but trials.
    pub(super) fn is_blocked(&self, checks: &Checks) -> bool {
        if checks.threshold.is_zero() {
            self.shares.iter().all(|share| share.lot.load == 0)
        } else {
            !checks
                .threshold
                .is_met(self.weights.available, self.weights.total)
        }
    }
}

fn count(standings: &[Option<Standing>]) -> Census {
    let mut census = Census::default();
    for standing in standings.iter().flatten() {
        census.all += 1;
        census.healthy += usize::from(standing.condition.healthy);
        census.free += usize::from(!standing.condition.held);
    }
    census
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}

/// Those of a rank that are sent requests.
#[derive(Debug, Default)]
struct Crew {
    chosen: Vec<Eligible>,
    // Invariant: one for each that is chosen.
    started: Vec<Option<Instant>>,
}

impl Crew {
    /// Gives those that have just started less weight, and says when they get more.
    ///
    /// Never so little that the others would have more than twice their share of `all` the rank's weight: where few
    /// have been there for long, those that are new carry what they can.
    fn slow_down(&mut self, slow: &SlowStart, all: u64, now: Instant) -> Option<Instant> {
        let since = |started: &Option<Instant>| started.map(|started| now.saturating_duration_since(started));
        let share = |started| since(started).map_or(WHOLE, |since| u64::from(slow.thousandths(since)));
        let shares: Vec<u64> = self.started.iter().map(share).collect();
        if shares.iter().all(|share| *share == WHOLE) {
            return None;
        }
        let weights = || self.chosen.iter().map(|entry| u128::from(entry.weight));
        let whole = weights().sum::<u128>() * u128::from(WHOLE);
        let reduced: u128 = weights()
            .zip(&shares)
            .map(|(weight, share)| weight * u128::from(*share))
            .sum();
        let wanted = (u128::from(all) * u128::from(WHOLE) / 2).min(whole);
        // What is missing is shared out by what each has been denied.
        let (missing, denied) = (wanted.saturating_sub(reduced), (whole - reduced).max(1));
        for (entry, share) in self.chosen.iter_mut().zip(shares) {
            let more = (u128::from(WHOLE - share) * missing).div_ceil(denied) as u64; // at most what was denied
            entry.weight = entry.weight.saturating_mul(share + more);
        }
        let left = self
            .started
            .iter()
            .filter_map(since)
            .map(|since| slow.window.saturating_sub(since));
        let wait = slow.step().min(left.max()?).max(Duration::from_millis(1));
        now.checked_add(wait)
    }
}

/// In thousandths.
const WHOLE: u64 = 1000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn slow_starts_never_give_anybody_more_than_twice_its_share(
            targets in prop::collection::vec((1_u64..1000, prop::option::of(0_u64..40), any::<bool>()), 1..12),
            aggression in 10_u16..400,
            least in 0_u8..=100,
        ) {
            let start = Instant::now();
            let now = start + Duration::from_secs(40);
            let slow = SlowStart { window: Duration::from_secs(30), aggression, least };
            let all: u64 = targets.iter().map(|(weight, ..)| weight).sum();
            let (mut crew, mut before) = (Crew::default(), Vec::new());
            for (place, (weight, started, is_in)) in (0..).zip(&targets) {
                if *is_in {
                    let target = TargetIdx(place);
                    crew.chosen.push(Eligible { target, weight: *weight });
                    crew.started.push(started.map(|seconds| start + Duration::from_secs(seconds)));
                    before.push(*weight);
                }
            }
            let there: u64 = before.iter().sum();
            let next = crew.slow_down(&slow, all, now);
            let sum: u64 = crew.chosen.iter().map(|entry| entry.weight).sum();
            let growing = crew.started.iter().flatten().any(|started| now < *started + slow.window);
            prop_assert!(next.is_none() || growing);
            prop_assert!(next.is_none_or(|next| next > now));
            for (entry, weight) in crew.chosen.iter().zip(&before) {
                prop_assert!(entry.weight > 0);
                // Its part of what is sent, against twice its part of all; whoever is in carries what is left.
                let fair = f64::max(2.0 * *weight as f64 / all as f64, *weight as f64 / there as f64);
                let part = entry.weight as f64 / sum as f64;
                prop_assert!(part <= fair * 1.0001, "{part} instead of {fair}");
            }
        }
    }
}
