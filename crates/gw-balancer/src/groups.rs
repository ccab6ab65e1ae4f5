//! Groups of targets by priority: how much of the requests each is given, and when health is no guide any more.

use smallvec::SmallVec;

use crate::health::Panic;

/// How the targets of one priority stand in for those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failover {
    /// Envoy's rule: a group takes its percentage of healthy targets times this, up to 100, and the next groups take
    /// the rest. At 140 a group gives nothing away until less than 72 of 100 targets are healthy.
    Gradual {
        /// In percent.
        overprovision: u16,
    },
    /// A group takes all as long as it does not panic; where nothing panics, as long as one target of it is healthy.
    Strict,
}

/// How many of a group's targets there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) all: usize,
    pub(crate) healthy: usize,
    /// Those that an operator does not keep out.
    pub(crate) free: usize,
}

/// What a group is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lot {
    /// In percent of the requests.
    pub(crate) load: u32,
    /// Whether its targets are sent requests whatever their health.
    pub(crate) panics: bool,
}

impl Default for Failover {
    /// By Envoy's rule, at 140.
    fn default() -> Self {
        Self::Gradual { overprovision: 140 }
    }
}

/// Shares the requests out among the groups, the first first. The loads' sum is 100, or 0 if nobody can be sent any.
pub(crate) fn share(failover: Failover, panic: Panic, groups: &[Census]) -> SmallVec<[Lot; 2]> {
    let mut lots: SmallVec<[Lot; 2]> = groups.iter().map(|_| Lot::default()).collect();
    match failover {
        Failover::Gradual { overprovision } => gradual(&mut lots, overprovision, panic, groups),
        Failover::Strict => strict(&mut lots, panic, groups),
    }
    lots
}

fn gradual(lots: &mut [Lot], overprovision: u16, panic: Panic, groups: &[Census]) {
    let health = |group: &Census| {
        let healthy = group.healthy as u64 * u64::from(overprovision.max(100));
        healthy.checked_div(group.all as u64).unwrap_or(0).min(100)
    };
    let sum: u64 = groups.iter().map(health).sum();
    if sum < 100 {
        for (lot, group) in lots.iter_mut().zip(groups) {
            lot.panics = panic.is_due(group.healthy, group.all);
        }
    }
    if sum > 0 {
        pour(lots, groups.iter().map(health), sum.min(100));
    } else if lots.iter().any(|lot| lot.panics) {
        let free = groups.iter().map(|group| group.free as u64);
        pour(lots, free.clone(), free.sum());
    }
}

/// Gives each its part of the whole, the first first, until all is given away.
fn pour(lots: &mut [Lot], parts: impl Iterator<Item = u64>, whole: u64) {
    let mut left = 100;
    for (lot, part) in lots.iter_mut().zip(parts) {
        let load = (part * 100).checked_div(whole).unwrap_or(0).min(left);
        left -= load;
        lot.load = load as u32; // at most 100
    }
    // What rounding has left over.
    if let Some(first) = lots.iter_mut().find(|lot| lot.load > 0) {
        first.load += left as u32;
    }
}

