//! The gateway as a program: flags, wiring, signals. What it composes are libraries of their own.
//!
//! # How it works
//! [`main`] parses the flags, opens the store, loads it into the data plane, starts workers and Admin API, and then
//! waits for a signal. The thread it runs on is the control thread: Admin API, store, compilation of changes, name
//! resolution. Requests are served by worker threads and never wait for it.

mod access;
mod alarms;
mod args;
mod background;
mod banner;
mod checkpoints;
mod commands;
mod control;
mod data_dir;
mod demo;
mod error;
mod file;
mod heartbeat;
mod listen;
mod logging;
mod machine;
mod metrics;
mod notify;
mod one_line;
mod ports;
mod pulse;
mod run;
mod running;
mod signal;
mod sockets;
mod sync;
mod upgrade;

pub use access::AccessError;
pub use args::kong::KongVariableError;
pub use data_dir::DataDirError;
pub use error::StartError;
pub use file::FileError;
pub use run::{main, main_with};
pub use upgrade::TakeoverError;
