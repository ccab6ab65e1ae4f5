//! The machine against naive ones, and the way back.

mod history;
mod probes;

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

const OUTCOMES: [Outcome; 8] = [
    Outcome::Success,
    Outcome::ConnectFailed,
    Outcome::TimedOut,
    Outcome::Broken,
    Outcome::Status(200),
    Outcome::Status(404),
    Outcome::Status(500),
    Outcome::Status(504),
];

fn counters(limits: [u8; 4]) -> Counters {
    let [successes, tcp_failures, timeouts, http_failures] = limits;
    Counters {
        statuses: true,
        successes,
        healthy: [200].into_iter().collect(),
        tcp_failures,
        timeouts,
        http_failures,
        unhealthy: [500].into_iter().collect(),
    }
}

fn checks(passive: Passive) -> Checks {
    Checks {
        passive,
        ..Checks::default()
    }
}

fn attempt(outcome: Outcome, seen: u64) -> Report {
    Report {
        outcome,
        trial: false,
        seen,
        chance: 0,
    }
}

fn trial(outcome: Outcome) -> Report {
    Report {
        outcome,
        trial: true,
        seen: 0,
        chance: 0,
    }
}

fn after(start: Instant, seconds: f64) -> Instant {
    start + Duration::from_secs_f64(seconds)
}

/// lua-resty-healthcheck as it is written: names of states, named counters, `incr_counter`.
#[derive(Default)]
struct Kong {
    state: &'static str,
    counter: std::collections::BTreeMap<&'static str, u32>,
}

impl Kong {
    fn healthy() -> Self {
        Self {
            state: "healthy",
            ..Self::default()
        }
    }

    fn report(&mut self, limits: [u8; 4], outcome: Outcome) {
        let [successes, tcp, timeouts, http] = limits.map(u32::from);
        match outcome {
            Outcome::Status(504) | Outcome::TimedOut => self.incr("unhealthy", timeouts, "timeout"),
            Outcome::ConnectFailed | Outcome::TlsFailed | Outcome::Broken => {
                self.incr("unhealthy", tcp, "tcp");
            }
            Outcome::Success | Outcome::Status(200) => self.incr("healthy", successes, "success"),
            Outcome::Status(500) | Outcome::Unreadable | Outcome::NotServing => {
                self.incr("unhealthy", http, "http");
            }
            Outcome::Status(_) => {}
        }
    }

    fn incr(&mut self, report: &'static str, limit: u32, name: &'static str) {
        if limit == 0 || report == self.state {
            return;
        }
        *self.counter.entry(name).or_default() += 1;
        let count = self.counter[name];
        self.counter
            .retain(|kept, _| (*kept == "success") == (name == "success"));
        let failures = self.counter.keys().any(|kept| *kept != "success");
        if count >= limit {
            self.state = report;
        } else if self.state == "healthy" && failures {
            self.state = "mostly_healthy";
        } else if self.state == "unhealthy" && !failures {
            self.state = "mostly_unhealthy";
        }
    }
}

