//! What a balancer shares with those it is rebuilt from and into.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use crate::health::{Checks, Passive, Reason, Transition};
use crate::round_robin::Position;
use crate::seat::{Group, Places, Seat};
use crate::state::Record;
use crate::target::Eligible;
use crate::{Target, TargetIdx};

/// What all balancers of one lineage share.
#[derive(Debug, Default)]
pub(crate) struct Lineage {
    pub(crate) position: Arc<Position>,
    places: Arc<Places>,
    // Only building takes this lock. Weak, so that a target that left is forgotten with its last request in flight,
    // and found again if it returns before that.
    records: Mutex<HashMap<Box<str>, Weak<Record>>>,
}

impl Lineage {
    /// A seat for each of these targets, in order: known names keep their records.
    pub(crate) fn seats(
        &self,
        targets: &[Target],
        eligible: &[Eligible],
        checks: &Checks,
    ) -> Arc<[Arc<Seat>]> {
        // A poisoned lock is sound to use: nothing below leaves the map half changed.
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.retain(|_, record| record.strong_count() > 0);
        let group = Arc::new(Group {
            checks: checks.clone(),
            places: Arc::clone(&self.places),
        });
        let mut seat = |target: &Target| {
            let known = records.get(&target.name).and_then(Weak::upgrade);
            let record = known.unwrap_or_else(|| {
                let fresh = Arc::new(Record::default());
                records.insert(target.name.clone(), Arc::downgrade(&fresh));
                fresh
            });
            let group = Arc::clone(&group);
            Arc::new(Seat { record, group })
        };
        let seats: Arc<[Arc<Seat>]> = targets.iter().map(&mut seat).collect();
        let listed = eligible.iter().filter_map(|e| seats.get(e.target.index()));
        let listed: HashSet<*const Record> = listed.map(|seat| Arc::as_ptr(&seat.record)).collect();
        self.places.limit(eligible.len() / 2);
        for record in records.values().filter_map(Weak::upgrade) {
            Seat::list(&record, &self.places, listed.contains(&Arc::as_ptr(&record)));
        }
        seats
    }
}

/// Brings health in line with checks and targets that have changed: lets in whom they would not have put out.
pub(crate) fn settle(
    seats: &[Arc<Seat>],
    eligible: &[Eligible],
    now: Instant,
) -> Box<[(TargetIdx, Transition)]> {
    let mut seats: Vec<(TargetIdx, &Arc<Seat>)> = eligible
        .iter()
        .filter_map(|e| Some((e.target, seats.get(e.target.index())?)))
        .collect();
    // Whoever would be tried first is let in first.
    seats.sort_by_cached_key(|(_, seat)| seat.standing().condition.trial);
    let settle = |(target, seat): (TargetIdx, &Arc<Seat>)| {
        let Group { checks, places } = &*seat.group;
        // Also where nothing is released: by other checks, other successes matter.
        let transition = seat.change(|health, _| match &checks.passive {
            Passive::Off => health.release(Reason::ChecksOff, now),
            Passive::Window(_) if places.is_crowded() => health.release(Reason::TooFewLeft, now),
            Passive::Window(_) | Passive::Counters(_) => None,
        });
        Some((target, transition?))
    };
    seats.into_iter().filter_map(settle).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(lineage: &Lineage, targets: &[Target]) -> Arc<[Arc<Seat>]> {
        lineage.seats(targets, &crate::target::eligible(targets), &Checks::default())
    }

    #[test]
    fn a_record_is_forgotten_with_its_last_owner_and_not_before() {
        let lineage = Lineage::default();
        let targets = [Target::new("a", 1), Target::new("b", 1)];
        let first = seats(&lineage, &targets);
        first[0].record.enter();
        let kept = Arc::clone(&first[0]);
        drop(first);
        drop(seats(&lineage, &[]));
        assert_eq!(
            lineage.records.lock().unwrap().len(),
            1,
            "only the one still in use stays"
        );
        assert!(Arc::ptr_eq(&kept.record, &seats(&lineage, &targets)[0].record));
    }
}
