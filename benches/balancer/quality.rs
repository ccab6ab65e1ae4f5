//! How even shares are and how much moves when one more target comes: counted, the same on every machine.

use gw_balancer::{Identity, Maglev, Ring, Slots, Target, TargetIdx};

use crate::flat::{equal, target};

/// The numbers of targets.
pub(crate) const SIZES: [usize; 11] = [2, 3, 5, 10, 20, 50, 100, 200, 300, 600, 1000];

/// What one table is like with so many targets of equal weight.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Quality {
    pub(crate) table: String,
    pub(crate) targets: usize,
    /// The busiest one's share of the mean.
    pub(crate) most: f64,
    /// The least busy one's.
    pub(crate) least: f64,
    /// Percent of the keys that move when one more comes, to it and between the others.
    pub(crate) gained: f64,
    pub(crate) excess: f64,
}

/// Keys are so many points, evenly spaced.
const KEYS: usize = 1 << 20;

pub(crate) fn measure(sizes: &[usize]) -> Vec<Quality> {
    let mut all = Vec::new();
    for &size in sizes {
        let before = equal(size);
        let after: Vec<Target> = before.iter().cloned().chain([target(1 << 20, 1)]).collect();
        let ring = |targets: &[Target]| Ring::new(Identity::NginxText, targets);
        let (old, new) = (ring(&before), ring(&after));
        all.push(compare(
            "ring",
            size,
            |key| (old.owner(key as u32), new.owner(key as u32)),
            32,
        ));
        let (old, new) = (
            Slots::with_slots(65_536, &before),
            Slots::with_slots(65_536, &after),
        );
        all.push(compare("slots", size, |key| (old.owner(key), new.owner(key)), 64));
        let (old, new) = (
            Slots::with_slots(10_000, &before),
            Slots::with_slots(10_000, &after),
        );
        all.push(compare(
            "slots_10000",
            size,
            |key| (old.owner(key), new.owner(key)),
            64,
        ));
        let (old, new) = (
            Maglev::with_size(65_537, &before),
            Maglev::with_size(65_537, &after),
        );
        all.push(compare(
            "maglev",
            size,
            |key| (old.owner(key), new.owner(key)),
            64,
        ));
    }
    all
}

/// Asks for the owners of all keys before and after one more target came, the last of its list.
fn compare(
    table: &str,
    size: usize,
    owners: impl Fn(u64) -> (Option<TargetIdx>, Option<TargetIdx>),
    bits: u32,
) -> Quality {
    let mut counts = vec![0_u32; size];
    let (mut gained, mut excess) = (0, 0);
    for number in 0..KEYS as u64 {
        let (old, new) = owners(number << (bits - KEYS.ilog2()));
        let (old, new) = (old.expect("there are targets"), new.expect("there are targets"));
        counts[old.index()] += 1;
        if new.index() == size {
            gained += 1;
        } else if new != old {
            excess += 1;
        }
    }
    let mean = KEYS as f64 / size as f64;
    let share = |count: Option<&u32>| f64::from(count.copied().unwrap_or(0)) / mean;
    let percent = |count: i32| f64::from(count) * 100.0 / KEYS as f64;
    Quality {
        table: table.to_owned(),
        targets: size,
        most: share(counts.iter().max()),
        least: share(counts.iter().min()),
        gained: percent(gained),
        excess: percent(excess),
    }
}