proptest! {
    #[test]
    fn counters_move_as_kong_s_do(
        limits in [0_u8..4, 0_u8..4, 0_u8..4, 0_u8..4],
        history in prop::collection::vec(prop::sample::select(&OUTCOMES[..]), 0..200),
    ) {
        let checks = checks(Passive::Counters(Box::new(counters(limits))));
        let mut health = Health::default();
        let mut kong = Kong::healthy();
        let now = Instant::now();
        for (place, outcome) in history.into_iter().enumerate() {
            let before = health.is_healthy();
            let transition = health.observe(&checks, &attempt(outcome, place as u64 + 1), || false, now);
            kong.report(limits, outcome);
            let state = match health.phase {
                Phase::Healthy => "healthy",
                Phase::MostlyHealthy => "mostly_healthy",
                Phase::Unhealthy => "unhealthy",
                Phase::MostlyUnhealthy => "mostly_unhealthy",
            };
            prop_assert_eq!(state, kong.state, "report {} of {:?}", place, outcome);
            prop_assert_eq!(transition.map(|t| t.healthy), (before != health.is_healthy()).then_some(!before));
            prop_assert_eq!(health.is_healthy(), health.condition().trial.is_none(), "out has a way back");
        }
    }

    #[test]
    fn the_window_counts_as_a_list_of_all_attempts_would(
        in_a_row in 2_u32..6,
        failures in 2_u32..9,
        percent in 1_u8..=100,
        history in prop::collection::vec((0_u64..4_000, prop::bool::weighted(0.6)), 0..150),
        skips in any::<bool>(),
    ) {
        let window = Window { in_a_row, failures, percent, ..Window::default() };
        let checks = checks(Passive::Window(window));
        let start = Instant::now();
        let (mut health, mut now) = (Health::default(), start);
        // What happened since the target was last let in: the step of the window, and whether it failed.
        let mut list: Vec<(u128, bool)> = Vec::new();
        let mut origin = None;
        for (seen, (pause, failed)) in (1..).zip(history) {
            now += Duration::from_millis(pause);
            let outcome = if failed { Outcome::Broken } else { Outcome::Status(500) };
            let transition = if !failed && skips && !health.heeds_success(&checks) {
                None // as a caller may do
            } else {
                health.observe(&checks, &attempt(outcome, seen), || true, now)
            };
            let first = *origin.get_or_insert(now);
            if !failed && !list.iter().any(|(_, failed)| *failed) {
                origin = None; // the first failure is when time begins
            }
            let step = now.duration_since(first).as_millis() / 2000;
            list.push((step, failed));
            let row = list.iter().rev().take_while(|(_, failed)| *failed).count() as u32;
            let in_window = |(at, failed): &(u128, bool)| *failed && at + 5 > step;
            let recent = list.iter().filter(|at| in_window(at)).count() as u32;
            let of = list.iter().position(in_window).map_or(0, |place| list.len() - place);
            let share = recent as usize * 100 >= of * usize::from(percent);
            let out = failed && (row >= in_a_row || (recent >= failures && share));
            prop_assert_eq!(transition.is_some(), out, "{} {} {} of {}", seen, row, recent, of);
            match transition.map(|t| t.reason) {
                Some(Reason::InARow { failures, .. }) => prop_assert_eq!(failures, row),
                Some(Reason::Recent { failures, of: among, .. }) => {
                    prop_assert_eq!((failures, among), (recent, of as u64));
                }
                other => prop_assert_eq!(other, None),
            }
            if out {
                let back = health.observe(&checks, &trial(Outcome::Status(200)), || false, now);
                prop_assert_eq!(back.map(|t| t.reason), Some(Reason::TrialSucceeded));
                list.clear();
                origin = None;
            }
        }
    }

    #[test]
    fn whatever_happened_there_is_a_way_back(
        limits in prop::option::of([0_u8..4, 0_u8..4, 0_u8..4, 0_u8..4]),
        history in prop::collection::vec(
            (0_u64..90_000, prop::sample::select(&OUTCOMES[..]), any::<bool>()),
            0..120,
        ),
        answer in prop::sample::select(vec![Outcome::Success, Outcome::Status(200), Outcome::Status(404)]),
    ) {
        let passive = limits.map_or_else(Passive::default, |limits| Passive::Counters(Box::new(counters(limits))));
        let checks = checks(passive);
        let (mut health, mut now) = (Health::default(), Instant::now());
        for (seen, (pause, outcome, trial)) in (1..).zip(history) {
            now += Duration::from_millis(pause);
            let trial = trial && health.condition().trial.is_some_and(|due| due <= now);
            let report = Report { outcome, trial, seen, chance: seen.wrapping_mul(0x9e37_79b9) as u32 };
            let transition = health.observe(&checks, &report, || true, now);
            if let Some(Transition { healthy: false, pause, .. }) = transition {
                let pause = pause.expect("nobody holds it");
                prop_assert!(pause >= checks.ejection.first.mul_f64(0.8) && pause <= checks.ejection.longest);
                prop_assert_eq!(health.condition().trial, Some(now + pause));
            }
        }
        let successes = limits.map_or(1, |[successes, ..]| successes.max(1));
        for _ in 0..successes {
            if let Some(due) = health.condition().trial {
                prop_assert!(due <= now + checks.ejection.longest);
                now = now.max(due);
                health.observe(&checks, &trial(answer), || false, now);
            }
        }
        prop_assert!(health.is_healthy(), "{:?}", health);
    }
}

