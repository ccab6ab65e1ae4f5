//! The balancer as its users see it.

mod allocation;
mod concurrency;
mod rebuild;
mod support;
