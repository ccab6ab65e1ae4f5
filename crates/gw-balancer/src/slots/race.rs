//! The claims of all targets, and of each slot the two that arrive first.

use crate::hash::mix;
use crate::member::Member;
use crate::rng::{GOLDEN, scale};

/// When a claim arrives, in the higher half, and whose it is, in the lower: the less, the earlier, and none is like another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim(u64);

impl Claim {
    pub(super) const NONE: Self = Self(u64::MAX);

    pub(super) fn time(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The place among the members.
    pub(super) fn member(self) -> u32 {
        self.0 as u32
    }
}

/// How many claims a slot gets in the mean before the race ends.
///
/// With ten, one of 20,000 slots has got none; with four one of 55. How many that are changes with each target that comes,
/// and so moves some keys of a few targets, but next to none of many, where it is time that matters. The limit is where the
/// number of slots changes too, unless it was chosen.
fn claims(members: usize) -> u128 {
    if members <= 655 { 10 } else { 4 }
}

/// The fractions of a moment: moments are the upper 32 of 56 bits.
const FRACTION: u32 = 24;

/// The slots of one heat: as many as stay in a processor's cache.
const HEAT: u32 = 14;

/// Of each slot the first two claims, of different targets.
///
/// The table is raced for in heats, one part of it after the other. In each, a target claims slots evenly in time; when he
/// begins differs from heat to heat in even steps, so that in all heats together his claims are as even.
pub(super) fn run(members: &[Member], bits: u32) -> Vec<[Claim; 2]> {
    let total: u128 = members.iter().map(|member| u128::from(member.weight)).sum();
    let heat_bits = bits.min(HEAT);
    let mut slots = vec![[Claim::NONE; 2]; if members.is_empty() { 0 } else { 1 << bits }];
    let all = (total, claims(members.len()), bits.min(HEAT));
    let runners: Vec<Runner> = members.iter().map(|member| Runner::new(member, all)).collect();
    for (heat, part) in (1_u64..).zip(slots.chunks_mut(1 << heat_bits)) {
        let spread = heat.wrapping_mul(GOLDEN);
        for (place, runner) in (0_u64..).zip(&runners) {
            let mut moment = scale(mix(runner.seed).wrapping_add(spread), runner.step);
            let mut state = runner.seed ^ spread;
            while moment >> FRACTION <= u64::from(u32::MAX) {
                state = state.wrapping_add(GOLDEN);
                let slot = (mix(state) >> (64 - heat_bits)) as usize;
                part[slot] = after(part[slot], Claim(((moment >> FRACTION) << 32) | place));
                moment += runner.step;
            }
        }
    }
    slots
}

/// The first two after another claim, which comes after all others of the same target.
fn after([first, second]: [Claim; 2], claim: Claim) -> [Claim; 2] {
    // One's own earlier claim stands: then this one is none. Not a branch, which would be guessed wrong half of the time.
    let is_own = first.member() == claim.member();
    let claim = if is_own { Claim::NONE } else { claim };
    [claim.min(first), claim.max(first).min(second)]
}

struct Runner {
    seed: u64,
    /// The time between two claims in one heat.
    step: u64,
}

impl Runner {
    /// Given the weight of all, the claims for a slot and the bits of a heat.
    fn new(member: &Member, (total, claims, bits): (u128, u128, u32)) -> Self {
        let claims = (u128::from(member.weight) * claims) << bits;
        let step = (total << (32 + FRACTION)) / claims;
        // Bound: whoever claims less than once in 64 heats need not be told apart. He is given a slot in the end.
        let step = u64::try_from(step).unwrap_or(u64::MAX).clamp(1, 1 << 62);
        Self {
            seed: member.seed,
            step,
        }
    }
}
