//! The data plane over real sockets: one file per subject.

mod bodies; // streaming, framing, back-pressure
mod embed; // as a tower service
mod headers; // what is added, replaced, taken away
mod health; // targets that go out and come back
mod lifecycle; // connections: aborts, shutdown, limits, reuse
mod names; // resolution off the request path
mod plugins; // phases, choice, panics
mod reload; // configuration that changes under load
mod retries; // targets that fail
mod routing; // which route, which path
mod support;
