//! Priorities, panic, threshold and limits together.

use std::num::NonZeroU32;

use gw_balancer::health::{Panic, Threshold};
use gw_balancer::{Balancer, Checks, Failover, Outcome, Policy, Refusal, Rng, Target, TargetIdx, Tried};

use crate::stage::{SECOND, Stage, counters, kong};

/// Probes alone decide, all at once.
fn probed() -> Checks {
    Checks {
        active: Some(counters([1, 1, 1, 1])),
        ..Checks::default()
    }
}

/// `a` to `d` first, `w` to `z` when they fail.
fn two_groups() -> Vec<Target> {
    let first = ["a", "b", "c", "d"].map(|name| Target::new(name, 1));
    let next = ["w", "x", "y", "z"].map(|name| Target::new(name, 1).priority(1));
    first.into_iter().chain(next).collect()
}

/// How many of 10,000 requests go to the first group.
fn first_share(stage: &Stage) -> usize {
    let (mut rng, tried) = (Rng::seeded(1), Tried::new());
    let picked = (0..10_000).filter_map(|_| stage.balancer.pick(None, &tried, stage.now, &mut rng));
    picked.filter(|handle| handle.target().0 < 4).count()
}

#[test]
fn the_next_group_takes_over_by_and_by() {
    let mut stage = Stage::with(Policy::RoundRobin, &probed(), &two_groups());
    assert_eq!(first_share(&stage), 10_000);
    let mut shares = Vec::new();
    for target in 0..4 {
        stage.probe(target, Outcome::ConnectFailed);
        shares.push(first_share(&stage));
    }
    for (share, expected) in shares.iter().zip([10_000, 7_000, 3_500, 0]) {
        assert!(share.abs_diff(expected) < 300, "{shares:?}");
    }
    let groups: Vec<_> = stage
        .balancer
        .groups()
        .map(|group| (group.priority, group.load, group.panics))
        .collect();
    assert_eq!(groups, [(0, 0, false), (1, 100, false)]);
    for target in 0..4 {
        stage.probe(target, Outcome::Success);
    }
    assert_eq!(first_share(&stage), 10_000);
}

#[test]
fn strictly_the_next_group_takes_over_when_the_first_panics() {
    let checks = Checks {
        failover: Failover::Strict,
        ..probed()
    };
    let mut stage = Stage::with(Policy::RoundRobin, &checks, &two_groups());
    let mut shares = Vec::new();
    for target in 0..4 {
        stage.probe(target, Outcome::ConnectFailed);
        shares.push(first_share(&stage));
    }
    assert_eq!(shares, [10_000, 10_000, 0, 0]);
}

#[test]
fn a_request_that_has_tried_its_group_goes_on_to_the_next() {
    let stage = Stage::with(Policy::RoundRobin, &Checks::default(), &two_groups());
    let (mut rng, mut tried) = (Rng::seeded(1), Tried::new());
    let mut order = Vec::new();
    while let Some(handle) = stage.balancer.pick(None, &tried, stage.now, &mut rng) {
        assert!(tried.insert(handle.target()), "never one twice");
        order.push(handle.target().0 / 4);
    }
    assert_eq!(order, [0, 0, 0, 0, 1, 1, 1, 1]);
    assert_eq!(stage.balancer.refusal(&tried), Refusal::AllTried);
}

#[test]
fn a_key_stays_in_its_group_and_with_its_target() {
    let policy = Policy::Maglev(gw_balancer::MaglevPolicy::default());
    let mut stage = Stage::with(policy, &probed(), &two_groups());
    stage.probe(0, Outcome::Broken);
    stage.probe(1, Outcome::Broken);
    let pick = |key: u64, seed| {
        let picked = stage
            .balancer
            .pick(Some(key), &Tried::new(), stage.now, &mut Rng::seeded(seed));
        picked.expect("six are in").target().0
    };
    let keys = (0..2000_u64).map(|i| stage.policy.key(&i.to_le_bytes()));
    let mut first = 0;
    for key in keys {
        let target = pick(key, 1);
        assert_eq!(pick(key, 2), target);
        first += usize::from(target < 4);
    }
    assert!(first.abs_diff(1400) < 80, "{first}");
}

