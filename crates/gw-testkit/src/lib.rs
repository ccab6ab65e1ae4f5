//! Upstreams, clients and a gateway process for integration tests.
//!
//! ```
//! use gw_testkit::{Client, Reply, Upstream};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let upstream = Upstream::start(|request| Reply::ok(format!("you asked for {}", request.target)));
//! let answer = Client::new().get(upstream.url("/things?page=2")).await.expect_status(200);
//! assert_eq!(answer.text(), "you asked for /things?page=2");
//! assert_eq!(upstream.requests()[0].header("host"), Some(upstream.addr().to_string().as_str()));
//! # }
//! ```
//!
//! # How it works
//!
//! - [`Upstream`] is an HTTP/1.1 server on a free loopback port, in a thread of its own. It speaks the wire format
//!   itself, so it can record what came exactly as it came and answer in ways no honest server would ([`Reply`]).
//! - [`Client`] is an ordinary HTTP client that never retries; [`Raw`] sends and reads bytes.
//! - [`Gateway`] runs the real program as a child process on free ports, collects its log, stops and restarts it.
//! - [`Gate`] holds a reply, a body or the reading of a request until the test opens it; [`Pattern`] makes and checks
//!   bodies of any length; [`dead_port`] is an address where nobody listens.
//!
//! # Guarantees
//!
//! - Nothing sleeps: whatever waits is woken by the event itself.
//! - Nothing hangs: each wait has a deadline ([`DEADLINE`], 10 s) and then panics, saying what it waited for and what
//!   it had seen. Only functions called `try_…` return their failures, because some test is about them.
//! - Nothing stays behind: dropping an [`Upstream`] closes its listener and connections, dropping a [`Gateway`] kills
//!   the process.
//!
//! # What it does not do
//!
//! No TLS, no HTTP/2. Nothing here belongs in a program: it panics on purpose.

mod client;
mod deadline;
mod gate;
mod gateway;
mod pattern;
mod ports;
mod raw;
mod upstream;
mod wire;

pub use client::answer::Answer;
pub use client::body::Feed;
pub use client::stream::Streaming;
pub use client::{Call, Client, ClientError};
pub use deadline::{DEADLINE, within};
pub use gate::Gate;
pub use gateway::{Gateway, GatewayBuilder, StartError};
pub use pattern::Pattern;
pub use ports::{DeadPort, dead_port};
pub use raw::{Raw, RawAnswer};
pub use upstream::received::Received;
pub use upstream::reply::{End, Reply};
pub use upstream::{Bodies, Counts, Upstream, UpstreamBuilder};
