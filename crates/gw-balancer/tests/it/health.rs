//! Targets that go out and come back, as a caller sees it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use gw_balancer::health::{Passive, Reason, Threshold};
use gw_balancer::{Checks, Handle, Outcome, Policy, Rng, TargetIdx, Tried};
use proptest::prelude::*;

use crate::stage::{SECOND, Stage, kong};
use crate::support::{balancer, list, rebuilt};

#[test]
fn a_target_that_fails_three_times_is_out_and_its_share_goes_to_all() {
    let mut stage = Stage::new(&Checks::default(), &[("a", 1), ("b", 1), ("c", 2)]);
    let transition = stage.fail("a", 3).expect("a change");
    assert!(!transition.healthy);
    let picks = stage.picks(30);
    assert_eq!((picks.matches('b').count(), picks.matches('c').count()), (10, 20));
    let condition = stage.balancer.condition(TargetIdx(0)).expect("a target");
    assert_eq!((condition.healthy, condition.since), (false, Some(stage.now)));
    assert_eq!(stage.balancer.weights().available, 3);
}

#[test]
fn one_request_tries_it_when_its_pause_is_over() {
    let mut stage = Stage::new(&Checks::default(), &[("a", 1), ("b", 1)]);
    stage.fail("a", 3);
    assert_eq!(stage.picks(10), "b".repeat(10));
    stage.now += SECOND;
    let trial = stage.pick().expect("a");
    assert!(trial.is_trial() && trial.target() == TargetIdx(0));
    assert_eq!(stage.picks(10), "b".repeat(10), "one at a time");
    let again = stage.report(&trial, Outcome::TimedOut).expect("news");
    let pause = again.pause.expect("it comes back by itself");
    assert!(pause > 2 * SECOND * 8 / 10 && pause <= 2 * SECOND, "{pause:?}");
    drop(trial);
    stage.now += SECOND;
    assert_eq!(stage.picks(10), "b".repeat(10), "twice as long this time");
    stage.now += SECOND;
    let trial = stage.pick().expect("a");
    let back = stage.report(&trial, Outcome::Status(200)).expect("news");
    assert_eq!((back.healthy, back.reason), (true, Reason::TrialSucceeded));
    assert!(matches!(&*stage.picks(4), "abab" | "baba"));
}

#[test]
fn a_request_that_cannot_be_sent_again_leaves_the_trial_to_others_for_a_while() {
    let mut stage = Stage::new(&Checks::default(), &[("a", 1), ("b", 1)]);
    stage.fail("a", 3);
    let careful = |stage: &Stage| {
        let (tried, mut rng) = (Tried::new(), Rng::seeded(0));
        let picked = stage
            .balancer
            .pick_unrepeatable(None, &tried, stage.now, &mut rng);
        picked.expect("a target").is_trial()
    };
    stage.now += 9 * SECOND;
    assert!(!careful(&stage));
    assert!(stage.pick().expect("a target").is_trial());
    stage.now += 2 * SECOND;
    assert!(careful(&stage), "nobody else has come");
}

#[test]
fn each_is_tried_when_its_own_pause_is_over() {
    let mut stage = Stage::new(&Checks::default(), &[("a", 1), ("b", 1), ("c", 1), ("d", 1)]);
    stage.fail("a", 3);
    stage.now += SECOND / 2;
    stage.fail("b", 3);
    stage.now += SECOND / 2;
    let first = stage.pick().expect("a");
    let second = stage.pick().expect("c or d");
    assert!(first.is_trial() && first.target() == TargetIdx(0) && !second.is_trial());
    stage.now += SECOND / 2;
    let second = stage.pick().expect("b");
    assert!(second.is_trial() && second.target() == TargetIdx(1));
}

#[test]
fn a_retry_is_no_trial_and_a_trial_that_says_nothing_is_made_again() {
    let mut stage = Stage::new(&Checks::default(), &[("a", 1), ("b", 1)]);
    stage.fail("a", 3);
    stage.now += SECOND;
    let mut tried = Tried::new();
    tried.insert(TargetIdx(1));
    let retry = stage.balancer.pick(None, &tried, stage.now, &mut Rng::seeded(0));
    assert!(retry.is_none(), "what is out is no second choice");
    let trial = stage.pick().expect("a");
    assert!(trial.is_trial());
    drop(trial); // the client went away
    let trial = stage.pick().expect("a");
    assert!(trial.is_trial());
    // Two reports of one handle: the second is no trial.
    assert!(stage.report(&trial, Outcome::Broken).is_some());
    assert!(stage.report(&trial, Outcome::Status(200)).is_none());
    assert!(!stage.is_healthy(0));
}