fn strict(lots: &mut [Lot], panic: Panic, groups: &[Census]) {
    let panics = |group: &Census| panic.is_due(group.healthy, group.all);
    let first = |fits: &dyn Fn(&Census) -> bool| groups.iter().position(fits);
    let chosen = first(&|group| group.healthy > 0 && !panics(group))
        .or_else(|| first(&|group| group.healthy > 0))
        .or_else(|| first(&|group| group.free > 0 && panics(group)));
    if let Some((lot, group)) = chosen.and_then(|place| Some((lots.get_mut(place)?, groups.get(place)?))) {
        *lot = Lot {
            load: 100,
            panics: panics(group),
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Groups as (all, healthy); nobody is kept out by an operator.
    fn check(failover: Failover, panic: Panic, groups: &[(usize, usize)], loads: &[u32], panics: &[bool]) {
        let groups: Vec<Census> = groups
            .iter()
            .map(|&(all, healthy)| Census {
                all,
                healthy,
                free: all,
            })
            .collect();
        let lots = share(failover, panic, &groups);
        let found: (Vec<u32>, Vec<bool>) = lots.iter().map(|lot| (lot.load, lot.panics)).unzip();
        assert_eq!(
            found,
            (loads.to_vec(), panics.to_vec()),
            "{failover:?} {groups:?}"
        );
    }

    #[test]
    fn gradual_failover_is_envoy_s() {
        let envoy =
            |groups, loads, panics| check(Failover::default(), Panic::default(), groups, loads, panics);
        // The table of Envoy's documentation on priority levels.
        envoy(&[(100, 100), (100, 100)], &[100, 0], &[false, false]);
        envoy(&[(100, 72), (100, 72)], &[100, 0], &[false, false]);
        envoy(&[(100, 71), (100, 71)], &[99, 1], &[false, false]);
        envoy(&[(100, 50), (100, 50)], &[70, 30], &[false, false]);
        envoy(&[(100, 25), (100, 100)], &[35, 65], &[false, false]);
        envoy(&[(100, 0), (100, 100)], &[0, 100], &[false, false]);
        // Below 100 together: shares of what there is, and panic where less than half is healthy.
        envoy(&[(100, 25), (100, 25)], &[50, 50], &[true, true]);
        envoy(&[(4, 0), (4, 2)], &[0, 100], &[true, false]);
        envoy(&[(4, 0), (12, 0)], &[25, 75], &[true, true]);
        envoy(&[(3, 2)], &[100], &[false]);
        envoy(&[(3, 1)], &[100], &[true]);
        envoy(&[(2, 1)], &[100], &[false]);
        envoy(&[(0, 0)], &[0], &[false]);
        envoy(&[], &[], &[]);
    }

    #[test]
    fn without_panic_health_is_heeded_to_the_last() {
        for failover in [Failover::default(), Failover::Strict] {
            check(
                failover,
                Panic::NEVER,
                &[(4, 0), (4, 0)],
                &[0, 0],
                &[false, false],
            );
            check(failover, Panic::NEVER, &[(9, 1)], &[100], &[false]);
        }
    }

    #[test]
    fn strict_failover_gives_all_to_one_group() {
        let strict = |groups, loads, panics| check(Failover::Strict, Panic::default(), groups, loads, panics);
        strict(&[(4, 2), (4, 4)], &[100, 0], &[false, false]);
        strict(&[(4, 1), (4, 4)], &[0, 100], &[false, false]);
        strict(&[(4, 0), (4, 1)], &[0, 100], &[false, true]);
        strict(&[(4, 1), (4, 1)], &[100, 0], &[true, false]);
        strict(&[(4, 0), (4, 0)], &[100, 0], &[true, false]);
        check(
            Failover::Strict,
            Panic::NEVER,
            &[(9, 1), (9, 9)],
            &[100, 0],
            &[false, false],
        );
    }

    #[test]
    fn nobody_is_sent_what_an_operator_keeps_out() {
        let kept_out = Census {
            all: 2,
            healthy: 0,
            free: 0,
        };
        for failover in [Failover::default(), Failover::Strict] {
            let lots = share(failover, Panic::default(), &[kept_out]);
            assert_eq!(lots[0].load, 0);
        }
    }

    proptest! {
        #[test]
        fn all_is_given_away_to_groups_that_can_take_it(
            groups in prop::collection::vec((0_usize..20, 0_usize..20, 0_usize..20), 0..5),
            percent in 0_u8..=100,
            overprovision in prop::option::of(0_u16..500),
        ) {
            let failover = overprovision.map_or(Failover::Strict, |overprovision| Failover::Gradual { overprovision });
            let groups: Vec<Census> = groups
                .iter()
                .map(|&(healthy, out, held)| Census { all: healthy + out + held, healthy, free: healthy + out })
                .collect();
            let lots = share(failover, Panic::below(percent), &groups);
            let anybody = groups.iter().any(|group| group.healthy > 0 || (group.free > 0 && percent > 0));
            prop_assert_eq!(lots.iter().map(|lot| lot.load).sum::<u32>(), if anybody { 100 } else { 0 });
            for (lot, group) in lots.iter().zip(&groups) {
                prop_assert!(lot.load == 0 || group.healthy > 0 || (lot.panics && group.free > 0));
            }
        }
    }
}
