//! Shares by weight: exact in turn, steady by key.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bound: turns of a round that are written down.
const LONGEST_LIST: u64 = 16_384;

/// Deals requests out by weights.
///
/// The turns of one round are as many as the weights add up to, less what divides them all. They are written down in the order
/// of smooth weighted round robin, so that a turn costs one addition. Where there are too many of them, turn `t` takes the place
/// `t * step mod sum`, with a `step` of about the golden section of the sum that shares no divisor with it: each place is taken
/// once a round, and those of each weight are spread over the round.
#[derive(Debug)]
pub(super) struct Shares {
    /// Where each one's places end.
    ends: Vec<u64>,
    sum: u64,
    order: Order,
    turn: AtomicU64,
}

/// The order of turns.
#[derive(Debug)]
enum Order {
    List(Box<[u8]>),
    Step(u64),
}

impl Shares {
    /// None if all weights are 0.
    pub(super) fn new(weights: &[u64]) -> Option<Self> {
        let divisor = weights.iter().copied().fold(0, greatest_divisor);
        let weights: Vec<u64> = weights
            .iter()
            .map(|weight| weight.checked_div(divisor).unwrap_or_default())
            .collect();
        let mut sum = 0;
        let ends = weights.iter().map(|weight| {
            sum += weight;
            sum
        });
        let ends: Vec<_> = ends.collect();
        (sum > 0).then(|| Self {
            ends,
            sum,
            order: match sum <= LONGEST_LIST && weights.len() <= usize::from(u8::MAX) {
                true => Order::List(smooth(&weights, sum)),
                false => Order::Step(golden(sum)),
            },
            turn: AtomicU64::new(0),
        })
    }

    /// Whose turn it is.
    pub(super) fn next(&self) -> usize {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.sum;
        match &self.order {
            Order::List(list) => usize::try_from(turn)
                .ok()
                .and_then(|turn| list.get(turn))
                .map_or(0, |arm| usize::from(*arm)),
            Order::Step(step) => {
                let place = u128::from(turn) * u128::from(*step) % u128::from(self.sum);
                self.at(u64::try_from(place).unwrap_or_default())
            }
        }
    }

    /// Whose a key is. It depends on nothing but key and shares, and moves only as far as the bounds between the shares do.
    pub(super) fn of(&self, key: &[u8]) -> usize {
        let place = (u128::from(hash(key)) * u128::from(self.sum)) >> 64;
        self.at(u64::try_from(place).unwrap_or_default())
    }

    fn at(&self, place: u64) -> usize {
        self.ends.partition_point(|end| *end <= place)
    }
}

fn greatest_divisor(a: u64, b: u64) -> u64 {
    match b {
        0 => a,
        b => greatest_divisor(b, a % b),
    }
}

/// The turns of a round: whoever is furthest behind comes next.
fn smooth(weights: &[u64], sum: u64) -> Box<[u8]> {
    let mut behind = vec![0_i64; weights.len()];
    let whole = |number: u64| i64::try_from(number).unwrap_or_default();
    let turn = |_| {
        behind
            .iter_mut()
            .zip(weights)
            .for_each(|(behind, weight)| *behind += whole(*weight));
        let furthest = (0..weights.len())
            .rev()
            .max_by_key(|arm| behind.get(*arm))
            .unwrap_or_default();
        if let Some(behind) = behind.get_mut(furthest) {
            *behind -= whole(sum);
        }
        u8::try_from(furthest).unwrap_or_default()
    };
    (0..sum).map(turn).collect()
}

/// About 0.618 of the sum, without a divisor in common with it.
fn golden(sum: u64) -> u64 {
    let near = u64::try_from(u128::from(sum) * 618_033_989 / 1_000_000_000)
        .unwrap_or(1)
        .max(1);
    let has_none = |step: &u64| greatest_divisor(sum, *step) == 1;
    (near..=sum).find(has_none).unwrap_or(1)
}

