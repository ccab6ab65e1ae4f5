//! The schedule, run through hours of made-up time.

use std::collections::BTreeMap;

use super::*;

const GROUP: GroupId = 7;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn pace(healthy: f64, unhealthy: f64, concurrency: u32) -> Pace {
    let interval = |length: f64| Some(seconds(length)).filter(|length| !length.is_zero());
    Pace {
        healthy: interval(healthy),
        unhealthy: interval(unhealthy),
        concurrency,
    }
}

fn subject(name: u32, healthy: bool) -> Subject<u32> {
    Subject {
        name: name.to_string().into(),
        healthy,
        what: name,
    }
}

fn healthy(names: impl IntoIterator<Item = u32>) -> Vec<Subject<u32>> {
    names.into_iter().map(|name| subject(name, true)).collect()
}

/// A schedule and the probes under way by it, each of which takes as long.
struct Run {
    schedule: Schedule<u32>,
    start: Instant,
    now: Instant,
    takes: Duration,
    under_way: BTreeMap<Instant, Vec<EntryId>>,
    /// Who began when.
    begun: Vec<(f64, u32)>,
    most: usize,
}

impl Run {
    fn new(limit: usize, takes: Duration) -> Self {
        let now = Instant::now();
        Self {
            schedule: Schedule::new(limit, 11),
            start: now,
            now,
            takes,
            under_way: BTreeMap::new(),
            begun: Vec::new(),
            most: 0,
        }
    }

    fn set(&mut self, pace: Pace, subjects: impl IntoIterator<Item = Subject<u32>>) -> Vec<EntryId> {
        self.schedule.set(GROUP, pace, subjects, self.now)
    }

    /// Lets time go on, to so many seconds after the start.
    fn until(&mut self, end: f64) {
        let end = self.start + seconds(end);
        loop {
            while let Some((id, name)) = self.schedule.next(self.now) {
                self.begun.push(((self.now - self.start).as_secs_f64(), *name));
                self.under_way.entry(self.now + self.takes).or_default().push(id);
            }
            self.most = self.most.max(self.under_way.values().map(Vec::len).sum());
            let ended = self.under_way.first_key_value().map(|(at, _)| *at);
            let next = [self.schedule.due(), ended].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            for id in self.under_way.remove(&self.now).into_iter().flatten() {
                self.schedule.done(id, self.now);
            }
        }
        self.now = end;
    }

    fn count(&self, from: f64, to: f64) -> usize {
        let times = self.begun.iter().map(|(at, _)| *at);
        times.filter(|at| (from..to).contains(at)).count()
    }

    fn times_of(&self, name: u32) -> Vec<f64> {
        let of = self.begun.iter().filter(|(_, who)| *who == name);
        of.map(|(at, _)| *at).collect()
    }
}

#[test]
fn the_first_turn_comes_at_once_and_then_the_rate_holds_evenly() {
    let mut run = Run::new(1000, Duration::from_millis(3));
    run.set(pace(10.0, 1.0, 1000), healthy(0..200));
    run.until(1010.0);
    let rate = run.count(10.0, 1010.0) as f64 / 1000.0;
    assert!((19.0..21.0).contains(&rate), "{rate} a second instead of 20");
    let fullest = (1..1010).map(|second| run.count(f64::from(second), f64::from(second + 1)));
    let fullest = fullest.max().unwrap();
    assert!(fullest <= 60, "{fullest} within one second");
    for name in 0..200 {
        let times = run.times_of(name);
        assert!(times[0] < 0.2501, "at once, a little apart: {times:?}");
        let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps[0] <= 10.01, "{gaps:?}");
        assert!(
            gaps[1..].iter().all(|gap| (8.99..11.01).contains(gap)),
            "{gaps:?}"
        );
        assert!(
            gaps[1..].iter().any(|gap| (gap - gaps[1]).abs() > 0.1),
            "they vary: {gaps:?}"
        );
    }
}

