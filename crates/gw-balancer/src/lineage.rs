//! What a balancer shares with those it is rebuilt from and into.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::health::{Checks, Counters, Passive, Reason, Transition};
use crate::peak_ewma::median;
use crate::round_robin::Position;
use crate::seat::{Group, Places, Seat, Total};
use crate::state::Record;
use crate::target::Eligible;
use crate::{Policy, Target, TargetIdx};

/// What all balancers of one lineage share.
#[derive(Debug, Default)]
pub(crate) struct Lineage {
    places: Arc<Places>,
    total: Arc<Total>,
    /// When there was something to balance over for the first time; none if there always was.
    began: OnceLock<Instant>,
    // Only building takes these locks.
    records: Mutex<Records>,
    positions: Mutex<HashMap<u32, Arc<Position>>>,
}

#[derive(Debug, Default)]
struct Records {
    known: HashMap<Box<str>, Known>,
    /// Counts up with each list.
    round: u64,
}

/// A target that is listed, or was.
#[derive(Debug, Default)]
struct Known {
    record: Arc<Record>,
    /// Of the last list that had it.
    round: u64,
    /// Whether it can be picked by the newest list.
    listed: bool,
    /// Whether its record knows that.
    counted: bool,
    /// When it left, if it did.
    left: Option<Instant>,
}

/// How long a target that left is remembered: as long as Kong does.
const REMEMBERED: Duration = Duration::from_secs(300);

/// Bound: how many targets that left are remembered. Who left first is forgotten first.
const MOST_REMEMBERED: usize = 4096;

/// Targets that come so soon after the first start with them: their names were only looked up more slowly.
const TOGETHER: Duration = Duration::from_secs(5);

impl Lineage {
    /// A seat for each of these targets, in order: known names keep their records. `now` is none at the beginning.
    pub(crate) fn seats(
        &self,
        targets: &[Target],
        eligible: &[Eligible],
        policy: &Policy,
        checks: &Checks,
        now: Option<Instant>,
    ) -> Arc<[Arc<Seat>]> {
        // A poisoned lock is sound to use: nothing below leaves the map half changed.
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let records = &mut *records;
        let started = self.begin(&records.known, !eligible.is_empty(), now);
        records.round += 1;
        let round = records.round;
        let group = Arc::new(Group {
            checks: checks.clone(),
            places: Arc::clone(&self.places),
            ewma: match policy {
                Policy::PeakEwma(ewma) => Some(ewma.clone()),
                _ => None,
            },
            total: policy.bound().map(|_| Arc::clone(&self.total)),
        });
        let mut listed = eligible.iter().map(|entry| entry.target).peekable();
        let mut seat = |(target, place): (&Target, u32)| {
            let is_listed = listed.next_if_eq(&TargetIdx(place)).is_some();
            let known = match records.known.get_mut(&target.name) {
                Some(known) => known,
                None => records.known.entry(target.name.clone()).or_default(),
            };
            // Listed if one of the entries of its name is.
            known.listed = is_listed || (known.listed && known.round == round);
            (known.round, known.left) = (round, None);
            Arc::new(Seat {
                record: Arc::clone(&known.record),
                group: Arc::clone(&group),
            })
        };
        let seats: Arc<[Arc<Seat>]> = targets.iter().zip(0..).map(&mut seat).collect();
        if let (Policy::PeakEwma(ewma), Some(now)) = (policy, now) {
            // A newcomer begins as the others are.
            let latencies = || seats.iter().map(|seat| &seat.record.latency);
            if let Some(usual) = median(latencies().filter_map(|latency| latency.seconds(now, ewma.decay))) {
                latencies().for_each(|latency| latency.begin(usual, now));
            }
        }
        self.places.limit(eligible.len() / 2);
        for known in records.known.values_mut() {
            if known.round != round {
                known.listed = false;
                known.left = known.left.or(now);
            }
            if known.listed != known.counted {
                known.counted = known.listed;
                Seat::list(&known.record, &self.places, known.listed, started);
            }
        }
        forget(&mut records.known, now);
        seats
    }

    /// The position of the targets of one priority.
    pub(crate) fn position(&self, priority: u32) -> Arc<Position> {
        let mut positions = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(positions.entry(priority).or_default())
    }

    /// Forgets the positions of all other priorities. Not that of the first, which goes on after a time without targets.
    pub(crate) fn keep_positions(&self, is_kept: impl Fn(u32) -> bool) {
        let mut positions = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
        positions.retain(|priority, _| *priority == 0 || is_kept(*priority));
    }

    /// When targets that are new begin; none if all begin together.
    fn begin(&self, records: &HashMap<Box<str>, Known>, any: bool, now: Option<Instant>) -> Option<Instant> {
        let now = now?;
        if any && records.is_empty() {
            self.began.get_or_init(|| now);
        }
        let young = |began: &Instant| now.saturating_duration_since(*began) < TOGETHER;
        (!records.is_empty() && !self.began.get().is_some_and(young)).then_some(now)
    }
}

fn forget(records: &mut HashMap<Box<str>, Known>, now: Option<Instant>) {
    let mut left: Vec<Instant> = records.values().filter_map(|known| known.left).collect();
    let surplus = left.len().saturating_sub(MOST_REMEMBERED);
    // Of those that left at one moment all go or all stay.
    let last = surplus.checked_sub(1).map(|nth| *left.select_nth_unstable(nth).1);
    let is_over = |left: Instant| {
        let expired = now.is_some_and(|now| now.saturating_duration_since(left) >= REMEMBERED);
        expired || last.is_some_and(|last| left <= last)
    };
    // Whoever has requests in flight is remembered until they end.
    records.retain(|_, known| !known.left.is_some_and(is_over) || Arc::strong_count(&known.record) > 1);
}

