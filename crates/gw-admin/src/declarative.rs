//! Kong's declarative format: from a text to checked documents, and back.
//!
//! ```
//! use gw_admin::declarative::{self, Surroundings, Withheld};
//!
//! struct Plain;
//! impl Surroundings for Plain {
//!     fn now(&self) -> u64 { 1_700_000_000_000 }
//!     fn variable(&self, _: &str) -> Result<String, Withheld> { Err(Withheld::Unset) }
//! }
//!
//! let registry = gw_plugins::Registry::builtin();
//! let kinds = registry.kinds()?;
//! let text = "{_format_version: '3.0', services: [{name: orders, url: 'http://app:9001', routes: [{paths: [/o]}]}]}";
//! let configuration = declarative::read(text, &kinds, &registry, &Plain).expect("nothing is wrong with it");
//! assert_eq!(configuration.entries.len(), 2);
//! assert_eq!(configuration.entries[1].document["service"]["id"], configuration.entries[0].document["id"]);
//!
//! let wrong = "_format_version: '3.0'\nservices:\n- name: orders\n  hots: app\n";
//! let refusal = declarative::read(wrong, &kinds, &registry, &Plain).expect_err("`host` is misspelt");
//! assert_eq!(refusal.faults()[1].path, "services[0].hots");
//! assert_eq!(refusal.faults()[1].position.map(|at| at.line), Some(4));
//! # Ok::<(), gw_schema::CompileError>(())
//! ```
//!
//! # How it works
//! ```text
//!   text ─▶ source ─▶ flatten ─▶ resolve ─▶ check ─▶ Configuration ─▶ diff ─▶ one commit
//!           values,   entities,  ids and    defaults,  entries in an    against
//!           places    one list   references schemas    order that needs  what is
//!                                           and rules  nothing later     stored
//! ```
//! [`read`] is a function of its arguments alone. What it takes for right is what the Admin API takes for right: the
//! same schemas, plugins and rules between entities. Everything that is wrong is told at once.

mod check;
mod deck;
mod diff;
mod emit;
mod endpoint;
mod environment;
mod export;
mod faults;
mod flatten;
mod format;
mod identity;
mod refusal;
mod resolve;
mod scalar;
mod source;
mod spot;
mod yaml;

use gw_core::{Document, Kind, Kinds};
use gw_plugins::Registry;

use check::Rules;
use deck::Head;
use faults::Faults;
use flatten::Flattening;
pub use refusal::{Fault, Refusal, SyntaxError};
pub use spot::Position;

/// What reading a configuration needs from outside.
pub trait Surroundings {
    /// Unix milliseconds: when entities that do not say were made.
    fn now(&self) -> u64;

    /// The value of a variable that the text names by `${{ env "NAME" }}`.
    ///
    /// # Errors
    /// There is none, or it is not to be told.
    fn variable(&self, name: &str) -> Result<String, Withheld>;

    /// What is known of an entity by its id: private keys, which no export shows, are taken from there.
    fn known(&self, kind: Kind, id: &str) -> Option<Document> {
        let _ = (kind, id);
        None
    }
}

/// Why a variable has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Withheld {
    /// Nobody set it.
    Unset,
    /// Whoever sent the text may not read the environment.
    Secret,
}

/// Everything a text configures, checked: each reference leads to another entry.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Configuration {
    /// The entities; what others refer to comes first.
    pub entries: Vec<Entry>,
    /// What was read otherwise than its writer may think.
    pub notices: Vec<Notice>,
}

/// One entity of a configuration.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// The whole document, defaults filled in. A field that is null by default may be absent.
    pub document: Document,
    /// The fields that the text does not give and that are no defaults: ids, times, random keys.
    pub made: Vec<Box<str>>,
    /// Where it stands, as a JSON pointer.
    pub pointer: String,
}

/// Something that was read otherwise than its writer may think.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// Where, as a JSON pointer.
    pub pointer: String,
    /// Where in the text, if that is known.
    pub position: Option<Position>,
    /// What.
    pub message: String,
}

impl Entry {
    /// Its identity.
    #[must_use]
    pub fn id(&self) -> &str {
        text(&self.document, "id").unwrap_or_default()
    }
}

/// Reads a configuration: YAML or JSON, in one of Kong's formats or as decK writes it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(
    text: &str,
    kinds: &Kinds,
    registry: &Registry,
    surroundings: &dyn Surroundings,
) -> Result<Configuration, Refusal> {
    let mut source = source::load(text, &|name| surroundings.variable(name)).map_err(Refusal::from_syntax)?;
    let mut faults = Faults::default();
    for missing in source.missing.drain(..) {
        faults.unfilled(missing);
    }
    let mut notices = std::mem::take(&mut source.notices);
    let head = Head::read(&source.document, kinds, &mut faults);
    for (pointer, message) in &head.notices {
        let position = source.locate(pointer).map(|(position, _)| position);
        let (pointer, message) = (pointer.clone(), message.clone());
        notices.push(Notice {
            pointer,
            position,
            message,
        });
    }
    let mut drafts = Flattening::new(kinds, &head, &mut faults).run(&source.document);
    if head.is_old {
        format::migrate(&mut drafts);
    }
    resolve::resolve(kinds, &mut drafts, &mut faults);
    let rules = Rules {
        kinds,
        registry,
        surroundings,
    };
    let checked = check::check(&rules, &mut drafts, &mut faults);
    for draft in checked
        .doubles
        .iter()
        .filter_map(|position| drafts.get(*position))
    {
        let position = source.locate(&draft.pointer).map(|(position, _)| position);
        let message = "the same stands elsewhere; it counts once".to_owned();
        notices.push(Notice {
            pointer: draft.pointer.clone(),
            position,
            message,
        });
    }
    if faults.is_empty() {
        let mut drafts: Vec<Option<flatten::Draft>> = drafts.into_iter().map(Some).collect();
        let entries = checked
            .order
            .into_iter()
            .filter_map(|index| drafts.get_mut(index)?.take());
        let entries = entries.map(flatten::Draft::into_entry).collect();
        return Ok(Configuration { entries, notices });
    }
    source.find_spots(text);
    Err(Refusal::new(faults, source, drafts))
}

fn text<'d>(document: &'d Document, field: &str) -> Option<&'d str> {
    document.get(field).and_then(serde_json::Value::as_str)
}

#[cfg(test)]
mod tests;
