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

mod absent;
mod apisix;
mod check;
mod deck;
mod diff;
mod emit;
mod endpoint;
mod environment;
mod export;
mod faults;
mod fidelity;
mod flatten;
mod format;
mod identity;
mod load;
mod mapped;
mod part;
mod refusal;
mod removal;
mod render;
mod resolve;
mod scalar;
mod source;
mod spot;
mod yaml;

use std::collections::HashSet;

use gw_core::{Document, Kind, Kinds};
use gw_plugins::Registry;

use check::Rules;
use deck::Head;
pub use diff::Summary;
pub(crate) use endpoint::aside;
use faults::Faults;
pub use fidelity::{Judgement, Remark, Verdict};
use flatten::Flattening;
pub use load::{LoadError, Loaded, import};
pub use refusal::{Fault, Refusal, SyntaxError};
pub use removal::{Objection, Removal};
pub use render::{Rendered, render};
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

    /// The value of a variable that the text names as a shell does: `$NAME`, `${NAME}`, `${NAME:-default}`. What has
    /// none stays as it is written. Only asked where [`Surroundings::are_filled_in`].
    fn shell_variable(&self, name: &str) -> Option<String> {
        let _ = name;
        None
    }

    /// Whether variables that the text names as a shell does are filled in at all.
    fn are_filled_in(&self) -> bool {
        false
    }

    /// What becomes of plugins that are not here.
    fn unknown_plugins(&self) -> UnknownPlugins {
        UnknownPlugins::Refused
    }

    /// Whether the text is all that there will be, even if it says that it is about a part: `_info.select_tags`,
    /// `_workspace`.
    fn replaces_everything(&self) -> bool {
        true
    }

    /// What is known of an entity by its id: private keys, which no export shows, are taken from there.
    fn known(&self, kind: Kind, id: &str) -> Option<Document> {
        let _ = (kind, id);
        None
    }
}

/// What becomes of plugins that are not here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownPlugins {
    /// Nothing is read that wants one.
    #[default]
    Refused,
    /// They are left out, and a notice tells of each.
    Ignored,
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
    /// What was left out, because it wants a plugin that is not here.
    pub ignored: Vec<Ignored>,
    /// What a mapping from another product's format has to say, and where in the text that is.
    pub(crate) remarks: Vec<(Remark, Option<Position>)>,
    /// Tags: of what is stored it is about what has all of them. Without any it is about everything.
    pub(crate) part: Vec<serde_json::Value>,
}

/// Something that was left out, because it wants a plugin that is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ignored {
    /// The plural of its kind, e.g. `plugins`.
    pub kind: &'static str,
    /// The plugin.
    pub name: String,
    /// Where it stands, as a JSON pointer.
    pub pointer: String,
    /// Where in the text, if that is known.
    pub position: Option<Position>,
    /// Why.
    pub what: String,
    /// What to do instead.
    pub remedy: String,
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
    /// Where in the text, if that is known.
    pub position: Option<Position>,
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

/// Reads a configuration: YAML or JSON, in one of Kong's formats, as decK writes it, or APISIX's standalone file.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(
    text: &str,
    kinds: &Kinds,
    registry: &Registry,
    surroundings: &dyn Surroundings,
) -> Result<Configuration, Refusal> {
    let mut source = render::open(text, kinds, registry, surroundings)?;
    let mut faults = Faults::tolerating(surroundings.unknown_plugins());
    for missing in source.missing.drain(..) {
        faults.unfilled(missing);
    }
    let everything = surroundings.replaces_everything();
    let head = Head::read(&source.document, kinds, everything, &mut faults);
    let mut drafts = Flattening::new(kinds, &head, &mut faults).run(&source.document);
    if head.is_old {
        format::migrate(&mut drafts);
    }
    resolve::resolve(kinds, &mut drafts, &mut faults);
    absent::sort_out(registry, &source, &mut drafts, &mut faults);
    let rules = Rules {
        kinds,
        registry,
        surroundings,
        is_as_stored: head.is_as_stored,
    };
    let checked = check::check(&rules, &mut drafts, &mut faults);
    if !faults.is_empty() || !source.faults.is_empty() {
        source.find_spots(text);
        return Err(Refusal::new(faults, source, drafts));
    }
    let notices = notices(&mut source, &head, &drafts, &checked);
    let ignored = faults.ignored.drain(..).map(|ignored| Ignored {
        position: source.locate(&ignored.pointer).map(|(position, _)| position),
        pointer: source.origin(&ignored.pointer),
        ..ignored
    });
    let mut ignored: Vec<Ignored> = ignored.collect();
    ignored.sort_by_key(|ignored| ignored.position);
    let mut drafts: Vec<Option<flatten::Draft>> = drafts.into_iter().map(Some).collect();
    let entries = checked.order.into_iter().filter_map(|index| {
        let entry = drafts.get_mut(index)?.take()?.into_entry();
        let position = source.locate(&entry.pointer).map(|(position, _)| position);
        let pointer = source.origin(&entry.pointer);
        Some(Entry {
            pointer,
            position,
            ..entry
        })
    });
    let entries = entries.collect();
    let remarks = std::mem::take(&mut source.remarks);
    let remarks = remarks.into_iter().map(|remark| {
        let position = source.place(&remark.pointer);
        (remark, position)
    });
    let remarks = remarks.collect();
    Ok(Configuration {
        entries,
        notices,
        ignored,
        remarks,
        part: head.part().to_vec(),
    })
}

/// Whether a text is in APISIX's format, as far as it can be read.
#[must_use]
pub fn is_apisix(text: &str) -> bool {
    let unset = |_: &str| Err(Withheld::Unset);
    source::load(text, &unset, None).is_ok_and(|source| apisix::is_meant(text, &source.document))
}

/// What was read otherwise than its writer may think.
fn notices(
    source: &mut source::Source,
    head: &Head,
    drafts: &[flatten::Draft],
    checked: &check::Checked,
) -> Vec<Notice> {
    let mut notices = std::mem::take(&mut source.notices);
    let doubles = checked
        .doubles
        .iter()
        .filter_map(|position| drafts.get(*position));
    let doubles = doubles.map(|draft| {
        let message = "the same stands elsewhere; it counts once".to_owned();
        (draft.pointer.clone(), message)
    });
    let mut told = HashSet::new();
    let unset = source.left_over.iter().filter(|(_, name)| told.insert(name));
    let unset = unset.map(|(pointer, name)| {
        let message =
            format!("the environment has no variable '{name}'; what names it stays as it is written");
        (pointer.clone(), message)
    });
    for (pointer, message) in head.notices.iter().cloned().chain(doubles).chain(unset) {
        let position = source.locate(&pointer).map(|(position, _)| position);
        notices.push(Notice {
            pointer: source.origin(&pointer),
            position,
            message,
        });
    }
    notices
}

fn text<'d>(document: &'d Document, field: &str) -> Option<&'d str> {
    document.get(field).and_then(serde_json::Value::as_str)
}

#[cfg(test)]
mod tests;
