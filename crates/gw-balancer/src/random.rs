//! Weighted random choice in constant time, by an alias table.

use crate::rng::scale;
use crate::target::{Eligible, eligible};
use crate::{Algorithm, Ask, Load, Rng, Target, TargetIdx};

/// At random by weight: each pick is independent of all others.
///
/// A pick costs one random number and one look into a table (Walker's alias method, built as Vose does it), however many
/// targets there are, and shares nothing with other threads. Building takes time and memory proportional to the targets.
/// A retry draws again until it meets a target not tried yet; where eight draws do not, the untried are looked through.
#[derive(Clone, Debug)]
pub struct Random {
    columns: Box<[Column]>,
    eligible: Box<[Eligible]>,
}

/// One of equally likely columns, shared by two targets at most.
#[derive(Clone, Copy, Debug)]
struct Column {
    /// In 2⁶⁴ths of the column: below it is the first one's part.
    limit: u64,
    // Places among the eligible.
    first: u32,
    second: u32,
}

/// How often a draw is repeated before all targets are looked through.
const DRAWS: u32 = 8;

impl Random {
    /// A table over `targets`.
    pub fn new(targets: &[Target]) -> Self {
        Self::over(&eligible(targets))
    }

    pub(crate) fn over(eligible: &[Eligible]) -> Self {
        Self {
            columns: columns(eligible),
            eligible: eligible.into(),
        }
    }

    /// One of all.
    pub(crate) fn any(&self, rng: &mut Rng) -> Option<Eligible> {
        self.eligible.get(self.place(rng)?.0).copied()
    }

    /// Two of all, if there are two. Where the same is drawn twice any other is the second: no loop, whose end a processor
    /// would guess wrong.
    pub(crate) fn two(&self, rng: &mut Rng) -> Option<[Eligible; 2]> {
        let ((one, _), (other, chance)) = (self.place(rng)?, self.place(rng)?);
        let last = self.eligible.len() - 1;
        let any_other = one + 1 + scale(chance, last as u64) as usize;
        let any_other = if any_other > last {
            any_other - last - 1
        } else {
            any_other
        };
        let other = if other == one { any_other } else { other };
        (last > 0).then_some([*self.eligible.get(one)?, *self.eligible.get(other)?])
    }

    /// A place by weight, and a number with which something else may be chosen.
    fn place(&self, rng: &mut Rng) -> Option<(usize, u64)> {
        // The high half says which column, the low half where in it: one number for both.
        let point = u128::from(rng.next_u64()) * self.columns.len() as u128;
        let column = self.columns.get((point >> 64) as usize)?;
        let is_first = (point as u64) < column.limit;
        let place = if is_first { column.first } else { column.second };
        Some((place as usize, point as u64))
    }

    /// One of those that are accepted, by weight; `None` if none is.
    pub(crate) fn draw(&self, rng: &mut Rng, accept: impl Fn(TargetIdx) -> bool) -> Option<Eligible> {
        for _ in 0..DRAWS {
            let entry = self.any(rng)?;
            if accept(entry.target) {
                return Some(entry);
            }
        }
        let accepted = || self.eligible.iter().filter(|entry| accept(entry.target));
        choose(accepted, |total| rng.below(total))
    }
}

impl Algorithm for Random {
    fn pick(&self, ask: &Ask<'_>, _load: &(impl Load + ?Sized), rng: &mut Rng) -> Option<TargetIdx> {
        let entry = if ask.tried.is_empty() {
            self.any(rng)
        } else {
            self.draw(rng, |target| !ask.tried.contains(target))
        };
        Some(entry?.target)
    }
}

/// The one of these whose share of the weight has the point that is chosen below their total.
pub(crate) fn choose<'e, I: Iterator<Item = &'e Eligible>>(
    entries: impl Fn() -> I,
    point: impl FnOnce(u64) -> u64,
) -> Option<Eligible> {
    let total: u64 = entries().map(|entry| entry.weight).sum();
    if total == 0 {
        return None;
    }
    let mut point = point(total);
    entries()
        .find(|entry| match point.checked_sub(entry.weight) {
            Some(rest) => {
                point = rest;
                false
            }
            None => true,
        })
        .copied()
}

/// A target with less than an average weight fills its column's rest with one that has more.
fn columns(eligible: &[Eligible]) -> Box<[Column]> {
    let count = eligible.len() as u128;
    let total: u128 = eligible.iter().map(|entry| u128::from(entry.weight)).sum();
    // What is left to place of each target, where a column holds `total`.
    let mut left: Vec<u128> = eligible
        .iter()
        .map(|entry| u128::from(entry.weight) * count)
        .collect();
    let (mut poor, mut rich): (Vec<usize>, Vec<usize>) =
        (0..eligible.len()).partition(|&place| left[place] < total);
    // A list has fewer than 2³² targets.
    let column = |first: usize, second: usize, limit| Column {
        limit,
        first: first as u32,
        second: second as u32,
    };
    let mut columns: Vec<Column> = (0..eligible.len())
        .map(|place| column(place, place, u64::MAX))
        .collect();
    while let (Some(&giver), Some(taker)) = (rich.last(), poor.pop()) {
        // Below `total`, so that the quotient is below 2⁶⁴. Bound: 2⁶⁴ > 65,535 · 2³² entries · their number, by far.
        let limit = fraction(left[taker], total);
        columns[taker] = column(taker, giver, limit);
        left[giver] -= total - left[taker];
        if left[giver] < total {
            rich.pop();
            poor.push(giver);
        }
    }
    columns.into()
}

/// `part` of `whole` in 2⁶⁴ths.
fn fraction(part: u128, whole: u128) -> u64 {
    // Brought to 64 bits first: a shift by 64 must not overflow.
    let excess = (128 - whole.leading_zeros()).saturating_sub(64);
    let (part, whole) = (part >> excess, (whole >> excess).max(1));
    u64::try_from((part << 64) / whole).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much of all columns each target has, in 2⁶⁴ths of a column.
    fn parts(weights: &[u64]) -> Vec<f64> {
        let eligible: Vec<Eligible> = (0..)
            .zip(weights)
            .map(|(i, &weight)| Eligible {
                target: TargetIdx(i),
                weight,
            })
            .collect();
        let mut parts = vec![0.0; weights.len()];
        for column in Random::over(&eligible).columns {
            let share = column.limit as f64 / 2_f64.powi(64);
            parts[column.first as usize] += share;
            parts[column.second as usize] += 1.0 - share;
        }
        parts
    }

    #[test]
    fn each_target_has_its_share_of_the_columns() {
        for weights in [
            &[1_u64][..],
            &[1, 1, 1],
            &[5, 1, 1],
            &[65_535, 1, 1, 1],
            &[1, 2, 3, 4, 5, 6, 7, 100],
        ] {
            let total: u64 = weights.iter().sum();
            for (part, weight) in parts(weights).iter().zip(weights) {
                let expected = *weight as f64 / total as f64 * weights.len() as f64;
                assert!(
                    (part - expected).abs() < 1e-9,
                    "{part} for {expected} of {weights:?}"
                );
            }
        }
    }

    #[test]
    fn fractions_of_large_numbers_are_right() {
        assert_eq!(fraction(1, 2), 1 << 63);
        assert_eq!(fraction(1 << 80, 1 << 82), 1 << 62);
        assert_eq!(fraction(0, 1 << 100), 0);
    }
}
