//! Everything that is wrong with a file, with its place, and Kong's way to say so.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use gw_core::Document;
use gw_schema::{Violation, ViolationKind, Violations};
use serde_json::{Value, json};

use super::Position;
use super::deck::singular;
use super::faults::{Faults, MAX_FAULTS};
use super::flatten::Draft;
use super::source::Source;
use crate::problem::{lua, mirror};

/// A text that is neither JSON nor YAML, or over a bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {message}", position.line, position.column)]
#[non_exhaustive]
pub struct SyntaxError {
    /// Where in the text.
    pub position: Position,
    /// What is wrong there.
    pub message: String,
}

impl SyntaxError {
    pub(super) fn at(position: Position, message: &str) -> Self {
        let message = message.to_owned();
        Self { position, message }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// Where, as a path: `services[3].routes[0].paths[1]`.
    pub path: String,
    /// Where in the text, if that is known.
    pub position: Option<Position>,
    /// What is wrong, and where as a JSON pointer.
    pub violation: Violation,
}

/// Why a file was refused: everything that is wrong with it.
#[derive(Debug)]
pub struct Refusal {
    syntax: Option<SyntaxError>,
    faults: Vec<Fault>,
    input: Document,
    /// The entities that something is wrong with, by their place.
    subjects: BTreeMap<usize, Subject>,
}

/// An entity that something is wrong with.
#[derive(Debug)]
struct Subject {
    kind: &'static str,
    pointer: String,
    /// As the file has it, but for what stands below it.
    entity: Document,
}

impl Refusal {
    pub(super) fn from_syntax(error: SyntaxError) -> Self {
        Self {
            syntax: Some(error),
            faults: Vec::new(),
            input: Document::new(),
            subjects: BTreeMap::new(),
        }
    }

    pub(super) fn new(faults: Faults, source: Source, drafts: Vec<Draft>) -> Self {
        let full = faults.is_full();
        let sorted = Violations::new(faults.found)
            .map(Violations::into_vec)
            .unwrap_or_default();
        let places: HashMap<&str, usize> = drafts
            .iter()
            .enumerate()
            .map(|(index, draft)| (draft.pointer.as_str(), index))
            .collect();
        let input = Value::Object(source.document.clone());
        let written = source.original.as_ref().unwrap_or(&input);
        let mut subjects = BTreeMap::new();
        let mut told: Vec<Fault> = source
            .faults
            .iter()
            .map(|violation| source.fault(violation))
            .collect();
        for mut violation in sorted.into_iter().take(MAX_FAULTS) {
            let place = source.locate(&violation.pointer);
            if place.is_some_and(|(_, plain)| plain) && violation.message == "expected a string" {
                let known = violation
                    .hint
                    .take()
                    .map_or(String::new(), |hint| format!("{hint}; "));
                violation.hint = Some(format!("{known}put it in quotes"));
            }
            let unset = source
                .left_over
                .iter()
                .find(|(pointer, _)| is_about(&violation.pointer, pointer));
            if let (Some((_, name)), None) = (unset, &violation.hint) {
                violation.hint = Some(format!("the environment has no variable '{name}'"));
            }
            let around = ancestors(&violation.pointer).find_map(|pointer| places.get(pointer));
            if let Some((index, draft)) = around.and_then(|index| Some((index, drafts.get(*index)?))) {
                subjects
                    .entry(*index)
                    .or_insert_with(|| Subject::new(draft, &drafts, &input));
            }
            told.push(Fault {
                path: path(written, &source.origin(&violation.pointer)),
                position: place.map(|(position, _)| position),
                violation,
            });
        }
        told.sort_by_key(|fault| (fault.position.is_none(), fault.position));
        if full {
            let more = Violation::new("", "more is wrong than is told; mend this first");
            told.push(Fault {
                path: String::new(),
                position: None,
                violation: more,
            });
        }
        Self {
            syntax: None,
            faults: told,
            input: source.document,
            subjects,
        }
    }

    /// What is wrong with the text itself, so that no more could be told.
    #[must_use]
    pub fn syntax(&self) -> Option<&SyntaxError> {
        self.syntax.as_ref()
    }

    /// Everything that is wrong, in the order of its place.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Kong's error document; `flat` lists the entities that something is wrong with one by one.
    pub(crate) fn document(&self, flat: bool) -> Value {
        let code = |message: String, fields: Value| {
            json!({
                "code": 14, "name": "invalid declarative configuration", "message": message, "fields": fields,
            })
        };
        if let Some(error) = &self.syntax {
            let why = format!("failed parsing declarative configuration: {error}");
            let fields = json!({ "error": why });
            let mut document = code(format!("declarative config is invalid: {}", lua(&fields)), fields);
            document["violations"] = json!([{
                "path": "", "pointer": "", "message": error.message, "hint": null,
                "line": error.position.line, "column": error.position.column,
            }]);
            return document;
        }
        let all: Vec<Violation> = self.faults.iter().map(|fault| fault.violation.clone()).collect();
        let message = format!("declarative config is invalid: {}", lua(&self.mirror(all)));
        let mut document = if flat {
            let (flattened, rest) = self.flattened();
            let mut document = code(message, self.mirror(rest));
            document["flattened_errors"] = flattened.into();
            document
        } else {
            let all = self.faults.iter().map(|fault| fault.violation.clone());
            code(message, self.mirror(all.collect()))
        };
        let told = self.faults.iter().map(|fault| {
            let Fault { path, position, violation } = fault;
            json!({
                "path": path, "pointer": violation.pointer, "message": violation.message, "hint": violation.hint,
                "line": position.map(|at| at.line), "column": position.map(|at| at.column),
            })
        });
        document["violations"] = told.collect();
        document
    }

