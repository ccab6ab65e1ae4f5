//! A table of targets with the state that outlives it.

mod compile;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::handle::Handle;
use crate::health::{Checks, Condition, Transition};
use crate::lineage::{self, Lineage};
use crate::rng::{GOLDEN, scale};
use crate::seat::{Loads, Seat};
use crate::table::Table;
use crate::target::{Eligible, eligible};
use crate::{Algorithm as _, Ask, Load as _, Outcome, Outcomes, Policy, Rng, Target, TargetIdx, Tried};
use compile::{Muster, Out, Rank};

/// Chooses a target for each attempt, counts the requests in flight and keeps unhealthy targets out.
///
/// Immutable, and shared by all workers. A change of targets makes a new one with [`rebuild`](Self::rebuild), a change
/// of health with [`refresh`](Self::refresh).
#[derive(Debug)]
pub struct Balancer {
    /// By priority, the first first.
    levels: Box<[Level]>,
    // Invariant: one for each of the roster's targets, in their order; entries of one name share a record.
    seats: Arc<[Arc<Seat>]>,
    /// Those that are out and are tried by requests.
    out: Box<[Out]>,
    /// When the first of their trials is due.
    due: Option<Instant>,
    /// When time alone changes the tables.
    next: Option<Instant>,
    /// Whether too little is available for any request to be sent.
    blocked: bool,
    weights: Weights,
    roster: Arc<Roster>,
}

/// The targets of one priority.
#[derive(Debug)]
struct Level {
    table: Table,
    /// Who is in the table.
    chosen: Box<[TargetIdx]>,
    /// The percentage of requests for this group and those before it.
    upto: u64,
    group: Group,
}

/// What a change of health leaves as it is.
#[derive(Debug)]
struct Roster {
    policy: Policy,
    checks: Checks,
    targets: Box<[Target]>,
    ranks: Box<[Rank]>,
    lineage: Arc<Lineage>,
}

/// The weight of a balancer's targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Weights {
    /// Of all.
    pub total: u64,
    /// Of those that are healthy.
    pub available: u64,
}

/// The targets of one priority, as they are now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Group {
    /// The number that its targets were given.
    pub priority: u32,
    /// The percentage of requests that go to it.
    pub load: u32,
    /// Whether its targets are sent requests whatever their health, as too few are healthy.
    pub panics: bool,
}

/// Why there is no target for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No target has a weight above 0.
    #[error("there is no target with a weight above 0")]
    Empty,
    /// Too little is healthy.
    #[error("no target is healthy, or fewer than the threshold demands")]
    Unhealthy,
    /// The request has been sent to all that are healthy.
    #[error("all healthy targets have been tried")]
    AllTried,
    /// All have as many requests in flight as may be.
    #[error("all targets have as many requests in flight as they may")]
    Full,
}

impl Balancer {
    /// A balancer over `targets`, starting from nothing.
    ///
    /// A name listed twice is one target, at its first place, with both weights.
    pub fn new(policy: &Policy, checks: &Checks, targets: &[Target]) -> Self {
        let (roster, seats) = Self::seat(policy, checks, targets, Arc::default(), None);
        // All are healthy and none has just begun: nothing depends on the time.
        Self::compile(roster, seats, None)
    }

    /// A balancer over other targets, or by another policy or other checks, that carries on where this one is.
    ///
    /// The position is shared, and so are counts and health of every name that either knows, still has in flight or
    /// had until five minutes ago. This one stays usable: requests that began with it finish with it.
    ///
    /// With it comes what this has changed: targets that would not have gone out with these checks among these
    /// targets are let in.
    #[must_use]
    pub fn rebuild(
        &self,
        policy: &Policy,
        checks: &Checks,
        targets: &[Target],
        now: Instant,
    ) -> (Self, Box<[(TargetIdx, Transition)]>) {
        let lineage = Arc::clone(&self.roster.lineage);
        let (roster, seats) = Self::seat(policy, checks, targets, lineage, Some(now));
        let released = lineage::settle(&seats, roster.eligible(), now);
        (Self::compile(roster, seats, Some(now)), released)
    }

