//! Shorthand for the tests.

use std::time::Instant;

use gw_balancer::{Balancer, Checks, Handle, Policy, Rng, Target, Tried};

/// A round-robin balancer over `(name, weight)`.
pub(crate) fn balancer(targets: &[(&str, u16)]) -> Balancer {
    Balancer::new(&Policy::RoundRobin, &Checks::default(), &list(targets))
}

/// The balancer over other targets, where that lets nobody in.
pub(crate) fn rebuilt(balancer: &Balancer, targets: &[(&str, u16)]) -> Balancer {
    let (next, released) = balancer.rebuild(
        &Policy::RoundRobin,
        &Checks::default(),
        &list(targets),
        Instant::now(),
    );
    assert_eq!(*released, []);
    next
}

/// Targets from `(name, weight)`.
pub(crate) fn list(targets: &[(&str, u16)]) -> Vec<Target> {
    targets
        .iter()
        .map(|&(name, weight)| Target::new(name, weight))
        .collect()
}

/// A first pick.
pub(crate) fn pick(balancer: &Balancer) -> Option<Handle> {
    balancer.pick(None, &Tried::new(), Instant::now(), &mut Rng::seeded(0))
}

/// The name a handle stands for.
pub(crate) fn name<'b>(balancer: &'b Balancer, handle: &Handle) -> &'b str {
    &balancer.targets()[handle.target().index()].name
}
