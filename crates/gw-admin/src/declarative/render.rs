//! A text with its variables filled in, for another gateway to load: that one does not read this environment.

use gw_core::{Document, Kinds};
use gw_plugins::Registry;
use serde_json::Value;

use super::deck::Head;
use super::environment::Lookup;
use super::faults::Faults;
use super::source::{self, Source};
use super::{Notice, Position, Refusal, Surroundings, apisix};

/// A text with its variables filled in.
#[derive(Debug)]
pub struct Rendered {
    source: Source,
}

/// Fills in the variables that a text names, and brings it into Kong's format. But for `_format_version` nothing else is
/// checked: who loads it does that.
///
/// # Errors
/// The text is neither YAML nor JSON, does not say of which format it is, or names variables that are not there.
pub fn render(
    text: &str,
    kinds: &Kinds,
    registry: &Registry,
    surroundings: &dyn Surroundings,
) -> Result<Rendered, Refusal> {
    let mut source = open(text, kinds, registry, surroundings)?;
    let mut faults = Faults::default();
    for missing in source.missing.drain(..) {
        faults.unfilled(missing);
    }
    Head::check_format(&source.document, &mut faults);
    source.find_spots(text);
    if faults.is_empty() && source.faults.is_empty() {
        return Ok(Rendered { source });
    }
    Err(Refusal::new(faults, source, Vec::new()))
}

/// Reads a text, of Kong's or APISIX's.
pub(super) fn open(
    text: &str,
    kinds: &Kinds,
    registry: &Registry,
    surroundings: &dyn Surroundings,
) -> Result<Source, Refusal> {
    let variable = |name: &str| surroundings.variable(name);
    let lookup = |name: &str| surroundings.shell_variable(name);
    let shell: Option<Lookup<'_>> = if surroundings.are_filled_in() {
        Some(&lookup)
    } else {
        None
    };
    let source = source::load(text, &variable, shell).map_err(Refusal::from_syntax)?;
    if apisix::is_meant(text, &source.document) {
        return apisix::read(text, kinds, registry, surroundings);
    }
    Ok(source)
}

impl Rendered {
    /// The whole of it.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.source.document
    }

    /// Where in the text a JSON pointer into the document leads to.
    #[must_use]
    pub fn position(&self, pointer: &str) -> Option<Position> {
        self.source.locate(pointer).map(|(position, _)| position)
    }

    /// Whether a value tells what the environment holds: what a variable holds or a value that was made of it, or a text
    /// in which a longer one of these stands.
    #[must_use]
    pub fn tells_of_environment(&self, value: &Value) -> bool {
        /// Bound: bytes. What is shorter may stand in a text by chance.
        const LONG: usize = 6;
        let is_told = |text: &str| {
            let mut longer = self.source.told.iter().filter(|told| told.len() >= LONG);
            !text.is_empty() && (self.source.told.contains(text) || longer.any(|told| text.contains(&**told)))
        };
        match value {
            Value::Null => false,
            Value::Bool(_) | Value::Number(_) => is_told(&value.to_string()),
            Value::String(text) => is_told(text) || is_told(text.trim()),
            Value::Array(items) => items.iter().any(|item| self.tells_of_environment(item)),
            Value::Object(fields) => fields.values().any(|field| self.tells_of_environment(field)),
        }
    }

    /// What was read otherwise than its writer may think.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.source.notices
    }
}
