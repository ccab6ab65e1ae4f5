//! Load balancing without a runtime: which target gets the next request, and which gets none because it fails.
//!
//! ```
//! use gw_balancer::{Balancer, Checks, Outcome, Policy, Rng, Target, Tried};
//! use std::time::Instant;
//!
//! let targets = [Target::new("10.0.0.1:80", 2), Target::new("10.0.0.2:80", 1)];
//! let balancer = Balancer::new(&Policy::RoundRobin, &Checks::default(), &targets);
//! let (mut tried, mut rng) = (Tried::new(), Rng::seeded(7));
//!
//! let first = balancer.pick(None, &tried, Instant::now(), &mut rng).expect("two targets have weight");
//! first.report(Outcome::ConnectFailed, Instant::now());
//! tried.insert(first.target());
//! let retry = balancer.pick(None, &tried, Instant::now(), &mut rng).expect("one is left to try");
//! assert_ne!(first.target(), retry.target());
//! ```
//!
//! # How it works
//!
//! A [`Balancer`] is an immutable table made from a [`Policy`] and a list of [`Target`]s, plus state that it shares
//! with the balancers it is rebuilt from and into: the round-robin position, and one record per target *name* with
//! its requests in flight, the outcomes reported, its latency and its health. A change of the list makes a new balancer with
//! [`Balancer::rebuild`]; whoever still holds the old one goes on using it. A target that leaves and returns within five
//! minutes is as it was.
//!
//! ```text
//!   Policy + [Target]  ──▶  table ──pick──▶ Handle ──report──▶ outcome counts, health ┐ by name,
//!                             ▲  ▲             └────drop─────▶ in-flight count         ┘ kept over rebuilds
//!                shared position └─────── refresh ◀── Transition ◀─┘
//! ```
//!
//! What is reported moves the target's [`Health`](health::Health), a state machine under the limits of [`Checks`]. When
//! a target goes out or returns, the report hands back a [`Transition`](health::Transition) with the reason, and
//! [`Balancer::refresh`] makes the table for those that are in. A target that is out is picked for one first attempt,
//! its *trial*, when its pause is over. Pauses grow and are jittered: this is a circuit breaker for each target.
//!
//! # What an embedder does
//!
//! | when | call |
//! |---|---|
//! | a request comes | [`Budget::request`], once |
//! | before each attempt | [`Balancer::pick`] with the targets tried so far; keep the [`Handle`] until the answer's body has ended |
//! | after it | [`Handle::report`]; if it hands back a change, put [`Balancer::refresh`] of the newest balancer in its place |
//! | before a retry | [`Budget::try_retry`] |
//! | a probe of yours ends | [`Balancer::probed`], then the same |
//! | [`Balancer::next_change`] is due | [`Balancer::refresh`] |
//! | the list, the policy or the checks change | [`Balancer::rebuild`] |
//! | an operator says so | [`Balancer::set_health`] |
//!
//! `examples/tower_client.rs` does this in a hundred lines around any `tower::Service` for one target.
//!
//! What [`Checks`] offer, each independent of the others:
//!
//! - [`passive`](health::Passive): a window of recent requests, or Kong's counters; `active`: the limits of probes.
//! - [`ejection`](health::Ejection): the pauses of the way back. `max_in_flight`: beyond, another target is picked, and
//!   nobody is blamed.
//! - [`slow_start`](SlowStart): a target that is new or back gets its share by and by.
//! - [`Target::priority`] and [`failover`](Failover): groups that stand in for each other.
//! - [`panic`](health::Panic): below half healthy, health is no guide; [`threshold`](health::Threshold): below it, nothing is
//!   sent.
//!
//! # Algorithms
//!
//! Each is a table of its own, which serves without a [`Balancer`] too: build it from targets, and ask it with [`Algorithm`].
//!
//! ```
//! use gw_balancer::{Algorithm, Ask, Policy, Rng, Slots, SlotsPolicy, Sticky, Target, Tried};
//!
//! let targets = [Target::new("10.0.0.1:80", 2), Target::new("10.0.0.2:80", 1), Target::new("10.0.0.3:80", 1)];
//! let table = Sticky::new(Slots::new(&targets), &targets);
//! let key = Policy::Slots(SlotsPolicy::default()).key(b"user-1874");
//! let (mut tried, mut rng, now) = (Tried::new(), Rng::seeded(7), std::time::Instant::now());
//!
//! let first = table.pick(&Ask { key: Some(key), tried: &tried, now }, &(), &mut rng).expect("three targets");
//! assert_eq!(table.pick(&Ask { key: Some(key), tried: &tried, now }, &(), &mut rng), Some(first), "it sticks");
//! tried.insert(first);
//! assert_ne!(table.pick(&Ask { key: Some(key), tried: &tried, now }, &(), &mut rng), Some(first));
//! ```
//!
//! | table | whom it picks | a pick costs | built in | from |
//! |---|---|---|---|---|
//! | [`RoundRobin`] | whose turn it is by weight | O(1) | O(cycle · distinct weights) | nginx |
//! | [`Random`] | anybody, by weight | O(1) | O(targets) | Walker, Vose |
//! | [`LeastLoaded`] | least (in flight + 1) / weight | O(1), O(targets) up to 16 | O(targets) | Mitzenmacher; nginx for ties |
//! | [`LeastLatency`] | of two the one that is faster and less busy | O(1) | O(targets) | Finagle, Linkerd |
//! | [`Ring`] | the owner of a key | O(log points) | O(points) | nginx, libketama |
//! | [`Slots`] | the owner of a key | O(1) | O(slots) | rendezvous hashing as a stable matching |
//! | [`Maglev`] | the owner of a key | O(1) | O(entries · log entries) | Google |
//!
//! Keyed tables are asked through [`Sticky`], which passes over who was tried, is out, or has more than a [`Bound`] of its
//! share, and spreads requests without a key. What a target has in flight and how fast it is, they learn from a [`Load`]; `()` knows
//! nothing of anybody. `examples/consistent_hashing.rs` compares them.
//!
//! [`RoundRobin`] is nginx's smooth weighted round robin, computed for a whole cycle when the table is built.
//! A retry does not take a turn: it goes to a target that is not in [`Tried`], and retries as a group are spread
//! over the untried targets by weight, so that the neighbour of a dead target does not inherit its share.
//!
//! # Guarantees
//!
//! - `pick` allocates nothing and takes no lock: at most one atomic addition beside the count in flight, then for a retry
//!   at most a few scans of the targets.
//!   [`Tried`] allocates only for target indices of 128 and above. Nor does a report allocate; only one that may change
//!   the target's health takes a lock, which is that target's own.
//! - Over one cycle of round robin's first picks every target is picked exactly by its weight, whatever the number of threads.
//! - A key has the same owner on every machine and in every order of the list. Who is out moves no keys but its own.
//! - A target of weight 0 and a tried target are never picked, nor one that is out, but for its trial: one at a time.
//! - By default at most half of the targets go out, never the only one, and each has a way back. With equal weights none gets
//!   more than twice its share, whatever goes out and comes back, and however slowly.
//! - Retries are at most the part of the requests that the [`Budget`] says, or a few in a second.
//! - Nothing reads a clock or a socket; time is an argument. Nothing panics on input.
//!
//! # What it does not do
//!
//! It opens no connections, runs no probes and resolves no names. Whether a request may be sent twice, its caller knows.

