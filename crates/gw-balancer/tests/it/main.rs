//! The balancer as its users see it.

mod allocation;
mod concurrency;
mod health;
mod rebuild;
mod support;
