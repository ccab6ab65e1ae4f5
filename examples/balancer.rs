//! Spreads requests over weighted targets, retries around a dead one until it is out, and changes the list.

use std::time::Instant;

use gw_balancer::{Balancer, Checks, Outcome, Policy, Rng, Target, TargetIdx, Tried};

#[expect(clippy::print_stdout, reason = "an example shows its results")]
fn main() {
    let targets = [
        Target::new("10.0.0.1:80", 5),
        Target::new("10.0.0.2:80", 1),
        Target::new("10.0.0.3:80", 1),
    ];
    let mut balancer = Balancer::new(&Policy::RoundRobin, &Checks::default(), &targets);
    let mut rng = Rng::seeded(42);

    // Suppose that the first target is down: a request goes on to one that it has not tried.
    for request in 1..=7 {
        let mut tried = Tried::new();
        while let Some(attempt) = balancer.pick(None, &tried, Instant::now(), &mut rng) {
            let name = balancer.targets()[attempt.target().index()].name.clone();
            let outcome = if attempt.target() == TargetIdx(0) {
                Outcome::ConnectFailed
            } else {
                Outcome::Status(200)
            };
            println!("request {request}: {name} {outcome}");
            // After its third failure the target is out; one request will try it in a second.
            if let Some(change) = attempt.report(outcome, Instant::now()) {
                println!("{name} is out: {}", change.reason);
                balancer = balancer.refresh();
            }
            if outcome == Outcome::Status(200) {
                break;
            }
            tried.insert(attempt.target());
        }
    }

    // A new list takes effect at once; counts follow the names.
    let slow = balancer
        .pick(None, &Tried::new(), Instant::now(), &mut rng)
        .expect("all have weight");
    let name = &targets[slow.target().index()].name;
    let list = [Target::new("10.0.0.9:80", 1), Target::new(&**name, 0)];
    let (changed, _) = balancer.rebuild(&Policy::RoundRobin, &Checks::default(), &list, Instant::now());
    println!(
        "{name} has no weight any more and finishes {} request(s)",
        changed.in_flight(TargetIdx(1))
    );
    println!(
        "it has answered {} request(s)",
        changed.outcomes(TargetIdx(1)).statuses[1]
    );
    drop(slow);
    assert_eq!(changed.in_flight(TargetIdx(1)), 0);
}
