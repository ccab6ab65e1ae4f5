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
//! Rules can ask for more than a path. One that fails hands over to the next:
//!
//! ```
//! # use gw_router::{Expr, Lookup, Router, Rule};
//! # use http::Method;
//! # use serde_json::json;
//! # let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
//! let mut router = Router::new();
//! let aa = Rule::path("/aa")?.host("foo.com".parse()?).method(get.clone()).method(post.clone());
//! router.insert(aa.remotes(["127.0.0.1".parse()?]), "aa")?;
//! let bb = Rule::path("/bb*")?.host("*.bar.com".parse()?).host("gloo.com".parse()?);
//! let bb = bb.method(get.clone()).method(post).method(put).remotes(["fe80:fe80::/64".parse()?]);
//! router.insert(bb.expression(Expr::from_json(&json!([["arg_name", "==", "jack"]]))?), "bb")?;
//!
//! let aa = Lookup::new(&get, "foo.com", "/aa").remote_addr("127.0.0.1".parse()?);
//! assert_eq!(*router.find(&aa).expect("all agrees").value, "aa");
//! let bb = Lookup::new(&get, "www.bar.com", "/bb/cc").remote_addr("fe80:fe80::7".parse()?);
//! assert_eq!(*router.find(&bb.query("name=jack")).expect("all agrees").value, "bb");
//! assert!(router.find(&bb.query("name=jill")).is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it works
//!
//! ```text
//!  path tree                  at each place
//!  /users/ ──▶ me             by host:   moc.elpmaxe.* ─┐  by value:  x-env: beta ─┐  in order:  best rank first
//!     └─{one segment}/posts              example.com   ─┴─▶           ?v=2        ─┴─▶ method, port, addresses,
//!     └─{rest}                           any host      ───▶           any value   ───▶ conditions, expression
//! ```
//!
//! A rule stands in the path tree once per path. Up to eight at one place are looked at one by one; where there are
//! more, a rule stands there once per host, and there once per value that its first conditions ask for. A lookup
//! follows the literal bytes of the path to the deepest node and comes back over the parameters and wildcards it
//! passed. A node holds a run of bytes and whole segments, so that most rules are one node of two or three cache lines;
//! its children stand in place up to five, in an array up to fourteen, then in groups of sixteen; where some 64 segments go
//! on from one place they stand by their hash, so that neither their number nor their digits count. Where ranks can
//! differ, every node knows a bound of the best one below it, so that what cannot win is not entered. A rule that fails
//! a condition hands over to the next. A regular expression stands where its literal head ends. Which rule wins is up
//! to the [`Profile`].
//!
//! # Guarantees
//!
//! - [`Router::clone`] is O(1). A change copies the nodes from the root to the place it touches, and no others.
//! - A changed router answers as one built anew from the same rules in the order of their ids.
//! - [`Router::find`] takes no lock of ours. It enters no node twice, save behind a wildcard over several segments that
//!   is not the last thing in its pattern: there at most once per byte of the path. It allocates nothing, save for: more
//!   than 8 parameters (or 15 groups), more than 24 choices on the way, more than 8 patterns with parts of one segment
//!   that all match it, more than 3 wildcards before the end of a pattern, more than 8 host wildcards around one name, a
//!   host of over 64 bytes in upper case, a path of over 256 bytes where case is ignored, and the scratch space that a
//!   regular expression sets up when threads first search it.
//! - No function panics on any input; patterns, paths, expressions and rules are bounded in size.
//!
//! # Why, and what to mend
//!
//! [`Router::explain`] lists the rules that match a lookup, each with the key on which it lost, and those that nearly
//! match, with what fails. [`Router::overlaps`] finds, before any request comes, rules that can never win, rules of which
//! only the order of insertion prefers one, and prefixes that cut a segment; [`Router::overlaps_of`] does so for one rule
//! that has just been inserted. [`Router::allowed_methods`] is for the answer 405.
//!
//! # What it does not do
//!
//! It never decodes: [`normalize()`] is a step of its own, before. It never redirects, and `HEAD` is not `GET`. Regular
//! expressions have neither look-around nor back-references.

mod address;
mod condition;
mod error;
mod explain;
mod expr;
mod few;
mod found;
mod host;
mod lookup;
mod normalize;
mod options;
mod order;
mod overlap;
mod pattern;
mod router;
mod rule;
mod socket;

mod allowed;
mod best;
mod bytes;
mod entry;
mod ids;
mod key;
mod keyed;
mod list;
mod regex;
mod request;
mod search;
mod several;
mod slot;
mod spans;
mod template;
mod tree;
mod zone;

pub use address::{Cidr, CidrError, CidrSet};
pub use condition::{Condition, Equality, Facts, Occurrence, Source, Subject, VariableValue, Variables};
pub use error::{InsertError, ReplaceError};
pub use explain::{Candidate, Explanation, Failure, Verdict};
pub use expr::{Expr, ExprError, ExprOptions, ExprPlace, ExprProblem};
pub use found::Found;
pub use host::{HostError, HostPattern};
pub use lookup::Lookup;
pub use normalize::{NormalizeError, normalize};
pub use options::Options;
pub use order::{Profile, RankKey};
pub use overlap::{Overlap, Party};
pub use pattern::{ParamSyntax, Pattern, PatternError};
pub use regex::RegexError;
pub use router::{Router, RuleId};
pub use rule::Rule;
pub use socket::Endpoint;
