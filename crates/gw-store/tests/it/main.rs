//! The store through its public interface.

#![expect(clippy::unwrap_used, reason = "a test that fails here should panic here")]

mod commits;
mod contract;
mod crash;
mod files;
mod full;
mod support;
mod watches;
