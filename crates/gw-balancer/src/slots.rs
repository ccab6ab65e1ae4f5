//! Slots: a fixed table of slots, nearly even and nearly without movement, that can always be built.

mod race;
mod settle;
#[cfg(test)]
mod tests;

use crate::cells::Cells;
use crate::hash::mix;
use crate::member::{Member, by_name, members};
use crate::rng::GOLDEN;
use crate::sticky::Owners;
use crate::target::eligible;
use crate::{Target, TargetIdx};

/// A table of slots, a power of two of them; each key belongs to one, each slot to one target and, failing it, to a second.
///
/// # How slots are given away
///
/// It is rendezvous hashing with a limit: each target's claims arrive at slots chosen by its name, evenly in time and as
/// often as its weight says. A slot goes to the first claim that arrives, but nobody gets more than 1.05 times his share: of
/// one who would, the latest are taken away, and go to whoever came second. That is a stable matching, of which there is
/// only one: neither the order of the list nor what was there before makes a difference, and a change of one target moves
/// little between the others. Since targets claim slots, instead of slots asking all targets, building costs four to ten
/// claims a slot, however many targets there are. The few slots that nobody claimed in time, or whose claimants had all
/// enough, do as another slot does that is chosen by hashing.
///
/// Each target has at least one slot, however small its weight.
///
/// # Size
///
/// By default 65,536 slots, four times as many for each fourfold of 655 targets. The size does not depend on their number
/// in between, because another size moves most keys. One's own size is rounded up to a power of two and to eight times the
/// number of targets. A slot takes four bytes, eight with more than 65,536 targets.
#[derive(Clone, Debug)]
pub struct Slots {
    /// Of each slot the owner and the second.
    cells: Cells,
    /// How many bits of a key do not say which slot.
    shift: u32,
}

/// How many other slots are asked when both of a key's slot are refused.
const PROBES: u64 = 16;

/// The smallest and the largest table, as powers of two.
const BITS: (u32, u32) = (4, 26);

impl Slots {
    /// A table over `targets`, as large as their number asks for.
    pub fn new(targets: &[Target]) -> Self {
        Self::over(None, &members(&eligible(targets), targets))
    }

    /// A table of so many slots, rounded up to a power of two and to eight times the number of targets.
    pub fn with_slots(slots: u32, targets: &[Target]) -> Self {
        Self::over(Some(slots), &members(&eligible(targets), targets))
    }

    pub(crate) fn over(slots: Option<u32>, members: &[Member]) -> Self {
        let bits = bits(slots, members.len());
        let members = by_name(members);
        let owners = settle::settle(&members, &race::run(&members, bits), bits);
        let targets: Vec<TargetIdx> = owners
            .iter()
            .map(|&place| members[place as usize].target)
            .collect();
        Self {
            cells: targets.iter().collect(),
            shift: 64 - bits,
        }
    }

    /// How many slots there are; 0 without targets.
    pub fn slots(&self) -> usize {
        self.cells.len() / 2
    }

    /// To whom this hash belongs.
    ///
    /// `None` only if there are no targets.
    pub fn owner(&self, key: u64) -> Option<TargetIdx> {
        self.cells.get(self.slot(key) * 2)
    }

    /// To whom this hash belongs when its owner is out.
    pub fn second(&self, key: u64) -> Option<TargetIdx> {
        self.cells.get(self.slot(key) * 2 + 1)
    }

    fn slot(&self, key: u64) -> usize {
        (key >> self.shift) as usize
    }
}

impl Owners for Slots {
    /// The slot's owner and second, then those of slots that follow from the key.
    fn find(&self, key: u64, mut accept: impl FnMut(TargetIdx) -> bool) -> Option<TargetIdx> {
        let mut probe = key;
        for number in 0..PROBES {
            let slot = self.slot(probe);
            for place in [slot * 2, slot * 2 + 1] {
                let target = self.cells.get(place)?;
                if accept(target) {
                    return Some(target);
                }
            }
            probe = mix(key.wrapping_add((number + 1).wrapping_mul(GOLDEN)));
        }
        None
    }
}

/// How many bits a slot's number has.
fn bits(slots: Option<u32>, members: usize) -> u32 {
    let least = (members as u64 * 8).max(2).next_power_of_two().ilog2();
    let bits = match slots {
        Some(slots) => u64::from(slots.max(1)).next_power_of_two().ilog2(),
        // A hundred slots for each target.
        None => (16..)
            .step_by(2)
            .find(|bits| members as u64 * 100 <= 1 << bits)
            .unwrap_or(BITS.1),
    };
    bits.max(least).clamp(BITS.0, BITS.1.max(least))
}