#[test]
fn three_failures_in_a_row_are_out_and_a_success_in_between_is_not() {
    let (checks, now) = (Checks::default(), Instant::now());
    let mut health = Health::default();
    let mut report = |outcome| health.observe(&checks, &attempt(outcome, 100), || true, now);
    let (failed, fine) = (Outcome::ConnectFailed, Outcome::Status(503));
    for outcome in [failed, failed, fine, failed, failed] {
        assert_eq!(report(outcome), None);
    }
    let transition = report(Outcome::TimedOut).expect("the third");
    assert_eq!(
        transition.reason.to_string(),
        "3 failures in a row, the last: no answer in time"
    );
    assert_eq!(
        (transition.healthy, transition.pause),
        (false, Some(Duration::from_secs(1)))
    );
}

#[test]
fn without_room_it_stays_and_goes_with_the_next_failure_that_finds_some() {
    let (checks, now) = (Checks::default(), Instant::now());
    let mut health = Health::default();
    let report = attempt(Outcome::Broken, 1);
    for _ in 0..9 {
        assert_eq!(health.observe(&checks, &report, || false, now), None);
    }
    let reason = health
        .observe(&checks, &report, || true, now)
        .expect("room")
        .reason;
    let last = Outcome::Broken;
    assert_eq!(reason, Reason::InARow { failures: 10, last });
}

#[test]
fn pauses_grow_with_failed_trials_and_relapses_and_start_over_after_a_calm_time() {
    let (checks, start) = (Checks::default(), Instant::now());
    let mut health = Health::default();
    let fail = |health: &mut Health, at| {
        (0..3)
            .find_map(|_| health.observe(&checks, &attempt(Outcome::Broken, 1), || true, at))
            .and_then(|transition| transition.pause)
            .map(|pause| pause.as_secs())
    };
    let try_it = |health: &mut Health, outcome, at| {
        let transition = health
            .observe(&checks, &trial(outcome), || false, at)
            .expect("news");
        transition.pause.map(|pause| pause.as_secs())
    };
    assert_eq!(fail(&mut health, start), Some(1));
    for (at, pause) in [(1, 2), (3, 4), (7, 8), (15, 16), (31, 32), (63, 60), (123, 60)] {
        let at = after(start, at.into());
        assert_eq!(health.condition().trial, Some(at));
        assert_eq!(try_it(&mut health, Outcome::ConnectFailed, at), Some(pause));
        assert_eq!(health.condition().since, Some(start), "out all the time");
    }
    assert_eq!(
        try_it(&mut health, Outcome::Status(200), after(start, 183.0)),
        None
    );
    assert!(health.is_healthy());
    assert_eq!(fail(&mut health, after(start, 240.0)), Some(60), "a relapse");
    assert_eq!(
        try_it(&mut health, Outcome::Status(500), after(start, 300.0)),
        None
    );
    assert_eq!(
        fail(&mut health, after(start, 360.0)),
        Some(1),
        "well for a minute"
    );
}

