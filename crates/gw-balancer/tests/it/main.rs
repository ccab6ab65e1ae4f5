//! The balancer as its users see it.

mod algorithms;
mod allocation;
mod concurrency;
mod failover;
mod health;
mod nginx;
mod rebuild;
mod simulation;
mod slow_start;
mod stage;
mod support;