#[test]
fn groups_come_by_number_whatever_the_order_of_the_list() {
    let targets = [
        Target::new("spare", 1).priority(10),
        Target::new("a", 1).priority(3),
        Target::new("off", 0).priority(0),
        Target::new("b", 1).priority(3),
    ];
    let stage = Stage::with(Policy::RoundRobin, &Checks::default(), &targets);
    let names = ["spare", "a", "off", "b"];
    let picks: Vec<&str> = (0..4)
        .filter_map(|_| stage.pick())
        .map(|h| names[h.target().index()])
        .collect();
    assert_eq!(picks, ["a", "b", "a", "b"]);
    assert_eq!(
        stage
            .balancer
            .groups()
            .map(|group| group.priority)
            .collect::<Vec<_>>(),
        [3, 10]
    );
}

#[test]
fn below_the_panic_threshold_health_is_no_guide() {
    let mut stage = Stage::with(Policy::RoundRobin, &probed(), &two_groups()[..4]);
    stage.probe(0, Outcome::Broken);
    stage.probe(1, Outcome::Broken);
    assert_eq!(stage.picks(4).matches(['a', 'b']).count(), 0, "half are enough");
    stage.probe(2, Outcome::Broken);
    assert_eq!(stage.picks(4).len(), 4);
    assert_eq!(stage.picks(8).matches('a').count(), 2, "a quarter is not");
    assert_eq!(
        stage.balancer.weights().available,
        1,
        "and yet they are unhealthy"
    );
    stage.set(1, false);
    assert_eq!(
        stage.picks(30).matches('b').count(),
        0,
        "whom an operator keeps out stays out"
    );
    stage.probe(3, Outcome::Broken);
    assert!(stage.balancer.is_available());
    stage.set(0, false);
    stage.set(2, false);
    stage.set(3, false);
    assert!(stage.pick().is_none());
    assert_eq!(stage.balancer.refusal(&Tried::new()), Refusal::Unhealthy);
}

#[test]
fn ejections_by_the_window_never_lead_to_panic() {
    for n in 1..12_u32 {
        let names: Vec<String> = (0..n).map(|i| format!("t{i}")).collect();
        let targets: Vec<(&str, u16)> = names.iter().map(|name| (&**name, 1)).collect();
        let mut stage = Stage::new(&Checks::default(), &targets);
        for _ in 0..100 * n {
            let handle = stage.pick().expect("half stay");
            stage.report(&handle, Outcome::TimedOut);
            assert!(stage.balancer.groups().all(|group| !group.panics));
        }
        assert_eq!(stage.balancer.weights().available, u64::from(n - n / 2));
    }
}

#[test]
fn kong_s_threshold_refuses_where_panic_would_send() {
    let checks = Checks {
        threshold: Threshold::percent(60.0),
        panic: Panic::default(),
        ..kong([1, 1, 0, 0])
    };
    let mut stage = Stage::new(&checks, &[("a", 1), ("b", 1), ("c", 1)]);
    stage.fail("a", 1);
    assert!(stage.balancer.is_available(), "66 percent");
    stage.fail("b", 1);
    assert!(!stage.balancer.is_available() && stage.pick().is_none());
    assert_eq!(stage.balancer.refusal(&Tried::new()), Refusal::Unhealthy);
    let mut stage = Stage::new(
        &Checks {
            threshold: Threshold::default(),
            ..checks
        },
        &[("a", 1)],
    );
    stage.fail("a", 1);
    assert_eq!(stage.picks(3), "aaa", "by panic alone");
}

#[test]
fn probed_targets_are_not_tried_by_requests() {
    let mut stage = Stage::new(&probed(), &[("a", 1), ("b", 1)]);
    stage.fail("a", 3);
    stage.now += 100 * SECOND;
    assert_eq!(stage.picks(3), "bbb");
    let condition = stage.balancer.condition(TargetIdx(0)).expect("a");
    assert_eq!((condition.trial, condition.held), (None, false));
    let back = stage.probe(0, Outcome::Success).expect("its pause is over");
    assert_eq!(back.reason.to_string(), "a probe succeeded");
    assert_eq!(stage.picks(4).matches('a').count(), 2);
    // Without probes the way back is a request again.
    stage.fail("a", 3);
    let unprobed = Checks::default();
    let targets = [Target::new("a", 1), Target::new("b", 1)];
    assert_eq!(stage.rebuild(&unprobed, &targets), []);
    stage.now += 100 * SECOND;
    assert!(stage.pick().is_some_and(|handle| handle.is_trial()));
}

