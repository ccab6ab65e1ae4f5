//! Load balancing without a runtime: which target gets the next request.
//!
//! ```
//! use gw_balancer::{Balancer, Outcome, Policy, Rng, Target, Tried};
//! use std::time::Instant;
//!
//! let targets = [Target::new("10.0.0.1:80", 2), Target::new("10.0.0.2:80", 1)];
//! let balancer = Balancer::new(&Policy::RoundRobin, &targets);
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
//! its requests in flight and the outcomes reported. A change of the list makes a new balancer with
//! [`Balancer::rebuild`]; whoever still holds the old one goes on using it.
//!
//! ```text
//!   Policy + [Target]  ──▶  table ──pick──▶ Handle ──report──▶ outcome counts ┐ by name,
//!                             ▲                └────drop─────▶ in-flight count ┘ kept over rebuilds
//!                       shared position
//! ```
//!
//! [`RoundRobin`] is nginx's smooth weighted round robin, computed for a whole cycle when the table is built.
//! A retry does not take a turn: it goes to a target that is not in [`Tried`], and retries as a group are spread
//! over the untried targets by weight, so that the neighbour of a dead target does not inherit its share.
//!
//! # Guarantees
//!
//! - `pick` allocates nothing and takes no lock: one atomic addition, then for a retry one scan of the targets.
//!   [`Tried`] allocates only for target indices of 128 and above.
//! - Over one cycle of first picks every target is picked exactly by its weight, whatever the number of threads.
//! - A target of weight 0 and a tried target are never picked.
//! - Nothing reads a clock or a socket; time is an argument. Nothing panics on input.
//!
//! # What it does not do
//!
//! It opens no connections, runs no probes and resolves no names. It does not decide *whether* to retry. It does not
//! exclude failing targets: outcomes are counted, and a caller that wants one out gives it weight 0 and rebuilds.

mod balancer;
mod policy;
mod rng;
mod round_robin;
mod state;
mod target;
mod tried;

pub use balancer::{Balancer, Handle};
pub use policy::{Algorithm, Policy};
pub use rng::Rng;
pub use round_robin::RoundRobin;
pub use state::{Outcome, Outcomes};
pub use target::{Target, TargetIdx, Weight};
pub use tried::Tried;
