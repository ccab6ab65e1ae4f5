//! Many threads, one sequence.

use std::sync::Barrier;
use std::time::Instant;

use gw_balancer::{Outcome, Rng, TargetIdx, Tried};

use crate::support::{balancer, pick};

const THREADS: u64 = 8;
const PICKS: u64 = 7_000; // by thread; a multiple of the cycle, 7

#[test]
fn threads_together_keep_the_weights_exactly() {
    let balancer = balancer(&[("a", 5), ("b", 1), ("off", 0), ("c", 1)]);
    let start = Barrier::new(THREADS as usize);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                for _ in 0..PICKS {
                    let handle = pick(&balancer).expect("has weight");
                    handle.report(Outcome::Success, Instant::now());
                    assert!(balancer.in_flight(handle.target()) >= 1);
                }
            });
        }
    });
    let unit = THREADS * PICKS / 7;
    let counts: Vec<u64> = (0..4).map(|i| balancer.outcomes(TargetIdx(i)).success).collect();
    assert_eq!(counts, [5 * unit, unit, 0, unit]);
    let in_flight: Vec<u32> = (0..4).map(|i| balancer.in_flight(TargetIdx(i))).collect();
    assert_eq!(in_flight, [0; 4]);
}

#[test]
fn a_retry_in_one_thread_leaves_the_sequence_of_the_others_alone() {
    let balancer = balancer(&[("a", 1), ("b", 1)]);
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut tried = Tried::new();
            tried.insert(TargetIdx(0));
            start.wait();
            for _ in 0..PICKS {
                let retry = balancer
                    .pick(None, &tried, Instant::now(), &mut Rng::seeded(0))
                    .expect("b is left");
                assert_eq!(retry.target(), TargetIdx(1));
            }
        });
        scope.spawn(|| {
            start.wait();
            for turn in 0..PICKS {
                assert_eq!(
                    pick(&balancer).expect("has weight").target(),
                    TargetIdx((turn % 2) as u32)
                );
            }
        });
    });
}