mod apportion;
mod balancer;
mod budget;
mod cells;
mod groups;
mod handle;
mod hash;
pub mod health;
mod least_request;
mod lineage;
mod load;
mod maglev;
mod member;
mod peak_ewma;
mod policy;
mod random;
mod ring;
mod rng;
mod round_robin;
mod seat;
mod slots;
mod slow_start;
mod state;
mod sticky;
mod table;
mod target;
mod tried;

pub use balancer::{Balancer, Group, Refusal, Weights};
pub use budget::{Budget, BudgetPolicy, Ratio};
pub use groups::Failover;
pub use handle::Handle;
pub use health::Checks;
pub use least_request::LeastLoaded;
pub use load::{Algorithm, Ask, Load};
pub use maglev::Maglev;
pub use peak_ewma::{Ewma, LeastLatency, median};
pub use policy::{Bound, Identity, LeastRequest, MaglevPolicy, PeakEwma, Policy, RingPolicy, SlotsPolicy};
pub use random::Random;
pub use ring::Ring;
pub use rng::Rng;
pub use round_robin::RoundRobin;
pub use slots::Slots;
pub use slow_start::SlowStart;
pub use state::{Outcome, Outcomes};
pub use sticky::{Owners, Sticky};
pub use target::{Target, TargetIdx, Weight};
pub use tried::Tried;
