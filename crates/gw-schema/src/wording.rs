//! The validator's errors in Kong's words.

use std::collections::HashSet;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value};

use crate::checks::listed;
use crate::shape::{Shape, Shapes, at, escape};
use crate::types::Types;
use crate::{Violation, ViolationKind, format, hint};

/// What is needed to word an error.
pub(crate) struct Wording<'a> {
    pub(crate) document: &'a Value,
    pub(crate) shapes: &'a Shapes,
}

type Errors = Vec<Vec<ValidationError<'static>>>;

/// Bound: violations that are told of one document. Who mends them will hear of the others.
pub(crate) const MOST: usize = 100;

impl Wording<'_> {
    /// Words the errors of one document, of which there is at least one, up to [`MOST`]. Where a value has the wrong type
    /// nothing else is said of it.
    pub(crate) fn violations<'e>(
        &self,
        errors: impl IntoIterator<Item = ValidationError<'e>>,
        value: &Value,
    ) -> Vec<Violation> {
        let mut found = Vec::new();
        for error in errors {
            self.word(&error, value, &mut found);
            if found.len() >= MOST {
                break;
            }
        }
        found.truncate(MOST);
        let decided =
            |violation: &Violation| matches!(violation.kind, ViolationKind::Type | ViolationKind::Required);
        let settled: HashSet<String> = found
            .iter()
            .filter(|violation| decided(violation))
            .map(|v| v.pointer.clone())
            .collect();
        found.retain(|violation| decided(violation) || !settled.contains(&violation.pointer));
        if found.is_empty() {
            found.push(Violation::new("", "value does not fit its schema"));
        }
        found
    }

    fn word(&self, error: &ValidationError<'_>, value: &Value, found: &mut Vec<Violation>) {
        use ValidationErrorKind as Kind;
        let pointer = error.instance_path().as_str();
        match error.kind() {
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                let told = unexpected.iter().take(MOST);
                found.extend(told.map(|name| self.unknown(pointer, name)));
            }
            Kind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                found.push(missing(format!("{pointer}/{}", escape(name))));
            }
            Kind::AnyOf { context } => self.no_branch(error, context, "at least one of", value, found),
            Kind::OneOfNotValid { context } => self.no_branch(error, context, "exactly one of", value, found),
            Kind::PropertyNames { error: inner } => {
                let name = error_text(inner);
                let mut below = Vec::new();
                self.word(inner, value, &mut below);
                let pointer = format!("{pointer}/{}", escape(&name));
                found.extend(below.into_iter().map(|violation| Violation {
                    pointer: pointer.clone(),
                    ..violation
                }));
            }
            // To Kong a field that is null is one that is not there.
            Kind::Type { .. } | Kind::Enum { .. } | Kind::Constant { .. }
                if error.instance().is_null() && is_field(value, pointer) =>
            {
                found.push(missing(pointer));
            }
            kind => found.push(self.single(error, kind)),
        }
    }

    /// Words an error that is about one value and nothing else.
    fn single(&self, error: &ValidationError<'_>, kind: &ValidationErrorKind) -> Violation {
        use ValidationErrorKind as Kind;
        let pointer = error.instance_path().as_str();
        let keywords = self.keywords(error);
        let text = || error_text(error);
        let say = |kind: ViolationKind, message: String| Violation::new(pointer, message).with_kind(kind);
        match kind {
            Kind::Type { .. } => self.wrong_type(pointer, error, keywords),
            Kind::Enum { options } => {
                let options = options.as_array().map_or(&[][..], Vec::as_slice);
                let wrong = say(
                    ViolationKind::Enum,
                    format!("expected one of: {}", listed(options)),
                );
                let names = options.iter().filter_map(Value::as_str);
                match error
                    .instance()
                    .as_str()
                    .and_then(|text| hint::nearest(text, names))
                {
                    Some(name) => wrong.with_hint(did_you_mean(name)),
                    None => wrong,
                }
            }
            Kind::Constant { expected_value } => say(
                ViolationKind::Enum,
                format!("value must be {}", shown(expected_value)),
            ),
            Kind::Minimum { .. } | Kind::Maximum { .. } => say(ViolationKind::Range, range(keywords)),
            Kind::ExclusiveMinimum { limit } => say(
                ViolationKind::Range,
                format!("value must be greater than {limit}"),
            ),
            Kind::ExclusiveMaximum { limit } => {
                say(ViolationKind::Range, format!("value must be less than {limit}"))
            }
            Kind::MultipleOf { multiple_of } => say(
                ViolationKind::Range,
                format!("value must be a multiple of {multiple_of}"),
            ),
            Kind::MinLength { limit } | Kind::MinItems { limit } | Kind::MinProperties { limit } => {
                say(ViolationKind::Length, format!("length must be at least {limit}"))
            }
            Kind::MaxLength { limit } | Kind::MaxItems { limit } | Kind::MaxProperties { limit } => {
                say(ViolationKind::Length, format!("length must be at most {limit}"))
            }
            Kind::AdditionalItems { limit } => {
                say(ViolationKind::Length, format!("length must be at most {limit}"))
            }
            Kind::UniqueItems => say(ViolationKind::Other, "values must be distinct".to_owned()),
            Kind::FalseSchema => self.unknown_at(pointer),
            Kind::Pattern { pattern } => {
                let message = self
                    .own_message(error, keywords)
                    .unwrap_or_else(|| not_matching(pattern, &text()));
                say(ViolationKind::Pattern, message)
            }
            Kind::Format { format } => {
                let own = self.own_message(error, keywords);
                say(
                    ViolationKind::Format,
                    own.unwrap_or_else(|| format::complaint(format, &text())),
                )
            }
            Kind::Not { schema } => {
                let listing = schema.get("enum").and_then(Value::as_array);
                let message = self
                    .own_message(error, keywords)
                    .unwrap_or_else(|| match listing {
                        Some(values) => format!("must not be one of: {}", listed(values)),
                        None => format!("invalid value: {}", text()),
                    });
                say(ViolationKind::Other, message)
            }
            Kind::Contains => {
                let wanted = keywords.and_then(|keywords| keywords.get("contains")?.get("const"));
                let message = self.own_message(error, keywords).unwrap_or_else(|| match wanted {
                    Some(value) => format!("expected to contain: {}", shown(value)),
                    None => "no value is of the kind required here".to_owned(),
                });
                say(ViolationKind::Other, message)
            }
            Kind::OneOfMultipleValid { .. } => self.several_branches(error, keywords),
            _ => say(
                ViolationKind::Other,
                self.own_message(error, keywords)
                    .unwrap_or_else(|| error.to_string()),
            ),
        }
    }

    fn wrong_type(
        &self,
        pointer: &str,
        error: &ValidationError<'_>,
        keywords: Option<&Map<String, Value>>,
    ) -> Violation {
        let named = keywords
            .and_then(|keywords| keywords.get("type"))
            .map_or(Types::NONE, Types::named);
        self.expected(pointer, named, error.instance())
    }

    /// `named` are the types of the schema that refused; the shape knows the same place better, if it was folded.
    fn expected(&self, pointer: &str, named: Types, value: &Value) -> Violation {
        let shape = self.shapes.find(pointer);
        let types = match shape {
            Some(shape) if shape.types != Types::ANY && shape.types != Types::NONE => shape.types,
            _ => named,
        };
        let hint = match value {
            Value::String(text) if coerces(text, types) => "write it without quotes".to_owned(),
            other => format!("this is {}", article(noun(Types::of(other), None))),
        };
        Violation::new(pointer, format!("expected {}", nouns(types, shape)))
            .with_kind(ViolationKind::Type)
            .with_hint(hint)
    }

    fn unknown(&self, pointer: &str, name: &str) -> Violation {
        let wrong = Violation::new(format!("{pointer}/{}", escape(name)), "unknown field")
            .with_kind(ViolationKind::Unknown);
        let known = self
            .shapes
            .find(pointer)
            .into_iter()
            .flat_map(|shape| shape.properties.keys());
        match hint::nearest(name, known.map(String::as_str).filter(|known| *known != name)) {
            Some(name) => wrong.with_hint(did_you_mean(name)),
            None => wrong,
        }
    }

    fn unknown_at(&self, pointer: &str) -> Violation {
        match pointer.rsplit_once('/') {
            Some((above, name)) => self.unknown(above, &crate::shape::unescape(name)),
            None => Violation::new(pointer, "no value is allowed here").with_kind(ViolationKind::Unknown),
        }
    }

    /// Words `anyOf` and `oneOf` of which no branch fits: by the one branch that was meant, if that can be told.
    fn no_branch(
        &self,
        error: &ValidationError<'_>,
        branches: &Errors,
        how_many: &str,
        value: &Value,
        found: &mut Vec<Violation>,
    ) {
        let pointer = error.instance_path().as_str();
        let keywords = self.keywords(error);
        if let Some(message) = self.own_message(error, keywords) {
            found.push(Violation::new(pointer, message));
            return;
        }
        let is_other_type = |branch: &&Vec<ValidationError<'static>>| {
            branch
                .iter()
                .any(|inner| is_type(inner) && inner.instance_path().as_str() == pointer)
        };
        let meant: Vec<_> = branches.iter().filter(|branch| !is_other_type(branch)).collect();
        if meant.is_empty() {
            if error.instance().is_null() && is_field(value, pointer) {
                found.push(missing(pointer));
            } else {
                found.push(self.expected(pointer, self.branch_types(branches), error.instance()));
            }
        } else if let [only] = meant.as_slice() {
            only.iter().for_each(|inner| self.word(inner, value, found));
        } else if let Some(names) = required_names(&meant, pointer) {
            let text = format!("{how_many} these fields must be non-empty: {names}");
            found.push(Violation::new(pointer, text).with_kind(ViolationKind::Entity));
        } else {
            let mut closest = Vec::new();
            if let Some(branch) = meant.iter().min_by_key(|branch| branch.len()) {
                branch
                    .iter()
                    .for_each(|inner| self.word(inner, value, &mut closest));
            }
            let wrong = Violation::new(pointer, "value fits none of the forms allowed here");
            found.push(match closest.first() {
                Some(inner) => wrong.with_hint(format!("the closest form says: {inner}")),
                None => wrong,
            });
        }
    }

    fn branch_types(&self, branches: &Errors) -> Types {
        let refusals = branches.iter().flatten().filter(|inner| is_type(inner));
        let named = refusals.filter_map(|inner| self.keywords(inner)?.get("type").map(Types::named));
        named.fold(Types::NONE, Types::or)
    }

    fn several_branches(
        &self,
        error: &ValidationError<'_>,
        keywords: Option<&Map<String, Value>>,
    ) -> Violation {
        let pointer = error.instance_path().as_str();
        let branches = keywords
            .and_then(|keywords| keywords.get("oneOf"))
            .and_then(Value::as_array);
        let names = branches.into_iter().flatten().map(|branch| {
            match branch.get("required")?.as_array()?.as_slice() {
                [only] => only.as_str().map(|name| format!("'{name}'")),
                _ => None,
            }
        });
        let message = match (
            self.own_message(error, keywords),
            names.collect::<Option<Vec<_>>>(),
        ) {
            (Some(message), _) => message,
            (None, Some(names)) if !names.is_empty() => {
                format!(
                    "exactly one of these fields must be non-empty: {}",
                    names.join(", ")
                )
            }
            _ => "value fits more than one of the forms allowed here".to_owned(),
        };
        Violation::new(pointer, message).with_kind(ViolationKind::Entity)
    }

    /// The schema holding the keyword that refused.
    fn keywords(&self, error: &ValidationError<'_>) -> Option<&Map<String, Value>> {
        let (holder, _) = error.schema_path().as_str().rsplit_once('/')?;
        at(self.document, holder).as_object()
    }

    /// `x-message` of the schema that refused, or of the place that refers to it.
    fn own_message(
        &self,
        error: &ValidationError<'_>,
        keywords: Option<&Map<String, Value>>,
    ) -> Option<String> {
        let own = keywords
            .and_then(|keywords| keywords.get("x-message"))
            .and_then(Value::as_str);
        let shape = || self.shapes.find(error.instance_path().as_str());
        let message = own.or_else(|| shape()?.message.as_deref())?;
        Some(message.replace("{value}", &error_text(error)))
    }
}