/// FNV-1a, its bits mixed as by splitmix64: the same on every node and in every version.
fn hash(key: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let mut hash = key.iter().fold(0xcbf2_9ce4_8422_2325, fold);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(shares: &Shares, requests: u64, arms: usize) -> Vec<u64> {
        let mut counts = vec![0; arms];
        (0..requests).for_each(|_| counts[shares.next()] += 1);
        counts
    }

    #[test]
    fn shares_are_spread() {
        let shares = Shares::new(&[90, 10]).unwrap();
        let turns: Vec<_> = (0..30).map(|_| shares.next()).collect();
        let canaries: Vec<_> = turns
            .iter()
            .enumerate()
            .filter(|(_, arm)| **arm == 1)
            .map(|(turn, _)| turn)
            .collect();
        assert_eq!(canaries.len(), 3);
        assert!(
            canaries.windows(2).all(|pair| pair[1] - pair[0] == 10),
            "{canaries:?}"
        );
        let shares = Shares::new(&[1, 1]).unwrap();
        let turns: Vec<_> = (0..6).map(|_| shares.next()).collect();
        assert_eq!(turns, [0, 1, 0, 1, 0, 1]);
        assert!(Shares::new(&[0, 0]).is_none() && Shares::new(&[]).is_none());
    }

    #[test]
    fn shares_are_exact_whoever_asks() {
        let shares = Shares::new(&[7, 2, 0, 1]).unwrap();
        let each = |count: u64| counts(&shares, count, 4);
        let all = std::thread::scope(|scope| {
            let askers = [2500, 2500, 2500, 2500].map(|count| scope.spawn(move || each(count)));
            askers.map(|asker| asker.join().unwrap())
        });
        let sums: Vec<u64> = (0..4)
            .map(|arm| all.iter().map(|counts| counts[arm]).sum())
            .collect();
        assert_eq!(sums, [7000, 2000, 0, 1000]);
    }

    #[test]
    fn keys_stay_as_a_share_grows() {
        let keys: Vec<_> = (0..20_000).map(|user| format!("user-{user}")).collect();
        let canary = |weight: u64| -> Vec<bool> {
            let shares = Shares::new(&[weight, 100 - weight]).unwrap();
            keys.iter().map(|key| shares.of(key.as_bytes()) == 0).collect()
        };
        let (ten, thirty) = (canary(10), canary(30));
        let count = |list: &[bool]| list.iter().filter(|is| **is).count();
        assert!(
            count(&ten).abs_diff(2000) < 150 && count(&thirty).abs_diff(6000) < 250,
            "{}",
            count(&ten)
        );
        assert!(ten.iter().zip(&thirty).all(|(before, after)| !before || *after));
    }

    #[test]
    fn hashes_never_change() {
        assert_eq!(
            (hash(b""), hash(b"10.0.0.7")),
            (0xf52a_15e9_a9b5_e89b, 0x7140_dfb1_5c70_ce5c)
        );
    }

    proptest! {
        #[test]
        fn a_round_gives_each_its_weight(weights in prop::collection::vec(0u64..50, 1..8)) {
            let sum: u64 = weights.iter().sum();
            prop_assume!(sum > 0);
            let shares = Shares::new(&weights).unwrap();
            for _ in 0..3 {
                prop_assert_eq!(counts(&shares, sum, weights.len()), weights.clone());
            }
        }

        #[test]
        fn no_share_runs_ahead(weights in prop::collection::vec(1u64..100, 2..5)) {
            let sum: u64 = weights.iter().sum();
            let shares = Shares::new(&weights).unwrap();
            let mut counts = vec![0u64; weights.len()];
            for turn in 1..=sum {
                counts[shares.next()] += 1;
                for (count, weight) in counts.iter().zip(&weights) {
                    // What it has, and what it should have by now.
                    let (has, should) = (count * sum, turn * weight);
                    prop_assert!(has.abs_diff(should) <= 2 * sum, "{:?} after {}", &counts, turn);
                }
            }
        }

        #[test]
        fn a_long_round_gives_each_its_weight(first in 20_000u64..30_000, second in 1u64..50) {
            let shares = Shares::new(&[first, second]).unwrap();
            prop_assume!(matches!(shares.order, Order::Step(_)));
            prop_assert_eq!(counts(&shares, first + second, 2), vec![first, second]);
        }

        #[test]
        fn keys_are_always_someones(key in ".{0,20}", weights in prop::collection::vec(0u64..1_000_000_000, 1..20)) {
            if let Some(shares) = Shares::new(&weights) {
                prop_assert!(weights[shares.of(key.as_bytes())] > 0);
                prop_assert!(weights[shares.next()] > 0);
            }
        }
    }
}
