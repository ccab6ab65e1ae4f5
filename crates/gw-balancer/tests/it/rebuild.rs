//! What a change of targets keeps.

use std::time::Instant;

use gw_balancer::{Handle, Outcome, TargetIdx};

use crate::support::{balancer, name, pick, rebuilt};

#[test]
fn the_position_goes_on() {
    let old = balancer(&[("a", 1), ("b", 1), ("c", 1)]);
    let first: Vec<Handle> = (0..4).filter_map(|_| pick(&old)).collect();
    assert_eq!(first.iter().map(|h| name(&old, h)).collect::<String>(), "abca");
    let new = rebuilt(&old, &[("a", 1), ("b", 1), ("c", 1)]);
    let next: Vec<Handle> = (0..4).filter_map(|_| pick(&new)).collect();
    assert_eq!(next.iter().map(|h| name(&new, h)).collect::<String>(), "bcab");
}

#[test]
fn counts_follow_the_name_to_another_index() {
    let old = balancer(&[("a", 1), ("b", 1)]);
    let on_a = pick(&old).expect("has weight");
    let new = rebuilt(&old, &[("c", 1), ("b", 0), ("a", 9)]);
    assert_eq!((new.in_flight(TargetIdx(2)), new.in_flight(TargetIdx(0))), (1, 0));

    on_a.report(Outcome::TimedOut, Instant::now());
    drop(on_a);
    assert_eq!((new.in_flight(TargetIdx(2)), old.in_flight(TargetIdx(0))), (0, 0));
    assert_eq!(new.outcomes(TargetIdx(2)).timed_out, 1);

    let on_a_again = pick(&new).expect("has weight");
    assert_eq!(name(&new, &on_a_again), "a");
    assert_eq!(old.in_flight(TargetIdx(0)), 1, "both ways");
}

#[test]
fn a_target_that_leaves_and_returns_still_has_its_requests_in_flight() {
    let first = balancer(&[("a", 1)]);
    let request = pick(&first).expect("has weight");
    let without = rebuilt(&first, &[("b", 1)]);
    drop(first);
    let again = rebuilt(&without, &[("a", 1)]);
    assert_eq!(again.in_flight(TargetIdx(0)), 1);
    drop(request);
    assert_eq!(again.in_flight(TargetIdx(0)), 0);
}

#[test]
fn a_handle_outlives_its_balancer() {
    let handle = pick(&balancer(&[("a", 1)])).expect("has weight");
    std::thread::spawn(move || handle.report(Outcome::Success, Instant::now()))
        .join()
        .expect("does not panic");
}

#[test]
fn empty_means_that_nothing_can_be_picked() {
    for (targets, empty) in [
        (&[][..], true),
        (&[("a", 0)], true),
        (&[("a", 0), ("b", 1)], false),
    ] {
        let balancer = balancer(targets);
        assert_eq!(balancer.is_empty(), empty, "{targets:?}");
        assert_eq!(pick(&balancer).is_none(), empty, "{targets:?}");
    }
    assert_eq!(balancer(&[("a", 1)]).in_flight(TargetIdx(7)), 0);
}

#[test]
fn names_listed_twice_are_one_target() {
    let balancer = balancer(&[("a", 1), ("b", 1), ("a", 2)]);
    let picks: Vec<Handle> = (0..8).filter_map(|_| pick(&balancer)).collect();
    assert_eq!(picks.iter().filter(|h| h.target() == TargetIdx(0)).count(), 6);
    assert_eq!(
        balancer.in_flight(TargetIdx(2)),
        6,
        "the second entry shows the same count"
    );
}
