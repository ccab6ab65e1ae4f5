//! The kit is tested with its own means: each side watches the other.

mod client;
mod gateway;
mod limits;
mod relay;
mod server;
mod upstream;
