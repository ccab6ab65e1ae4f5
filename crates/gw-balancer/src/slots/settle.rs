//! From claims to owners: who has too many gives the latest away, and everybody has one.

use super::race::Claim;
use crate::hash::mix;
use crate::member::Member;
use crate::rng::GOLDEN;

/// A slot without an owner.
const FREE: u32 = u32::MAX;

/// How many other slots one is compared with before somebody is simply taken.
const LOOKS: u64 = 64;

/// Of each slot the owner and the second, as places among the members.
pub(super) fn settle(members: &[Member], claims: &[[Claim; 2]], bits: u32) -> Vec<u32> {
    let capacity = capacities(members, claims.len());
    let mut owned = match_claims(claims, &capacity);
    owned.fill_free(&capacity, bits);
    owned.lift(members, bits);
    let seconds = seconds(claims, &owned.owner, members.len() as u32, bits);
    owned
        .owner
        .iter()
        .zip(seconds)
        .flat_map(|(&owner, second)| [owner, second])
        .collect()
}

/// 1.05 times the share, rounded down where that matters little, else up. Together never less than there are slots.
fn capacities(members: &[Member], slots: usize) -> Vec<u32> {
    let total: u128 = members.iter().map(|member| u128::from(member.weight)).sum();
    let capacity = |member: &Member| {
        let share = u128::from(member.weight) * slots as u128;
        let capacity = if share >= total * 40 {
            share * 105 / (total * 100)
        } else {
            share.div_ceil(total) + u128::from(share >= total)
        };
        // At most all slots, of which there are fewer than 2³².
        capacity.min(slots as u128) as u32
    };
    members.iter().map(capacity).collect()
}

struct Owned {
    /// By slot.
    owner: Vec<u32>,
    /// By member.
    count: Vec<u32>,
    /// Ascending.
    free: Vec<u32>,
}

/// The stable matching: slots ask first claimants, then second ones, and each claimant keeps the earliest claims.
fn match_claims(claims: &[[Claim; 2]], capacity: &[u32]) -> Owned {
    // Of each member the claims that are granted so far, as time and slot.
    let mut granted: Vec<Vec<u64>> = capacity
        .iter()
        .map(|&most| Vec::with_capacity(most as usize + 16))
        .collect();
    let entry = |claim: Claim, slot: u32| (u64::from(claim.time()) << 32) | u64::from(slot);
    let mut free = Vec::new();
    for (slot, [first, _]) in (0_u32..).zip(claims) {
        match *first {
            Claim::NONE => free.push(slot),
            first => granted[first.member() as usize].push(entry(first, slot)),
        }
    }
    let is_full = |granted: &[Vec<u64>], member: usize| granted[member].len() > capacity[member] as usize;
    let mut crowded: Vec<usize> = (0..capacity.len())
        .filter(|&member| is_full(&granted, member))
        .collect();
    while let Some(member) = crowded.pop() {
        let most = capacity[member] as usize;
        let own = &mut granted[member];
        // It may have been listed twice.
        if own.len() <= most {
            continue;
        }
        own.select_nth_unstable(most);
        for refused in own.split_off(most) {
            let slot = refused as u32;
            let [first, second] = claims[slot as usize];
            if first.member() as usize == member && second != Claim::NONE {
                let next = second.member() as usize;
                granted[next].push(entry(second, slot));
                if is_full(&granted, next) {
                    crowded.push(next);
                }
            } else {
                free.push(slot);
            }
        }
    }
    free.sort_unstable();
    let mut owner = vec![FREE; claims.len()];
    for (member, own) in (0_u32..).zip(&granted) {
        for &entry in own {
            owner[entry as u32 as usize] = member;
        }
    }
    let count = granted.iter().map(|own| own.len() as u32).collect();
    Owned { owner, count, free }
}

impl Owned {
    /// A slot that is free goes where others are, chosen by hashing: by weight, and moving only if those move.
    fn fill_free(&mut self, capacity: &[u32], bits: u32) {
        let mut filled = Vec::with_capacity(self.free.len());
        for &slot in &self.free {
            let has_room = |member: &u32| self.count[*member as usize] < capacity[*member as usize];
            let like = others(slot, bits)
                .map(|other| self.owner[other])
                .filter(|&member| member != FREE);
            let Some(member) = like.take(LOOKS as usize).find(has_room).or_else(|| {
                let start = mix(slot.into()) as usize % capacity.len().max(1);
                around(start, capacity.len()).find(has_room)
            }) else {
                continue;
            };
            self.count[member as usize] += 1;
            filled.push((slot, member));
        }
        for (slot, member) in filled {
            self.owner[slot as usize] = member;
        }
    }

    /// Gives each who has none a slot whose owner has others, the first of an order of his own.
    fn lift(&mut self, members: &[Member], bits: u32) {
        for (place, member) in (0_u32..).zip(members) {
            if self.count[place as usize] > 0 {
                continue;
            }
            let has_others = |slot: &usize| {
                self.count
                    .get(self.owner[*slot] as usize)
                    .is_none_or(|&count| count > 1)
            };
            // There are at least eight slots for each member, so that one of these is found soon.
            let wished =
                (1_u64..).map(|number| (mix(member.seed.wrapping_add(number)) >> (64 - bits)) as usize);
            let claimed = wished.take(self.owner.len() * 8).find(has_others);
            if let Some(slot) = claimed {
                if let Some(count) = self.count.get_mut(self.owner[slot] as usize) {
                    *count -= 1;
                }
                self.owner[slot] = place;
                self.count[place as usize] = 1;
            }
        }
    }
}

/// Of each slot one who is not the owner, if there is another: the next claimant, else who another slot belongs to.
fn seconds(claims: &[[Claim; 2]], owner: &[u32], members: u32, bits: u32) -> Vec<u32> {
    let second = |(slot, (claims, &owned)): (u32, (&[Claim; 2], &u32))| {
        let claimant = claims
            .iter()
            .find(|claim| **claim != Claim::NONE && claim.member() != owned);
        if let Some(claim) = claimant {
            return claim.member();
        }
        let mut like = others(slot, bits).take(LOOKS as usize).map(|other| owner[other]);
        like.find(|&member| member != owned)
            .unwrap_or((owned + 1) % members)
    };
    (0..).zip(claims.iter().zip(owner)).map(second).collect()
}

/// Other slots, in an order that follows from this one.
fn others(slot: u32, bits: u32) -> impl Iterator<Item = usize> {
    let start = mix(u64::from(slot) ^ GOLDEN);
    (1_u64..)
        .map(move |number| (mix(start.wrapping_add(number.wrapping_mul(GOLDEN))) >> (64 - bits)) as usize)
}

/// All places, from this one on.
fn around(start: usize, count: usize) -> impl Iterator<Item = u32> {
    (start..count).chain(0..start).map(|place| place as u32)
}
