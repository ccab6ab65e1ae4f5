//! A pick allocates nothing.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use gw_balancer::{
    Balancer, Budget, BudgetPolicy, Checks, LeastRequest, Outcome, PeakEwma, Policy, Refusal, RingPolicy,
    Rng, Target, TargetIdx, Tried,
};

use crate::stage::counters;

fn check(targets: u32, tried: &[u32]) {
    for (policy, _) in crate::algorithms::policies() {
        check_policy(&policy, targets, tried);
    }
}

fn check_policy(policy: &Policy, targets: u32, tried: &[u32]) {
    let list: Vec<Target> = (0..targets)
        .map(|i| Target::new(format!("target-{i}"), 1 + i as u16 % 7))
        .collect();
    let balancer = Balancer::new(policy, &Checks::default(), &list);
    let (now, mut rng) = (Instant::now(), Rng::seeded(1));
    let allocations = allocation_counter::measure(|| {
        let mut set = Tried::new();
        for number in 0..100_u64 {
            let key = (number % 2 == 0).then(|| policy.key(&number.to_le_bytes()));
            let handle = balancer.pick(key, &set, now, &mut rng).expect("has weight");
            handle.report(Outcome::Status(200), now);
        }
        for &idx in tried {
            set.insert(TargetIdx(idx));
            let handle = balancer
                .pick(Some(1), &set, now, &mut rng)
                .expect("others are left");
            handle.report(Outcome::Broken, now);
        }
    });
    assert_eq!(
        allocations.count_total, 0,
        "{policy:?}, {targets} targets, tried {tried:?}"
    );
}

#[test]
fn a_pick_allocates_nothing() {
    check(3, &[]);
    check(3, &[0, 2]);
    check(10_000, &[5, 64, 127]);
}

#[test]
fn neither_do_picks_around_a_target_that_is_out_nor_its_trial() {
    for targets in [2, 10_000] {
        let list: Vec<Target> = (0..targets)
            .map(|i| Target::new(format!("target-{i}"), 1))
            .collect();
        let all_in = Balancer::new(&Policy::RoundRobin, &Checks::default(), &list);
        let (now, mut rng, fresh) = (Instant::now(), Rng::seeded(1), Tried::new());
        let out: Vec<_> = (0..2)
            .filter_map(|_| all_in.pick(None, &fresh, now, &mut rng))
            .collect();
        let allocations = allocation_counter::measure(|| {
            for _ in 0..3 {
                let transition = out[0].report(Outcome::ConnectFailed, now);
                std::hint::black_box(transition);
            }
        });
        assert_eq!(allocations.count_total, 0, "going out");
        assert!(
            all_in
                .condition(out[0].target())
                .is_some_and(|condition| !condition.healthy)
        );
        let balancer = all_in.refresh(now);
        let mut tried = Tried::new();
        tried.insert(out[1].target());
        let later = now + Duration::from_secs(1);
        let allocations = allocation_counter::measure(|| {
            for _ in 0..100 {
                let handle = balancer
                    .pick(None, &fresh, now, &mut rng)
                    .expect("others are left");
                assert_ne!(handle.target(), out[0].target());
                handle.report(Outcome::Status(200), now);
            }
            let retry = balancer.pick(None, &tried, later, &mut rng);
            assert_eq!(retry.is_some(), targets > 2);
            for outcome in [None, Some(Outcome::Broken)] {
                let trial = balancer.pick(None, &fresh, later, &mut rng).expect("it is due");
                assert!(trial.is_trial());
                if let Some(outcome) = outcome {
                    trial.report(outcome, later);
                }
            }
        });
        assert_eq!(allocations.count_total, 0, "{targets} targets");
    }
}

#[test]
fn nor_do_groups_limits_budgets_probes_and_panic() {
    let policies = [
        Policy::RoundRobin,
        Policy::LeastRequest(LeastRequest::default()),
        Policy::PeakEwma(PeakEwma::default()),
        Policy::Ring(RingPolicy::default()),
    ];
    for (policy, targets) in policies
        .into_iter()
        .flat_map(|policy| [(policy.clone(), 6), (policy, 400)])
    {
        let list: Vec<Target> = (0..targets)
            .map(|i| Target::new(format!("target-{i}"), 1).priority(i % 2))
            .collect();
        let checks = Checks {
            active: Some(counters([1, 1, 1, 1])),
            max_in_flight: NonZeroU32::new(1),
            ..Checks::default()
        };
        let all_in = Balancer::new(&policy, &checks, &list);
        let (now, mut rng, tried) = (Instant::now(), Rng::seeded(1), Tried::new());
        let budget = Budget::new(BudgetPolicy::default());
        let mut open = Vec::with_capacity(list.len());
        let allocations = allocation_counter::measure(|| {
            // Two thirds go out by probes: then the first group panics, with the second.
            for target in 0..targets {
                if target % 3 > 0 {
                    assert!(all_in.probed(TargetIdx(target), Outcome::TimedOut, now).is_some());
                }
            }
        });
        assert_eq!(allocations.count_total, 0, "{policy:?}: probes of {targets}");
        let balancer = all_in.refresh(now);
        assert!(balancer.groups().all(|group| group.panics));
        let allocations = allocation_counter::measure(|| {
            for key in 0..u64::from(targets) {
                budget.request(now);
                let handle = balancer
                    .pick(Some(key / 7), &tried, now, &mut rng)
                    .expect("one is free");
                assert!(budget.try_retry(now) || key >= 10);
                handle.report(Outcome::Status(200), now);
                open.push(handle);
            }
            assert!(balancer.pick(None, &tried, now, &mut rng).is_none());
            assert_eq!(balancer.refusal(&tried), Refusal::Full);
        });
        assert_eq!(allocations.count_total, 0, "{policy:?}: picks of {targets}");
    }
}

#[test]
fn the_counter_sees_allocations() {
    let allocations = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(allocations.count_total, 1);
}
