//! The router from outside: decided cases, properties against a naive oracle, allocations.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod allocation;
mod cases;
mod kong;
mod oracle;
mod properties;
mod spec;
