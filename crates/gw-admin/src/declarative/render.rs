//! A text with its variables filled in, for another gateway to load: that one does not read this environment.

use gw_core::{Document, Kinds};
use gw_plugins::Registry;

use super::environment::Lookup;
use super::faults::Faults;
use super::source::{self, Source};
use super::{Notice, Position, Refusal, Surroundings, apisix};

/// A text with its variables filled in.
#[derive(Debug)]
pub struct Rendered {
    source: Source,
}

/// Fills in the variables that a text names, and brings it into Kong's format. Nothing else is checked: who loads it does
/// that.
///
/// # Errors
/// The text is neither YAML nor JSON, or names variables that are not there.
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

    /// What was read otherwise than its writer may think.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.source.notices
    }
}
