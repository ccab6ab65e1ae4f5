//! Round robin against the loop in nginx, and what retries promise.

use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::Rng;

/// nginx's loop as it stands in its source, one pick in O(targets).
struct Naive {
    weights: Vec<i64>,
    current: Vec<i64>,
}

impl Naive {
    fn new(weights: &[u16]) -> Self {
        let weights: Vec<i64> = weights.iter().map(|&w| i64::from(w)).collect();
        Self {
            current: vec![0; weights.len()],
            weights,
        }
    }

    fn pick(&mut self) -> Option<TargetIdx> {
        let mut best: Option<usize> = None;
        for i in (0..self.weights.len()).filter(|&i| self.weights[i] > 0) {
            self.current[i] += self.weights[i];
            if best.is_none_or(|b| self.current[i] > self.current[b]) {
                best = Some(i);
            }
        }
        let best = best?;
        self.current[best] -= self.weights.iter().sum::<i64>();
        Some(TargetIdx(best as u32))
    }
}

fn targets(weights: &[u16]) -> Vec<Target> {
    weights
        .iter()
        .enumerate()
        .map(|(i, &weight)| Target::new(format!("10.0.0.{i}:80"), weight))
        .collect()
}

fn pick(table: &RoundRobin, tried: &Tried) -> Option<TargetIdx> {
    let ask = Ask {
        key: None,
        tried,
        now: Instant::now(),
    };
    table.pick(&ask, &(), &mut Rng::seeded(0))
}

fn check_sequence(weights: &[u16]) {
    let (table, mut naive) = (RoundRobin::new(&targets(weights)), Naive::new(weights));
    for k in 0..=2 * table.cycle() {
        assert_eq!(
            pick(&table, &Tried::new()),
            naive.pick(),
            "pick {k} of {weights:?}"
        );
    }
}

proptest! {
    #[test]
    fn the_sequence_is_nginx_s(weights in prop::collection::vec(0_u16..40, 0..24)) {
        check_sequence(&weights);
    }

    #[test]
    fn the_sequence_is_nginx_s_with_few_distinct_weights(
        weights in prop::collection::vec(prop::sample::select(vec![0_u16, 10, 20, 30, 100]), 1..60),
    ) {
        check_sequence(&weights);
    }

    #[test]
    fn a_cycle_keeps_the_weights_exactly(weights in prop::collection::vec(0_u16..300, 1..12)) {
        let table = RoundRobin::new(&targets(&weights));
        let mut counts = vec![0_u64; weights.len()];
        for _ in 0..table.cycle() {
            counts[pick(&table, &Tried::new()).unwrap().index()] += 1;
        }
        let total: u64 = weights.iter().map(|&w| u64::from(w)).sum();
        for (count, weight) in counts.into_iter().zip(weights) {
            prop_assert_eq!(count * total, u64::from(weight) * table.cycle() as u64);
        }
    }

    #[test]
    fn beyond_the_bound_each_share_is_within_an_entry(
        mut weights in prop::collection::vec(prop_oneof![Just(0_u16), 30_000..65_535_u16], 3..6),
    ) {
        weights.push(65_535);
        let table = RoundRobin::new(&targets(&weights));
        prop_assert!(table.cycle() as u64 <= CYCLE_BOUND);
        let mut counts = vec![0_u32; weights.len()];
        for target in &table.cycle {
            counts[target.index()] += 1;
        }
        let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
        for (count, weight) in counts.into_iter().zip(weights) {
            let exact = f64::from(weight) / total * table.cycle() as f64;
            prop_assert!((f64::from(count) - exact).abs() <= 1.0, "{count} for {exact}");
            prop_assert_eq!(count == 0, weight == 0);
        }
    }

    #[test]
    fn a_retry_is_never_tried_nor_weightless_and_ends_when_all_are_tried(
        weights in prop::collection::vec(0_u16..5, 1..200),
        start in 0_usize..100,
    ) {
        let table = RoundRobin::new(&targets(&weights));
        for _ in 0..start {
            pick(&table, &Tried::new());
        }
        let mut tried = Tried::new();
        while let Some(target) = pick(&table, &tried) {
            prop_assert!(weights[target.index()] > 0);
            prop_assert!(tried.insert(target), "picked {target:?} twice");
        }
        prop_assert_eq!(tried.len(), weights.iter().filter(|&&w| w > 0).count());
    }
}

#[test]
fn one_weight_unit_beside_the_largest_weight_is_still_picked() {
    let mut weights = vec![65_535; 20];
    weights.push(1);
    let table = RoundRobin::new(&targets(&weights));
    assert_eq!(table.cycle(), 65_536);
    assert_eq!(table.cycle.iter().filter(|t| t.index() == 20).count(), 1);
}

#[test]
fn retries_take_no_turn() {
    // Of two targets the first is dead. Did a retry take a turn, each request would begin with the dead one.
    let table = RoundRobin::new(&targets(&[1, 1]));
    let mut tried = Tried::new();
    tried.insert(TargetIdx(0));
    let mut firsts = [0; 2];
    for _ in 0..100 {
        let first = pick(&table, &Tried::new()).unwrap();
        firsts[first.index()] += 1;
        if first == TargetIdx(0) {
            assert_eq!(pick(&table, &tried), Some(TargetIdx(1)));
        }
    }
    assert_eq!(firsts, [50, 50]);
}

#[test]
fn retries_are_spread_by_weight_over_the_untried() {
    let weights = [7, 1, 2, 3, 0, 1];
    let table = RoundRobin::new(&targets(&weights));
    let mut tried = Tried::new();
    tried.insert(TargetIdx(0));
    let mut counts = [0_i32; 6];
    for _ in 0..700 {
        counts[pick(&table, &tried).unwrap().index()] += 1;
    }
    for (i, expected) in [0, 100, 200, 300, 0, 100].into_iter().enumerate() {
        assert!((counts[i] - expected).abs() <= 3, "{counts:?}");
    }
}

#[test]
fn a_rebuilt_table_shares_the_position() {
    let table = RoundRobin::new(&targets(&[5, 1, 1]));
    let mut naive = Naive::new(&[5, 1, 1]);
    for turn in 0..21 {
        let rebuilt = table.rebuild(&targets(&[5, 1, 1]));
        let table = if turn % 2 == 0 { &rebuilt } else { &table };
        assert_eq!(pick(table, &Tried::new()), naive.pick(), "turn {turn}");
    }
}

#[test]
fn nothing_eligible_is_none_and_takes_no_time() {
    for weights in [&[][..], &[0], &[0, 0, 0]] {
        let table = RoundRobin::new(&targets(weights));
        assert_eq!((pick(&table, &Tried::new()), table.cycle()), (None, 0));
        let mut tried = Tried::new();
        tried.insert(TargetIdx(0));
        assert_eq!(pick(&table, &tried), None);
    }
}
