//! What Maglev's table promises, in figures.

use proptest::prelude::*;

use super::*;

fn targets(weights: &[u16]) -> Vec<Target> {
    (0..)
        .zip(weights)
        .map(|(i, &weight)| Target::new(format!("10.0.{}.{}:80", i / 256, i % 256), weight))
        .collect()
}

fn owners(table: &Maglev) -> Vec<usize> {
    (0..table.entries())
        .map(|entry| table.entries.get(entry).expect("within").index())
        .collect()
}

fn counts(owners: &[usize], targets: usize) -> Vec<u64> {
    let mut counts = vec![0; targets];
    for owner in owners {
        counts[*owner] += 1;
    }
    counts
}

#[test]
fn shares_are_even() {
    for (count, entries) in [
        (1, 65_537),
        (3, 65_537),
        (10, 65_537),
        (100, 65_537),
        (655, 65_537),
        (656, 655_373),
        (3000, 655_373),
    ] {
        let table = Maglev::new(&targets(&vec![9; count]));
        assert_eq!(table.entries(), entries);
        let most = *counts(&owners(&table), count).iter().max().unwrap() as f64;
        assert!(
            most <= 1.01 * entries as f64 / count as f64,
            "{count} targets: {most}"
        );
    }
}

#[test]
fn one_s_own_size_becomes_a_prime_that_is_large_enough() {
    for (size, count, expected) in [(1, 1, 11), (100, 3, 101), (65_536, 3, 65_537), (7, 100, 809)] {
        assert_eq!(
            Maglev::with_size(size, &targets(&vec![1; count])).entries(),
            expected
        );
    }
}

#[test]
fn a_key_belongs_to_one_entry_of_the_whole_table() {
    let table = Maglev::new(&targets(&[1; 7]));
    let key = |entry: u128| ((entry << 64) / 65_537 + 1) as u64;
    let by_keys: Vec<usize> = (0..65_537)
        .map(|entry| table.owner(key(entry)).unwrap().index())
        .collect();
    assert_eq!(by_keys, owners(&table));
}

#[test]
fn without_targets_there_is_no_owner() {
    for weights in [&[][..], &[0]] {
        let table = Maglev::new(&targets(weights));
        assert_eq!(
            (table.entries(), table.owner(7), table.find(7, |_| true)),
            (0, None, None)
        );
    }
}

#[test]
fn hostile_weights_are_kept() {
    let mut weights = vec![1; 1000];
    weights.push(65_535);
    let counts = counts(&owners(&Maglev::new(&targets(&weights))), weights.len());
    assert!(counts.iter().all(|&count| count > 0));
    assert!(counts[1000] > 600_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn weights_are_kept_to_an_entry(weights in prop::collection::vec(1_u16..100, 1..40)) {
        let owners = owners(&Maglev::new(&targets(&weights)));
        let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
        for (count, weight) in counts(&owners, weights.len()).into_iter().zip(&weights) {
            let share = f64::from(*weight) / total * owners.len() as f64;
            prop_assert!((count as f64 - share).abs() <= 1.0, "{} for {}", count, share);
        }
    }

    #[test]
    fn the_order_of_the_list_makes_no_difference(weights in prop::collection::vec(1_u16..50, 1..30)) {
        let list = targets(&weights);
        let reversed: Vec<Target> = list.iter().rev().cloned().collect();
        let mirrored = owners(&Maglev::new(&reversed)).into_iter().map(|place| list.len() - 1 - place);
        prop_assert!(owners(&Maglev::new(&list)).into_iter().eq(mirrored));
    }

    #[test]
    fn one_that_leaves_moves_little_else(weights in prop::collection::vec(1_u16..10, 2..40), gone in 0_usize..40) {
        let gone = gone % weights.len();
        let mut list = targets(&weights);
        let before = owners(&Maglev::new(&list));
        list.remove(gone);
        let after = owners(&Maglev::new(&list));
        let stayed = before.iter().zip(&after).filter(|(old, _)| **old != gone);
        let moved = stayed.filter(|(old, new)| **old - usize::from(**old > gone) != **new).count();
        prop_assert!((moved as f64) < before.len() as f64 * 0.03, "{} entries", moved);
    }
}
