//! What the entities promise, through the crate's public face.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod agreement; // schema and type agree on every fixture
mod config; // the configuration's indices follow every change