#[test]
fn who_still_has_an_older_table_makes_no_trial_of_its_own() {
    let mut stage = Stage::new(&Checks::default(), &[("a", 1), ("b", 1)]);
    stage.fail("a", 3);
    stage.now += SECOND;
    let old = stage.balancer.refresh(stage.now);
    let trial = stage.pick().expect("a");
    stage.report(&trial, Outcome::Broken);
    let other = old
        .pick(None, &Tried::new(), stage.now, &mut Rng::seeded(0))
        .expect("b");
    assert!(!other.is_trial());
}

#[test]
fn the_only_target_and_half_of_the_others_stay() {
    let mut only = Stage::new(&Checks::default(), &[("a", 1), ("off", 0)]);
    assert_eq!(only.fail("a", 50), None);
    assert_eq!(only.picks(3), "aaa");
    for n in 2..9_usize {
        let names: Vec<String> = (0..n).map(|i| format!("t{i}")).collect();
        let targets: Vec<(&str, u16)> = names.iter().map(|name| (&**name, 1)).collect();
        let mut stage = Stage::new(&Checks::default(), &targets);
        for _ in 0..20 * n {
            let handle = stage.pick().expect("always one");
            stage.report(&handle, Outcome::Broken);
        }
        let out = (0..n as u32).filter(|i| !stage.is_healthy(*i)).count();
        assert_eq!(out, n / 2, "of {n}");
    }
}

#[test]
fn who_comes_back_makes_room_for_the_next() {
    let mut stage = Stage::new(&Checks::default(), &[("a", 1), ("b", 1)]);
    stage.fail("a", 3);
    stage.fail("b", 5);
    assert!(stage.is_healthy(1), "half is out already");
    stage.now += SECOND;
    let trial = stage.pick().expect("a");
    stage.report(&trial, Outcome::Status(200));
    let out = stage.fail("b", 1).expect("room at last");
    assert_eq!(
        out.reason.to_string(),
        "6 failures in a row, the last: no connection"
    );
}

#[test]
fn health_survives_a_change_of_targets_and_fits_the_new_ones() {
    let mut stage = Stage::new(&Checks::default(), &[("a", 1), ("b", 1), ("c", 1), ("d", 1)]);
    stage.fail("a", 3);
    stage.fail("b", 3);
    stage.balancer = rebuilt(
        &stage.balancer,
        &[("d", 1), ("b", 5), ("a", 1), ("c", 1), ("e", 1)],
    );
    assert_eq!(
        [0, 1, 2, 3, 4].map(|i| stage.is_healthy(i)),
        [true, false, false, true, true]
    );
    // Two of three are too many: the one that would be tried first is let in.
    let (next, released) = stage.balancer.rebuild(
        &Policy::RoundRobin,
        &Checks::default(),
        &list(&[("a", 1), ("b", 1), ("c", 1)]),
        stage.now,
    );
    assert_eq!(released.len(), 1);
    assert_eq!(released[0].1.reason, Reason::TooFewLeft);
    stage.balancer = next;
    assert_eq!(stage.balancer.weights().available, 2);
    // Without checks nothing is held against anybody.
    let off = Checks {
        passive: Passive::Off,
        ..Checks::default()
    };
    let targets = list(&[("a", 1), ("b", 1), ("c", 1)]);
    let (next, released) = stage
        .balancer
        .rebuild(&Policy::RoundRobin, &off, &targets, stage.now);
    assert_eq!(released.len(), 1);
    assert_eq!(released[0].1.reason, Reason::ChecksOff);
    stage.balancer = next;
    assert_eq!(stage.fail("a", 20), None);
}

#[test]
fn one_that_leaves_frees_its_place() {
    let mut stage = Stage::new(&Checks::default(), &[("a", 1), ("b", 1), ("c", 1)]);
    let in_flight = stage.pick().expect("any"); // keeps its record alive
    assert_eq!(in_flight.target(), TargetIdx(0));
    stage.fail("a", 3);
    assert_eq!(stage.fail("b", 3), None, "one of three may be out");
    stage.balancer = rebuilt(&stage.balancer, &[("b", 1), ("c", 1)]);
    assert!(stage.fail("b", 1).is_some(), "a has left");
    // It returns as it was, and counts.
    stage.balancer = rebuilt(&stage.balancer, &[("b", 1), ("c", 1), ("a", 1), ("d", 1)]);
    assert!(!stage.is_healthy(2));
    assert_eq!(stage.fail("d", 4), None);
}

