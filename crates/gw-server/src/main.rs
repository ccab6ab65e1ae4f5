//! The `gw-server` program.

fn main() {}
