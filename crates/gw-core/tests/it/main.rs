//! What the entities promise, through the crate's public face.

mod agreement; // schema and type agree on every fixture
mod config; // the configuration's indices follow every change