fn missing(pointer: impl Into<String>) -> Violation {
    Violation::new(pointer, "required field missing").with_kind(ViolationKind::Required)
}

fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}

/// Whether a pointer leads to a field of an object, not to an item of an array or the document.
fn is_field(value: &Value, pointer: &str) -> bool {
    let above = pointer
        .rsplit_once('/')
        .and_then(|(above, _)| value.pointer(above));
    above.is_some_and(Value::is_object)
}

fn is_type(error: &ValidationError<'_>) -> bool {
    matches!(error.kind(), ValidationErrorKind::Type { .. })
}

/// The fields whose absence is all that is wrong with each branch.
fn required_names(branches: &[&Vec<ValidationError<'static>>], pointer: &str) -> Option<String> {
    let name = |branch: &&Vec<ValidationError<'static>>| match branch.as_slice() {
        [only] if only.instance_path().as_str() == pointer => match only.kind() {
            ValidationErrorKind::Required { property } => property.as_str().map(|name| format!("'{name}'")),
            _ => None,
        },
        _ => None,
    };
    branches
        .iter()
        .map(name)
        .collect::<Option<Vec<_>>>()
        .map(|names| names.join(", "))
}

fn range(keywords: Option<&Map<String, Value>>) -> String {
    let limit = |name: &str| keywords.and_then(|keywords| keywords.get(name));
    match (limit("minimum"), limit("maximum")) {
        (Some(least), Some(most)) => format!("value should be between {least} and {most}"),
        (Some(least), None) => format!("value must be at least {least}"),
        (None, Some(most)) => format!("value must be at most {most}"),
        (None, None) => "value is out of range".to_owned(),
    }
}

