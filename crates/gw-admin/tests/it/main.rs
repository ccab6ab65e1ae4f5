//! The Admin API as a client sees it, over a store in memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop")]

mod applied; // answers wait for the data plane
mod bad_input; // whatever is sent, 4xx and nothing changed
mod concurrency; // many clients at once
mod delete; // cascades and refusals
mod errors; // one test per error code
mod form; // forms mean what their JSON means
mod http; // methods, headers, media types
mod list; // pages, order, filters
mod nested; // paths through other entities
mod serve; // over a socket
mod support; // the API under test, and `check`
mod trouble; // a store that does not take a write, or does not say so
mod tutorial; // the calls of a Kong tutorial
mod write; // POST, PUT and PATCH
