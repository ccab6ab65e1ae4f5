//! The store through its public interface.

#![expect(clippy::unwrap_used, reason = "a test that fails here should panic here")]

mod backup;
mod commits;
mod contract;
mod crash;
mod etcd;
mod files;
mod full;
mod model;
mod resume;
mod support;
mod watches;
