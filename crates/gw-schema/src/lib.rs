//! JSON Schema checks with defaults filled in, every violation at once, and messages people can act on.
//!
//! ```
//! use gw_schema::Schema;
//! use serde_json::json;
//!
//! let schema = Schema::compile(json!({
//!     "properties": {
//!         "host": {"type": "string"},
//!         "port": {"type": "integer", "minimum": 0, "maximum": 65535, "default": 80},
//!     },
//!     "required": ["host"], "additionalProperties": false,
//! }))?;
//! let mut service = json!({"hots": "example.com"});
//! schema.fill_defaults(&mut service);
//! let violations = schema.check(&service).expect_err("`host` is misspelt");
//! assert_eq!(violations.to_string(), "2 schema violations (host: required field missing; hots: unknown field)");
//! assert_eq!(violations.into_vec()[1].hint.as_deref(), Some("did you mean `host`?"));
//! # Ok::<(), gw_schema::CompileError>(())
//! ```
//!
//! # How it works
//!
//! A [`Schema`] is compiled once, from a JSON Schema 2020-12 document, and then serves any number of documents:
//!
//! ```text
//!   a form's strings ──▶ coerce ──▶ fill_defaults ──▶ check ──▶ Ok, or all Violations
//!       (forms only)                                            pointer, message, hint, kind
//! ```
//!
//! The crate `jsonschema` decides what is valid; this one folds the document (references, `allOf`, a single branch
//! beside null) into shapes, from which it knows types to coerce to, defaults and names to suggest, and words every
//! error as Kong does, so that tools made for Kong's Admin API find the texts they look for.
//!
//! ## A plugin's configuration
//!
//! The shape of a rate limit, with every field required and no other allowed:
//!
//! ```
//! # use gw_schema::Schema;
//! # use serde_json::json;
//! let schema = Schema::compile(json!({
//!     "type": "object",
//!     "properties": {
//!         "count": {"type": "integer", "minimum": 0},
//!         "time_window": {"type": "integer", "minimum": 0},
//!         "key": {"type": "string", "enum": ["remote_addr", "server_addr"]},
//!         "rejected_code": {"type": "integer", "minimum": 200, "maximum": 600},
//!     },
//!     "additionalProperties": false,
//!     "required": ["count", "time_window", "key", "rejected_code"],
//! }))?;
//! assert!(schema.check(&json!({"count": 2, "time_window": 60, "key": "remote_addr", "rejected_code": 503})).is_ok());
//!
//! let violations = schema
//!     .check(&json!({"count": "2", "key": "remote_adr", "rejected_code": 199, "policy": "local"}))
//!     .expect_err("nothing in it is right");
//! let shown: Vec<_> = violations.iter().map(|v| (v.pointer.as_str(), v.message.as_str())).collect();
//! assert_eq!(shown, [
//!     ("/count", "expected an integer"),
//!     ("/key", "expected one of: remote_addr, server_addr"),
//!     ("/policy", "unknown field"),
//!     ("/rejected_code", "value should be between 200 and 600"),
//!     ("/time_window", "required field missing"),
//! ]);
//! # Ok::<(), gw_schema::CompileError>(())
//! ```
//!
//! ## Keywords
//!
//! Beside those of JSON Schema. The first four do something here; the others are read by whoever keeps the documents.
//!
//! | keyword | on | meaning |
//! |---|---|---|
//! | `default` | a field | filled in where the field is absent, or null where null is not allowed; then filled in itself, so `"default": {}` makes a record of defaults |
//! | `uniqueItems` | an array | the array is a *set*: repeated items are dropped by [`Schema::fill_defaults`], not refused |
//! | `x-message` | a schema | replaces the message of its `pattern`, `format`, `not`, `contains`, `anyOf`, `oneOf`; `{value}` stands for the refused value |
//! | `x-entity-checks` | an object | rules between fields, see below |
//! | `x-auto` | a field | `"uuid"`, `"now"`, `"now-ms"`, `"random"`: the keeper makes the value |
//! | `x-immutable` | a field | `true`: never changes after creation |
//! | `x-unique` | a field | `true`: no two documents share a value |
//! | `x-endpoint-key` | a field | `true`: names the document in a path, beside its id |
//! | `x-references` | a field | the kind of document whose id this is: `"services"`; on an array, whose ids these are |
//! | `x-on-delete` | a field | `"cascade"`, `"refuse"` or `"refuse-unless-told"`, when what it references goes |
//! | `x-argument` | a reference | what a request calls it that ties documents together, if not by its name |
//! | `x-lists` | a field | the kind of documents, referring here, whose names this lists; written through to them |
//! | `writeOnly` | a field | `true`: taken, kept and never shown |
//! | `x-secret` | a field | `"sealed"`: a secret, the texts in which are sealed where documents are kept |
//! | `x-shorthands` | a document | fields that are taken and not kept, each a schema with `x-gives`, the fields it becomes |
//!
//! An array with `uniqueItems` is called a set in messages, an object without named properties a map, any other
//! object a record. Formats are asserted and an unknown one does not compile; beside JSON Schema's own there are
//! `uuid`, `hostname-or-ip` (no port), `host-or-socket` (that or `unix:/path`), `cidr` (a bare address will do), `regex` (as the crate `regex` reads it) and
//! `header-name`.
//!
//! ## Entity checks
//!
//! Fields may be dotted (`redis.host`). A field holding null, `""`, `[]` or `{}` counts as not set.
//!
//! ```
//! # use gw_schema::Schema;
//! # use serde_json::json;
//! let schema = Schema::compile(json!({
//!     "properties": {
//!         "username": {"type": ["string", "null"]}, "custom_id": {"type": ["string", "null"]},
//!         "hash_on": {"type": "string", "default": "none"}, "hash_on_header": {"type": ["string", "null"]},
//!     },
//!     "x-entity-checks": [
//!         {"at_least_one_of": ["username", "custom_id"]},
//!         {"if": {"field": "hash_on", "in": ["header"]}, "then": {"field": "hash_on_header", "required": true}},
//!     ],
//! }))?;
//! let violations = schema.check(&json!({"hash_on": "header"})).expect_err("breaks both");
//! assert_eq!(violations.to_string(), "3 schema violations (\
//!     at least one of these fields must be non-empty: 'username', 'custom_id'; \
//!     failed conditional validation given value of field 'hash_on'; \
//!     hash_on_header: required field missing)");
//! # Ok::<(), gw_schema::CompileError>(())
//! ```
//!
//! There are also `exactly_one_of`, `only_one_of`, `all_or_none_of` and `distinct`. Either side of a conditional says
//! one or more of `"required": true`, `"null": true`, `"null": false`, `"in": [...]`, `"not_in": [...]`. A rule about
//! the value of a field that is wrong by itself is not run.
//!
//! # Guarantees
//!
//! - A document passes [`Schema::check`] exactly when JSON Schema takes it and its entity checks hold.
//! - What compiles is not ignored: misspelt entity checks, fields they name that do not exist, unknown formats,
//!   references that lead nowhere, defaults that their own schema refuses are all a [`CompileError`] naming the place.
//! - No reference leaves the document: compiling reads no file and no network.
//! - No public function panics on any document. Nothing blocks, locks or starts a thread; a [`Schema`] is `Send` and
//!   `Sync`, and its clones share one compilation.
//! - [`Schema::fill_defaults`] twice is the same as once.
//!
//! # What it does not do
//!
//! It makes no values (`x-auto`) and looks up no references: it sees one document at a time. Defaults, coercion and
//! entity checks do not reach into `if`/`then`, `patternProperties`, or an `anyOf` and `oneOf` with more than one
//! branch beside null, where which branch was meant cannot be told; validity does. `$anchor`, `$dynamicRef`, nested
//! `$id` and other dialects than 2020-12 are refused.

mod checks;
mod coerce;
mod defaults;
mod error;
mod format;
mod hint;
mod schema;
mod shape;
mod types;
mod vet;
mod violation;
mod wording;

pub use error::CompileError;
pub use format::is_socket;
pub use hint::nearest;
pub use schema::Schema;
pub use violation::{Violation, ViolationKind, Violations};
