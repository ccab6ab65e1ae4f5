//! The whole machine through long histories, beside one that keeps everything and answers from all of it.

use super::*;

/// What happens to a target.
#[derive(Clone, Copy, Debug)]
enum Event {
    Request(Outcome),
    /// A request that was let through to a target that is out, if its trial is due.
    Trial(Outcome),
    Probe(Outcome),
    Operator(bool),
    /// More than half of the targets would be out.
    Crowd,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    In,
    Out { due: Instant, by_probes: bool },
    Held,
}

/// An attempt since the target was let in.
struct Entry {
    at: Instant,
    failed: bool,
    probe: bool,
}

struct Naive<'c> {
    checks: &'c Checks,
    place: Place,
    kong: Kong,
    entries: Vec<Entry>,
    /// When it went out or came in, and whether that says anything of how well it keeps.
    last: Option<(Instant, bool)>,
    doublings: u32,
}

impl<'c> Naive<'c> {
    fn new(checks: &'c Checks) -> Self {
        Self {
            checks,
            place: Place::In,
            kong: Kong::healthy(),
            entries: Vec::new(),
            last: None,
            doublings: 0,
        }
    }

    /// Whether it is in now, if that has changed, or a trial has failed.
    fn take(&mut self, event: Event, room: bool, now: Instant) -> Option<bool> {
        match event {
            Event::Operator(into) => self.operator(into, now),
            _ if self.place == Place::Held => None,
            Event::Crowd if self.place == Place::In => None,
            Event::Crowd => self.let_in(now),
            Event::Request(outcome) => self.request(outcome, room, now),
            Event::Trial(outcome) => self.trial(outcome, now),
            Event::Probe(outcome) => self.probe(outcome, room, now),
        }
    }

    fn operator(&mut self, into: bool, now: Instant) -> Option<bool> {
        let changes = if into {
            self.place != Place::In
        } else {
            self.place != Place::Held
        };
        (self.kong, self.entries) = (Kong::healthy(), Vec::new());
        if changes {
            self.place = if into { Place::In } else { Place::Held };
            self.last = Some((now, false));
            self.doublings = 0;
        }
        changes.then_some(into)
    }

    fn request(&mut self, outcome: Outcome, room: bool, now: Instant) -> Option<bool> {
        match &self.checks.passive {
            Passive::Off => None,
            Passive::Window(window) => {
                let failed = outcome.transport_failure().is_some();
                self.enter(window, failed, false, room, now)
            }
            Passive::Counters(counters) => {
                self.kong.report(limits(counters), outcome);
                self.heed_kong(false, now)
            }
        }
    }

    fn trial(&mut self, outcome: Outcome, now: Instant) -> Option<bool> {
        let counters = match &self.checks.passive {
            Passive::Counters(counters) => Some(counters),
            _ => None,
        };
        let status = matches!(outcome, Outcome::Status(500 | 504));
        let counted = counters.is_some_and(|c| match outcome {
            Outcome::Status(500) => c.http_failures > 0,
            Outcome::Status(504) => c.timeouts > 0,
            _ => false,
        });
        if outcome.transport_failure().is_some() || (status && counted) {
            if let Some(counters) = counters {
                self.kong.report(limits(counters), outcome);
            }
            self.doublings += 1;
            self.put_out(false, now);
            return Some(false);
        }
        match counters.filter(|counters| counters.successes > 0) {
            Some(counters) => {
                self.kong.report(limits(counters), Outcome::Success);
                self.heed_kong(false, now)
            }
            None => self.let_in(now),
        }
    }

    fn probe(&mut self, outcome: Outcome, room: bool, now: Instant) -> Option<bool> {
        let active = self.checks.active.as_deref()?;
        let of_kong = matches!(self.checks.passive, Passive::Counters(_));
        let failed = matches!(
            outcome,
            Outcome::ConnectFailed | Outcome::TimedOut | Outcome::Broken | Outcome::Status(500)
        );
        // Of a probe 504 is a status as any other, and in no list here.
        let says_nothing = match outcome {
            Outcome::Status(404 | 504) => true,
            Outcome::Status(500) => limits(active)[3] == 0,
            _ => false,
        };
        // But it answers, which is more than the requests got that put it out.
        let is_back = matches!(self.place, Place::Out { due, by_probes: false } if now >= due);
        let (outcome, failed) = if says_nothing && is_back && !of_kong {
            (Outcome::Status(200), false)
        } else {
            (outcome, failed)
        };
        if matches!(outcome, Outcome::Status(404 | 504)) {
            return None;
        }
        if of_kong {
            self.kong.report(limits(active), outcome);
            return self.heed_kong(true, now);
        }
        let limited = limits(active)[1..].iter().any(|limit| *limit > 0);
        match (&self.checks.passive, self.place) {
            (Passive::Window(window), Place::In) if !limited => self.enter(window, failed, true, room, now),
            (
                _,
                Place::Out {
                    due,
                    by_probes: false,
                },
            ) if !failed && now < due => None,
            _ => {
                // One success at least, and it always clears.
                let [successes, rest @ ..] = limits(active);
                self.kong
                    .report([successes.max(1), rest[0], rest[1], rest[2]], outcome);
                if successes == 0 && !failed {
                    self.kong.state = "healthy";
                }
                self.heed_kong(true, now)
            }
        }
    }

