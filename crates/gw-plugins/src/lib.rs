//! Write a gateway plugin, and test it without a server; the built-in plugins.
//!
//! ```
//! use gw_plugins::{BuildEnv, BuildError, Definition, Flow, Phase, Phases, Plugin, Registry, Reply, RequestCx};
//! use http::StatusCode;
//!
//! struct Teapot;
//!
//! impl Definition for Teapot {
//!     const NAME: &'static str = "teapot";
//!     const PRIORITY: i32 = 1;
//!     const PHASES: Phases = Phases::of(&[Phase::Access]);
//!     const SCHEMA: &'static str = r#"{ "type": "object", "additionalProperties": false }"#;
//!     type Config = serde_json::Value;
//!     fn build(_: Self::Config, _: &BuildEnv) -> Result<Self, BuildError> { Ok(Self) }
//! }
//!
//! impl Plugin for Teapot {
//!     type State = ();
//!     fn access(&self, _: &mut RequestCx<'_>) -> Flow {
//!         Reply::message(StatusCode::IM_A_TEAPOT, "short and stout").into()
//!     }
//! }
//!
//! let registry = Registry::builtin().with::<Teapot>();
//! assert!(registry.get("teapot").is_some());
//! ```
//!
//! # How it works
//! A [`Definition`] says what a plugin is: name, priority, phases, schema. A [`Plugin`] does it: it implements the
//! phases it has, as plain functions, and keeps what it must remember of a request in its `State`. One that must wait
//! implements [`WaitingPlugin`] too, and costs a box per request. A [`Registry`] is the list a gateway knows; it
//! makes [`Instance`]s, and the gateway's engine runs them by falling priority.
//!
//! Consumers and credentials are looked up through [`Facts::config`](cx::Facts::config), never kept by an instance: a
//! new key recompiles nothing. Every plugin with a definition that names a [`CredentialDefinition`] gets the
//! Admin API of its credentials for nothing.
//!
//! # Guarantees
//! A phase costs one virtual call; one that a plugin does not have costs none. Settings reach `build` checked and with
//! defaults. No runtime, no I/O, no clock: what a plugin needs is lent to it.
//!
//! # What it does not do
//! It does not decide which instance runs for which request: the data plane does, by the instances' scopes.

mod blocking;
mod builtin;
pub mod cache;
mod client_certificate;
pub mod cx;
mod dollar_template;
pub mod env;
pub mod identity;
mod instance;
#[cfg(any(test, feature = "kit"))]
pub mod kit;
mod limits;
mod log_record;
mod lua;
pub mod metrics;
mod phase;
mod plugin;
mod queue;
mod registry;
mod reply;
mod settings;
mod stats;
mod steering;
#[cfg(test)]
mod test_lender;
pub mod variables;

pub use client_certificate::ClientCertificate;
pub use cx::{BodyCx, LogCx, RequestCx, ResponseCx};
pub use env::BuildEnv;
pub use identity::Identity;
pub use instance::{Instance, Outcome, Slot};
pub use phase::{Phase, Phases};
pub use plugin::{
    BodyNeed, BuildError, CredentialDefinition, Definition, Needs, Plugin, Waiting, WaitingPlugin,
};
pub use registry::{Registered, Registry, UnknownPlugin};
pub use reply::{Flow, Reply, ReplyBody};
pub use stats::{Counted, Stats};
pub use steering::{OwnUpstream, Steering, UpstreamChoice};
