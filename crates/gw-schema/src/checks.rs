//! `x-entity-checks`: rules between the fields of one object, with Kong's texts.

use serde_json::{Map, Value};

use crate::shape::{Shape, ShapeIdx, Shapes, escape};
use crate::types::Types;
use crate::{CompileError, Violation, ViolationKind};

/// One rule between the fields of an object.
#[derive(Debug)]
pub(crate) enum EntityCheck {
    AtLeastOneOf(Vec<Field>),
    ExactlyOneOf(Vec<Field>),
    OnlyOneOf(Vec<Field>),
    AllOrNoneOf(Vec<Field>),
    Distinct(Vec<Field>),
    Conditional {
        given: Field,
        when: Vec<Term>,
        field: Field,
        must: Vec<Term>,
    },
}

/// A field of the object or, dotted, of an object below it.
#[derive(Debug)]
pub(crate) struct Field(String);

/// What the value of a field may be.
#[derive(Debug)]
pub(crate) enum Term {
    Set,
    Null,
    In(Vec<Value>),
    NotIn(Vec<Value>),
}

// --- running ---

/// Runs every check of the schema over a document. `found` holds what is wrong with single fields: a rule about a
/// field that is wrong by itself is not run, but those that only ask for its presence are.
pub(crate) fn run(shapes: &Shapes, value: &Value, found: &mut Vec<Violation>) {
    if shapes.iter().any(|shape| !shape.checks.is_empty()) {
        let fields = found.len();
        walk(shapes, Shapes::ROOT, value, "", found, fields);
    }
}

fn walk(
    shapes: &Shapes,
    index: ShapeIdx,
    value: &Value,
    pointer: &str,
    found: &mut Vec<Violation>,
    fields: usize,
) {
    let shape = shapes.at(index);
    match value {
        Value::Object(object) => {
            for check in &shape.checks {
                check.run(object, pointer, found, fields);
            }
            for (name, value) in object {
                if let Some(below) = shape.field(name) {
                    walk(
                        shapes,
                        below,
                        value,
                        &format!("{pointer}/{}", escape(name)),
                        found,
                        fields,
                    );
                }
            }
        }
        Value::Array(items) => {
            for (position, item) in items.iter().enumerate() {
                if let Some(below) = shape.item(position) {
                    walk(
                        shapes,
                        below,
                        item,
                        &format!("{pointer}/{position}"),
                        found,
                        fields,
                    );
                }
            }
        }
        _ => {}
    }
}

impl EntityCheck {
    fn run(&self, object: &Map<String, Value>, pointer: &str, found: &mut Vec<Violation>, fields: usize) {
        let count = |names: &[Field]| names.iter().filter(|field| field.is_set(object)).count();
        let broken = match self {
            Self::AtLeastOneOf(names) => count(names) == 0,
            Self::ExactlyOneOf(names) => count(names) != 1,
            Self::OnlyOneOf(names) => count(names) > 1,
            Self::AllOrNoneOf(names) => count(names) != 0 && count(names) != names.len(),
            Self::Distinct(names) => {
                let values: Vec<_> = names
                    .iter()
                    .filter(|field| field.is_set(object))
                    .map(|field| field.of(object))
                    .collect();
                let repeated = |(i, value)| values.iter().take(i).any(|earlier| earlier == value);
                values.iter().enumerate().any(repeated)
            }
            Self::Conditional { .. } => false,
        };
        if broken && !self.asks_about_wrong_value(pointer, found, fields) {
            found.push(Violation::new(pointer, self.text()).with_kind(ViolationKind::Entity));
        }
        if let Self::Conditional {
            given,
            when,
            field,
            must,
        } = self
            && !self.asks_about_wrong_value(pointer, found, fields)
            && when.iter().all(|term| term.holds(given.of(object)))
            && let Some((message, kind)) = must.iter().find_map(|term| term.complaint(field.of(object)))
        {
            found.push(Violation::new(field.pointer(pointer), message).with_kind(kind));
            found.push(Violation::new(pointer, self.text()).with_kind(ViolationKind::Entity));
        }
    }

