//! Weights made small enough for a table: by their common divisor, else by largest remainder.

use std::cmp::Reverse;

/// Divides the weights by their greatest common divisor; if their sum still exceeds `bound`, scales them to it.
///
/// Weights are above zero and stay so: with more of them than `bound`, their number is the sum.
pub(crate) fn reduce(weights: &[u64], bound: u64) -> Vec<u64> {
    let total: u64 = weights.iter().sum();
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    if total / divisor <= bound {
        return weights.iter().map(|w| w / divisor).collect();
    }
    let scaled = share_out(weights, bound.max(weights.len() as u64));
    let divisor = scaled.iter().copied().fold(0, gcd).max(1);
    scaled.iter().map(|w| w / divisor).collect()
}

/// Shares `seats` among the weights by largest remainder, at least one each: there must be as many.
pub(crate) fn share_out(weights: &[u64], seats: u64) -> Vec<u64> {
    let mut shares = vec![1; weights.len()];
    let mut ascending: Vec<usize> = (0..weights.len()).collect();
    ascending.sort_by_key(|&i| weights[i]);

    // Who would earn less than one seat gets one; the others share the rest. Smallest first, since each such gift
    // makes seats dearer for those that follow.
    let (mut seats, mut total) = (
        u128::from(seats),
        weights.iter().copied().map(u128::from).sum::<u128>(),
    );
    let mut earning = ascending.as_slice();
    while let [smallest, rest @ ..] = earning
        && u128::from(weights[*smallest]) * seats < total
    {
        seats -= 1;
        total -= u128::from(weights[*smallest]);
        earning = rest;
    }

    let mut left = seats;
    let mut remainders = Vec::with_capacity(earning.len());
    for &i in earning {
        let earned = u128::from(weights[i]) * seats;
        let whole = earned / total;
        left -= whole;
        remainders.push((Reverse(earned % total), i));
        // Below `seats`, which came from 64 bits.
        shares[i] = whole as u64;
    }
    remainders.sort_unstable();
    for (_, i) in remainders
        .into_iter()
        .take(usize::try_from(left).unwrap_or(usize::MAX))
    {
        shares[i] += 1;
    }
    shares
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn weights_are_divided_by_their_common_divisor() {
        for (weights, expected) in [
            (vec![], vec![]),
            (vec![100], vec![1]),
            (vec![100, 100, 100], vec![1, 1, 1]),
            (vec![1000, 1500, 500], vec![2, 3, 1]),
            (vec![7, 3], vec![7, 3]),
            (vec![65_535, 1], vec![65_535, 1]),
        ] {
            assert_eq!(reduce(&weights, 65_536), expected, "{weights:?}");
        }
    }

    #[test]
    fn beyond_the_bound_shares_are_scaled_by_largest_remainder() {
        for (weights, bound, expected) in [
            (vec![65_535, 65_534], 10, vec![1, 1]),      // 5 and 5, then divided
            (vec![50, 33, 17, 1], 10, vec![4, 3, 2, 1]), // the last is lifted to 1
            (vec![47, 16, 15, 11, 11], 10, vec![5, 2, 1, 1, 1]),
            (vec![3, 2, 2], 2, vec![1, 1, 1]), // more targets than the bound
        ] {
            assert_eq!(reduce(&weights, bound), expected, "{weights:?} to {bound}");
        }
    }

    proptest! {
        #[test]
        fn scaling_fills_the_bound_and_keeps_everybody(
            weights in prop::collection::vec(1_u64..200_000, 1..60),
            bound in 1_u64..300,
        ) {
            let seats = bound.max(weights.len() as u64);
            let shares = share_out(&weights, seats);
            prop_assert_eq!(shares.iter().sum::<u64>(), seats);
            prop_assert!(shares.iter().all(|&s| s > 0));
            for (a, b) in (0..weights.len()).flat_map(|a| (0..weights.len()).map(move |b| (a, b))) {
                prop_assert!(weights[a] <= weights[b] || shares[a] >= shares[b], "a larger weight got less");
            }
            // Nobody who earned a seat is more than one off what he earned of the seats not given away.
            let total: u64 = weights.iter().sum();
            let exact = |i: usize| weights[i] as f64 * seats as f64 / total as f64;
            let given: f64 = (0..weights.len()).map(|i| (1.0 - exact(i)).max(0.0)).sum();
            for (i, &share) in shares.iter().enumerate() {
                prop_assert!((share as f64 - exact(i)).abs() <= 1.0 + given, "{share} for {}", exact(i));
            }
        }
    }
}
