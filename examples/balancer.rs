//! Spreads requests over weighted targets, retries around a dead one until it is out, lets it come back, and more.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use gw_balancer::health::{Counters, StatusSet};
use gw_balancer::{
    Balancer, Budget, BudgetPolicy, Checks, Failover, Outcome, Policy, Rng, SlowStart, Target, TargetIdx,
    Tried,
};

fn main() {
    a_target_dies_and_comes_back();
    the_list_changes();
    spares_take_over();
}

#[expect(clippy::print_stdout, reason = "an example shows its results")]
fn a_target_dies_and_comes_back() {
    let targets = [
        Target::new("10.0.0.1:80", 5),
        Target::new("10.0.0.2:80", 1),
        Target::new("10.0.0.3:80", 1),
    ];
    let mut balancer = Balancer::new(&Policy::RoundRobin, &Checks::default(), &targets);
    let budget = Budget::new(BudgetPolicy::default());
    let mut rng = Rng::seeded(42);
    // The balancer reads no clock: time is whatever we say.
    let mut now = Instant::now();

    // The first target is down for five seconds: a request goes on to one that it has not tried.
    let down_until = now + Duration::from_secs(5);
    for request in 1..=30 {
        now += Duration::from_millis(500);
        budget.request(now);
        let mut tried = Tried::new();
        while let Some(attempt) = balancer.pick(None, &tried, now, &mut rng) {
            let name = balancer.targets()[attempt.target().index()].name.clone();
            let is_down = attempt.target() == TargetIdx(0) && now < down_until;
            let outcome = if is_down {
                Outcome::ConnectFailed
            } else {
                Outcome::Status(200)
            };
            println!(
                "request {request}: {name} {outcome}{}",
                if attempt.is_trial() { ", a trial" } else { "" }
            );
            // After its third failure the target is out; one request tries it in a second, then in two, in four, …
            if let Some(change) = attempt.report(outcome, now) {
                println!(
                    "{name} is {}: {}",
                    if change.healthy { "in" } else { "out" },
                    change.reason
                );
                balancer = balancer.refresh(now);
            }
            if !is_down || !budget.try_retry(now) {
                break;
            }
            tried.insert(attempt.target());
        }
    }
    assert_eq!(balancer.weights().available, 7, "all are in again");
}

#[expect(clippy::print_stdout, reason = "an example shows its results")]
fn the_list_changes() {
    let (policy, checks) = (Policy::RoundRobin, Checks::default());
    let targets = [Target::new("10.0.0.1:80", 1), Target::new("10.0.0.2:80", 1)];
    let balancer = Balancer::new(&policy, &checks, &targets);
    let (now, mut rng) = (Instant::now(), Rng::seeded(1));

    // Counts and health follow the names, and a target that leaves is remembered for five minutes.
    let slow = balancer
        .pick(None, &Tried::new(), now, &mut rng)
        .expect("all have weight");
    let name = &*targets[slow.target().index()].name;
    let (changed, _) = balancer.rebuild(
        &policy,
        &checks,
        &[Target::new("10.0.0.9:80", 1), Target::new(name, 0)],
        now,
    );
    println!(
        "{name} has no weight any more and finishes {} request(s)",
        changed.in_flight(TargetIdx(1))
    );
    drop(slow);
    assert_eq!(changed.in_flight(TargetIdx(1)), 0);
}

/// Two targets and two spares, probed; a target that comes back starts slowly.
#[expect(clippy::print_stdout, reason = "an example shows its results")]
fn spares_take_over() {
    let checks = Checks {
        active: Some(Box::new(Counters {
            statuses: true,
            successes: 2,
            healthy: [200].into_iter().collect(),
            tcp_failures: 1,
            timeouts: 1,
            http_failures: 1,
            unhealthy: (500..=599).collect::<StatusSet>(),
        })),
        failover: Failover::default(),
        slow_start: Some(SlowStart::default()),
        max_in_flight: NonZeroU32::new(100),
        ..Checks::default()
    };
    let targets = [
        Target::new("10.0.0.1:80", 1),
        Target::new("10.0.0.2:80", 1),
        Target::new("10.0.1.1:80", 1).priority(1),
        Target::new("10.0.1.2:80", 1).priority(1),
    ];
    let mut balancer = Balancer::new(&Policy::RoundRobin, &checks, &targets);
    let (mut now, mut rng) = (Instant::now(), Rng::seeded(1));
    let probes = [
        (0, Outcome::Status(503)),
        (1, Outcome::TimedOut),
        (0, Outcome::Status(200)),
        (0, Outcome::Status(200)),
    ];
    for (target, outcome) in probes {
        now += Duration::from_secs(5);
        println!("a probe of {}: {outcome}", targets[target as usize].name);
        if let Some(change) = balancer.probed(TargetIdx(target), outcome, now) {
            println!(
                "  now {}: {}",
                if change.healthy { "in" } else { "out" },
                change.reason
            );
            balancer = balancer.refresh(now);
        }
        let loads: Vec<_> = balancer
            .groups()
            .map(|group| (group.priority, group.load))
            .collect();
        println!("  percent of the requests by priority: {loads:?}");
    }
    let handle = balancer
        .pick(None, &Tried::new(), now, &mut rng)
        .expect("spares at least");
    println!(
        "the next request goes to {}",
        targets[handle.target().index()].name
    );
    // Time alone changes the shares now: whoever keeps the balancer refreshes it when this is due.
    assert!(balancer.next_change().is_some_and(|next| next > now));
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_does_what_it_says() {
        super::main();
    }
}
