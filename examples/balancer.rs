//! Spreads requests over weighted targets, retries around a dead one, and changes the list while requests run.

use std::time::Instant;

use gw_balancer::{Balancer, Outcome, Policy, Rng, Target, TargetIdx, Tried};

#[expect(clippy::print_stdout, reason = "an example shows its results")]
fn main() {
    let targets = [
        Target::new("10.0.0.1:80", 5),
        Target::new("10.0.0.2:80", 1),
        Target::new("10.0.0.3:80", 1),
    ];
    let balancer = Balancer::new(&Policy::RoundRobin, &targets);
    let mut rng = Rng::seeded(42);

    // Suppose that the first target is down: a request goes on to one that it has not tried.
    for request in 1..=7 {
        let mut tried = Tried::new();
        while let Some(attempt) = balancer.pick(None, &tried, Instant::now(), &mut rng) {
            let target = &balancer.targets()[attempt.target().index()];
            let outcome = if attempt.target() == TargetIdx(0) {
                Outcome::ConnectFailed
            } else {
                Outcome::Status(200)
            };
            attempt.report(outcome, Instant::now());
            println!("request {request}: {} {outcome:?}", target.name);
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
    let changed = balancer.rebuild(
        &Policy::RoundRobin,
        &[Target::new("10.0.0.9:80", 1), Target::new(&**name, 0)],
    );
    println!(
        "{name} is out and finishes {} request(s)",
        changed.in_flight(TargetIdx(1))
    );
    println!(
        "it has refused {} connection(s)",
        changed.outcomes(TargetIdx(1)).connect_failed
    );
    drop(slow);
    assert_eq!(changed.in_flight(TargetIdx(1)), 0);
}