    /// The same balancer with the health its targets have now. Needed after each [`Transition`], and when
    /// [`next_change`](Self::next_change) is due.
    #[must_use]
    pub fn refresh(&self, now: Instant) -> Self {
        Self::compile(Arc::clone(&self.roster), Arc::clone(&self.seats), Some(now))
    }

    /// When time alone changes whom requests go to, and a [`refresh`](Self::refresh) is needed: the next step of a slow
    /// start. Trials need none.
    pub fn next_change(&self) -> Option<Instant> {
        self.next
    }

    fn seat(
        policy: &Policy,
        checks: &Checks,
        targets: &[Target],
        lineage: Arc<Lineage>,
        now: Option<Instant>,
    ) -> (Arc<Roster>, Arc<[Arc<Seat>]>) {
        let eligible = eligible(targets);
        let seats = lineage.seats(targets, &eligible, policy, checks, now);
        let ranks = compile::ranks(policy, targets, eligible);
        lineage.keep_positions(|priority| ranks.iter().any(|rank| rank.priority == priority));
        let roster = Roster {
            policy: policy.clone(),
            checks: checks.clone(),
            targets: targets.into(),
            ranks,
            lineage,
        };
        (Arc::new(roster), seats)
    }

    fn compile(roster: Arc<Roster>, seats: Arc<[Arc<Seat>]>, now: Option<Instant>) -> Self {
        let Roster { policy, checks, .. } = &*roster;
        let muster = Muster::new(policy, checks, &roster.ranks, &seats, now);
        let blocked = muster.is_blocked(checks);
        let mut upto = 0;
        let level = |(rank, share): (&Rank, compile::Share)| {
            upto += u64::from(share.lot.load);
            let position = roster.lineage.position(rank.priority);
            Level {
                table: Table::new(policy, &rank.plan, &share.chosen, position),
                chosen: share.chosen.iter().map(|entry| entry.target).collect(),
                upto,
                group: Group {
                    priority: rank.priority,
                    load: share.lot.load,
                    panics: share.lot.panics,
                },
            }
        };
        Self {
            levels: roster.ranks.iter().zip(muster.shares).map(level).collect(),
            due: muster.out.iter().map(|out| out.due).min(),
            out: muster.out.into(),
            next: muster.next,
            blocked,
            weights: muster.weights,
            seats,
            roster,
        }
    }

    /// Chooses the target of one attempt and counts it in flight until the handle is dropped.
    ///
    /// Never a target of weight 0 nor one in `tried`; `None` when no other is left, when less is healthy than the
    /// checks demand, or when all have as many requests in flight as they may: [`refusal`](Self::refusal) says which. A
    /// target that is out is picked for one first attempt once its pause is over, unless it is probed. Allocates
    /// nothing.
    pub fn pick(&self, key: Option<u64>, tried: &Tried, now: Instant, rng: &mut Rng) -> Option<Handle> {
        self.pick_by(key, tried, now, Some(now), rng)
    }

    /// As [`pick`](Self::pick), for a request that cannot be sent again if it fails: it makes a trial only if that has
    /// been due for ten seconds, so that others would have made it if there were any.
    pub fn pick_unrepeatable(
        &self,
        key: Option<u64>,
        tried: &Tried,
        now: Instant,
        rng: &mut Rng,
    ) -> Option<Handle> {
        /// Bound: how long a trial waits for a request that can be sent again.
        const PATIENCE: Duration = Duration::from_secs(10);
        self.pick_by(key, tried, now, now.checked_sub(PATIENCE), rng)
    }