#[test]
fn an_operator_may_take_out_all_of_them() {
    let mut stage = Stage::new(&Checks::default(), &[("a", 1), ("b", 1)]);
    assert_eq!(stage.set(0, false), [Reason::Operator]);
    assert_eq!(stage.set(0, false), []);
    assert_eq!(stage.picks(3), "bbb");
    stage.now += 1000 * SECOND;
    assert_eq!(stage.picks(3), "bbb", "no trial");
    assert_eq!(stage.fail("b", 9), None, "half is out");
    stage.set(1, false);
    assert!(stage.pick().is_none() && !stage.balancer.is_available() && !stage.balancer.is_empty());
    assert_eq!(stage.set(7, false), []);
    stage.balancer = rebuilt(&stage.balancer, &[("b", 1), ("a", 1), ("c", 1)]);
    assert_eq!(stage.picks(3), "ccc");
    stage.set(0, true);
    stage.set(1, true);
    assert_eq!(stage.picks(30).matches('a').count(), 10);
}

#[test]
fn taking_one_out_lets_in_who_went_out_by_itself() {
    let mut stage = Stage::new(&Checks::default(), &[("a", 1), ("b", 1)]);
    stage.fail("a", 3);
    assert_eq!(stage.set(1, false), [Reason::Operator, Reason::TooFewLeft]);
    assert_eq!(stage.picks(3), "aaa");
}

#[test]
fn kong_s_counters_let_all_go_out_and_one_request_looks_again() {
    let mut stage = Stage::new(&kong([0, 2, 0, 0]), &[("a", 1), ("b", 1)]);
    stage.fail("a", 2);
    stage.fail("b", 2);
    assert!(stage.pick().is_none() && !stage.balancer.is_available());
    stage.now += SECOND;
    let trial = stage.pick().expect("one of them");
    let other = stage.pick().expect("and the other");
    assert!(trial.is_trial() && other.is_trial() && trial.target() != other.target());
    assert!(stage.pick().is_none());
    assert!(
        stage
            .report(&trial, Outcome::Status(404))
            .is_some_and(|t| t.healthy)
    );
    assert_eq!(stage.picks(3).len(), 3);
}

#[test]
fn below_the_threshold_nothing_but_trials_is_sent() {
    let checks = Checks {
        threshold: Threshold::percent(60.0),
        ..kong([0, 1, 0, 0])
    };
    let mut stage = Stage::new(&checks, &[("a", 40), ("b", 35), ("c", 25)]);
    stage.fail("c", 1);
    assert!(stage.balancer.is_available(), "75 percent");
    stage.fail("a", 1);
    assert!(
        !stage.balancer.is_available() && stage.pick().is_none(),
        "35 percent"
    );
    stage.now += SECOND;
    let trial = stage.pick().expect("a or c");
    stage.report(&trial, Outcome::Status(200));
    let trial = stage.pick().expect("the other");
    stage.report(&trial, Outcome::Status(200));
    assert_eq!(stage.picks(100).matches('a').count(), 40);
}

#[test]
fn successes_that_nobody_waits_for_cost_no_lock_and_still_count_as_attempts() {
    let mut stage = Stage::new(&Checks::default(), &[("a", 1), ("b", 1)]);
    // Two failures, and then a success, again and again: two thirds fail, never three in a row.
    let outcomes = [Outcome::Broken, Outcome::Broken, Outcome::Status(200)];
    let mut reports = outcomes.into_iter().cycle();
    let mut seen = 0;
    let reason = loop {
        let handle = stage.pick().expect("a or b");
        if handle.target() == TargetIdx(1) {
            continue;
        }
        seen += 1;
        if let Some(transition) = stage.report(&handle, reports.next().expect("for ever")) {
            break transition.reason;
        }
    };
    assert_eq!(
        reason.to_string(),
        "10 of the last 14 attempts failed, the last: the connection broke"
    );
    assert_eq!(seen, 14);

    let mut stage = Stage::new(&Checks::default(), &[("a", 1), ("b", 1)]);
    for turn in 0..4000 {
        let handle = stage.pick().expect("a or b");
        let outcome = if turn % 8 == 0 {
            Outcome::Broken
        } else {
            Outcome::Status(200)
        };
        assert_eq!(
            stage.report(&handle, outcome),
            None,
            "a quarter fails of one of them"
        );
    }
}

