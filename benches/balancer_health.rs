//! Cost of health: the new tables when one of ten thousand targets goes out, probes, limits, groups, budgets.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Instant;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use gw_balancer::health::{Counters, StatusSet};
use gw_balancer::{
    Balancer, Budget, BudgetPolicy, Checks, LeastRequest, MaglevPolicy, Outcome, PeakEwma, Policy,
    RingPolicy, Rng, SlotsPolicy, SlowStart, Target, TargetIdx, Tried,
};

/// One of ten thousand goes out: how long until requests no longer go there.
fn flip(c: &mut Criterion) {
    let policies = [
        (Policy::RoundRobin, "round_robin"),
        (Policy::Random, "random"),
        (Policy::LeastRequest(LeastRequest::default()), "least_request"),
        (Policy::PeakEwma(PeakEwma::default()), "peak_ewma"),
        (Policy::Ring(RingPolicy::default()), "ring"),
        (Policy::Slots(SlotsPolicy::default()), "slots"),
        (Policy::Maglev(MaglevPolicy::default()), "maglev"),
    ];
    for (policy, label) in policies {
        let (all_in, now) = (
            Balancer::new(&policy, &probed(), &targets(10_000)),
            Instant::now(),
        );
        let out = all_in.probed(TargetIdx(17), Outcome::TimedOut, now);
        assert!(out.is_some_and(|transition| !transition.healthy));
        let refreshed = all_in.refresh(now);
        assert!(refreshed.weights().available < refreshed.weights().total);
        c.bench_function(&format!("balancer/flip/{label}/10k"), |b| {
            b.iter_batched(|| (), |()| all_in.refresh(now), BatchSize::PerIteration);
        });
    }
    // While one gets its share little by little, weights are finer.
    let checks = Checks {
        slow_start: Some(SlowStart::default()),
        ..probed()
    };
    let (balancer, now) = (
        Balancer::new(&Policy::RoundRobin, &checks, &targets(10_000)),
        Instant::now(),
    );
    for outcome in [Outcome::TimedOut, Outcome::Success] {
        assert!(balancer.probed(TargetIdx(17), outcome, now).is_some());
    }
    assert!(balancer.refresh(now).next_change().is_some());
    c.bench_function("balancer/flip/slow_start/10k", |b| {
        b.iter_batched(|| (), |()| balancer.refresh(now), BatchSize::PerIteration);
    });
}

/// A pick and its end where everything is configured.
fn pick(c: &mut Criterion) {
    let checks = Checks {
        max_in_flight: NonZeroU32::new(1_000),
        slow_start: Some(SlowStart::default()),
        ..probed()
    };
    let grouped: Vec<Target> = (0..)
        .zip(targets(100))
        .map(|(i, target)| target.priority(i % 2))
        .collect();
    for (list, label) in [(targets(100), "100"), (grouped, "100_in_two_groups")] {
        let (balancer, now) = (Balancer::new(&Policy::RoundRobin, &checks, &list), Instant::now());
        for target in (0..40).map(|i| TargetIdx(i * 2)) {
            assert!(balancer.probed(target, Outcome::TimedOut, now).is_some());
        }
        let balancer = balancer.refresh(now);
        let (tried, mut rng) = (Tried::new(), Rng::seeded(1));
        c.bench_function(&format!("balancer/pick_with_limits/{label}"), |b| {
            b.iter(|| {
                let handle = balancer.pick(None, black_box(&tried), now, &mut rng);
                handle.map(|handle| handle.report(Outcome::Status(200), now))
            });
        });
    }
}

fn budget(c: &mut Criterion) {
    let (budget, now) = (Budget::new(BudgetPolicy::default()), Instant::now());
    (0..1_000).for_each(|_| budget.request(now));
    assert_eq!((0..1_000).filter(|_| budget.try_retry(now)).count(), 200);
    c.bench_function("balancer/budget/request", |b| {
        b.iter(|| budget.request(black_box(now)))
    });
    c.bench_function("balancer/budget/retry", |b| {
        b.iter(|| budget.try_retry(black_box(now)))
    });
}

criterion_group!(benches, flip, pick, budget);
criterion_main!(benches);

fn probed() -> Checks {
    Checks {
        active: Some(Box::new(Counters {
            statuses: true,
            successes: 1,
            healthy: StatusSet::new(),
            tcp_failures: 1,
            timeouts: 1,
            http_failures: 1,
            unhealthy: StatusSet::new(),
        })),
        ..Checks::default()
    }
}

fn targets(size: usize) -> Vec<Target> {
    let name = |i: usize| format!("10.{}.{}.{}:80", i >> 16, (i >> 8) & 255, i & 255);
    (0..size)
        .map(|i| Target::new(name(i), 1 + (i % 5) as u16))
        .collect()
}
