//! A pick allocates nothing.

use std::time::Instant;

use gw_balancer::{Balancer, Outcome, Policy, Rng, Target, TargetIdx, Tried};

fn check(targets: u32, tried: &[u32]) {
    let list: Vec<Target> = (0..targets)
        .map(|i| Target::new(format!("target-{i}"), 1 + i as u16 % 7))
        .collect();
    let balancer = Balancer::new(&Policy::RoundRobin, &list);
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
fn the_counter_sees_allocations() {
    let allocations = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(allocations.count_total, 1);
}
