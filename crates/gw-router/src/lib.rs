//! A persistent radix-tree router for HTTP: path, host, method and headers to a value.
//!
//! ```
//! use gw_router::{Lookup, Router, Rule};
//! use http::Method;
//!
//! let mut router = Router::new();
//! router.insert(Rule::path("/users/{id}")?.method(Method::GET), "show-user")?;
//! let before = router.clone(); // O(1): readers keep `before` while `router` goes on changing
//! router.insert(Rule::path("/users/me")?, "show-self")?;
//!
//! let lookup = Lookup::new(&Method::GET, "api.example.com", "/users/me");
//! assert_eq!(*router.find(&lookup).expect("added above").value, "show-self");
//! assert_eq!(before.find(&lookup).expect("added above").param("id"), Some("me"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it works
//!
//! ```text
//!  path tree             host index of a place        list
//!  /users/ ──▶ me        moc.elpmaxe.* ─┐             best rank first
//!     └─{one segment}    example.com   ─┴─▶ rules ──▶ method, port, server name, headers, expression
//!         └─ /posts      any host      ───▶
//! ```
//!
//! A rule stands in the path tree once per path; under it, once per host. A lookup follows the literal bytes of the
//! path to the deepest node and comes back over the parameters and open ends it passed. Every node knows the best
//! rank below it, so that what cannot win is not entered. A rule that fails a condition hands over to the next.
//! A regular expression stands where its literal head ends. Which rule wins is up to the [`Profile`].
//!
//! # Guarantees
//!
//! - [`Router::clone`] is O(1). A change copies the nodes from the root to the place it touches, and no others.
//! - A changed router answers as one built anew from the same rules in the order of their ids.
//! - [`Router::find`] takes no lock of ours and enters no node twice. It allocates nothing, save for: more than
//!   8 parameters (or 15 groups), more than 32 nested prefixes of one path, a host of over 64 bytes in upper case, and
//!   the scratch space that a regular expression sets up when threads first search it.
//! - No function panics on any input; patterns, paths and rules are bounded in size.
//!
//! # What it does not do
//!
//! It never decodes: [`normalize()`] is a step of its own, before. It never redirects, and `HEAD` is not `GET`.
//! Parameters take whole segments, and what matches the rest of a path stands last. Regular expressions have neither
//! look-around nor back-references.

mod error;
mod found;
mod host;
mod lookup;
mod normalize;
mod order;
mod pattern;
mod router;
mod rule;

mod bytes;
mod entry;
mod list;
mod regex;
mod search;
mod slot;
mod tree;

pub use error::{InsertError, ReplaceError};
pub use found::Found;
pub use host::{HostError, HostPattern};
pub use lookup::Lookup;
pub use normalize::{NormalizeError, normalize};
pub use order::Profile;
pub use pattern::{Pattern, PatternError};
pub use regex::RegexError;
pub use router::{Router, RuleId};
pub use rule::{HeaderRule, Rule};
