//! Upstreams, clients, real servers and a gateway process for integration tests.
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
//! - [`server`] runs a real etcd, Redis, nginx or dnsmasq on a free port with its files in a directory of its own. Where
//!   the program is not installed the test ends early, unless `GW_REQUIRE_SERVERS=1` says that it must not.
//! - [`Etcd`] is a cluster of etcd with as many members as a test wants, with TLS and users, whose members die, halt and
//!   come back, and whose data is taken away or put back.
//! - [`NameServer`] is a name server whose records change, and fail, while it runs.
//! - [`python`] finds an interpreter that has the packages a test needs, and runs scripts with clients that others wrote.
//! - [`Relay`] stands between a client and a server and delays, slows, holds back or cuts what passes.
//! - [`TlsFront`] ends TLS before a plain server, with a certificate of an [`Authority`] of the test's own.
//! - [`Gate`] holds a reply, a body or the reading of a request until the test opens it; [`Pattern`] makes and checks
//!   bodies of any length; at a [`dead_port`] nobody listens, at a [`silent_port`] nobody even refuses.
//!
//! # Guarantees
//!
//! - Nothing sleeps: whatever waits is woken by the event itself. The exceptions are a foreign server, which is asked
//!   again and again until it answers, and what a test asks to be slow.
//! - Nothing hangs: each wait has a deadline ([`DEADLINE`], 10 s) and then panics, saying what it waited for and what
//!   it had seen. Only functions called `try_…` return their failures, because some test is about them.
//! - Nothing stays behind: dropping an [`Upstream`], a [`Relay`] or a [`TlsFront`] closes its listener and connections, dropping a
//!   [`Gateway`] or a [`Server`] kills the process.
//!
//! # What it does not do
//!
//! No HTTP/2, no TLS in the clients. Nothing here belongs in a program: it panics on purpose.

mod client;
mod deadline;
mod gate;
mod gateway;
mod names;
mod pattern;
mod ports;
mod process;
mod python;
mod raw;
mod relay;
mod server;
mod tls;
mod upstream;
mod wire;

pub use client::answer::Answer;
pub use client::body::Feed;
pub use client::stream::Streaming;
pub use client::{Call, Client, ClientError};
pub use deadline::{DEADLINE, within};
pub use gate::Gate;
pub use gateway::{Gateway, GatewayBuilder, StartError};
pub use names::{NameServer, Trouble};
pub use pattern::Pattern;
pub use ports::{DeadPort, SilentPort, dead_port, silent_port};
pub use python::{Python, python};
pub use raw::{Raw, RawAnswer};
pub use relay::{Fault, Passed, Relay, Way};
pub use server::{Etcd, EtcdBuilder, Server, ServerBuilder, server};
pub use tls::{Authority, Handshakes, Identity, TlsFront};
pub use upstream::received::Received;
pub use upstream::reply::{End, Reply};
pub use upstream::{Bodies, Counts, Upstream, UpstreamBuilder};
