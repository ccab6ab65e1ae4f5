//! When each target is probed. Pure: time is an argument, chance is seeded.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// The targets of one upstream.
pub(super) type GroupId = u64;

/// One target in the schedule; never given twice.
pub(super) type EntryId = u64;

/// How often the targets of a group are probed, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// Those that are in; none = not at all.
    pub(super) healthy: Option<Duration>,
    /// Those that are out; none = not at all.
    pub(super) unhealthy: Option<Duration>,
    pub(super) concurrency: u32,
}

/// A target as it is now.
#[derive(Debug)]
pub(super) struct Subject<T> {
    /// By which it is known again.
    pub(super) name: Box<str>,
    pub(super) healthy: bool,
    /// What is handed back when its turn comes.
    pub(super) what: T,
}

/// Whose turn it is when: at most so many at once in all and in each group, never one target twice at once.
///
/// A new target's first turn comes at once. Then its turns come at the interval from a random moment on, each up to a
/// tenth of it early or late, so that targets that came together are not probed together.
#[derive(Debug)]
pub(super) struct Schedule<T> {
    groups: HashMap<GroupId, Group>,
    entries: HashMap<EntryId, Entry<T>>,
    /// Turns to come; one whose number is no longer its entry's has been changed.
    turns: BinaryHeap<Reverse<Turn>>,
    running: usize,
    limit: usize,
    last: u64,
    rng: fastrand::Rng,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    due: Instant,
    number: u64,
    entry: EntryId,
}

#[derive(Debug)]
struct Group {
    pace: Pace,
    members: HashMap<Box<str>, EntryId>,
    running: u32,
    /// Those whose turn has come while as many were running as may. Invariant: each is its entry's next turn.
    waiting: VecDeque<Turn>,
}

#[derive(Debug)]
struct Entry<T> {
    group: GroupId,
    healthy: bool,
    what: T,
    /// The interval that its turns keep; none before the second.
    rhythm: Option<Duration>,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// It is not to be probed as it is.
    Idle,
    /// The turn with this number is its next.
    Due(u64),
    /// The turn was due then, and counts from then.
    Running(Instant),
}

/// Bound: how long the first turns of targets that come together are spread.
const SPREAD: Duration = Duration::from_millis(250);

impl<T> Schedule<T> {
    /// A schedule by which at most `limit` targets are probed at once.
    pub(super) fn new(limit: usize, seed: u64) -> Self {
        Self {
            groups: HashMap::new(),
            entries: HashMap::new(),
            turns: BinaryHeap::new(),
            running: 0,
            limit,
            last: 0,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Takes a group's targets as they are now. Those that stay keep their turns, unless their interval has changed;
    /// hands back those that have gone while they were running.
    pub(super) fn set(
        &mut self,
        group: GroupId,
        pace: Pace,
        subjects: impl IntoIterator<Item = Subject<T>>,
        now: Instant,
    ) -> Vec<EntryId> {
        let before = self.groups.remove(&group);
        let (mut old, running, waiting) = before.map_or_else(Default::default, |before| {
            (before.members, before.running, before.waiting)
        });
        let mut members = HashMap::with_capacity(old.len());
        for Subject { name, healthy, what } in subjects {
            if members.contains_key(&name) {
                continue; // listed twice: the first counts
            }
            let id = match old.remove(&name) {
                Some(id) => {
                    if let Some(entry) = self.entries.get_mut(&id) {
                        (entry.healthy, entry.what) = (healthy, what);
                    }
                    self.settle(id, pace, now);
                    id
                }
                None => self.admit(group, pace, healthy, what, now),
            };
            members.insert(name, id);
        }
        let group_now = Group {
            pace,
            members,
            running,
            waiting: VecDeque::new(),
        };
        self.groups.insert(group, group_now);
        // More may run at once now, or fewer: they queue again.
        self.turns.extend(waiting.into_iter().map(Reverse));
        old.into_values().filter(|id| self.drop_entry(*id)).collect()
    }

    /// Forgets a group; hands back those that were running.
    pub(super) fn remove(&mut self, group: GroupId) -> Vec<EntryId> {
        let Some(gone) = self.groups.remove(&group) else {
            return Vec::new();
        };
        let members = gone.members.into_values();
        members.filter(|id| self.drop_entry(*id)).collect()
    }

    /// The next target whose turn has come; it is running from now on, until it is [`done`](Self::done).
    pub(super) fn next(&mut self, now: Instant) -> Option<(EntryId, &T)> {
        while self.running < self.limit {
            let Reverse(turn) = *self.turns.peek()?;
            if turn.due > now {
                return None;
            }
            self.turns.pop();
            let Some(entry) = self.entries.get_mut(&turn.entry) else {
                continue;
            };
            if !entry.is_next(turn.number) {
                continue;
            }
            let Some(group) = self.groups.get_mut(&entry.group) else {
                continue;
            };
            if group.running >= group.pace.concurrency {
                group.waiting.push_back(turn);
                continue;
            }
            group.running += 1;
            self.running += 1;
            entry.state = State::Running(turn.due);
            return self
                .entries
                .get(&turn.entry)
                .map(|entry| (turn.entry, &entry.what));
        }
        None
    }

    /// A target's probe has ended: its next turn follows.
    pub(super) fn done(&mut self, id: EntryId, now: Instant) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return; // it has left meanwhile
        };
        let State::Running(due) = entry.state else { return };
        entry.state = State::Idle;
        self.running -= 1;
        let Some(group) = self.groups.get_mut(&entry.group) else {
            return;
        };
        group.running -= 1;
        let pace = group.pace;
        self.turns.extend(group.waiting.pop_front().map(Reverse));
        let Some(interval) = pace.interval(entry.healthy) else {
            return;
        };
        if entry.rhythm != Some(interval) {
            return self.settle(id, pace, now);
        }
        // Counted from when it was due, so that being a little late does not add up.
        let next = due + interval.mul_f64(0.9 + 0.2 * self.rng.f64());
        let next = next.max(now);
        self.plan(id, next);
    }

