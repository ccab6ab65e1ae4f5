//! What a change of targets keeps.

use std::time::Instant;

use gw_balancer::{Checks, Handle, LeastRequest, MaglevPolicy, Outcome, Policy, Target, TargetIdx};

use crate::stage::{SECOND, Stage, kong};
use crate::support::{balancer, list, name, pick, rebuilt};

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
fn a_target_that_leaves_and_returns_within_five_minutes_is_as_it_was() {
    for (away, remembered) in [(0, true), (299, true), (300, false)] {
        let targets = ["a", "b", "c", "d"].map(|name| Target::new(name, 1));
        let mut stage = Stage::with(Policy::RoundRobin, &Checks::default(), &targets);
        stage.fail("a", 3);
        stage.set(1, false);
        stage.rebuild(&Checks::default(), &targets[2..]);
        stage.now += SECOND * away;
        // Others come and go meanwhile.
        stage.rebuild(&Checks::default(), &[targets[2].clone(), Target::new("e", 1)]);
        stage.rebuild(&kong([1, 1, 1, 1]), &targets);
        assert_eq!(stage.is_healthy(0), !remembered, "{away}");
        assert_eq!(
            stage.balancer.condition(TargetIdx(1)).expect("b").held,
            remembered
        );
        assert_eq!(
            stage.balancer.outcomes(TargetIdx(0)).connect_failed > 0,
            remembered
        );
    }
}

#[test]
fn health_survives_every_change_of_checks_and_policy() {
    let targets = [("a", 1), ("b", 1), ("c", 1)];
    let mut stage = Stage::new(&Checks::default(), &targets);
    stage.fail("a", 3);
    let before = stage.balancer.condition(TargetIdx(0));
    for policy in [
        Policy::Random,
        Policy::LeastRequest(LeastRequest::default()),
        Policy::Maglev(MaglevPolicy::default()),
        Policy::RoundRobin,
    ] {
        for checks in [kong([1, 1, 1, 1]), Checks::default()] {
            stage.policy = policy.clone();
            stage.rebuild(&checks, &list(&targets));
            assert_eq!(stage.balancer.condition(TargetIdx(0)), before, "{policy:?}");
        }
    }
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
