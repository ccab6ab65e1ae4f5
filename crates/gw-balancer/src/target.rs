//! Targets as the caller lists them, and the merged list of those that can be picked.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// One place a request can go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Its identity, for instance `127.0.0.1:9001`: counts follow this name over rebuilds.
    pub name: Box<str>,
    /// Its share of the requests.
    pub weight: Weight,
    /// The group it belongs to: the lowest number comes first, the next takes over as it fails.
    pub priority: u32,
}

impl Target {
    /// A target called `name` with a share of `weight`.
    pub fn new(name: impl Into<Box<str>>, weight: u16) -> Self {
        Self {
            name: name.into(),
            weight: Weight(weight),
            priority: 0,
        }
    }

    /// The same target in another group; without this it is in the first, 0.
    #[must_use]
    pub fn priority(self, priority: u32) -> Self {
        Self { priority, ..self }
    }
}

/// A target's share relative to the others; 0 is never picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(pub u16);

/// The place of a target in the list a [`Balancer`](crate::Balancer) was built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetIdx(pub u32);

impl TargetIdx {
    /// The index into [`Balancer::targets`](crate::Balancer::targets).
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A target that can be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Eligible {
    pub(crate) target: TargetIdx,
    /// Above zero. Wider than [`Weight`] because entries of one name are added up.
    pub(crate) weight: u64,
}

/// Lists the targets with weight, in order; a name listed twice is one target, at its first place, with both weights.
///
/// Bound: indices are 32 bits; what a list holds beyond that is ignored.
pub(crate) fn eligible(targets: &[Target]) -> Vec<Eligible> {
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(targets.len());
    let mut list: Vec<Eligible> = Vec::with_capacity(targets.len());
    for (idx, target) in (0..u32::MAX)
        .zip(targets)
        .filter(|(_, target)| target.weight.0 > 0)
    {
        let weight = u64::from(target.weight.0);
        match places.entry(&target.name) {
            Entry::Occupied(place) => list[*place.get()].weight += weight,
            Entry::Vacant(place) => {
                place.insert(list.len());
                list.push(Eligible {
                    target: TargetIdx(idx),
                    weight,
                });
            }
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_listed_twice_is_one_target_with_both_weights() {
        let targets = [
            Target::new("a", 1),
            Target::new("b", 0),
            Target::new("c", 65_535),
            Target::new("a", 65_535),
        ];
        let list: Vec<_> = eligible(&targets)
            .iter()
            .map(|e| (e.target.0, e.weight))
            .collect();
        assert_eq!(list, [(0, 65_536), (2, 65_535)]);
    }

    #[test]
    fn a_weightless_first_entry_does_not_hide_a_later_one_of_its_name() {
        let targets = [Target::new("a", 0), Target::new("a", 3)];
        assert_eq!(
            eligible(&targets),
            [Eligible {
                target: TargetIdx(1),
                weight: 3
            }]
        );
    }
}