    /// When the next turn comes; none if there is none, or only room is awaited.
    pub(super) fn due(&mut self) -> Option<Instant> {
        if self.running >= self.limit {
            return None;
        }
        while let Some(Reverse(turn)) = self.turns.peek() {
            let entry = self.entries.get(&turn.entry);
            if entry.is_some_and(|entry| entry.is_next(turn.number)) {
                return Some(turn.due);
            }
            self.turns.pop();
        }
        None
    }

    /// What is handed back for this target.
    pub(super) fn what(&self, id: EntryId) -> Option<&T> {
        self.entries.get(&id).map(|entry| &entry.what)
    }

    fn admit(&mut self, group: GroupId, pace: Pace, healthy: bool, what: T, now: Instant) -> EntryId {
        self.last += 1;
        let id = self.last;
        self.entries.insert(
            id,
            Entry {
                group,
                healthy,
                what,
                rhythm: None,
                state: State::Idle,
            },
        );
        if let Some(interval) = pace.interval(healthy) {
            let first = interval.min(SPREAD).mul_f64(self.rng.f64());
            self.plan(id, now + first);
        }
        id
    }

    /// Brings an entry that is not running to the interval it has now: its turns follow from a random moment on.
    fn settle(&mut self, id: EntryId, pace: Pace, now: Instant) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let due = match entry.state {
            State::Running(_) => return,
            State::Due(_) => true,
            State::Idle => false,
        };
        let Some(interval) = pace.interval(entry.healthy) else {
            (entry.state, entry.rhythm) = (State::Idle, None);
            return;
        };
        // One that is due for the first time has no rhythm yet, and needs no other turn.
        let keeps = entry.rhythm.is_none_or(|rhythm| rhythm == interval);
        if due && keeps {
            return;
        }
        entry.rhythm = Some(interval);
        let next = now + interval.mul_f64(self.rng.f64());
        self.plan(id, next);
    }

    fn plan(&mut self, id: EntryId, due: Instant) {
        self.last += 1;
        let number = self.last;
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.state = State::Due(number);
            self.turns.push(Reverse(Turn {
                due,
                number,
                entry: id,
            }));
        }
    }

    /// Whether it was running.
    fn drop_entry(&mut self, id: EntryId) -> bool {
        let Some(entry) = self.entries.remove(&id) else {
            return false;
        };
        let running = matches!(entry.state, State::Running(_));
        if running {
            self.running -= 1;
            if let Some(group) = self.groups.get_mut(&entry.group) {
                group.running -= 1;
            }
        }
        running
    }
}

impl Pace {
    fn interval(&self, healthy: bool) -> Option<Duration> {
        if healthy { self.healthy } else { self.unhealthy }
    }
}

impl<T> Entry<T> {
    fn is_next(&self, number: u64) -> bool {
        matches!(self.state, State::Due(next) if next == number)
    }
}
