//! What probes do, beside requests and alone.

use super::*;

fn probed(passive: Passive, active: [u8; 4]) -> Checks {
    Checks {
        active: Some(Box::new(counters(active))),
        ..checks(passive)
    }
}

fn probe(health: &mut Health, checks: &Checks, outcome: Outcome, now: Instant) -> Option<Transition> {
    health.probed(checks, &attempt(outcome, 7), || true, now)
}

fn kong(limits: [u8; 4]) -> Passive {
    Passive::Counters(Box::new(counters(limits)))
}

#[test]
fn requests_and_probes_share_kong_s_counters_and_have_limits_of_their_own() {
    let checks = probed(kong([0, 4, 0, 0]), [2, 2, 0, 0]);
    let (mut health, now) = (Health::default(), Instant::now());
    let request = attempt(Outcome::ConnectFailed, 1);
    assert_eq!(health.observe(&checks, &request, || false, now), None);
    let out = probe(&mut health, &checks, Outcome::ConnectFailed, now).expect("one by each");
    assert_eq!(
        out.reason.to_string(),
        "tcp_failures of probes reached 2, the last: no connection"
    );
    assert_eq!(probe(&mut health, &checks, Outcome::Status(200), now), None);
    let back = probe(&mut health, &checks, Outcome::Status(200), now).expect("the second, pause or not");
    assert_eq!(
        (back.healthy, &*back.reason.to_string()),
        (true, "2 probes in a row succeeded")
    );
}

#[test]
fn with_kong_s_counters_a_limit_of_nothing_makes_probes_nothing() {
    let checks = probed(kong([0, 1, 0, 0]), [0, 0, 0, 0]);
    let (mut health, now) = (Health::default(), Instant::now());
    assert!(!checks.probes_heal());
    for outcome in OUTCOMES {
        assert_eq!(probe(&mut health, &checks, outcome, now), None);
    }
    assert!(
        health
            .observe(&checks, &attempt(Outcome::Broken, 1), || false, now)
            .is_some()
    );
    assert_eq!(
        probe(&mut health, &checks, Outcome::Status(200), after(now, 100.0)),
        None
    );
}

#[test]
fn a_limit_of_255_is_reached() {
    let checks = probed(kong([255, 255, 0, 0]), [255, 0, 0, 255]);
    let (mut health, now) = (Health::default(), Instant::now());
    let mut times = |outcome, probes| {
        let turn = |_: &i32| {
            let report = attempt(outcome, 1);
            if probes {
                health.probed(&checks, &report, || false, now).is_some()
            } else {
                health.observe(&checks, &report, || false, now).is_some()
            }
        };
        (1..=300).find(turn)
    };
    assert_eq!(times(Outcome::ConnectFailed, false), Some(255));
    assert_eq!(times(Outcome::Status(200), true), Some(255));
    assert_eq!(times(Outcome::Status(500), true), Some(255));
    assert_eq!(times(Outcome::Success, false), Some(255));
}

#[test]
fn beside_a_window_a_probe_lets_in_when_the_pause_is_over() {
    let checks = probed(Passive::default(), [0, 3, 3, 3]);
    let (mut health, now) = (Health::default(), Instant::now());
    assert!(checks.probes_heal());
    for _ in 0..3 {
        health.observe(&checks, &attempt(Outcome::Broken, 1), || true, now);
    }
    assert!(!health.is_healthy());
    assert_eq!(
        probe(&mut health, &checks, Outcome::Status(200), after(now, 0.9)),
        None
    );
    assert_eq!(
        probe(&mut health, &checks, Outcome::ConnectFailed, after(now, 1.0)),
        None
    );
    let back = probe(&mut health, &checks, Outcome::Status(200), after(now, 1.1)).expect("over");
    assert_eq!(back.reason.to_string(), "a probe succeeded");
}

#[test]
fn whom_probes_have_put_out_they_let_in_at_once() {
    let checks = probed(Passive::default(), [2, 0, 0, 2]);
    let (mut health, now) = (Health::default(), Instant::now());
    assert_eq!(probe(&mut health, &checks, Outcome::Status(500), now), None);
    assert_eq!(
        probe(&mut health, &checks, Outcome::Status(200), now),
        None,
        "clears, though one of two"
    );
    assert_eq!(probe(&mut health, &checks, Outcome::Status(500), now), None);
    assert_eq!(
        probe(&mut health, &checks, Outcome::TimedOut, now),
        None,
        "no limit"
    );
    let out = probe(&mut health, &checks, Outcome::Status(500), now).expect("two");
    assert_eq!(
        out.reason.to_string(),
        "http_failures of probes reached 2, the last: status 500"
    );
    assert_eq!(probe(&mut health, &checks, Outcome::Status(200), now), None);
    assert_eq!(
        probe(&mut health, &checks, Outcome::Status(500), now),
        None,
        "from the start"
    );
    assert_eq!(probe(&mut health, &checks, Outcome::Status(200), now), None);
    assert!(probe(&mut health, &checks, Outcome::Status(200), now).is_some_and(|back| back.healthy));
}

#[test]
fn probes_without_limits_count_in_the_window() {
    let checks = probed(Passive::default(), [0, 0, 0, 0]);
    let (mut health, now) = (Health::default(), Instant::now());
    assert_eq!(probe(&mut health, &checks, Outcome::TimedOut, now), None);
    assert_eq!(
        health.observe(&checks, &attempt(Outcome::Broken, 8), || true, now),
        None
    );
    let out = probe(&mut health, &checks, Outcome::Status(500), now).expect("the third");
    assert_eq!(
        out.reason.to_string(),
        "3 failures in a row, the last: status 500"
    );
    assert!(
        probe(&mut health, &checks, Outcome::Status(200), after(now, 1.0)).is_some_and(|back| back.healthy)
    );
}

#[test]
fn where_requests_say_nothing_probes_alone_decide() {
    let checks = probed(Passive::Off, [1, 1, 1, 1]);
    let (mut health, now) = (Health::default(), Instant::now());
    assert_eq!(
        health.observe(&checks, &attempt(Outcome::Broken, 1), || true, now),
        None
    );
    assert!(probe(&mut health, &checks, Outcome::TimedOut, now).is_some_and(|out| !out.healthy));
    assert!(probe(&mut health, &checks, Outcome::Status(200), now).is_some_and(|back| back.healthy));
    let off = super::checks(Passive::Off);
    assert_eq!(
        probe(&mut health, &off, Outcome::TimedOut, now),
        None,
        "nobody probes"
    );
}

#[test]
fn probes_leave_what_an_operator_keeps_out() {
    let checks = probed(Passive::default(), [1, 1, 1, 1]);
    let (mut health, now) = (Health::default(), Instant::now());
    assert!(health.set(false, now).is_some());
    for outcome in OUTCOMES {
        assert_eq!(probe(&mut health, &checks, outcome, after(now, 1000.0)), None);
    }
    assert!(health.is_held());
}

#[test]
fn a_breaker_is_open_until_its_trial_is_due() {
    let (checks, now) = (Checks::default(), Instant::now());
    let mut health = Health::default();
    assert_eq!(health.condition().breaker(now), Breaker::Closed);
    for _ in 0..3 {
        health.observe(&checks, &attempt(Outcome::Broken, 1), || true, now);
    }
    assert_eq!(health.condition().breaker(after(now, 0.999)), Breaker::Open);
    assert_eq!(health.condition().breaker(after(now, 1.0)), Breaker::HalfOpen);
    health.set(false, now);
    assert_eq!(health.condition().breaker(after(now, 1000.0)), Breaker::Open);
}
