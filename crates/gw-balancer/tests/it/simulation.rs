//! Outages and recoveries, minute by minute, with all parts together.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use gw_balancer::{
    Balancer, Budget, BudgetPolicy, Checks, Handle, LeastRequest, Outcome, PeakEwma, Policy, Rng, SlowStart,
    Target, TargetIdx, Tried,
};

use crate::stage::{SECOND, counters};

/// Sends requests as a client does that retries while the budget and untried targets last.
struct Client {
    balancer: Balancer,
    policy: Policy,
    budget: Budget,
    rng: Rng,
    now: Instant,
    requests: u64,
    failed: u64,
    attempts: u64,
    /// By target.
    received: Vec<u64>,
    /// Answers that are under way, and when they are there.
    under_way: VecDeque<(Instant, Handle)>,
}

/// How long a target that is alive takes.
const LATENCY: Duration = Duration::from_millis(10);

impl Client {
    fn new(policy: Policy, checks: &Checks, targets: u32) -> Self {
        let list: Vec<Target> = (0..targets)
            .map(|i| Target::new(format!("10.0.0.{i}:80"), 1))
            .collect();
        Self {
            balancer: Balancer::new(&policy, checks, &list),
            policy,
            budget: Budget::new(BudgetPolicy::default()),
            rng: Rng::seeded(7),
            now: Instant::now(),
            requests: 0,
            failed: 0,
            attempts: 0,
            received: vec![0; targets as usize],
            under_way: VecDeque::new(),
        }
    }

    fn report(&mut self, handle: &Handle, outcome: Outcome, at: Instant) {
        if handle.report(outcome, at).is_some() {
            self.balancer = self.balancer.refresh(at);
        }
    }

    /// One request; those targets are dead, which is known at once.
    fn send(&mut self, is_dead: &dyn Fn(TargetIdx) -> bool) {
        if self.balancer.next_change().is_some_and(|next| next <= self.now) {
            self.balancer = self.balancer.refresh(self.now);
        }
        self.answer();
        self.requests += 1;
        self.budget.request(self.now);
        let key = self.policy.is_keyed().then(|| self.rng.next_u64());
        let mut tried = Tried::new();
        while tried.is_empty() || self.budget.try_retry(self.now) {
            let Some(handle) = self.balancer.pick(key, &tried, self.now, &mut self.rng) else {
                break;
            };
            self.attempts += 1;
            let target = handle.target();
            tried.insert(target);
            self.received[target.index()] += 1;
            if !is_dead(target) {
                self.under_way.push_back((self.now + LATENCY, handle));
                return;
            }
            self.report(&handle, Outcome::ConnectFailed, self.now);
        }
        self.failed += 1;
    }

    /// The answers that are there by now.
    fn answer(&mut self) {
        while self.under_way.front().is_some_and(|(at, _)| *at <= self.now) {
            if let Some((at, handle)) = self.under_way.pop_front() {
                self.report(&handle, Outcome::Status(200), at);
            }
        }
    }

    /// So many requests, evenly over the time.
    fn run(&mut self, time: Duration, requests: u32, is_dead: &dyn Fn(TargetIdx) -> bool) {
        for _ in 0..requests {
            self.now += time / requests;
            self.send(is_dead);
        }
    }
}

fn policies() -> [Policy; 6] {
    [
        Policy::RoundRobin,
        Policy::Random,
        Policy::LeastRequest(LeastRequest::default()),
        Policy::PeakEwma(PeakEwma::default()),
        Policy::Slots(gw_balancer::SlotsPolicy::default()),
        Policy::Ring(gw_balancer::RingPolicy::default()),
    ]
}