    /// By the window: too many in a row, or too many of those in it.
    fn enter(
        &mut self,
        window: &Window,
        failed: bool,
        probe: bool,
        room: bool,
        now: Instant,
    ) -> Option<bool> {
        if self.place != Place::In {
            return None;
        }
        self.entries.push(Entry {
            at: now,
            failed,
            probe,
        });
        if !failed {
            return None;
        }
        let first = self.entries.iter().find(|entry| entry.failed)?.at;
        let step = |at: Instant| (at - first).as_nanos() / (window.span / 5).as_nanos();
        let recent = |entry: &Entry| entry.failed && step(entry.at) + 5 > step(now);
        let in_a_row = self.entries.iter().rev().take_while(|entry| entry.failed).count();
        let failures = self.entries.iter().filter(|entry| recent(entry)).count();
        let since = self.entries.iter().position(recent)?;
        let later = self.entries[since + 1..]
            .iter()
            .filter(|entry| !entry.probe)
            .count();
        let of = (later + 1).max(failures);
        let too_much = in_a_row >= window.in_a_row as usize
            || (failures >= window.failures as usize && failures * 100 >= of * usize::from(window.percent));
        if !(too_much && room) {
            return None;
        }
        self.go_out(false, now);
        self.kong = Kong {
            state: "unhealthy",
            ..Kong::default()
        };
        Some(false)
    }

    fn heed_kong(&mut self, by_probes: bool, now: Instant) -> Option<bool> {
        let serving = matches!(self.kong.state, "healthy" | "mostly_healthy");
        match self.place {
            Place::In if !serving => {
                self.go_out(by_probes, now);
                Some(false)
            }
            Place::Out { .. } if serving => self.let_in(now),
            _ => None,
        }
    }

    fn go_out(&mut self, by_probes: bool, now: Instant) {
        let relapse = self
            .last
            .is_some_and(|(at, tells)| tells && now - at < self.checks.ejection.longest);
        self.doublings = if relapse { self.doublings + 1 } else { 0 };
        self.last = Some((now, true));
        self.put_out(by_probes, now);
    }

    fn put_out(&mut self, by_probes: bool, now: Instant) {
        let Ejection { first, longest, .. } = self.checks.ejection;
        let pause = first * 2_u32.pow(self.doublings.min(20));
        self.place = Place::Out {
            due: now + pause.min(longest),
            by_probes,
        };
    }

    fn let_in(&mut self, now: Instant) -> Option<bool> {
        self.place = Place::In;
        (self.kong, self.entries) = (Kong::healthy(), Vec::new());
        self.last = Some((now, true));
        Some(true)
    }
}

fn limits(counters: &Counters) -> [u8; 4] {
    [
        counters.successes,
        counters.tcp_failures,
        counters.timeouts,
        counters.http_failures,
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let outcome = || prop::sample::select(&OUTCOMES[..]);
    prop_oneof![
        20 => outcome().prop_map(Event::Request),
        10 => outcome().prop_map(Event::Trial),
        10 => outcome().prop_map(Event::Probe),
        1 => any::<bool>().prop_map(Event::Operator),
        1 => Just(Event::Crowd),
    ]
}

fn passives() -> impl Strategy<Value = Passive> {
    prop_oneof![
        Just(Passive::Off),
        (2_u32..6, 2_u32..9, 1_u8..=100).prop_map(|(in_a_row, failures, percent)| {
            Passive::Window(Window {
                in_a_row,
                failures,
                percent,
                ..Window::default()
            })
        }),
        any_limits().prop_map(|limits| Passive::Counters(Box::new(counters(limits)))),
    ]
}

fn any_limits() -> impl Strategy<Value = [u8; 4]> {
    let limit = || prop_oneof![3 => 0_u8..4, 1 => Just(255)];
    [limit(), limit(), limit(), limit()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn through_long_histories_it_is_where_all_that_happened_puts_it(
        passive in passives(),
        active in prop::option::of(any_limits()),
        history in prop::collection::vec((prop_oneof![0_u64..500, 0_u64..20_000], event(), prop::bool::weighted(0.8)), 2000..4000),
    ) {
        let active = active.map(|limits| Box::new(counters(limits)));
        let checks = Checks { passive, active, ..Checks::default() };
        let (mut health, mut naive) = (Health::default(), Naive::new(&checks));
        let (mut now, mut seen) = (Instant::now(), 0);
        for (turn, (pause, event, room)) in history.into_iter().enumerate() {
            now += Duration::from_millis(pause);
            let due = health.condition().trial.is_some_and(|due| due <= now);
            let event = match event {
                Event::Trial(outcome) if !due => Event::Request(outcome),
                event => event,
            };
            seen += u64::from(matches!(event, Event::Request(_) | Event::Trial(_)));
            let report = |outcome, trial| Report { outcome, trial, seen, chance: 0 };
            let transition = match event {
                Event::Request(outcome) => health.observe(&checks, &report(outcome, false), || room, now),
                Event::Trial(outcome) => health.observe(&checks, &report(outcome, true), || room, now),
                Event::Probe(outcome) => health.probed(&checks, &report(outcome, false), || room, now),
                Event::Operator(into) => health.set(into, now),
                Event::Crowd => health.release(Reason::TooFewLeft, now),
            };
            let expected = naive.take(event, room, now);
            prop_assert_eq!(transition.map(|t| t.healthy), expected, "{}: {:?} {:?}", turn, event, transition);
            let condition = health.condition();
            let place = match condition.trial {
                _ if condition.healthy => Place::In,
                None => Place::Held,
                Some(due) => {
                    let by_probes = matches!(condition.reason, Some(Reason::Probes { .. }));
                    Place::Out { due, by_probes }
                }
            };
            prop_assert_eq!(place, naive.place, "{}: {:?}", turn, event);
            prop_assert_eq!(condition.held, place == Place::Held);
            if let Some(transition) = transition {
                prop_assert!(!transition.reason.to_string().is_empty());
            }
        }
    }
}
