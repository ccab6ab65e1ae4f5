//! A pick allocates nothing.

use std::time::{Duration, Instant};

use gw_balancer::{Balancer, Checks, Outcome, Policy, Rng, Target, TargetIdx, Tried};

fn check(targets: u32, tried: &[u32]) {
    let list: Vec<Target> = (0..targets)
        .map(|i| Target::new(format!("target-{i}"), 1 + i as u16 % 7))
        .collect();
    let balancer = Balancer::new(&Policy::RoundRobin, &Checks::default(), &list);
    let (now, mut rng) = (Instant::now(), Rng::seeded(1));
    let allocations = allocation_counter::measure(|| {
        let mut set = Tried::new();
        for _ in 0..100 {
            let handle = balancer.pick(None, &set, now, &mut rng).expect("has weight");
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
    assert_eq!(allocations.count_total, 0, "{targets} targets, tried {tried:?}");
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
        let balancer = all_in.refresh();
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
fn the_counter_sees_allocations() {
    let allocations = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(allocations.count_total, 1);
}
