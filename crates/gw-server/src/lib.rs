//! An API gateway: Kong's Admin API, an embedded store, nginx's speed
