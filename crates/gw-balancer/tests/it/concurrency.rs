//! Many threads, one sequence.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use gw_balancer::health::{Counters, StatusSet};
use gw_balancer::{Balancer, Checks, LeastRequest, Outcome, Policy, Rng, Target, TargetIdx, Tried};

use crate::support::{balancer, list, pick};

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

#[test]
fn threads_never_have_more_in_flight_than_may_be() {
    let checks = Checks {
        max_in_flight: NonZeroU32::new(3),
        ..Checks::default()
    };
    for policy in [
        Policy::RoundRobin,
        Policy::Random,
        Policy::LeastRequest(LeastRequest::default()),
    ] {
        let balancer = Balancer::new(&policy, &checks, &list(&[("a", 1), ("b", 2), ("c", 3)]));
        let in_use = [0, 1, 2].map(|_| AtomicU32::new(0));
        let refused = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for seed in 0..THREADS {
                let (balancer, in_use, refused) = (&balancer, &in_use, &refused);
                scope.spawn(move || {
                    let (mut rng, mut open) = (Rng::seeded(seed), Vec::new());
                    for _ in 0..PICKS {
                        match balancer.pick(None, &Tried::new(), Instant::now(), &mut rng) {
                            Some(handle) => {
                                let before = in_use[handle.target().index()].fetch_add(1, SeqCst);
                                assert!(before < 3, "{before} of 3 are in flight");
                                open.push(handle);
                            }
                            None => {
                                refused.fetch_add(1, SeqCst);
                            }
                        }
                        // More than fit, so that even one thread alone is refused.
                        if open.len() > rng.below(15) as usize {
                            let handle = open.swap_remove(rng.below(open.len() as u64) as usize);
                            in_use[handle.target().index()].fetch_sub(1, SeqCst);
                        }
                    }
                    for handle in open {
                        in_use[handle.target().index()].fetch_sub(1, SeqCst);
                    }
                });
            }
        });
        assert!(refused.into_inner() > 0, "it was full at times");
        assert_eq!([0, 1, 2].map(|i| balancer.in_flight(TargetIdx(i))), [0; 3]);
    }
}

/// Whatever threads do to health at once, the books of who is out are right afterwards.
#[test]
fn after_a_storm_half_may_still_go_out_and_no_more() {
    const TARGETS: u32 = 7;
    let names: Vec<String> = (0..TARGETS).map(|i| format!("t{i}")).collect();
    let targets: Vec<Target> = names.iter().map(|name| Target::new(&**name, 1)).collect();
    let active = Counters {
        statuses: true,
        successes: 1,
        healthy: StatusSet::new(),
        tcp_failures: 1,
        timeouts: 1,
        http_failures: 1,
        unhealthy: StatusSet::new(),
    };
    let checks = Checks {
        active: Some(Box::new(active)),
        ..Checks::default()
    };
    for round in 0..20 {
        let newest = Mutex::new(Arc::new(Balancer::new(&Policy::RoundRobin, &checks, &targets)));
        let start = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (newest, checks, targets) = (&newest, &checks, &targets);
                scope.spawn(move || {
                    let mut rng = Rng::seeded(round * 4 + thread);
                    for turn in 0..300 {
                        let now = start + Duration::from_millis(turn * 50);
                        let balancer = Arc::clone(&newest.lock().expect("no panic"));
                        let target = TargetIdx(rng.below(TARGETS.into()) as u32);
                        let failing = rng.below(2) == 0;
                        let outcome = if failing {
                            Outcome::TimedOut
                        } else {
                            Outcome::Success
                        };
                        match rng.below(8) {
                            0 => drop(balancer.set_health(target, failing, now)),
                            1 => drop(balancer.probed(target, outcome, now)),
                            2 => {
                                let mut newest = newest.lock().expect("no panic");
                                let few = &targets[..1 + rng.below(TARGETS.into()) as usize];
                                let (next, _) = newest.rebuild(&Policy::RoundRobin, checks, few, now);
                                *newest = Arc::new(next);
                            }
                            3 => {
                                let mut newest = newest.lock().expect("no panic");
                                *newest = Arc::new(newest.refresh(now));
                            }
                            _ => {
                                if let Some(handle) = balancer.pick(None, &Tried::new(), now, &mut rng) {
                                    let changed = handle.report(outcome, now);
                                    assert!(changed.is_none_or(|t| failing || t.healthy));
                                }
                            }
                        }
                    }
                });
            }
        });
        let now = start + Duration::from_secs(1000);
        let last = newest.into_inner().expect("no panic");
        let unprobed = Checks::default();
        let (last, _) = last.rebuild(&Policy::RoundRobin, &unprobed, &targets, now);
        for target in 0..TARGETS {
            last.set_health(TargetIdx(target), true, now);
        }
        let last = last.refresh(now);
        assert_eq!(last.weights().available, u64::from(TARGETS));
        for _ in 0..10 * TARGETS {
            let handle = last
                .pick(None, &Tried::new(), now, &mut Rng::seeded(0))
                .expect("it is not refreshed");
            assert!(handle.report(Outcome::Broken, now).is_none_or(|out| !out.healthy));
        }
        assert_eq!(
            last.refresh(now).weights().available,
            u64::from(TARGETS - TARGETS / 2)
        );
    }
}
