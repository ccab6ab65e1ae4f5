//! The gateway's data plane: listeners, routing, plugins, balancing, forwarding.
//!
//! ```
//! use std::{net::TcpListener, sync::Arc, time::Duration};
//! use gw_proxy::{Gateway, Server, Settings, SystemResolver};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let control = tokio::runtime::Handle::current();
//! let resolver = Arc::new(SystemResolver::default());
//! let gateway = Gateway::new(gw_plugins::Registry::builtin(), Settings::default(), control, resolver)?;
//! let server = Server::start(Arc::clone(&gateway), vec![TcpListener::bind("127.0.0.1:0")?])?;
//! gateway.apply(gw_core::Config::default(), &[], 1); // at any time, and as often as one likes
//! assert_eq!(gateway.snapshot().revision(), 1);
//! assert_eq!(server.shutdown(Duration::from_secs(5)).await.cut, 0);
//! # Ok(())
//! # }
//! ```
//!
//! # How it works
//!
//! ```text
//! listener ─▶ worker ─▶ server ─▶ engine::handle ─▶ forward::inbound ─▶ route ─▶ chain (rewrite, access)
//!                                   Exchange            ┌──────────────────────────────┘
//!                                      │                ▼
//!    access log ◀─ finish ◀─ ResponseBody ◀─ forward ◀─ chain (header filter) ◀─ attempt: pick, pool, send, retry
//! ```
//!
//! `engine.rs` is the page to read first. A request is served by one [`Snapshot`], the compiled form of one revision
//! of the configuration. [`Gateway::apply`] makes the next from the one before: it compiles what changed, shares the
//! rest and swaps one pointer. What must outlive a snapshot, a host's addresses, a balancer's position and its
//! targets' health, is in cells that snapshots share. One acceptor per address hands connections to the least loaded
//! worker, a thread with a current-thread runtime and a pool of upstream connections of its own. Names are resolved and
//! targets probed elsewhere, on the runtime that is handed in. Whatever goes wrong with a request is a [`Failure`], and
//! becomes a response in one place.
//!
//! # Embedding
//!
//! There are two ways to have it in a program of one's own, and both may be used at once: they share the gateway.
//!
//! - **With listeners of its own**, as above: [`Server::start`] takes sockets and does the rest, with a thread per worker,
//!   TLS, limits, and a [shutdown](Server::shutdown) that waits for what is in flight.
//! - **As a [`tower::Service`] in somebody else's server**: a [`GatewayService`] for each connection of hyper's, or in axum
//!   as `Router::new().fallback_service(service)` behind routes of one's own. The server is the program's then, and so is
//!   what is about connections: TLS, timeouts for heads, limits, and how strictly the bytes of HTTP/1 are read.
//!
//! ```
//! use std::sync::Arc;
//! use gw_core::Protocol;
//! use gw_proxy::{Connection, Gateway, GatewayService, Settings, SystemResolver};
//! use tower::Service as _;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let control = tokio::runtime::Handle::current();
//! let resolver = Arc::new(SystemResolver::default());
//! let gateway = Gateway::new(gw_plugins::Registry::builtin(), Settings::default(), control, resolver)?;
//! let connection = Connection {
//!     client: "192.0.2.7:50000".parse()?,
//!     local: "192.0.2.1:80".parse()?,
//!     scheme: Protocol::Http,
//! };
//! let mut service = GatewayService::new(&gateway, connection); // one per connection of the server
//! let request = http::Request::get("/").header("host", "shop.test").body(String::new())?;
//! assert_eq!(service.call(request).await?.status(), 404); // no route yet
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! - An exchange is finished exactly once: when the last byte of the response is handed over, when its body fails, or
//!   when the client goes away. Then the log phase runs and the access log has its line.
//! - A retry goes to a target that has not been tried, within the upstream's budget. A request that may have reached an
//!   upstream is not sent again unless its body is at hand, and its method is idempotent or its service says it may.
//! - Bodies stream both ways with back-pressure; none above 64 KiB is held whole unless a plugin asked for it.
//! - No lock is shared by workers on the way of a request. A change of configuration fails no request.
//! - A panicking plugin costs one request. Every future is `Send`: nothing depends on the worker's thread.
//!
//! # What it does not do
//!
//! No streams of plain TCP, of TLS that it ends, or of UDP, and no HTTP/3. It stores nothing: configuration is handed in.

// Where clients connect: sockets, who may, and what is spoken.
mod address;
mod admission;
mod ciphers;
mod client_tls;
mod conn;
mod listener;
mod lull;
mod opening;
mod own;
mod passthrough;
mod proxy_protocol;
mod real_ip;
mod server;
mod service;
mod socket;
mod streams;
mod tls;
mod worker;

// A request on its way. Read `engine` first.
mod about;
mod access_log;
mod arrival;
mod body;
mod buffering;
mod document;
mod engine;
mod exchange;
mod failure;
mod forward;
mod framing;
mod hop;
mod ids;
mod inner;
mod overload;
mod path;
mod second_reading;
mod upgrade;

// Where it goes: routes, chains and services, compiled.
mod chain;
mod explain;
mod foresight;
mod gateway;
mod hash_key;
mod lender;
mod plan;
mod replay;
mod settings;
mod snapshot;
mod traffic;

// Upstreams: targets, their names and health, and connections to them.
mod addresses;
mod attempt;
mod cell;
mod dns;
mod health;
mod io;
mod pool;
mod probe;
mod tls_client;
mod upstream_tls;
mod wall;
mod wire;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use address::Address;
pub use body::{BodyError, ResponseBody};
pub use ciphers::{Ciphers, CiphersError};
pub use client_tls::VerifyClient;
pub use conn::Connection;
pub use dns::{
    Answer, BoxFuture, DnsOptions, DnsResolver, KnownName, RecordType, Records, ResolveError, Resolver,
    Service as ServiceRecord, SystemResolver,
};
pub use explain::{MatchedRoute, Question, RouteCandidate, RouteExplanation, RouteName, RouteOverlap};
pub use failure::{Failure, Fault};
pub use foresight::Foreseen;
pub use gateway::{Counters, Gateway};
pub use gw_balancer::health::{Ejection, Reason};
pub use health::{AddressHealth, TargetHealth, UpstreamHealth};
pub use lender::lender;
pub use listener::{Drained, Listener, Server};
pub use own::OwnAddresses;
pub use real_ip::TrustedIps;
pub use replay::{MovedRequests, Replay};
pub use service::GatewayService;
pub use settings::{
    AccessLogSink, ClientAuthorities, DnsSettings, EdgeSettings, FrameLimits, HealthSettings, Limits,
    MinRate, OverloadSettings, PoolLimits, RealIpHeader, RouterFlavor, Settings, TlsSettings, TlsVersion,
    TrafficSettings,
};
pub use snapshot::{Problem, Snapshot};
pub use socket::{BindError, ListenSocket};

/// Takes a lock. A poisoned one is sound: nothing is left half changed under any lock of this crate.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
