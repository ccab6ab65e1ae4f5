//! Requests that stick to a key: the owner if it may be picked, else who comes next, and no key is spread.

use std::sync::Arc;

use crate::hash::mix;
use crate::member::{Member, members};
use crate::policy::Bound;
use crate::rng::GOLDEN;
use crate::round_robin::{Position, RoundRobin};
use crate::target::{Eligible, eligible};
use crate::{Algorithm, Ask, Load, Rng, Target, TargetIdx, Tried};

/// Who owns a key: a [`Ring`](crate::Ring), [`Slots`](crate::Slots) or [`Maglev`](crate::Maglev).
pub trait Owners {
    /// The first who is accepted, beginning with the key's owner; who comes next follows from the key.
    ///
    /// `None` if nobody is, or if some were asked in vain: not every target is asked, and one may be asked twice.
    fn find(&self, key: u64, accept: impl FnMut(TargetIdx) -> bool) -> Option<TargetIdx>;
}

/// Sends a request to the owner of its key.
///
/// If the owner was tried, is out, or has too much to do for a [`Bound`], the request goes to the next by the table, always
/// the same for the same key; where the table gives up, to the best by rendezvous hashing of all that may be picked. When
/// an owner is out, nobody else's keys move. A request without a key goes to whoever is next in smooth weighted round robin.
#[derive(Debug)]
pub struct Sticky<O> {
    owners: Arc<O>,
    members: Arc<[Member]>,
    /// For requests without a key.
    spread: RoundRobin,
    /// Those that may be picked, if not all.
    live: Option<Tried>,
    bounded: Option<Bounded>,
}

#[derive(Debug)]
struct Bounded {
    bound: Bound,
    /// By target.
    weights: Box<[u64]>,
    total: u64,
}

impl<O: Owners> Sticky<O> {
    /// Over a table that was built from these `targets`.
    pub fn new(owners: O, targets: &[Target]) -> Self {
        let eligible = eligible(targets);
        Self {
            owners: Arc::new(owners),
            members: members(&eligible, targets).into(),
            spread: RoundRobin::at(Arc::default(), &eligible),
            live: None,
            bounded: None,
        }
    }

    /// The same, but a target that has more than its share of the requests in flight is passed over.
    ///
    /// A target's share is that of its weight in the requests in flight, the new one included. With a bound of e percent the
    /// capacity is this · (1 + e / 100), rounded up. If nobody has room, which happens only while targets are out, the
    /// owner is taken.
    #[must_use]
    pub fn bounded(self, bound: Bound) -> Self {
        let bounded = Bounded::new(bound, self.spread.eligible());
        Self {
            bounded: Some(bounded),
            ..self
        }
    }

    pub(crate) fn over(
        owners: &Arc<O>,
        members: &Arc<[Member]>,
        live: &[Eligible],
        bound: Option<Bound>,
        position: Arc<Position>,
    ) -> Self {
        Self {
            owners: Arc::clone(owners),
            members: Arc::clone(members),
            spread: RoundRobin::at(position, live),
            live: (live.len() < members.len()).then(|| live.iter().map(|entry| entry.target).collect()),
            bounded: bound.map(|bound| Bounded::new(bound, live)),
        }
    }

    /// Where the table gives up: the best by rendezvous hashing.
    #[cold]
    fn nearest(&self, key: u64, accept: impl Fn(TargetIdx) -> bool) -> Option<TargetIdx> {
        let accepted = self.members.iter().filter(|member| accept(member.target));
        let distance = |member: &Member| {
            // Above 0 and at most 1.
            let chance =
                ((mix(key.wrapping_mul(GOLDEN) ^ member.seed) >> 11) + 1) as f64 / (1_u64 << 53) as f64;
            -chance.ln() / member.weight as f64
        };
        let nearest = accepted.min_by(|one, other| distance(one).total_cmp(&distance(other)));
        Some(nearest?.target)
    }
}

impl<O: Owners> Algorithm for Sticky<O> {
    fn pick(&self, ask: &Ask<'_>, load: &(impl Load + ?Sized), rng: &mut Rng) -> Option<TargetIdx> {
        let Some(key) = ask.key else {
            return self.spread.pick(ask, load, rng);
        };
        let may = |target| {
            self.live.as_ref().is_none_or(|live| live.contains(target)) && !ask.tried.contains(target)
        };
        if let Some(bounded) = &self.bounded {
            let total = load.total_in_flight().saturating_add(1);
            let has_room =
                |target| may(target) && u64::from(load.in_flight(target)) < bounded.capacity(target, total);
            let found = self.owners.find(key, has_room);
            if found.is_some() {
                return found;
            }
            if let Some(found) = self.nearest(key, has_room) {
                return Some(found);
            }
        }
        self.owners.find(key, may).or_else(|| self.nearest(key, may))
    }
}

impl Bounded {
    fn new(bound: Bound, live: &[Eligible]) -> Self {
        let last = live.iter().map(|entry| entry.target.index()).max();
        let mut weights = vec![0; last.map_or(0, |last| last + 1)];
        for entry in live {
            weights[entry.target.index()] = entry.weight;
        }
        Self {
            bound,
            weights: weights.into(),
            total: live.iter().map(|entry| entry.weight).sum(),
        }
    }

    fn capacity(&self, target: TargetIdx, total: u64) -> u64 {
        let weight = self.weights.get(target.index()).copied().unwrap_or(0);
        self.bound.capacity(total, weight, self.total)
    }
}