#[test]
fn what_probes_have_found_stands_though_half_are_out() {
    let mut stage = Stage::new(&probed(), &[("a", 1), ("b", 1), ("c", 1), ("d", 1)]);
    stage.fail("a", 3);
    stage.probe(1, Outcome::Broken);
    stage.probe(2, Outcome::Broken);
    let four = ["a", "b", "c", "d"].map(|name| Target::new(name, 1));
    let released = stage.rebuild(&probed(), &four);
    assert_eq!(released.len(), 1, "a, which requests have put out");
    assert_eq!(
        [0, 1, 2, 3].map(|i| stage.is_healthy(i)),
        [true, false, false, true]
    );
}

#[test]
fn a_target_that_has_enough_in_flight_is_passed_over_and_not_blamed() {
    let checks = Checks {
        max_in_flight: NonZeroU32::new(2),
        ..Checks::default()
    };
    let mut stage = Stage::new(&checks, &[("a", 5), ("b", 1), ("c", 1)]);
    let mut open: Vec<_> = (0..6).filter_map(|_| stage.pick()).collect();
    let in_flight = [0, 1, 2].map(|i| stage.balancer.in_flight(TargetIdx(i)));
    assert_eq!(in_flight, [2, 2, 2]);
    assert!(stage.pick().is_none());
    assert_eq!(stage.balancer.refusal(&Tried::new()), Refusal::Full);
    assert!((0..3).all(|i| stage.is_healthy(i)));
    let ended = open.pop().expect("six").target();
    assert_eq!(stage.pick().expect("a place").target(), ended);
    // Nor does a trial go beyond.
    open.clear();
    stage.fail("b", 3);
    let open: Vec<_> = (0..4).filter_map(|_| stage.pick()).collect();
    assert_eq!(open.len(), 4);
    stage.now += SECOND;
    let trial = stage.pick().expect("b");
    assert!(trial.is_trial());
    assert!(stage.pick().is_none());
}

#[test]
fn beside_a_full_target_a_key_goes_where_it_would_go_without_it() {
    let checks = Checks {
        max_in_flight: NonZeroU32::new(1),
        ..Checks::default()
    };
    for n in [5_u32, 300] {
        let targets: Vec<Target> = (0..n)
            .map(|i| Target::new(format!("10.0.{}.{}:80", i / 250, i % 250), 1))
            .collect();
        let policy = Policy::Ring(gw_balancer::RingPolicy::default());
        let balancer = Balancer::new(&policy, &checks, &targets);
        let (now, mut rng) = (std::time::Instant::now(), Rng::seeded(1));
        for i in 0..200_u64 {
            let key = Some(policy.key(&i.to_le_bytes()));
            let mut tried = Tried::new();
            let first = balancer.pick(key, &tried, now, &mut rng).expect("all are free");
            tried.insert(first.target());
            let retry = balancer
                .pick(key, &tried, now, &mut rng)
                .expect("others are left")
                .target();
            let beside = balancer
                .pick(key, &Tried::new(), now, &mut rng)
                .expect("others are free")
                .target();
            assert_ne!(beside, first.target());
            if first.target().0 < 128 {
                assert_eq!(beside, retry, "of {n}");
            }
        }
    }
}

#[test]
fn what_stands_by_is_tried_when_it_is_needed() {
    let first = ["a", "b", "c"].map(|name| Target::new(name, 1));
    let targets: Vec<_> = first
        .into_iter()
        .chain([Target::new("z", 1).priority(1)])
        .collect();
    let mut stage = Stage::with(Policy::RoundRobin, &Checks::default(), &targets);
    let (mut rng, mut tried) = (Rng::seeded(1), Tried::new());
    for target in 0..3 {
        tried.insert(TargetIdx(target));
    }
    for _ in 0..3 {
        let handle = stage.balancer.pick(None, &tried, stage.now, &mut rng).expect("z");
        stage.report(&handle, Outcome::ConnectFailed);
    }
    assert!(!stage.balancer.condition(TargetIdx(3)).expect("z").healthy);
    stage.now += 5 * SECOND;
    assert!((0..20).all(|_| !stage.pick().expect("a target").is_trial()));
    // Of those that are sent requests each is tried.
    stage.fail("a", 3);
    stage.now += 5 * SECOND;
    assert!(stage.pick().expect("a target").is_trial());
}
