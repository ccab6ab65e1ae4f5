//! The gateway as a program: flags, wiring, signals. What it composes are libraries of their own.
//!
//! # How it works
//! [`main`] parses the flags, opens the store, loads it into the data plane, starts workers and Admin API, and then
//! waits for a signal. The thread it runs on is the control thread: Admin API, store, compilation of changes, name
//! resolution. Requests are served by worker threads and never wait for it.

mod args;
mod banner;
mod demo;
mod error;
mod listen;
mod logging;
mod one_line;
mod ports;
mod run;
mod signal;
mod sync;

pub use error::StartError;
pub use run::main;