#[test]
fn what_was_under_way_when_a_target_went_out_says_nothing() {
    let (checks, now) = (Checks::default(), Instant::now());
    let mut health = Health::default();
    for _ in 0..3 {
        health.observe(&checks, &attempt(Outcome::Broken, 1), || true, now);
    }
    let before = health.clone();
    for outcome in OUTCOMES {
        assert_eq!(health.observe(&checks, &attempt(outcome, 9), || true, now), None);
    }
    assert_eq!(health, before);
}

#[test]
fn an_operator_s_word_stands() {
    let (checks, now) = (Checks::default(), Instant::now());
    let mut health = Health::default();
    assert_eq!(health.set(true, now), None, "it was in");
    let transition = health.set(false, now).expect("news");
    assert_eq!((transition.healthy, transition.pause), (false, None));
    assert_eq!(
        health.condition().reason.map(|r| r.to_string()).as_deref(),
        Some("set by an operator")
    );
    assert_eq!(health.set(false, now), None, "it was out");
    for outcome in OUTCOMES {
        assert_eq!(health.observe(&checks, &attempt(outcome, 1), || true, now), None);
        assert_eq!(health.observe(&checks, &trial(outcome), || true, now), None);
    }
    assert_eq!(health.release(Reason::TooFewLeft, now), None);
    assert!(health.set(true, now).expect("news").healthy);
    assert_eq!(health.set(true, now), None);

    // One that is out by itself is held from now on.
    for _ in 0..3 {
        health.observe(&checks, &attempt(Outcome::Broken, 1), || true, now);
    }
    assert!(!health.is_held() && health.set(false, now).is_some() && health.is_held());
}

#[test]
fn an_operator_s_healthy_forgets_what_was_counted() {
    let checks = checks(Passive::Counters(Box::new(counters([0, 2, 0, 0]))));
    let (mut health, now) = (Health::default(), Instant::now());
    let report = attempt(Outcome::ConnectFailed, 1);
    for _ in 0..5 {
        assert_eq!(health.observe(&checks, &report, || false, now), None);
        assert_eq!(health.set(true, now), None);
    }
    health.observe(&checks, &report, || false, now);
    let reason = health
        .observe(&checks, &report, || false, now)
        .expect("two in a row")
        .reason;
    assert_eq!(
        reason.to_string(),
        "tcp_failures reached 2, the last: no connection"
    );
}

#[test]
fn with_kong_s_counters_trials_collect_the_successes_one_by_one() {
    let checks = checks(Passive::Counters(Box::new(counters([3, 1, 0, 1]))));
    let (mut health, now) = (Health::default(), Instant::now());
    let out = health.observe(&checks, &attempt(Outcome::ConnectFailed, 1), || false, now);
    assert!(out.is_some_and(|transition| !transition.healthy));
    let mut report = |outcome| health.observe(&checks, &trial(outcome), || false, now);
    assert_eq!(report(Outcome::Status(200)), None);
    assert_eq!(report(Outcome::Status(404)), None);
    let failed = report(Outcome::Status(500)).expect("a trial that failed");
    assert_eq!(failed.reason.to_string(), "tried again in vain: status 500");
    assert_eq!(failed.pause, Some(Duration::from_secs(2)));
    assert_eq!(report(Outcome::Status(200)), None, "from the start");
    assert_eq!(report(Outcome::Status(200)), None);
    let back = report(Outcome::Status(200)).expect("the third");
    assert_eq!(
        (back.healthy, &*back.reason.to_string()),
        (true, "successes reached 3")
    );
}

#[test]
fn a_refused_trial_fails_even_where_kong_counts_no_refusals() {
    let checks = checks(Passive::Counters(Box::new(counters([0, 0, 0, 1]))));
    let (mut health, now) = (Health::default(), Instant::now());
    assert!(
        health
            .observe(&checks, &attempt(Outcome::Status(500), 1), || false, now)
            .is_some()
    );
    let failed = health.observe(&checks, &trial(Outcome::ConnectFailed), || false, now);
    assert!(failed.is_some_and(|transition| !transition.healthy));
}
