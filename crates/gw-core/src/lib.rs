//! The gateway's entities: services, routes, consumers, plugins, upstreams, targets, and how they refer to each other.
//!
//! ```
//! use gw_core::{Change, Config, Kind, Kinds};
//!
//! let kinds = Kinds::new([])?;
//! let mut document = serde_json::json!({ "id": "4e3ad2e4-0bc4-4638-8e34-c84a417ba39b", "url": "http://app:9001/v1" });
//! let document = document.as_object_mut().expect("an object");
//! Kinds::expand(Kind::Service, document); // `url` becomes protocol, host, port and path
//! let service = kinds.complete(Kind::Service, document).expect("a valid service");
//! assert_eq!(document["port"], 9001);
//! assert_eq!(document["retries"], 5); // defaults come from the schema, and from nowhere else
//!
//! let mut config = Config::default();
//! config.apply(Change::Put(service));
//! assert_eq!(config.services().count(), 1);
//! # Ok::<(), gw_schema::CompileError>(())
//! ```
//!
//! # How it works
//! A kind is a JSON Schema document in `schemas/`: its fields, defaults, and in `x-…` keywords what is unique, what
//! refers to what, and what a deletion does. [`KindSpec`] reads it; [`Kinds::complete`] takes a document through
//! defaults, check and parse. The parsed entity is written in the types of the libraries below (a route's `rule` is
//! gw-router's), so that an entity with a bad pattern cannot exist. [`Config`] holds all entities of one revision in
//! persistent maps; [`index`] says by which keys a store finds them.
//!
//! # Guarantees
//! [`Config`] clones in O(1), changes in O(log n). Nothing panics on a document. A plugin's settings stay opaque.
//!
//! # What it does not do
//! No I/O, no clock, no knowledge of what a plugin does.

mod algorithm;
mod certificate;
pub mod config;
mod consumer;
mod entity;
mod fields;
mod filter_chain;
mod hashing;
mod healthchecks;
mod id;
pub mod index;
mod key;
mod key_pair;
mod kind;
mod plugin_use;
mod route;
mod seal;
mod service;
mod units;
mod upstream;
mod vault;

pub use certificate::{CaCertificate, Certificate, Sni};
pub use config::{Change, Config};
pub use consumer::{AccessGroups, Consumer, ConsumerGroup, Credential, GroupMember, Prepared, expiry};
pub use entity::{Document, Entity, Kinds, ReadError};
pub use filter_chain::{Filter, FilterChain, FilterPlace};
pub use hashing::{HashCookie, HashInput, Hashing};
pub use healthchecks::{Active, Healthchecks, Probe, ProbeKind};
pub use id::Id;
pub use key::{Key, KeyMaterial, KeySet};
pub use key_pair::{KeyPair, PrivateKey};
pub use kind::{Auto, CredentialForm, CredentialKind, Kind, KindSpec, Listing, OnDelete, Reference, Settle};
pub use plugin_use::{PluginUse, Scope};
pub use route::{PathHandling, Route};
pub use seal::{Keyring, KeyringError, SealError, Sealing};
pub use service::{Retry, Service, ServiceTarget, ServiceTls};
pub use units::{Protocol, Protocols, ProxyProtocol, Timeouts};
pub use upstream::{DEFAULT_TARGET_PORT, Target, TargetAddress, TargetAddressError, Upstream};
pub use vault::Vault;

/// Expressions over the variables of a request, and what they are asked about.
pub use gw_router::{Expr, Facts as RequestFacts, VariableValue, Variables};

/// Addresses and blocks of them.
pub use gw_router::{Cidr, CidrSet};