    fn mirror(&self, violations: Vec<Violation>) -> Value {
        Violations::new(violations).map_or_else(|| json!({}), |violations| mirror(&violations, &self.input))
    }

    /// The entities that something is wrong with, each with what it is, and what is wrong with none.
    fn flattened(&self) -> (Vec<Value>, Vec<Violation>) {
        let mut errors: BTreeMap<usize, Vec<Value>> = BTreeMap::new();
        let mut rest = Vec::new();
        let places: HashMap<&str, usize> = self
            .subjects
            .iter()
            .map(|(index, subject)| (subject.pointer.as_str(), *index))
            .collect();
        for Fault { violation, .. } in &self.faults {
            let around =
                ancestors(&violation.pointer).find_map(|pointer| Some((*places.get(pointer)?, pointer)));
            let Some((index, pointer)) = around else {
                rest.push(violation.clone());
                continue;
            };
            let below = violation.pointer.strip_prefix(pointer).unwrap_or_default();
            let error = if below.is_empty() || violation.kind == ViolationKind::Entity {
                json!({ "type": "entity", "message": violation.message })
            } else {
                let field = Violation::new(below, "").field();
                json!({ "type": "field", "field": field, "message": violation.message })
            };
            errors.entry(index).or_default().push(error);
        }
        let flattened = errors.into_iter().filter_map(|(index, errors)| {
            let mut told = self.subjects.get(&index)?.told();
            told["errors"] = errors.into();
            Some(told)
        });
        (flattened.collect(), rest)
    }
}

impl Subject {
    fn new(draft: &Draft, drafts: &[Draft], input: &Value) -> Self {
        let found = input.pointer(&draft.pointer).and_then(Value::as_object);
        let mut entity = found.unwrap_or(&draft.document).clone();
        entity.retain(|field, _| !draft.children.contains(field));
        if let Some((field, parent)) = &draft.parent
            && let Some(id) = drafts.get(*parent).and_then(|parent| parent.document.get("id"))
            && entity.get(&**field).is_none_or(Value::is_null)
        {
            entity.insert(field.as_ref().to_owned(), json!({ "id": id }));
        }
        Self {
            kind: draft.kind.name(),
            pointer: draft.pointer.clone(),
            entity,
        }
    }

    fn told(&self) -> Value {
        let mut told = json!({ "entity_type": singular(self.kind), "entity": self.entity });
        let text = |field: &str| {
            self.entity
                .get(field)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        if let Some(name) = text("name").or_else(|| text("username").filter(|_| self.kind == "consumers")) {
            told["entity_name"] = name.into();
        }
        if let Some(id) = text("id").filter(|id| uuid::Uuid::try_parse(id).is_ok()) {
            told["entity_id"] = id.into();
        }
        if let Some(Value::Array(tags)) = self.entity.get("tags")
            && tags.iter().all(Value::is_string)
        {
            told["entity_tags"] = tags.clone().into();
        }
        told
    }
}

/// Whether what is wrong at one place may come from the value at another: the same, or the `url` it was read from.
fn is_about(wrong: &str, written: &str) -> bool {
    let entity = |pointer: &str| pointer.rsplit_once('/').map(|(entity, _)| entity.to_owned());
    wrong == written || (written.ends_with("/url") && entity(wrong) == entity(written))
}

/// A pointer and all it leads through, from the inside out.
fn ancestors(pointer: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(pointer), |pointer| {
        pointer.rsplit_once('/').map(|(above, _)| above)
    })
}

/// A pointer as people write a place: `services[3].name`.
pub(super) fn path(input: &Value, pointer: &str) -> String {
    let mut path = String::new();
    let mut place = Some(input);
    for segment in pointer.split('/').skip(1) {
        let name = segment.replace("~1", "/").replace("~0", "~");
        match place {
            Some(Value::Array(items)) => {
                path.push_str(&format!("[{name}]"));
                place = name.parse().ok().and_then(|position: usize| items.get(position));
            }
            _ => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&name);
                place = place.and_then(|place| place.get(&name));
            }
        }
    }
    path
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(error) = &self.syntax {
            return error.fmt(f);
        }
        for (position, fault) in self.faults.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = &self.position {
            write!(f, "line {}: ", position.line)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.violation.message)?;
        match &self.violation.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}
