//! The router from outside: decided cases, properties against a naive oracle, what a lookup costs, readers beside a writer.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod allocation;
mod cases;
mod complexity;
mod concurrent;
mod conditions;
mod explain;
mod kong;
mod oracle;
mod overlap;
mod paths;
mod properties;
mod spec;
mod syntax;
