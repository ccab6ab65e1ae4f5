//! The kit is tested with its own means: each side watches the other.

mod client;
mod etcd;
mod gateway;
mod limits;
mod names;
mod python;
mod relay;
mod server;
mod tls;
mod upstream;