    fn asks_about_wrong_value(&self, pointer: &str, found: &[Violation], fields: usize) -> bool {
        let names: Vec<&Field> = match self {
            // These ask only whether a field is there.
            Self::AtLeastOneOf(_) | Self::ExactlyOneOf(_) | Self::OnlyOneOf(_) => return false,
            Self::AllOrNoneOf(names) | Self::Distinct(names) => names.iter().collect(),
            Self::Conditional { given, field, .. } => vec![given, field],
        };
        let wrong = found.get(..fields).unwrap_or_default();
        names.iter().any(|field| {
            let place = field.pointer(pointer);
            wrong.iter().any(|violation| {
                violation
                    .pointer
                    .strip_prefix(&place)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        })
    }

    fn text(&self) -> String {
        match self {
            Self::AtLeastOneOf(names) => {
                format!(
                    "at least one of these fields must be non-empty: {}",
                    quoted(names)
                )
            }
            Self::ExactlyOneOf(names) => {
                format!("exactly one of these fields must be non-empty: {}", quoted(names))
            }
            Self::OnlyOneOf(names) => {
                format!("only one or none of these fields must be set: {}", quoted(names))
            }
            Self::AllOrNoneOf(names) => format!("all or none of these fields must be set: {}", quoted(names)),
            Self::Distinct(names) => format!("values of these fields must be distinct: {}", quoted(names)),
            Self::Conditional { given, .. } => {
                format!("failed conditional validation given value of field '{}'", given.0)
            }
        }
    }

    fn fields(&self) -> Vec<&Field> {
        match self {
            Self::AtLeastOneOf(names)
            | Self::ExactlyOneOf(names)
            | Self::OnlyOneOf(names)
            | Self::AllOrNoneOf(names)
            | Self::Distinct(names) => names.iter().collect(),
            Self::Conditional { given, field, .. } => vec![given, field],
        }
    }
}

impl Field {
    fn of<'a>(&self, object: &'a Map<String, Value>) -> &'a Value {
        let mut names = self.0.split('.');
        let first = names.next().and_then(|name| object.get(name));
        names
            .fold(first, |value, name| value?.get(name))
            .unwrap_or(&Value::Null)
    }

    /// Whether it holds anything, as Kong sees it: an empty string, array or object is nothing.
    fn is_set(&self, object: &Map<String, Value>) -> bool {
        match self.of(object) {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            Value::Bool(_) | Value::Number(_) => true,
        }
    }

    fn pointer(&self, object: &str) -> String {
        self.0.split('.').fold(object.to_owned(), |pointer, name| {
            format!("{pointer}/{}", escape(name))
        })
    }
}

impl Term {
    /// Whether a condition applies. A list says nothing about null.
    fn holds(&self, value: &Value) -> bool {
        match self {
            Self::Set => !value.is_null(),
            Self::Null => value.is_null(),
            Self::In(values) => values.contains(value),
            Self::NotIn(values) => !value.is_null() && !values.contains(value),
        }
    }

    /// What is wrong with a value that must be so.
    fn complaint(&self, value: &Value) -> Option<(String, ViolationKind)> {
        match self {
            Self::Set if value.is_null() => {
                Some(("required field missing".to_owned(), ViolationKind::Required))
            }
            Self::Null if !value.is_null() => Some(("value must be null".to_owned(), ViolationKind::Other)),
            Self::In(values) if !value.is_null() && !values.contains(value) => Some((
                format!("expected one of: {}", listed(values)),
                ViolationKind::Enum,
            )),
            Self::NotIn(values) if values.contains(value) => Some((
                format!("must not be one of: {}", listed(values)),
                ViolationKind::Enum,
            )),
            _ => None,
        }
    }
}

