//! A text, JSON or YAML, as a document whose values know where they stand.

use std::collections::BTreeSet;

use gw_core::Document;
use gw_schema::Violation;
use serde_json::Value;

use super::environment::{Lookup, Placeholders, Unfilled};
use super::fidelity::Remark;
use super::mapped::Origins;
use super::spot::Spot;
use super::{Fault, Notice, Position, SyntaxError, Withheld, refusal, scalar, yaml};

/// Bound: levels of a text.
pub(super) const MAX_DEPTH: usize = 64;

/// Bound: what the values of a text weigh, each 1 and 1 more for every 32 bytes of it, those that aliases repeat
/// included.
pub(super) const MAX_WEIGHT: usize = 4_000_000;

/// A text that was read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) document: Document,
    /// Where its values stand; not known of JSON at first.
    pub(super) spot: Option<Spot>,
    pub(super) notices: Vec<Notice>,
    pub(super) missing: Vec<Missing>,
    /// Values that name variables nobody has set, as a shell would: pointers and names.
    pub(super) left_over: Vec<(String, String)>,
    /// What the environment has told: what variables hold, and the values that were made of that.
    pub(super) told: BTreeSet<String>,
    /// Where the values come from, if the text was mapped from another product's format.
    pub(super) origins: Option<Origins>,
    /// As it was then.
    pub(super) original: Option<Value>,
    /// What cannot be mapped, with pointers into the text.
    pub(super) faults: Vec<Violation>,
    /// What the mapping has to say.
    pub(super) remarks: Vec<Remark>,
}

/// A value that names a variable without a value.
#[derive(Debug)]
pub(super) struct Missing {
    pub(super) pointer: String,
    pub(super) unfilled: Unfilled,
}

/// Reads a text; JSON is what begins as JSON and is some.
pub(super) fn load(
    text: &str,
    variable: &dyn Fn(&str) -> Result<String, Withheld>,
    shell: Option<Lookup<'_>>,
) -> Result<Source, SyntaxError> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let (text, placeholders) = Placeholders::take(text, shell);
    if placeholders.is_empty()
        && (shell.is_none() || !text.contains('$'))
        && text.trim_start().starts_with('{')
        && let Ok(Value::Object(document)) = serde_json::from_str(&text)
    {
        let (mut value, mut left) = (Value::Object(document), MAX_WEIGHT);
        let fits = settle(&mut value, 0, &mut left);
        if let (true, Value::Object(document)) = (fits, value) {
            return Ok(Source {
                document,
                spot: None,
                notices: Vec::new(),
                missing: Vec::new(),
                left_over: Vec::new(),
                told: BTreeSet::new(),
                origins: None,
                original: None,
                faults: Vec::new(),
                remarks: Vec::new(),
            });
        }
        let start = Position { line: 1, column: 1 };
        let message = format!("too many values, or more than {MAX_DEPTH} levels of them");
        return Err(SyntaxError::at(start, &message));
    }
    yaml::load(&text, &placeholders, variable, shell.is_some())
}

/// Writes whole numbers without a fraction, and tells whether the value keeps the bounds.
fn settle(value: &mut Value, depth: usize, left: &mut usize) -> bool {
    let text = value.as_str().map_or(0, str::len);
    let Some(rest) = left.checked_sub(1 + text / 32).filter(|_| depth <= MAX_DEPTH) else {
        return false;
    };
    *left = rest;
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(whole) = number.as_f64().and_then(scalar::whole_or_not) {
                *number = whole;
            }
            true
        }
        Value::Array(items) => items.iter_mut().all(|item| settle(item, depth + 1, left)),
        Value::Object(fields) => fields.values_mut().all(|field| settle(field, depth + 1, left)),
        _ => true,
    }
}

impl Source {
    /// The pointer into the text for one into the document.
    pub(super) fn origin(&self, pointer: &str) -> String {
        let origins = self.origins.as_ref();
        origins.map_or_else(|| pointer.to_owned(), |origins| origins.of(pointer))
    }

    /// What cannot be mapped, with its place.
    pub(super) fn fault(&self, violation: &Violation) -> Fault {
        let spot = self.spot.as_ref().map(|spot| spot.nearest(&violation.pointer));
        Fault {
            path: refusal::path(self.original.as_ref().unwrap_or(&Value::Null), &violation.pointer),
            position: spot.map(|(spot, _)| spot.at),
            violation: violation.clone(),
        }
    }

    /// Where in the text a JSON pointer into the text leads to, or what is nearest around it.
    pub(super) fn place(&self, pointer: &str) -> Option<Position> {
        Some(self.spot.as_ref()?.nearest(pointer).0.at)
    }

    /// Where a JSON pointer leads to, or what is nearest around it, and whether what is there has no quotes.
    pub(super) fn locate(&self, pointer: &str) -> Option<(Position, bool)> {
        let (spot, exact) = self.spot.as_ref()?.nearest(&self.origin(pointer));
        Some((spot.at, exact && spot.plain))
    }

    /// Finds out where the values of JSON stand, from its text: only errors ask for it.
    pub(super) fn find_spots(&mut self, text: &str) {
        if self.spot.is_none() {
            let unset = |_: &str| Err(Withheld::Unset);
            let found = yaml::load(text, &Placeholders::default(), &unset, false);
            self.spot = found.ok().and_then(|found| found.spot);
        }
    }
}
