//! The gateway's control plane: Kong's Admin API over a transactional store.
//!
//! ```
//! # use std::{future::Future, pin::Pin, sync::Arc};
//! # use gw_admin::{AdminApi, StoreIndex, ports::*};
//! # struct Alone;
//! # impl Applied for Alone {
//! #     fn wait(&self, _: u64) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> { Box::pin(async {}) }
//! #     fn revision(&self) -> u64 { 0 }
//! # }
//! # impl Status for Alone {
//! #     fn node(&self) -> Node { Node { id: uuid::Uuid::nil(), hostname: "here".into() } }
//! #     fn counters(&self) -> Counters { Counters::default() }
//! #     fn settings(&self) -> serde_json::Value { serde_json::json!({}) }
//! # }
//! # impl Reports for Alone {
//! #     fn log_level(&self) -> String { "info".to_owned() }
//! #     fn set_log_level(&self, _: LogLevel, _: Option<std::time::Duration>) {}
//! # }
//! # impl Health for Alone {
//! #     fn health(&self, _: uuid::Uuid) -> Option<UpstreamHealth> { None }
//! #     fn set_health(
//! #         &self, _: uuid::Uuid, _: &str, _: Option<std::net::SocketAddr>, _: bool,
//! #     ) -> Result<(), SetHealthError> { Ok(()) }
//! # }
//! # impl Names for Alone {
//! #     fn names(&self) -> Vec<KnownName> { Vec::new() }
//! # }
//! # impl Routing for Alone {
//! #     fn explain(&self, _: &Question) -> Explanation { Explanation::default() }
//! #     fn overlaps(&self) -> Vec<Overlap> { Vec::new() }
//! #     fn overlaps_of(&self, _: uuid::Uuid) -> Vec<Overlap> { Vec::new() }
//! # }
//! # impl Foresight for Alone {
//! #     fn foresee(&self, _: &[Planned]) -> Forecast { Forecast::default() }
//! # }
//! # type Nodes<'a> = Pin<Box<dyn Future<Output = Result<Vec<ClusterNode>, ClusterError>> + Send + 'a>>;
//! # impl Cluster for Alone {
//! #     fn nodes(&self) -> Nodes<'_> { Box::pin(async { Ok(Vec::new()) }) }
//! #     fn served_by_all(&self, _: u64, _: std::time::Duration) -> Nodes<'_> { self.nodes() }
//! # }
//! # impl Problems for Alone {
//! #     fn problems(&self) -> Vec<ObjectProblem> { Vec::new() }
//! #     fn alarms(&self) -> Vec<Alarm> { Vec::new() }
//! #     fn accept(&self, _: Word) -> Accepting<'_> { Box::pin(async { Ok(None) }) }
//! # }
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = gw_plugins::Registry::builtin();
//! let kinds = registry.kinds()?;
//! let store = gw_store::open("memory:", StoreIndex::new(kinds.clone())).await?;
//! let admin = AdminApi::new(store, registry, kinds, Arc::new(Alone)); // `Alone` stands for a data plane
//!
//! let request = http::Request::post("/services")
//!     .header("content-type", "application/x-www-form-urlencoded")
//!     .body("name=orders&url=http://localhost:9001".to_owned())?;
//! let answer = admin.handle(request).await;
//! assert_eq!(answer.status(), 201);
//! assert_eq!(answer.headers()["x-config-revision"], "1");
//! # Ok(()) }
//! ```
//!
//! # How it works
//! Paths are generated from the kinds of entity and matched by the gateway's own router; one CRUD serves them all. A
//! write decodes the body, and inside one commit of the store resolves names, lays a patch over what is stored, fills
//! in defaults, checks everything that can be wrong with the document, then uniqueness, references and what a deletion
//! takes along. If another commit came first, all of it runs again on the newer contents. The answer waits until this
//! node serves the change, at most five seconds.
//!
//! # Guarantees
//! - Of two concurrent creations of one name exactly one succeeds; a reference never dangles; a list read to its end
//!   holds everything that was there throughout, once.
//! - A refused request changes nothing and names everything that is wrong. What was stored is never answered with 5xx.
//! - Bodies, heads, arguments, connections and waits are bounded. No request ends the server.
//! - A write whose client goes away is stored whole or not at all.
//!
//! # What it does not do
//! It knows no users and no rights: who has the token, or a certificate, may do all ([`Guard`], [`Tls`]). It sees the data plane only through the traits of
//! [`ports`].

mod admin;
mod answer;
mod api;
mod body;
mod changes;
mod cluster;
mod conditions;
pub mod declarative;
mod dns;
mod dry_run;
mod entity;
mod explain;
mod fields;
mod form;
mod guard;
mod health;
mod history;
mod index;
mod intent;
mod marks;
mod multipart;
mod node;
mod openapi;
mod page;
mod plan;
pub mod ports;
mod problem;
mod proxy_cache;
mod reseal;
mod retirement;
mod rollback;
mod serve;
mod status;
mod transaction;
mod write;

pub use admin::{AdminApi, AdminOptions};
pub use guard::Guard;
pub use index::StoreIndex;
pub use serve::listener::Listener;
pub use serve::tls::{Tls, TlsError};
pub use status::{Pulse, StatusApi};
