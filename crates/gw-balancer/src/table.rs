//! The closed set of algorithms behind a policy.

use std::sync::Arc;

use crate::least_request::LeastLoaded;
use crate::maglev::Maglev;
use crate::member::{Member, members};
use crate::peak_ewma::LeastLatency;
use crate::random::Random;
use crate::ring::Ring;
use crate::round_robin::{Position, RoundRobin};
use crate::slots::Slots;
use crate::sticky::Sticky;
use crate::target::Eligible;
use crate::{Algorithm, Ask, Load, Policy, Rng, Target, TargetIdx};

/// What of a table depends on the list of targets and not on their health: built once, used by each table made of it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    members: Arc<[Member]>,
    owners: Owner,
}

#[derive(Clone, Debug)]
enum Owner {
    Nobody,
    Ring(Arc<Ring>),
    Slots(Arc<Slots>),
    Maglev(Arc<Maglev>),
}

impl Plan {
    /// For these of the targets, by their full weights.
    pub(crate) fn new(policy: &Policy, eligible: &[Eligible], targets: &[Target]) -> Self {
        if !policy.is_keyed() {
            return Self {
                members: Arc::default(),
                owners: Owner::Nobody,
            };
        }
        let members = members(eligible, targets);
        let owners = match policy {
            Policy::Ring(ring) => Owner::Ring(Arc::new(Ring::over(ring.identity, eligible, targets))),
            Policy::Slots(slots) => Owner::Slots(Arc::new(Slots::over(slots.slots, &members))),
            Policy::Maglev(maglev) => Owner::Maglev(Arc::new(Maglev::over(maglev.size, &members))),
            Policy::RoundRobin | Policy::Random | Policy::LeastRequest(_) | Policy::PeakEwma(_) => {
                Owner::Nobody
            }
        };
        Self {
            members: members.into(),
            owners,
        }
    }
}

/// An enum, so that a pick is a branch and not a virtual call.
#[derive(Debug)]
pub(crate) enum Table {
    RoundRobin(RoundRobin),
    Random(Random),
    LeastRequest(LeastLoaded),
    PeakEwma(LeastLatency),
    Ring(Sticky<Ring>),
    Slots(Sticky<Slots>),
    Maglev(Sticky<Maglev>),
}

impl Table {
    /// For those of a plan that may be picked now, by the weights they have now; keys heed the full weights only.
    pub(crate) fn new(policy: &Policy, plan: &Plan, live: &[Eligible], position: Arc<Position>) -> Self {
        let (members, bound) = (&plan.members, policy.bound());
        match &plan.owners {
            Owner::Ring(ring) => return Self::Ring(Sticky::over(ring, members, live, bound, position)),
            Owner::Slots(slots) => return Self::Slots(Sticky::over(slots, members, live, bound, position)),
            Owner::Maglev(maglev) => {
                return Self::Maglev(Sticky::over(maglev, members, live, bound, position));
            }
            Owner::Nobody => {}
        }
        match policy {
            Policy::Random => Self::Random(Random::over(live)),
            Policy::LeastRequest(policy) => Self::LeastRequest(LeastLoaded::over(policy, live, position)),
            Policy::PeakEwma(_) => Self::PeakEwma(LeastLatency::over(live)),
            Policy::RoundRobin | Policy::Ring(_) | Policy::Slots(_) | Policy::Maglev(_) => {
                Self::RoundRobin(RoundRobin::at(position, live))
            }
        }
    }
}

impl Algorithm for Table {
    fn pick(&self, ask: &Ask<'_>, load: &(impl Load + ?Sized), rng: &mut Rng) -> Option<TargetIdx> {
        match self {
            Self::RoundRobin(table) => table.pick(ask, load, rng),
            Self::Random(table) => table.pick(ask, load, rng),
            Self::LeastRequest(table) => table.pick(ask, load, rng),
            Self::PeakEwma(table) => table.pick(ask, load, rng),
            Self::Ring(table) => table.pick(ask, load, rng),
            Self::Slots(table) => table.pick(ask, load, rng),
            Self::Maglev(table) => table.pick(ask, load, rng),
        }
    }
}
