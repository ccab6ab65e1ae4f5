//! Targets that get their share little by little.

use std::time::Duration;

use gw_balancer::health::Panic;
use gw_balancer::{Checks, MaglevPolicy, Outcome, Policy, SlowStart, Target, TargetIdx};

use crate::stage::{SECOND, Stage, counters};

fn slowly() -> Checks {
    Checks {
        slow_start: Some(SlowStart {
            window: 20 * SECOND,
            ..SlowStart::default()
        }),
        active: Some(counters([1, 1, 1, 1])),
        ..Checks::default()
    }
}

/// How many of a thousand picks go to this target.
fn share(stage: &Stage, target: u32) -> usize {
    let picked = (0..1000).filter_map(|_| stage.pick());
    picked
        .filter(|handle| handle.target() == TargetIdx(target))
        .count()
}

#[test]
fn whoever_comes_back_gets_its_share_by_and_by() {
    let mut stage = Stage::new(&slowly(), &[("a", 1), ("b", 1), ("c", 2), ("d", 2)]);
    assert_eq!(stage.balancer.next_change(), None, "all start together");
    assert!(share(&stage, 0).abs_diff(167) <= 1);
    stage.probe(0, Outcome::Broken);
    stage.wait(SECOND);
    stage.probe(0, Outcome::Success);
    assert_eq!(stage.balancer.next_change(), Some(stage.now + SECOND));
    // A tenth, then as much as the time that has passed.
    for (seconds, percent) in [(0, 10), (5, 25), (5, 50), (5, 75), (4, 95)] {
        stage.wait(seconds * SECOND);
        let expected = 1000 * percent / (500 + percent);
        assert!(
            share(&stage, 0).abs_diff(expected) <= 1,
            "{} at {percent} %",
            share(&stage, 0)
        );
    }
    stage.wait(SECOND);
    assert!(share(&stage, 0).abs_diff(167) <= 1);
    assert_eq!(stage.balancer.next_change(), None);
}

#[test]
fn whoever_joins_does_too_unless_all_begin_together() {
    let checks = slowly();
    let list = |names: &[&'static str]| names.iter().map(|name| Target::new(*name, 1)).collect::<Vec<_>>();
    let mut stage = Stage::with(Policy::RoundRobin, &checks, &[]);
    stage.rebuild(&checks, &list(&["a"]));
    stage.wait(SECOND);
    stage.rebuild(&checks, &list(&["a", "b"]));
    assert_eq!(
        stage.balancer.next_change(),
        None,
        "it was only looked up more slowly"
    );
    assert_eq!(share(&stage, 1), 500);
    stage.wait(100 * SECOND);
    stage.rebuild(&checks, &list(&["a", "b", "c"]));
    assert!(share(&stage, 2).abs_diff(48) <= 1, "{}", share(&stage, 2));
    stage.wait(10 * SECOND);
    assert!(share(&stage, 2).abs_diff(200) <= 1, "{}", share(&stage, 2));
    // One that leaves and returns begins anew.
    stage.wait(100 * SECOND);
    stage.rebuild(&checks, &list(&["a", "b"]));
    stage.rebuild(&checks, &list(&["a", "b", "c"]));
    assert!(share(&stage, 2).abs_diff(48) <= 1, "{}", share(&stage, 2));
}

#[test]
fn those_that_are_there_never_get_more_than_twice_their_share() {
    let mut stage = Stage::new(
        &Checks {
            panic: Panic::below(10),
            ..slowly()
        },
        &[("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 1)],
    );
    for target in 1..5 {
        stage.probe(target, Outcome::Broken);
    }
    for target in 1..5 {
        stage.probe(target, Outcome::Success);
    }
    // A tenth each would leave 714 of 1000 to the first.
    assert_eq!(
        [0, 1, 2, 3, 4].map(|target| share(&stage, target)),
        [400, 150, 150, 150, 150]
    );
}

#[test]
fn keys_do_not_move_for_it() {
    let targets = ["a", "b", "c"].map(|name| Target::new(name, 1));
    let mut stage = Stage::with(Policy::Maglev(MaglevPolicy::default()), &slowly(), &targets);
    stage.probe(0, Outcome::Broken);
    stage.probe(0, Outcome::Success);
    assert_eq!(stage.balancer.next_change(), None);
    assert!(share(&stage, 0).abs_diff(333) <= 1);
}

#[test]
fn steps_end_with_the_window_however_short() {
    let checks = Checks {
        slow_start: Some(SlowStart {
            window: Duration::from_millis(7),
            ..SlowStart::default()
        }),
        ..slowly()
    };
    let mut stage = Stage::new(&checks, &[("a", 1), ("b", 1)]);
    stage.probe(0, Outcome::Broken);
    stage.probe(0, Outcome::Success);
    let mut steps = 0;
    let start = stage.now;
    while let Some(next) = stage.balancer.next_change() {
        assert!(next > stage.now);
        stage.now = next;
        stage.balancer = stage.balancer.refresh(next);
        steps += 1;
    }
    assert!(
        steps <= 20 && stage.now - start == Duration::from_millis(7),
        "{steps} {:?}",
        stage.now - start
    );
}
