//! How much more two threads pick than one, from one table.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use gw_balancer::{Balancer, Checks, Policy, Rng, Tried};

use crate::case::{keys, policies};
use crate::flat::targets;

/// Targets of the table.
const TARGETS: usize = 1000;

/// Short ones, so that in some both threads run all the time.
const ROUNDS: usize = 400;

/// Of each policy, how many picks two threads make in the time in which one makes one.
pub(crate) fn all() -> Vec<(String, f64)> {
    policies()
        .into_iter()
        .map(|(name, policy)| (name.to_owned(), gain(&policy)))
        .collect()
}

/// The best of many rounds, with one and with two threads in turns.
fn gain(policy: &Policy) -> f64 {
    let balancer = Balancer::new(policy, &Checks::default(), &targets(TARGETS));
    let keys = keys(policy);
    let (mut one, mut two) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        one = one.min(round(&balancer, &keys, 1));
        two = two.min(round(&balancer, &keys, 2));
    }
    2.0 * one.as_secs_f64() / two.as_secs_f64()
}

/// How long the slowest of these threads takes for its picks.
fn round(balancer: &Balancer, keys: &[u64], threads: u64) -> Duration {
    let ready = AtomicU64::new(0);
    let picks = |thread: u64| {
        let (tried, now, mut rng) = (Tried::new(), Instant::now(), Rng::seeded(thread));
        // Each has an order of its own.
        let keys: Vec<u64> = keys
            .iter()
            .map(|key| key.rotate_left(thread as u32 * 7))
            .collect();
        // Not a barrier that sleeps: one would begin while the other wakes up.
        ready.fetch_add(1, SeqCst);
        while ready.load(SeqCst) < threads {
            std::hint::spin_loop();
        }
        let began = Instant::now();
        for key in &keys {
            black_box(balancer.pick(Some(*key), &tried, now, &mut rng));
        }
        began.elapsed()
    };
    let picks = &picks;
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || picks(thread)))
            .collect();
        let took = running
            .into_iter()
            .map(|thread| thread.join().expect("picks do not panic"));
        took.max().unwrap_or_default()
    })
}