fn not_matching(pattern: &str, text: &str) -> String {
    let literal = pattern
        .strip_prefix('^')
        .filter(|rest| !rest.is_empty() && !rest.contains(is_regex_sign));
    match literal {
        Some(literal) => format!("should start with: {literal}"),
        None => format!("invalid value: {text}"),
    }
}

fn is_regex_sign(sign: char) -> bool {
    r"\.+*?()|[]{}^$".contains(sign)
}

/// The refused value as a message shows it: strings bare.
fn error_text(error: &ValidationError<'_>) -> String {
    shown(error.instance())
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn coerces(text: &str, types: Types) -> bool {
    (types.has(Types::NUMBER) && text.parse::<f64>().is_ok_and(f64::is_finite))
        || (types.has(Types::BOOLEAN) && matches!(text, "true" | "false"))
}

/// `a string`, or `a string or an integer`; null goes without saying.
fn nouns(types: Types, shape: Option<&Shape>) -> String {
    let mut nouns: Vec<&str> = Vec::new();
    let numbers = if types.has(Types::FRACTION) {
        Types::FRACTION
    } else {
        Types::INTEGER
    };
    for single in [
        Types::STRING,
        numbers,
        Types::BOOLEAN,
        Types::ARRAY,
        Types::OBJECT,
    ] {
        if types.has(single) {
            nouns.push(noun(single, shape));
        }
    }
    match nouns.as_slice() {
        [] => "null".to_owned(),
        many => many
            .iter()
            .map(|noun| article(noun))
            .collect::<Vec<_>>()
            .join(" or "),
    }
}

fn noun(single: Types, shape: Option<&Shape>) -> &'static str {
    match single {
        Types::NULL => "null",
        Types::BOOLEAN => "boolean",
        Types::INTEGER => "integer",
        Types::FRACTION => "number",
        Types::STRING => "string",
        Types::ARRAY if shape.is_some_and(|shape| shape.is_set) => "set",
        Types::ARRAY => "array",
        _ if shape.is_some_and(|shape| shape.properties.is_empty() && shape.rest.is_some()) => "map",
        _ if shape.is_some() => "record",
        _ => "object",
    }
}

fn article(noun: &str) -> String {
    match noun {
        "null" => "null".to_owned(),
        "array" | "integer" | "object" => format!("an {noun}"),
        _ => format!("a {noun}"),
    }
}