proptest! {
    /// Targets fail and recover at random, requests are abandoned, operators meddle, lists change.
    #[test]
    fn through_any_history_half_stay_in_and_all_come_back(
        n in 1_u32..7,
        history in prop::collection::vec((0_u8..20, 0_u32..7, 0_u64..3_000), 0..400),
    ) {
        let name = |i: u32| format!("t{i}");
        let names: Vec<String> = (0..7).map(name).collect();
        let listed = |n: u32| -> Vec<(&str, u16)> { names.iter().take(n as usize).map(|name| (&**name, 1)).collect() };
        let mut stage = Stage::new(&Checks::default(), &listed(n));
        let mut n = n;
        let mut failing = [false; 7];
        let mut held = [false; 7];
        let mut open: Vec<Handle> = Vec::new();
        for (deed, target, pause) in history {
            stage.now += Duration::from_millis(pause);
            let target = target % n;
            match deed {
                0 | 1 => failing[target as usize] ^= true,
                2 => open.clear(),
                3 => {
                    // Never so many that an operator alone breaks the rule.
                    let others = (0..n).any(|i| i != target && held[i as usize]);
                    if n > 1 && !others {
                        held[target as usize] ^= true;
                        stage.set(target, !held[target as usize]);
                    }
                }
                4 => {
                    n = 1 + (n + target) % 7;
                    if !(0..n).all(|i| held[i as usize]) && (n > 1 || !held[0]) {
                        let (next, released) = stage.balancer.rebuild(
                            &Policy::RoundRobin, &Checks::default(), &list(&listed(n)), stage.now,
                        );
                        prop_assert!(released.iter().all(|(_, t)| t.reason == Reason::TooFewLeft));
                        stage.balancer = next;
                        // A target that has left may be forgotten, with what an operator said of it.
                        for i in 0..7 {
                            let condition = stage.balancer.condition(TargetIdx(i));
                            held[i as usize] = condition.is_some_and(|c| !c.healthy && c.trial.is_none());
                        }
                    } else {
                        n = stage.balancer.targets().len() as u32;
                    }
                }
                _ => {
                    let handle = stage.pick();
                    prop_assert!(handle.is_some(), "of {} something is left", n);
                    let handle = handle.expect("checked");
                    let i = handle.target().index();
                    prop_assert!(!held[i]);
                    prop_assert_eq!(handle.is_trial(), !stage.is_healthy(i as u32));
                    if deed < 7 {
                        open.push(handle);
                    } else {
                        stage.report(&handle, if failing[i] { Outcome::TimedOut } else { Outcome::Status(200) });
                    }
                }
            }
            let out = (0..n).filter(|i| !stage.is_healthy(*i)).count();
            prop_assert!(out <= n as usize / 2 || out == held.iter().filter(|held| **held).count());
        }
        // All is well again: within the longest pause and a request each, everybody is in.
        open.clear();
        for _ in 0..n {
            stage.now += Checks::default().ejection.longest;
            let handle = stage.pick().expect("something");
            stage.report(&handle, Outcome::Status(200));
        }
        for i in 0..n {
            prop_assert_eq!(stage.is_healthy(i), !held[i as usize]);
        }
    }
}

#[test]
fn threads_that_fail_all_at_once_leave_half() {
    for round in 0..50 {
        let names: Vec<String> = (0..6).map(|i| format!("t{i}")).collect();
        let targets: Vec<(&str, u16)> = names.iter().map(|name| (&**name, 1)).collect();
        let shared = balancer(&targets);
        let now = Instant::now();
        let out = Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..60 {
                        let picked = shared.pick(None, &Tried::new(), now, &mut Rng::seeded(round));
                        let handle = picked.expect("it is never refreshed");
                        if let Some(transition) = handle.report(Outcome::Broken, now) {
                            let before = out.lock().expect("no panic").insert(handle.target(), transition);
                            assert_eq!(before, None, "each goes out once");
                        }
                    }
                });
            }
        });
        assert_eq!(out.into_inner().expect("no panic").len(), 3);
        assert_eq!(shared.refresh(now).weights().available, 3);
    }
}

#[test]
fn of_many_threads_one_makes_the_trial() {
    let mut stage = Stage::new(&Checks::default(), &[("a", 1), ("b", 1)]);
    for _ in 0..100 {
        stage.set(0, true);
        stage.fail("a", 3);
        stage.now += SECOND;
        let (shared, under_way) = (&stage, AtomicBool::new(false));
        let trials: usize = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| {
                scope.spawn(|| {
                    let handle = shared.pick().expect("a or b");
                    let trial = handle.is_trial();
                    if trial {
                        assert!(!under_way.swap(true, SeqCst));
                    }
                    // Kept until all have picked.
                    (trial, handle)
                })
            });
            let done = threads.map(|thread| thread.join().expect("no panic"));
            done.iter().filter(|(trial, _)| *trial).count()
        });
        assert_eq!(trials, 1);
    }
}