fn quoted(names: &[Field]) -> String {
    names
        .iter()
        .map(|field| format!("'{}'", field.0))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Values as a message lists them: strings bare, null left out.
pub(crate) fn listed(values: &[Value]) -> String {
    let shown = values
        .iter()
        .filter(|value| !value.is_null())
        .map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
    shown.collect::<Vec<_>>().join(", ")
}

// --- parsing ---

/// Reads `x-entity-checks` of the schema at `place`.
pub(crate) fn parse(place: &str, schema: &Map<String, Value>) -> Result<Vec<EntityCheck>, CompileError> {
    let Some(keyword) = schema.get("x-entity-checks") else {
        return Ok(Vec::new());
    };
    let wrong = |position: Option<usize>, expected: &str| CompileError::Keyword {
        place: match position {
            Some(position) => format!("#{place}/x-entity-checks/{position}").into(),
            None => format!("#{place}/x-entity-checks").into(),
        },
        expected: expected.into(),
    };
    let list = keyword
        .as_array()
        .ok_or_else(|| wrong(None, "write a list of checks"))?;
    let checks = list.iter().enumerate();
    checks
        .map(|(i, check)| entity_check(check).map_err(|expected| wrong(Some(i), expected)))
        .collect()
}

fn entity_check(check: &Value) -> Result<EntityCheck, &'static str> {
    const KINDS: &str = "write one of `at_least_one_of`, `exactly_one_of`, `only_one_of`, `all_or_none_of` or \
                         `distinct` with a list of fields, or `if` and `then`";
    let check = check.as_object().ok_or(KINDS)?;
    if let (2, Some(given), Some(then)) = (check.len(), check.get("if"), check.get("then")) {
        let (given, when) = condition(given)?;
        let (field, must) = condition(then)?;
        return Ok(EntityCheck::Conditional {
            given,
            when,
            field,
            must,
        });
    }
    let (kind, names) = check.iter().next().filter(|_| check.len() == 1).ok_or(KINDS)?;
    let names = names
        .as_array()
        .filter(|names| names.len() > 1)
        .ok_or("list two fields or more")?;
    let name = |name: &Value| {
        name.as_str()
            .map(|name| Field(name.to_owned()))
            .ok_or("name fields as strings")
    };
    let names = names.iter().map(name).collect::<Result<_, _>>()?;
    match kind.as_str() {
        "at_least_one_of" => Ok(EntityCheck::AtLeastOneOf(names)),
        "exactly_one_of" => Ok(EntityCheck::ExactlyOneOf(names)),
        "only_one_of" => Ok(EntityCheck::OnlyOneOf(names)),
        "all_or_none_of" => Ok(EntityCheck::AllOrNoneOf(names)),
        "distinct" => Ok(EntityCheck::Distinct(names)),
        _ => Err(KINDS),
    }
}

fn condition(condition: &Value) -> Result<(Field, Vec<Term>), &'static str> {
    const SHAPE: &str =
        "write `if` and `then` as `field` and one or more of `required: true`, `null`, `in`, `not_in`";
    let condition = condition.as_object().ok_or(SHAPE)?;
    let field = condition.get("field").and_then(Value::as_str).ok_or(SHAPE)?;
    let mut terms = Vec::new();
    for (name, value) in condition.iter().filter(|(name, _)| *name != "field") {
        terms.push(match (name.as_str(), value) {
            ("required", Value::Bool(true)) | ("null", Value::Bool(false)) => Term::Set,
            ("null", Value::Bool(true)) => Term::Null,
            ("in", Value::Array(values)) => Term::In(values.clone()),
            ("not_in", Value::Array(values)) => Term::NotIn(values.clone()),
            _ => return Err(SHAPE),
        });
    }
    if terms.is_empty() {
        return Err(SHAPE);
    }
    Ok((Field(field.to_owned()), terms))
}

/// The first field a check of this shape names that its objects cannot have.
pub(crate) fn stranger<'a>(shapes: &Shapes, shape: &'a Shape) -> Option<&'a str> {
    let exists = |field: &&Field| {
        let mut place = Some(shape);
        for name in field.0.split('.') {
            // Nothing is known of what lies below a field that may hold anything.
            let says_something = |above: &&Shape| above.types != Types::ANY || !above.properties.is_empty();
            let Some(above) = place.filter(says_something) else {
                return true;
            };
            place = match above.field(name) {
                Some(below) => Some(shapes.at(below)),
                None => return false,
            };
        }
        true
    };
    let fields = shape.checks.iter().flat_map(EntityCheck::fields);
    fields
        .into_iter()
        .find(|field| !exists(field))
        .map(|field| field.0.as_str())
}

#[cfg(test)]
mod tests;
