//! What the table of slots promises, in figures.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn targets(weights: &[u16]) -> Vec<Target> {
    (0..).zip(weights).map(|(i, &weight)| target(i, weight)).collect()
}

fn target(i: usize, weight: u16) -> Target {
    Target::new(
        format!("10.{}.{}.{}:80", i >> 16, (i >> 8) & 255, i & 255),
        weight,
    )
}

/// The owner and the second of each slot.
fn cells(table: &Slots) -> Vec<[usize; 2]> {
    let key = |slot: usize| (slot as u64) << table.shift;
    let of = |slot| {
        [table.owner(key(slot)), table.second(key(slot))].map(|target| target.expect("not empty").index())
    };
    (0..table.slots()).map(of).collect()
}

fn counts(cells: &[[usize; 2]], targets: usize) -> Vec<u64> {
    let mut counts = vec![0; targets];
    for [owner, _] in cells {
        counts[*owner] += 1;
    }
    counts
}

/// The share of slots that moved between targets that both lists have; `places` are those of the old ones in the new list.
fn excess(before: &[[usize; 2]], after: &[[usize; 2]], places: &[Option<usize>]) -> f64 {
    let stayed = |old: usize| places[old];
    let is_old = |new: usize| places.contains(&Some(new));
    let moved = before
        .iter()
        .zip(after)
        .filter(|([old, _], [new, _])| stayed(*old).is_some_and(|place| place != *new && is_old(*new)));
    moved.count() as f64 / before.len() as f64
}

#[test]
fn shares_are_even_and_a_newcomer_moves_next_to_nothing_else() {
    for count in [2, 3, 5, 10, 20, 50, 100, 200, 300] {
        let mut list = targets(&vec![1; count]);
        let before = cells(&Slots::new(&list));
        assert_eq!(before.len(), 65_536);
        let mean = before.len() as f64 / count as f64;
        let most = *counts(&before, count).iter().max().unwrap() as f64 / mean;
        assert!(
            most <= 1.05,
            "{count} targets: the busiest has {most} times the mean"
        );
        list.push(target(1 << 20, 1));
        let after = cells(&Slots::new(&list));
        let places: Vec<Option<usize>> = (0..count).map(Some).collect();
        let excess = excess(&before, &after, &places);
        assert!(
            excess <= 0.001,
            "{count} targets: {excess} of the slots move without need"
        );
        // And back: a target that leaves moves only what it had.
        let gone = 1.0 / (count + 1) as f64;
        let moved = before
            .iter()
            .zip(&after)
            .filter(|(old, new)| old[0] != new[0])
            .count() as f64
            / before.len() as f64;
        assert!(
            (moved - gone).abs() < gone * 0.25 + 0.001,
            "{moved} instead of {gone}"
        );
    }
}

#[test]
fn large_tables_are_even_too() {
    for (count, slots) in [(656, 1 << 18), (1000, 1 << 18), (3000, 1 << 20)] {
        let table = Slots::new(&targets(&vec![7; count]));
        assert_eq!(table.slots(), slots);
        let counts = counts(&cells(&table), count);
        assert!(*counts.iter().max().unwrap() as f64 <= 1.05 * slots as f64 / count as f64);
    }
}

#[test]
fn kong_s_slots_are_taken_whatever_they_are() {
    for (slots, count, expected) in [
        (10, 1, 16),
        (10_000, 20, 16_384),
        (10_000, 400, 16_384),
        (400, 20, 512),
        (65_536, 63, 65_536),
        (100, 1000, 8192),
    ] {
        let table = Slots::with_slots(slots, &targets(&vec![100; count]));
        assert_eq!(table.slots(), expected, "{slots} slots for {count} targets");
        assert!(counts(&cells(&table), count).iter().all(|&count| count > 0));
    }
}

#[test]
fn the_smallest_weight_has_a_slot_beside_the_largest() {
    let mut weights = vec![1; 200];
    weights.push(65_535);
    for slots in [2048, 16_384] {
        let counts = counts(
            &cells(&Slots::with_slots(slots, &targets(&weights))),
            weights.len(),
        );
        assert!(counts.iter().all(|&count| count > 0));
        assert!(counts[200] >= u64::from(slots) * 85 / 100, "{}", counts[200]);
    }
}

#[test]
fn without_targets_there_is_no_owner() {
    for weights in [&[][..], &[0], &[0, 0]] {
        let table = Slots::new(&targets(weights));
        assert_eq!(
            (table.slots(), table.owner(7), table.find(7, |_| true)),
            (0, None, None)
        );
    }
    let lone = Slots::new(&targets(&[0, 3]));
    assert_eq!(
        (lone.owner(7), lone.second(7)),
        (Some(TargetIdx(1)), Some(TargetIdx(1)))
    );
}

#[test]
fn hostile_lists_are_built_in_time() {
    let start = Instant::now();
    let mut weights = vec![1; 5000];
    weights.extend([65_535; 10]);
    for list in [targets(&weights), vec![Target::new("same", 65_535); 5000]] {
        let table = Slots::new(&list);
        assert!(table.owner(0).is_some());
    }
    // Bound: hundreds of times what it takes.
    assert!(start.elapsed() < Duration::from_secs(60));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_order_of_the_list_makes_no_difference(
        weights in prop::collection::vec(1_u16..50, 1..30),
        slots in 1_u32..2000,
    ) {
        let list = targets(&weights);
        let reversed: Vec<Target> = list.iter().rev().cloned().collect();
        let (one, other) = (cells(&Slots::with_slots(slots, &list)), cells(&Slots::with_slots(slots, &reversed)));
        let mirrored: Vec<[usize; 2]> = other.iter().map(|cell| cell.map(|place| list.len() - 1 - place)).collect();
        prop_assert_eq!(one, mirrored);
    }

    #[test]
    fn weights_are_kept_and_nobody_has_too_much(weights in prop::collection::vec(1_u16..100, 1..40)) {
        let cells = cells(&Slots::new(&targets(&weights)));
        let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
        for (count, weight) in counts(&cells, weights.len()).into_iter().zip(&weights) {
            let share = f64::from(*weight) / total * cells.len() as f64;
            let (low, high) = (0.8 * share - 8.0, (1.05 * share).max(share + 2.0));
            prop_assert!(count as f64 <= high && count as f64 >= low && count > 0, "{} for {}", count, share);
        }
        prop_assert!(weights.len() == 1 || cells.iter().all(|[owner, second]| owner != second));
    }

    #[test]
    fn one_that_leaves_moves_little_else(weights in prop::collection::vec(1_u16..10, 2..40), gone in 0_usize..40) {
        let gone = gone % weights.len();
        let mut list = targets(&weights);
        let before = cells(&Slots::new(&list));
        list.remove(gone);
        let after = cells(&Slots::new(&list));
        let places: Vec<Option<usize>> =
            (0..weights.len()).map(|place| (place != gone).then(|| place - usize::from(place > gone))).collect();
        let excess = excess(&before, &after, &places);
        prop_assert!(excess <= 0.003, "{} of the slots", excess);
    }
}
