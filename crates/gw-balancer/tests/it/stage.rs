//! A balancer on a clock that the test moves.

use std::time::{Duration, Instant};

use gw_balancer::health::{Counters, Panic, Passive, Reason, Transition};
use gw_balancer::{Balancer, Checks, Handle, Outcome, Policy, Rng, Target, TargetIdx, Tried};

use crate::support::list;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A balancer and a clock.
pub(crate) struct Stage {
    pub(crate) policy: Policy,
    pub(crate) balancer: Balancer,
    pub(crate) now: Instant,
}

impl Stage {
    /// By round robin.
    pub(crate) fn new(checks: &Checks, targets: &[(&str, u16)]) -> Self {
        Self::with(Policy::RoundRobin, checks, &list(targets))
    }

    /// By any policy.
    pub(crate) fn with(policy: Policy, checks: &Checks, targets: &[Target]) -> Self {
        Self {
            balancer: Balancer::new(&policy, checks, targets),
            policy,
            now: Instant::now(),
        }
    }

    /// A first pick.
    pub(crate) fn pick(&self) -> Option<Handle> {
        self.balancer
            .pick(None, &Tried::new(), self.now, &mut Rng::seeded(0))
    }

    /// Picks until `n` picks have been made, and says which targets they were.
    pub(crate) fn picks(&self, n: usize) -> String {
        let handles: Vec<Handle> = (0..n).filter_map(|_| self.pick()).collect();
        handles
            .iter()
            .map(|handle| &*self.balancer.targets()[handle.target().index()].name)
            .collect()
    }

    /// Reports, and refreshes as a caller does.
    pub(crate) fn report(&mut self, handle: &Handle, outcome: Outcome) -> Option<Transition> {
        let transition = handle.report(outcome, self.now);
        if transition.is_some() {
            self.balancer = self.balancer.refresh(self.now);
        }
        transition
    }

    /// Picks and reports until this target has been picked `times` times; it fails, the others answer.
    pub(crate) fn fail(&mut self, name: &str, times: usize) -> Option<Transition> {
        let mut left = times;
        let mut last = None;
        while left > 0 {
            let handle = self.pick().expect("something is left");
            let failing = *self.balancer.targets()[handle.target().index()].name == *name;
            let outcome = if failing {
                Outcome::ConnectFailed
            } else {
                Outcome::Status(200)
            };
            let transition = self.report(&handle, outcome);
            if failing {
                left -= 1;
                last = transition;
            }
        }
        last
    }

    /// Whether it is in.
    pub(crate) fn is_healthy(&self, target: u32) -> bool {
        self.balancer
            .condition(TargetIdx(target))
            .expect("a target")
            .healthy
    }

    /// Sets the health as an operator does, and says why what has changed has.
    pub(crate) fn set(&mut self, target: u32, healthy: bool) -> Vec<Reason> {
        let changed = self.balancer.set_health(TargetIdx(target), healthy, self.now);
        self.balancer = self.balancer.refresh(self.now);
        changed.iter().map(|(_, transition)| transition.reason).collect()
    }

    /// Probes the target, and refreshes as a caller does.
    pub(crate) fn probe(&mut self, target: u32, outcome: Outcome) -> Option<Transition> {
        let transition = self.balancer.probed(TargetIdx(target), outcome, self.now);
        if transition.is_some() {
            self.balancer = self.balancer.refresh(self.now);
        }
        transition
    }

    /// Other targets.
    pub(crate) fn rebuild(&mut self, checks: &Checks, targets: &[Target]) -> Vec<Reason> {
        let (next, released) = self.balancer.rebuild(&self.policy, checks, targets, self.now);
        self.balancer = next;
        released.iter().map(|(_, transition)| transition.reason).collect()
    }

    /// Goes on so long, refreshing when time alone changes something.
    pub(crate) fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.balancer.next_change().filter(|next| *next <= end) {
            self.now = next;
            self.balancer = self.balancer.refresh(next);
        }
        self.now = end;
    }
}

/// Kong's counters with these limits: successes, TCP failures, timeouts, HTTP failures. All may be out.
pub(crate) fn kong(limits: [u8; 4]) -> Checks {
    Checks {
        passive: Passive::Counters(counters(limits)),
        panic: Panic::NEVER,
        ..Checks::default()
    }
}

/// Limits of requests or of probes, in the same order.
pub(crate) fn counters(limits: [u8; 4]) -> Box<Counters> {
    let [successes, tcp_failures, timeouts, http_failures] = limits;
    Box::new(Counters {
        statuses: true,
        successes,
        healthy: [200].into_iter().collect(),
        tcp_failures,
        timeouts,
        http_failures,
        unhealthy: [500].into_iter().collect(),
    })
}
