//! Targets as the tables that stick to keys see them: by name, not by place, so that the order of a list does not matter.

use std::collections::HashMap;

use crate::target::Eligible;
use crate::{Target, TargetIdx, hash};

/// A target that can be picked, with what stands for its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) target: TargetIdx,
    /// Above zero.
    pub(crate) weight: u64,
    /// The hash of its name: what is chosen for it by chance follows from this.
    pub(crate) seed: u64,
}

/// In the order of `eligible`.
pub(crate) fn members(eligible: &[Eligible], targets: &[Target]) -> Box<[Member]> {
    let member = |entry: &Eligible| {
        Some(Member {
            target: entry.target,
            weight: entry.weight,
            seed: hash::xxh64(targets.get(entry.target.index())?.name.as_bytes()),
        })
    };
    eligible.iter().filter_map(member).collect()
}

/// Sorted by name, or what stands for it: the order in which ties are broken.
pub(crate) fn by_name(members: &[Member]) -> Vec<Member> {
    let mut sorted = members.to_vec();
    sorted.sort_unstable_by_key(|member| (member.seed, member.target));
    sorted
}

/// The largest weight that each name is listed with, in the order of `eligible`.
pub(crate) fn largest_weights(eligible: &[Eligible], targets: &[Target]) -> Vec<u64> {
    let own = |entry: &Eligible| {
        targets
            .get(entry.target.index())
            .map_or(0, |target| u64::from(target.weight.0))
    };
    // Only a name that is listed twice has a weight that is not its first entry's.
    if eligible.iter().all(|entry| own(entry) == entry.weight) {
        return eligible.iter().map(|entry| entry.weight).collect();
    }
    let mut largest: HashMap<&str, u64> = HashMap::with_capacity(targets.len());
    for target in targets {
        let weight = largest.entry(&target.name).or_default();
        *weight = u64::from(target.weight.0).max(*weight);
    }
    let of = |entry: &Eligible| {
        let target = targets.get(entry.target.index())?;
        largest.get(&*target.name).copied()
    };
    eligible.iter().filter_map(of).collect()
}
