//! Maglev's table: the most even of all, at the price of some movement.

#[cfg(test)]
mod tests;

use crate::cells::Cells;
use crate::hash::mix;
use crate::member::{Member, by_name, members};
use crate::rng::{GOLDEN, scale};
use crate::sticky::Owners;
use crate::target::eligible;
use crate::{Target, TargetIdx};

/// The table of Google's Maglev: each target in turn takes the first free entry of its own order of all entries.
///
/// Shares are exact but for rounding to whole entries. When a target comes or goes, up to one percent of the keys move between the
/// others. The order of the list does not matter. Weights give a target turns in proportion.
///
/// The number of entries is a prime: 65,537, and 655,373 for more than 655 targets. Building takes some fourteen steps for
/// each entry, a pick one look. An entry takes two bytes, four with more than 65,536 targets.
#[derive(Clone, Debug)]
pub struct Maglev {
    entries: Cells,
}

/// The sizes without one's own: enough for 655 targets, and for more.
const SIZES: (u32, u32) = (65_537, 655_373);

/// How many other entries are asked when the owner is refused.
const PROBES: u64 = 32;

impl Maglev {
    /// A table over `targets`, as large as their number asks for.
    pub fn new(targets: &[Target]) -> Self {
        Self::over(None, &members(&eligible(targets), targets))
    }

    /// A table of so many entries, rounded up to a prime and to eight times the number of targets.
    pub fn with_size(size: u32, targets: &[Target]) -> Self {
        Self::over(Some(size), &members(&eligible(targets), targets))
    }

    pub(crate) fn over(size: Option<u32>, members: &[Member]) -> Self {
        if members.is_empty() {
            return Self {
                entries: Cells::from_iter([]),
            };
        }
        let default = if members.len() <= 655 { SIZES.0 } else { SIZES.1 };
        let least = u32::try_from(members.len() * 8).unwrap_or(MOST).min(MOST);
        let size = prime(size.unwrap_or(default).clamp(least, MOST.max(least)));
        let members = by_name(members);
        let owners = fill(&members, size);
        let targets: Vec<TargetIdx> = owners
            .iter()
            .map(|&place| members[place as usize].target)
            .collect();
        Self {
            entries: targets.iter().collect(),
        }
    }

    /// How many entries there are; 0 without targets.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// To whom this hash belongs.
    ///
    /// `None` only if there are no targets.
    pub fn owner(&self, key: u64) -> Option<TargetIdx> {
        // Note: the paper takes the remainder; the upper half of a product is as even, and faster.
        self.entries.get(scale(key, self.entries.len() as u64) as usize)
    }
}

impl Owners for Maglev {
    /// The owner of the key's entry, then those of entries that follow from the key.
    fn find(&self, key: u64, mut accept: impl FnMut(TargetIdx) -> bool) -> Option<TargetIdx> {
        let mut probe = key;
        for number in 1..=PROBES {
            let target = self.owner(probe)?;
            if accept(target) {
                return Some(target);
            }
            probe = mix(key.wrapping_add(number.wrapping_mul(GOLDEN)));
        }
        None
    }
}

/// The most entries of one's own choice.
const MOST: u32 = 1 << 26;

/// The owner of each entry, as a place among the members.
fn fill(members: &[Member], size: u32) -> Vec<u32> {
    let weights: Vec<u64> = members.iter().map(|member| member.weight).collect();
    let shares = crate::apportion::share_out(&weights, u64::from(size));
    let mut walks: Vec<Walk> = members.iter().map(|member| Walk::new(member, size)).collect();
    let mut owners = vec![0; size as usize];
    let mut taken = vec![0_u64; (size as usize).div_ceil(64)];
    for place in turns(&shares, size) {
        let walk = &mut walks[place as usize];
        loop {
            let entry = walk.next(size);
            let (word, bit) = (entry as usize / 64, 1 << (entry % 64));
            if taken[word] & bit == 0 {
                taken[word] |= bit;
                owners[entry as usize] = place;
                break;
            }
        }
    }
    owners
}

/// Whose turn it is, as often as there are entries: everybody's turns are evenly spaced, and sorted by their time.
fn turns(shares: &[u64], size: u32) -> Vec<u32> {
    let size = u64::from(size);
    let moments = |share: u64| (0..share).map(move |turn| ((2 * turn + 1) * size / (2 * share)) as usize);
    let mut next = vec![0_u32; size as usize + 1];
    for &share in shares {
        for moment in moments(share) {
            next[moment + 1] += 1;
        }
    }
    for i in 1..next.len() {
        next[i] += next[i - 1];
    }
    let mut turns = vec![0; size as usize];
    for (place, &share) in (0_u32..).zip(shares) {
        for moment in moments(share) {
            turns[next[moment] as usize] = place;
            next[moment] += 1;
        }
    }
    turns
}

/// A target's order of all entries: every so many, all around.
struct Walk {
    at: u32,
    step: u32,
}

impl Walk {
    fn new(member: &Member, size: u32) -> Self {
        Self {
            at: scale(member.seed, size.into()) as u32,
            step: scale(mix(member.seed), u64::from(size) - 1) as u32 + 1,
        }
    }

    fn next(&mut self, size: u32) -> u32 {
        let entry = self.at;
        // Below twice the size, and that below 2³².
        self.at += self.step;
        if self.at >= size {
            self.at -= size;
        }
        entry
    }
}

/// The first prime from here on.
fn prime(from: u32) -> u32 {
    let is_prime = |number: &u32| {
        (2..)
            .take_while(|divisor| divisor * divisor <= *number)
            .all(|divisor| !number.is_multiple_of(divisor))
    };
    (from.max(2)..).find(is_prime).unwrap_or(SIZES.0)
}