/// Brings health in line with checks and targets that have changed: lets in whom they would not have put out.
pub(crate) fn settle<'e>(
    seats: &[Arc<Seat>],
    eligible: impl Iterator<Item = &'e Eligible>,
    now: Instant,
) -> Box<[(TargetIdx, Transition)]> {
    let mut seats: Vec<(TargetIdx, &Arc<Seat>)> = eligible
        .filter_map(|e| Some((e.target, seats.get(e.target.index())?)))
        .collect();
    if seats
        .first()
        .is_some_and(|(_, seat)| seat.group.places.is_crowded())
    {
        // Whoever would be tried first is let in first.
        seats.sort_by_cached_key(|(_, seat)| seat.standing().condition.trial);
    }
    let settle = |(target, seat): (TargetIdx, &Arc<Seat>)| {
        let Group { checks, places, .. } = &*seat.group;
        let probes = checks.active.as_deref().is_some_and(Counters::is_in_use);
        // Also where nothing is released: by other checks, other successes matter.
        let transition = seat.change(now, |health, _| {
            let by_probes = matches!(health.condition().reason, Some(Reason::Probes { .. }));
            match &checks.passive {
                // What probes have found stands, as long as there are probes.
                _ if by_probes && probes => None,
                Passive::Off if !probes => health.release(Reason::ChecksOff, now),
                Passive::Window(_) if places.is_crowded() => health.release(Reason::TooFewLeft, now),
                Passive::Window(_) | Passive::Counters(_) | Passive::Off => None,
            }
        });
        Some((target, transition?))
    };
    seats.into_iter().filter_map(settle).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(lineage: &Lineage, targets: &[Target], now: Instant) -> Arc<[Arc<Seat>]> {
        let eligible = crate::target::eligible(targets);
        lineage.seats(
            targets,
            &eligible,
            &Policy::RoundRobin,
            &Checks::default(),
            Some(now),
        )
    }

    fn known(lineage: &Lineage) -> usize {
        lineage.records.lock().expect("no panic").known.len()
    }

    #[test]
    fn a_target_that_left_is_remembered_for_five_minutes_and_with_its_last_request() {
        let (lineage, start) = (Lineage::default(), Instant::now());
        let targets = [Target::new("a", 1), Target::new("b", 1)];
        let first = seats(&lineage, &targets, start);
        let (a, b) = (Arc::clone(&first[0]), Arc::downgrade(&first[1].record));
        drop(first);
        drop(seats(&lineage, &[], start + Duration::from_secs(1)));
        drop(seats(&lineage, &[], start + Duration::from_secs(300)));
        assert_eq!(known(&lineage), 2, "299 seconds");
        let again = seats(&lineage, &targets, start + Duration::from_secs(300));
        assert!(std::ptr::eq(b.as_ptr(), Arc::as_ptr(&again[1].record)));
        drop(again);
        drop(seats(&lineage, &[], start + Duration::from_secs(301)));
        drop(seats(&lineage, &[], start + Duration::from_secs(601)));
        assert_eq!(known(&lineage), 1, "only the one still in use stays");
        let again = seats(&lineage, &targets, start + Duration::from_secs(602));
        assert!(Arc::ptr_eq(&a.record, &again[0].record));
        assert!(!std::ptr::eq(b.as_ptr(), Arc::as_ptr(&again[1].record)));
    }

    #[test]
    fn only_so_many_are_remembered() {
        let (lineage, start) = (Lineage::default(), Instant::now());
        for turn in 0..3 * MOST_REMEMBERED as u64 / 1000 {
            let names = (0..1000).map(|i| Target::new(format!("{turn}-{i}"), 1));
            drop(seats(
                &lineage,
                &names.collect::<Vec<_>>(),
                start + Duration::from_millis(turn),
            ));
        }
        assert!(
            (3_000..=MOST_REMEMBERED + 1000).contains(&known(&lineage)),
            "{}",
            known(&lineage)
        );
        let oldest = lineage
            .records
            .lock()
            .expect("no panic")
            .known
            .contains_key("0-0");
        assert!(!oldest, "who left first is forgotten first");
    }

    #[test]
    fn who_joins_others_is_new_and_who_starts_with_them_is_not() {
        let (lineage, start) = (Lineage::default(), Instant::now());
        let started = |names: &[&str], seconds| {
            let targets: Vec<Target> = names.iter().map(|name| Target::new(*name, 1)).collect();
            let now = start + Duration::from_secs(seconds);
            let seats = seats(&lineage, &targets, now);
            seats
                .iter()
                .map(|seat| seat.standing().started == Some(now))
                .collect::<Vec<_>>()
        };
        assert_eq!(started(&[], 0), []);
        assert_eq!(started(&["a"], 100), [false]);
        assert_eq!(started(&["a", "b"], 104), [false, false]);
        assert_eq!(started(&["a", "b", "c"], 105), [false, false, true]);
        assert_eq!(started(&["a", "b", "c"], 106), [false; 3]);
        assert_eq!(started(&["a", "c"], 107), [false; 2]);
        assert_eq!(started(&["a", "b", "c"], 108), [false, true, false], "back");
    }
}