    fn pick_by(
        &self,
        key: Option<u64>,
        tried: &Tried,
        now: Instant,
        due_by: Option<Instant>,
        rng: &mut Rng,
    ) -> Option<Handle> {
        if tried.is_empty()
            && let Some(due_by) = due_by
            && self.due.is_some_and(|due| due <= due_by)
            && let Some(handle) = self.trial(due_by, now, rng)
        {
            return Some(handle);
        }
        if self.blocked {
            return None;
        }
        let ask = Ask { key, tried, now };
        let target = self.choose(&ask, rng)?;
        match self.handle(target, now, rng) {
            Some(handle) => Some(handle),
            None => self.beside(target, ask, rng),
        }
    }

    fn choose(&self, ask: &Ask<'_>, rng: &mut Rng) -> Option<TargetIdx> {
        let load = Loads(&self.seats);
        if let [level] = &*self.levels {
            return level.table.pick(ask, &load, rng);
        }
        // The same key goes to the same group, as long as the groups have the same shares.
        let even = ask.key.map_or_else(
            || rng.next_u64(),
            |key| key.wrapping_mul(GOLDEN).rotate_left(32).wrapping_mul(GOLDEN),
        );
        let point = scale(even, 100);
        let place = self.levels.iter().position(|level| point < level.upto)?;
        let chosen = self.levels.get(place)?.table.pick(ask, &load, rng);
        // Whoever has tried all of its group goes on to those that it would not have been sent to at first.
        let others = || {
            let others = self
                .levels
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != place);
            others
                .map(|(_, level)| level)
                .find_map(|level| level.table.pick(ask, &load, rng))
        };
        chosen.or_else(others)
    }

    /// Another target in place of one that has as many requests in flight as it may.
    #[cold]
    fn beside(&self, full: TargetIdx, ask: Ask<'_>, rng: &mut Rng) -> Option<Handle> {
        /// Bound: indices that a set of targets holds without allocation.
        const INLINE: u32 = 128;
        /// Bound: then one is taken by chance.
        const TURNS: usize = 8;
        let tried = ask.tried;
        let mut avoided = Tried::new();
        if tried.copy_to(&mut avoided, INLINE) {
            let mut full = full;
            for _ in 0..TURNS {
                if full.0 >= INLINE {
                    break;
                }
                avoided.insert(full);
                // So a key goes on to the target that it would go to if this one were out.
                let next = Ask {
                    tried: &avoided,
                    ..ask
                };
                full = self.choose(&next, rng)?;
                if let Some(handle) = self.handle(full, ask.now, rng) {
                    return Some(handle);
                }
            }
        }
        let fits = |target: &TargetIdx| {
            let seat = self.seats.get(target.index());
            !tried.contains(*target) && seat.is_some_and(|seat| seat.has_room())
        };
        self.levels.iter().find_map(|level| {
            let first = rng.below(level.chosen.len() as u64) as usize;
            let (before, after) = level.chosen.split_at_checked(first)?;
            let mut fitting = after.iter().chain(before).filter(|target| fits(target));
            fitting.find_map(|target| self.handle(*target, ask.now, rng))
        })
    }

    /// A target whose trial is due and not under way, of a group that is sent requests or comes before one that is: what
    /// stands by is tried when it is needed.
    #[cold]
    fn trial(&self, due_by: Instant, now: Instant, rng: &mut Rng) -> Option<Handle> {
        let needed = |level: &&Level| level.group.load > 0;
        let last = self
            .levels
            .iter()
            .filter(needed)
            .map(|level| level.group.priority)
            .max();
        let wanted = |out: &&Out| {
            let target = self.roster.targets.get(out.target.index());
            last.is_none() || target.map(|target| target.priority) <= last
        };
        let mut due = self.out.iter().filter(|out| out.due <= due_by).filter(wanted);
        due.find_map(|out| {
            let seat = self.seats.get(out.target.index())?;
            let claim = seat.claim(out.ticket)?;
            let handle = self.handle(out.target, now, rng);
            if handle.is_none() {
                seat.let_go(claim);
            }
            Some(handle?.trying(claim))
        })
    }

    fn handle(&self, target: TargetIdx, now: Instant, rng: &mut Rng) -> Option<Handle> {
        let seat = self.seats.get(target.index())?;
        Handle::enter(target, seat, now, rng.next_u64())
    }

    /// Why [`pick`](Self::pick) finds nothing for a request that has been sent to these targets.
    pub fn refusal(&self, tried: &Tried) -> Refusal {
        if self.is_empty() {
            Refusal::Empty
        } else if self.blocked {
            Refusal::Unhealthy
        } else if self
            .levels
            .iter()
            .flat_map(|level| &level.chosen)
            .all(|target| tried.contains(*target))
        {
            Refusal::AllTried
        } else {
            Refusal::Full
        }
    }

    /// Whether nothing can ever be picked: no target has a weight above 0.
    pub fn is_empty(&self) -> bool {
        self.roster.ranks.is_empty()
    }

    /// Whether requests are sent anywhere; if not, only trials are picked.
    pub fn is_available(&self) -> bool {
        !self.blocked
    }

    /// The weight of its targets, and how much of it is healthy.
    pub fn weights(&self) -> Weights {
        self.weights
    }

    /// Its groups of targets, by priority.
    pub fn groups(&self) -> impl Iterator<Item = Group> {
        self.levels.iter().map(|level| level.group)
    }

    /// The targets it was built from, in order.
    pub fn targets(&self) -> &[Target] {
        &self.roster.targets
    }

    /// How many handles of this target are alive, those of earlier and later rebuilds included; 0 if unknown.
    pub fn in_flight(&self, target: TargetIdx) -> u32 {
        Loads(&self.seats).in_flight(target)
    }

    /// How many seconds the target has taken lately; none if unknown, or if the policy does not ask for it.
    pub fn latency(&self, target: TargetIdx, now: Instant) -> Option<f64> {
        Loads(&self.seats).latency(target, now)
    }

    /// What was reported about this target, to earlier and later rebuilds too; nothing if unknown.
    pub fn outcomes(&self, target: TargetIdx) -> Outcomes {
        self.seats
            .get(target.index())
            .map_or_else(Outcomes::default, |seat| seat.record.outcomes())
    }

    /// How this target is now, and why; none if unknown.
    pub fn condition(&self, target: TargetIdx) -> Option<Condition> {
        let mut condition = self.seats.get(target.index())?.standing().condition;
        if self.roster.checks.probes_heal() {
            condition.trial = None;
        }
        Some(condition)
    }

    /// Takes in how a probe of this target ended, by the limits of [`Checks::active`]. If that changed the target's
    /// health, the change is handed back: to take effect it needs a [`refresh`](Self::refresh).
    ///
    /// Probe those that are out, too: it is probes that let them in, see [`Checks::probes_heal`].
    pub fn probed(&self, target: TargetIdx, outcome: Outcome, now: Instant) -> Option<Transition> {
        self.seats.get(target.index())?.probed(outcome, now)
    }

    /// Puts a target in or takes it out because an operator says so; hands back what that changed.
    ///
    /// If more than half are out then, others that went out by themselves are let in.
    pub fn set_health(&self, target: TargetIdx, healthy: bool, now: Instant) -> Vec<(TargetIdx, Transition)> {
        let seat = self.seats.get(target.index());
        let set = seat.and_then(|seat| seat.change(now, |health, _| health.set(healthy, now)));
        let mut changed: Vec<_> = set.map(|transition| (target, transition)).into_iter().collect();
        if !healthy {
            changed.extend(lineage::settle(&self.seats, self.roster.eligible(), now));
        }
        changed
    }
}

impl Roster {
    fn eligible(&self) -> impl Iterator<Item = &Eligible> {
        self.ranks.iter().flat_map(|rank| &rank.eligible)
    }
}
