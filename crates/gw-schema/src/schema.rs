//! A compiled schema and what can be asked of it.

use std::fmt;
use std::sync::Arc;

use jsonschema::{Draft, ValidationOptions, Validator};
use serde_json::Value;

use crate::defaults::{self, TooDeep};
use crate::shape::{Folded, Shapes};
use crate::wording::Wording;
use crate::{CompileError, Violations, checks, coerce, format, vet};

/// How deep defaults may bring further defaults. No real schema comes near; one that contains itself gets there.
const DEEPEST_DEFAULT: usize = 64;

/// Bound: values in a document of which all violations are looked for. The validator notes every one, with what it needs to tell
/// it: of a larger document it notes the first.
const MOST_VALUES: usize = 10_000;

/// A compiled schema: cheap to clone, to be kept for as long as documents come.
#[derive(Clone)]
pub struct Schema {
    compiled: Arc<Compiled>,
}

struct Compiled {
    document: Value,
    /// Decides what is valid, entity checks apart.
    validator: Validator,
    /// What the validator does not tell: defaults, types to coerce to, names to suggest, entity checks.
    shapes: Shapes,
}

impl Schema {
    /// Compiles a JSON Schema 2020-12 document, with the keywords of this crate.
    ///
    /// # Errors
    ///
    /// The document is not JSON Schema, refers outside itself or to itself without end, uses a keyword of this crate
    /// wrongly, names an unknown format, or has a default that its own schema refuses.
    pub fn compile(document: Value) -> Result<Self, CompileError> {
        vet::vet(&document)?;
        let validator = options().build(&document).map_err(|error| invalid(&error))?;
        let Folded { shapes, places } = Shapes::fold(&document)?;
        for (index, places) in &places {
            if let Some(name) = checks::stranger(&shapes, shapes.at(*index)) {
                let place = places.first().map_or("", String::as_str);
                return Err(CompileError::Keyword {
                    place: format!("#{place}/x-entity-checks").into(),
                    expected: format!("field `{name}` is not in this schema; name one that is").into(),
                });
            }
        }
        vet_defaults(&document, &shapes, &places)?;
        Ok(Self {
            compiled: Arc::new(Compiled {
                document,
                validator,
                shapes,
            }),
        })
    }

    /// The document as it was given.
    pub fn document(&self) -> &Value {
        &self.compiled.document
    }

    /// Whether the document as a whole must have this field.
    pub fn is_required(&self, field: &str) -> bool {
        let required = self.compiled.document.get("required").and_then(Value::as_array);
        required.is_some_and(|names| names.iter().any(|name| name == field))
    }

    /// Turns the strings of a form into what the schema expects at their place: `"8080"` into 8080, `"true"` into
    /// true, one value into a list of one, `""` into null. What does not coerce stays, for the check to refuse.
    pub fn coerce(&self, value: &mut Value) {
        coerce::coerce(&self.compiled.shapes, Shapes::ROOT, value);
    }

    /// Fills in what is absent, or null where null is not allowed, and has a default; and drops repeated items of
    /// sets. Doing it twice changes nothing more.
    pub fn fill_defaults(&self, value: &mut Value) {
        let filled = defaults::fill(&self.compiled.shapes, Shapes::ROOT, value, usize::MAX);
        debug_assert!(filled.is_ok(), "compiling refuses defaults without end");
    }

    /// Checks a document and reports everything wrong with it, up to a hundred violations; of a document of more than ten
    /// thousand values the first.
    ///
    /// # Errors
    ///
    /// The violations, all at once.
    pub fn check(&self, value: &Value) -> Result<(), Violations> {
        let Compiled {
            document,
            validator,
            shapes,
        } = &*self.compiled;
        let mut found = Vec::new();
        if !validator.is_valid(value) {
            let wording = Wording { document, shapes };
            found = match has_more_values(value, &mut { MOST_VALUES }) {
                true => wording.violations(validator.validate(value).err(), value),
                false => wording.violations(validator.iter_errors(value), value),
            };
        }
        checks::run(shapes, value, &mut found);
        Violations::none_in(found)
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = self.compiled.document.get("title").and_then(Value::as_str);
        f.debug_struct("Schema")
            .field("title", &title)
            .finish_non_exhaustive()
    }
}

/// Whether a document has more values than `room`, which is what is left of it otherwise.
fn has_more_values(value: &Value, room: &mut usize) -> bool {
    let Some(left) = room.checked_sub(1) else {
        return true;
    };
    *room = left;
    match value {
        Value::Array(items) => items.iter().any(|item| has_more_values(item, room)),
        Value::Object(fields) => fields.values().any(|field| has_more_values(field, room)),
        _ => false,
    }
}

fn options<'a>() -> ValidationOptions<'a> {
    let options = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false);
    format::FORMATS.iter().fold(options, |options, format| {
        options.with_format(format.name, format.accepts)
    })
}

fn invalid(error: &jsonschema::ValidationError<'_>) -> CompileError {
    let place = format!("#{}", error.instance_path());
    CompileError::Invalid {
        place: place.into(),
        reason: error.to_string().into(),
    }
}

/// Whether there is a `$ref` in it, or anything that one can look like.
fn has_reference(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| name.starts_with('$') || has_reference(value)),
        Value::Array(items) => items.iter().any(has_reference),
        _ => false,
    }
}

/// Fills every default in, as it will be, and holds it against the schemas of its place.
fn vet_defaults(
    document: &Value,
    shapes: &Shapes,
    places: &[(crate::shape::ShapeIdx, Vec<String>)],
) -> Result<(), CompileError> {
    // A place that refers elsewhere is understood only as a part of the whole; all of those are compiled at once, and only if
    // there are any: it takes as long as compiling the document once more for each level of it.
    let mut whole = None;
    let with_default = places
        .iter()
        .filter(|(index, _)| shapes.at(*index).default.is_some());
    for (index, places) in with_default {
        let place = || format!("#{}", places.first().map_or("", String::as_str)).into();
        let mut filled = shapes.at(*index).default.clone().unwrap_or_default();
        if let Err(TooDeep) = defaults::fill(shapes, *index, &mut filled, DEEPEST_DEFAULT) {
            return Err(CompileError::EndlessDefault { place: place() });
        }
        for at in places {
            let alone = document.pointer(at).filter(|schema| !has_reference(schema));
            let own;
            let validator = if let Some(schema) = alone {
                own = options().build(schema).map_err(|error| invalid(&error))?;
                &own
            } else {
                let whole = match &mut whole {
                    Some(whole) => whole,
                    none => none.insert(options().build_map(document).map_err(|error| invalid(&error))?),
                };
                let Some(validator) = whole.get(&format!("#{at}")) else {
                    continue;
                };
                validator
            };
            if let Err(error) = validator.validate(&filled) {
                let reason = match error.instance_path().as_str() {
                    "" => error.to_string(),
                    below => format!("{below}: {error}"),
                };
                return Err(CompileError::Default {
                    place: place(),
                    reason: reason.into(),
                });
            }
        }
    }
    Ok(())
}
