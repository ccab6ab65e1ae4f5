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
//! its requests in flight, the outcomes reported and its health. A change of the list makes a new balancer with
//! [`Balancer::rebuild`]; whoever still holds the old one goes on using it.
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
//! its *trial*, when its pause is over.
//!
//! [`RoundRobin`] is nginx's smooth weighted round robin, computed for a whole cycle when the table is built.
//! A retry does not take a turn: it goes to a target that is not in [`Tried`], and retries as a group are spread
//! over the untried targets by weight, so that the neighbour of a dead target does not inherit its share.
//!
//! # Guarantees
//!
//! - `pick` allocates nothing and takes no lock: one atomic addition, then for a retry one scan of the targets.
//!   [`Tried`] allocates only for target indices of 128 and above. Nor does a report allocate; only one that may change
//!   the target's health takes a lock, which is that target's own.
//! - Over one cycle of first picks every target is picked exactly by its weight, whatever the number of threads.
//! - A target of weight 0 and a tried target are never picked, nor one that is out, but for its trial: one at a time.
//! - By default at most half of the targets go out, never the only one, and each has a way back.
//! - Nothing reads a clock or a socket; time is an argument. Nothing panics on input.
//!
//! # What it does not do
//!
//! It opens no connections, runs no probes and resolves no names. It does not decide *whether* to retry.

mod balancer;
pub mod health;
mod lineage;
mod policy;
mod rng;
mod round_robin;
mod seat;
mod state;
mod target;
mod tried;

pub use balancer::{Balancer, Handle, Weights};
pub use health::Checks;
pub use policy::{Algorithm, Policy};
pub use rng::Rng;
pub use round_robin::RoundRobin;
pub use state::{Outcome, Outcomes};
pub use target::{Target, TargetIdx, Weight};
pub use tried::Tried;