#[test]
fn a_change_that_does_not_concern_them_changes_no_turn() {
    let run = |changes: bool| {
        let mut run = Run::new(100, Duration::from_millis(20));
        for second in 0..100 {
            if second == 0 || changes {
                assert!(run.set(pace(3.0, 1.0, 4), healthy(0..50)).is_empty());
            }
            run.until(f64::from(second) + 0.777);
        }
        run.begun
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn those_that_are_new_or_gone_disturb_no_other() {
    let mut run = Run::new(100, Duration::ZERO);
    run.set(pace(2.0, 0.0, 10), healthy([1, 2]));
    run.until(50.0);
    run.set(pace(2.0, 0.0, 10), healthy([1, 3]));
    run.until(100.0);
    assert_eq!(run.times_of(2).iter().filter(|at| **at > 50.0).count(), 0);
    assert!(run.times_of(3)[0] < 50.3);
    let gaps = run.times_of(1);
    let gaps = gaps.windows(2).skip(1).map(|pair| pair[1] - pair[0]);
    assert!(gaps.into_iter().all(|gap| (1.799..2.201).contains(&gap)));
    assert!(run.schedule.remove(GROUP).is_empty());
    assert_eq!((run.schedule.due(), run.schedule.entries.len()), (None, 0));
}

#[test]
fn no_more_at_once_than_a_group_may_and_than_all_may() {
    for (limit, concurrency, most) in [(100, 3, 3), (2, 10, 2), (1, 1, 1)] {
        let mut run = Run::new(limit, seconds(0.4));
        run.set(pace(1.0, 1.0, concurrency), healthy(0..20));
        run.until(30.0);
        assert_eq!(run.most, most);
        let expected = 30.0 / 0.4 * most as f64;
        let begun = run.begun.len() as f64;
        assert!(
            (begun - expected).abs() <= most as f64 + 1.0,
            "{begun} of {expected}"
        );
        let mut each = [0; 20];
        for (_, name) in &run.begun {
            each[*name as usize] += 1;
        }
        let (least, most) = (each.iter().min().unwrap(), each.iter().max().unwrap());
        assert!(most - least <= 2, "all have their turns: {each:?}");
    }
}

#[test]
fn groups_have_bounds_of_their_own() {
    let mut run = Run::new(100, seconds(100.0));
    let now = run.now;
    for group in 1..=3 {
        run.schedule.set(group, pace(1.0, 1.0, 2), healthy(0..5), now);
    }
    run.until(50.0);
    assert_eq!(run.begun.len(), 6);
}

#[test]
fn one_target_is_never_probed_twice_at_once() {
    let mut run = Run::new(100, seconds(2.5));
    run.set(pace(1.0, 1.0, 10), healthy([1]));
    run.until(100.0);
    let times = run.times_of(1);
    assert!(
        times.windows(2).all(|pair| pair[1] - pair[0] > 2.499),
        "{times:?}"
    );
    assert!(times.len() >= 39, "the next follows at once: {}", times.len());
}

#[test]
fn those_that_are_out_are_probed_at_their_own_interval() {
    let mut run = Run::new(100, Duration::ZERO);
    run.set(pace(100.0, 1.0, 10), [subject(1, true)]);
    run.until(10.0);
    run.set(pace(100.0, 1.0, 10), [subject(1, false)]);
    run.until(30.0);
    let soon = run.count(10.0, 30.0);
    assert!((18..=22).contains(&soon), "{soon} in 20 s");
    run.set(pace(100.0, 1.0, 10), [subject(1, true)]);
    run.until(331.0);
    let rare = run.count(31.1, 331.0);
    assert!((2..=4).contains(&rare), "{rare} in 300 s");
}

#[test]
fn an_interval_of_none_is_no_probe_until_health_changes() {
    let mut run = Run::new(100, Duration::ZERO);
    run.set(pace(0.0, 2.0, 10), [subject(1, true)]);
    run.until(1000.0);
    assert_eq!((run.begun.len(), run.schedule.due()), (0, None));
    run.set(pace(0.0, 2.0, 10), [subject(1, false)]);
    run.until(1002.0);
    assert!(!run.begun.is_empty(), "within the interval");
    run.set(pace(0.0, 2.0, 10), [subject(1, true)]);
    let begun = run.begun.len();
    run.until(2000.0);
    assert_eq!(run.begun.len(), begun);
}

#[test]
fn a_target_that_leaves_while_it_is_probed_is_told_and_makes_room() {
    let mut run = Run::new(1, seconds(5.0));
    run.set(pace(1.0, 1.0, 1), healthy([1]));
    run.until(1.0);
    let running: Vec<_> = run.under_way.values().flatten().copied().collect();
    assert_eq!(run.set(pace(1.0, 1.0, 1), healthy([2])), running);
    run.until(2.0);
    assert_eq!(
        run.begun.last().map(|(_, name)| *name),
        Some(2),
        "it need not wait"
    );
    run.until(60.0);
    assert_eq!(run.times_of(1).len(), 1);
    assert!(run.times_of(2).len() >= 10);
    let running: Vec<_> = run.under_way.values().flatten().copied().collect();
    assert_eq!((running.len(), run.schedule.remove(GROUP)), (1, running));
    assert_eq!(run.schedule.running, 0);
}

#[test]
fn a_target_listed_twice_is_one() {
    let mut run = Run::new(10, Duration::ZERO);
    run.set(pace(1.0, 1.0, 10), healthy([1, 1]));
    run.until(100.0);
    assert!((90..=112).contains(&run.begun.len()), "{}", run.begun.len());
}

/// Long random histories keep the books.
#[test]
fn the_counts_of_what_runs_hold_through_any_history() {
    let mut rng = fastrand::Rng::with_seed(3);
    let mut run = Run::new(5, seconds(0.3));
    let mut at = 0.0;
    for _ in 0..3000 {
        let group = rng.u64(1..4);
        let now = run.now;
        if rng.u8(..) < 20 {
            run.schedule.remove(group);
        } else {
            let (listed, well) = (rng.u32(..), rng.u32(..));
            let listed = (0..8).filter(|name| listed >> name & 1 == 1);
            let subjects: Vec<_> = listed.map(|name| subject(name, well >> name & 1 == 1)).collect();
            let pace = pace(
                f64::from(rng.u8(0..3)),
                f64::from(rng.u8(0..3)) / 4.0,
                rng.u32(1..4),
            );
            run.schedule.set(group, pace, subjects, now);
        }
        at += rng.f64();
        run.until(at);
        let schedule = &run.schedule;
        let running = |group: Option<GroupId>| {
            let entries = schedule
                .entries
                .values()
                .filter(|entry| group.is_none_or(|id| entry.group == id));
            entries
                .filter(|entry| matches!(entry.state, State::Running(_)))
                .count()
        };
        assert_eq!(schedule.running, running(None));
        assert!(schedule.running <= 5);
        for (id, group) in &schedule.groups {
            assert_eq!(group.running as usize, running(Some(*id)));
            let mut known: Vec<_> = group.members.values().copied().collect();
            let mut kept: Vec<_> = schedule
                .entries
                .iter()
                .filter(|(_, entry)| entry.group == *id)
                .map(|(id, _)| *id)
                .collect();
            known.sort_unstable();
            kept.sort_unstable();
            assert_eq!(known, kept);
        }
    }
    assert!(run.begun.len() > 1000, "{}", run.begun.len());
}
