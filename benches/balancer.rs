//! Cost of a pick, a retry, a rebuild and of health, beside the loop that nginx runs for each pick.

use std::hint::black_box;
use std::time::Instant;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use gw_balancer::{Algorithm, Balancer, Checks, Outcome, Policy, Rng, RoundRobin, Target, TargetIdx, Tried};

const SIZES: [(usize, &str); 3] = [(3, "3"), (100, "100"), (10_000, "10k")];

fn pick(c: &mut Criterion) {
    for (size, label) in SIZES {
        let targets = targets(size);
        let (tried, now, mut rng) = (Tried::new(), Instant::now(), Rng::seeded(1));

        let table = RoundRobin::new(&targets);
        let mut naive = Naive::new(&targets);
        for _ in 0..1000 {
            assert_eq!(
                table.pick(None, &tried, now, &mut rng),
                naive.pick(),
                "same sequence"
            );
        }

        let balancer = Balancer::new(&Policy::RoundRobin, &Checks::default(), &targets);
        c.bench_function(&format!("balancer/sequence/{label}"), |b| {
            b.iter(|| table.pick(None, black_box(&tried), now, &mut rng));
        });
        c.bench_function(&format!("balancer/pick/{label}"), |b| {
            b.iter(|| {
                balancer
                    .pick(None, black_box(&tried), now, &mut rng)
                    .map(|handle| handle.target())
            });
        });
        c.bench_function(&format!("balancer/naive_pick/{label}"), |b| {
            b.iter(|| naive.pick())
        });
    }
}

fn retry(c: &mut Criterion) {
    for (size, label) in SIZES {
        let balancer = Balancer::new(&Policy::RoundRobin, &Checks::default(), &targets(size));
        let (mut tried, now, mut rng) = (Tried::new(), Instant::now(), Rng::seeded(1));
        tried.insert(TargetIdx(0));
        let handle = balancer.pick(None, &tried, now, &mut rng).expect("two are left");
        assert_ne!(handle.target(), TargetIdx(0), "not the tried one");
        c.bench_function(&format!("balancer/retry/{label}"), |b| {
            b.iter(|| {
                balancer
                    .pick(None, black_box(&tried), now, &mut rng)
                    .map(|handle| handle.target())
            });
        });
    }
}

fn rebuild(c: &mut Criterion) {
    let worst: Vec<Target> = (0..10_000_usize)
        .map(|i| target(i, 1 + (i * 7919 % 65_535) as u16))
        .collect();
    for (list, label) in [
        (targets(3), "3"),
        (targets(10_000), "10k"),
        (worst, "10k_distinct_weights"),
    ] {
        let balancer = Balancer::new(&Policy::RoundRobin, &Checks::default(), &list);
        assert!(!balancer.is_empty());
        let now = Instant::now();
        c.bench_function(&format!("balancer/rebuild/{label}"), |b| {
            b.iter_batched(
                || (),
                |()| balancer.rebuild(&Policy::RoundRobin, &Checks::default(), black_box(&list), now),
                BatchSize::PerIteration,
            );
        });
    }
}

/// What health costs: a report that changes nothing, a pick while one is out, the new table when one goes out.
fn health(c: &mut Criterion) {
    for (size, label) in SIZES {
        let all_in = Balancer::new(&Policy::RoundRobin, &Checks::default(), &targets(size));
        let (tried, now, mut rng) = (Tried::new(), Instant::now(), Rng::seeded(1));
        let handle = all_in.pick(None, &tried, now, &mut rng).expect("all are in");
        c.bench_function(&format!("balancer/report/{label}"), |b| {
            b.iter(|| handle.report(black_box(Outcome::Status(200)), now));
        });
        let out = (0..3).find_map(|_| handle.report(Outcome::Broken, now));
        assert!(out.is_some_and(|transition| !transition.healthy));
        let balancer = all_in.refresh();
        c.bench_function(&format!("balancer/pick_beside_one_out/{label}"), |b| {
            b.iter(|| {
                balancer
                    .pick(None, black_box(&tried), now, &mut rng)
                    .map(|handle| handle.target())
            });
        });
        c.bench_function(&format!("balancer/refresh/{label}"), |b| {
            b.iter_batched(|| (), |()| all_in.refresh(), BatchSize::PerIteration);
        });
    }
}

criterion_group!(benches, pick, retry, rebuild, health);
criterion_main!(benches);

fn targets(size: usize) -> Vec<Target> {
    (0..size).map(|i| target(i, 1 + (i % 5) as u16)).collect()
}

fn target(i: usize, weight: u16) -> Target {
    Target::new(
        format!("10.{}.{}.{}:80", i >> 16, (i >> 8) & 255, i & 255),
        weight,
    )
}

/// nginx's loop: every pick looks at every target.
struct Naive {
    weights: Vec<i64>,
    current: Vec<i64>,
    total: i64,
}

impl Naive {
    fn new(targets: &[Target]) -> Self {
        let weights: Vec<i64> = targets.iter().map(|target| i64::from(target.weight.0)).collect();
        Self {
            current: vec![0; weights.len()],
            total: weights.iter().sum(),
            weights,
        }
    }

    fn pick(&mut self) -> Option<TargetIdx> {
        let mut best = 0;
        for i in 0..self.weights.len() {
            self.current[i] += self.weights[i];
            if self.current[i] > self.current[best] {
                best = i;
            }
        }
        *self.current.get_mut(best)? -= self.total;
        Some(TargetIdx(best as u32))
    }
}