#[test]
fn one_dead_target_costs_no_request_and_three_attempts() {
    for policy in policies() {
        for n in [2_u32, 3, 10] {
            let mut client = Client::new(policy.clone(), &Checks::default(), n);
            client.run(10 * SECOND, 5_000, &|_| false);
            // Whoever is asked when the target dies gets its answer.
            client.now += LATENCY;
            client.answer();
            let before = client.received[0];
            client.run(SECOND / 2, 500, &|target| target.0 == 0);
            let what = format!("{policy:?} {n}");
            assert_eq!(client.failed, 0, "{what}");
            let failures = client.received[0] - before;
            if let Policy::PeakEwma(_) = policy {
                assert!(failures <= 3, "{what}: who fails is avoided before it is out");
            } else {
                assert_eq!(failures, 3, "{what}: out with the third failure");
            }
            // A minute: one attempt now and then to see whether it is back.
            client.run(60 * SECOND, 6_000, &|target| target.0 == 0);
            assert_eq!(client.failed, 0, "{what}");
            assert!(client.received[0] - before <= 10, "{what}: {:?}", client.received);
            assert_eq!(client.attempts - client.requests, client.received[0] - before);
            // It is back within the longest pause.
            client.run(60 * SECOND, 6_000, &|_| false);
            assert!(
                client.balancer.condition(TargetIdx(0)).is_some_and(|c| c.healthy),
                "{what}"
            );
        }
    }
}

#[test]
fn all_dead_make_a_fifth_more_attempts_and_no_more() {
    for policy in policies() {
        let mut client = Client::new(policy, &Checks::default(), 10);
        client.run(10 * SECOND, 1_000, &|_| false);
        let (requests, attempts) = (client.requests, client.attempts);
        client.run(120 * SECOND, 24_000, &|_| true);
        let (requests, attempts) = (client.requests - requests, client.attempts - attempts);
        assert_eq!(client.failed, requests);
        assert!(
            attempts * 10 <= requests * 12,
            "{attempts} attempts for {requests} requests"
        );
        assert!(attempts * 100 >= requests * 115, "and not much less: {attempts}");
    }
}

#[test]
fn in_a_mass_recovery_nobody_gets_more_than_twice_its_share_in_any_second() {
    const RATE: u32 = 1_000;
    let slow = Checks {
        slow_start: Some(SlowStart::default()),
        ..Checks::default()
    };
    let suddenly = policies().map(|policy| (Checks::default(), policy, [2_u32, 10]));
    let slowly = [Policy::RoundRobin, Policy::PeakEwma(PeakEwma::default())]
        .map(|policy| (slow.clone(), policy, [3, 7]));
    for (checks, policy, sizes) in suddenly.into_iter().chain(slowly) {
        for n in sizes {
            let mut client = Client::new(policy.clone(), &checks, n);
            client.run(30 * SECOND, 30 * RATE / 10, &|_| true);
            let recovered = client.now;
            while client.now < recovered + 90 * SECOND {
                client.received.fill(0);
                client.run(SECOND, RATE, &|_| false);
                let most = client.received.iter().max().copied().unwrap_or_default();
                // Keys and chance spread less evenly than a sequence does.
                let uneven = if policy == Policy::RoundRobin {
                    1
                } else {
                    80 + 100 / u64::from(n)
                };
                assert!(
                    most <= u64::from(2 * RATE / n) + uneven,
                    "{policy:?} {n}: {:?}",
                    client.received
                );
            }
            let weights = client.balancer.weights();
            assert_eq!(weights.available, weights.total, "{policy:?}: all are back");
        }
    }
}

/// Probes find all dead, then one alive, and each second another.
#[test]
fn nor_when_probes_bring_them_back_one_by_one() {
    const RATE: u32 = 1_000;
    let checks = Checks {
        active: Some(counters([1, 1, 1, 1])),
        slow_start: Some(SlowStart::default()),
        ..Checks::default()
    };
    for n in [3_u32, 8, 20] {
        let mut client = Client::new(Policy::RoundRobin, &checks, n);
        for target in 0..n {
            client
                .balancer
                .probed(TargetIdx(target), Outcome::TimedOut, client.now);
        }
        client.balancer = client.balancer.refresh(client.now);
        assert_eq!(client.balancer.weights().available, 0);
        for second in 0..60 {
            client.received.fill(0);
            if second < n {
                let back = client
                    .balancer
                    .probed(TargetIdx(second), Outcome::Success, client.now);
                assert!(back.is_some_and(|back| back.healthy));
                client.balancer = client.balancer.refresh(client.now);
            }
            client.run(SECOND, RATE, &|_| false);
            let most = client.received.iter().max().copied().unwrap_or_default();
            assert!(
                most <= u64::from(2 * RATE / n) + 2,
                "{n} targets, second {second}: {:?}",
                client.received
            );
        }
        assert_eq!(client.balancer.weights().available, u64::from(n));
        assert_eq!(
            client.balancer.next_change(),
            None,
            "and all have their whole share"
        );
    }
}
