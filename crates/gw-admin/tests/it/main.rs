//! The Admin API as a client sees it, over a store in memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop")]

mod about; // tags, schemas, validation
mod applied; // answers wait for the data plane
mod bad_input; // whatever is sent, 4xx and nothing changed
mod balancing; // fields about spreading and repeating requests
mod certificates; // keys are never shown, names are written through
mod cluster; // who serves what, and what is not served
mod concurrency; // many clients at once
mod conditional; // ETags
mod declarative; // whole configurations
mod delete; // cascades and refusals
mod dns; // names in use
mod dry_run; // what a change would do
mod endpoints; // what holds for every path
mod errors; // one test per error code
mod explain; // where a request would go, warnings
mod form; // forms mean what their JSON means
mod groups; // consumer groups and access lists
mod health; // of targets
mod history; // what was, and the way back
mod http; // methods, headers, media types
mod list; // pages, order, filters
mod nested; // paths through other entities
mod openapi; // every answer is as documented
mod proxy_cache; // what is kept of responses, dropped
mod replace; // PUT against PATCH, kind by kind
mod sealed; // secrets at rest
mod serve; // over a socket
mod stored; // kinds that are kept for what is to come
mod support; // the API under test, and `check`
mod transaction; // several writes in one
mod trouble; // a store that does not take a write, or does not say so
mod tutorial; // the calls of a Kong tutorial
mod write; // POST, PUT and PATCH
