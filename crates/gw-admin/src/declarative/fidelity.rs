//! How faithfully each object of a file runs here: as it did, in another way, or not at all; and what to do about it.

mod table;

use gw_core::Document;
use serde_json::Value;

use super::{Configuration, Entry, Position, apisix};
pub(super) use table::advice;

/// How faithfully something runs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Verdict {
    /// As it did.
    Exact,
    /// In a way that somebody may notice.
    Adapted,
    /// Not at all.
    Unsupported,
}

/// Something that runs here in another way than its writer knows, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remark {
    /// Where, as a JSON pointer into the file.
    pub pointer: String,
    /// How faithfully it runs.
    pub verdict: Verdict,
    /// What is different.
    pub what: String,
    /// What to do about it; empty if there is nothing to do.
    pub remedy: String,
}

/// One object of a file, judged.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Judgement {
    /// The plural of its kind, e.g. `services`.
    pub kind: &'static str,
    /// What it is called, if it is called anything.
    pub name: Option<String>,
    /// Where it stands, as a JSON pointer into the file.
    pub pointer: String,
    /// Where it stands in the text, if that is known.
    pub position: Option<Position>,
    /// The worst of its remarks, or exact.
    pub verdict: Verdict,
    /// What is different.
    pub remarks: Vec<Remark>,
}

impl Verdict {
    /// As reports name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Adapted => "adapted",
            Self::Unsupported => "unsupported",
        }
    }
}

impl Remark {
    pub(super) fn new(
        pointer: impl Into<String>,
        verdict: Verdict,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            pointer: pointer.into(),
            verdict,
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

impl Configuration {
    /// How faithfully each of its objects runs here, in the order of the file where that is known. What was left out is
    /// among them.
    #[must_use]
    pub fn judgements(&self) -> Vec<Judgement> {
        let mut all: Vec<Judgement> = self.entries.iter().map(judge).collect();
        all.extend(self.ignored.iter().map(|ignored| {
            let remark = Remark::new(
                &ignored.pointer,
                Verdict::Unsupported,
                &ignored.what,
                &ignored.remedy,
            );
            Judgement {
                kind: ignored.kind,
                name: Some(ignored.name.clone()),
                pointer: ignored.pointer.clone(),
                position: ignored.position,
                verdict: Verdict::Unsupported,
                remarks: vec![remark],
            }
        }));
        for (remark, position) in &self.remarks {
            let within = |judgement: &&mut Judgement| {
                let below = remark.pointer.strip_prefix(&judgement.pointer);
                below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
            };
            // The innermost of the objects it may be about.
            let about = all
                .iter_mut()
                .filter(within)
                .max_by_key(|judgement| judgement.pointer.len());
            if let Some(judgement) = about {
                judgement.verdict = judgement.verdict.max(remark.verdict);
                judgement.remarks.push(remark.clone());
                continue;
            }
            // Nothing came of what it is about.
            all.push(Judgement {
                kind: apisix::list(&remark.pointer),
                name: None,
                pointer: remark.pointer.clone(),
                position: *position,
                verdict: remark.verdict,
                remarks: vec![remark.clone()],
            });
        }
        all.sort_by_key(|judgement| judgement.position);
        all
    }
}

fn judge(entry: &Entry) -> Judgement {
    let mut remarks = Vec::new();
    for row in table::rows().filter(|row| row.is_about(entry.kind.name(), &entry.document)) {
        for (below, value) in found(&entry.document, row.field) {
            if (row.when)(&value) {
                let pointer = format!("{}{below}", entry.pointer);
                remarks.push(Remark::new(pointer, row.verdict, row.what, row.remedy));
            }
        }
    }
    let worst = remarks.iter().map(|remark| remark.verdict).max();
    Judgement {
        kind: entry.kind.name(),
        name: name(&entry.document),
        pointer: entry.pointer.clone(),
        position: entry.position,
        verdict: worst.unwrap_or(Verdict::Exact),
        remarks,
    }
}

/// What people call an object; secrets are nobody's name.
fn name(document: &Document) -> Option<String> {
    let text = |field: &str| document.get(field).and_then(Value::as_str);
    ["instance_name", "name", "username", "target", "group"]
        .into_iter()
        .find_map(text)
        .map(str::to_owned)
}

/// The values that a field's pattern leads to: `*` is every item of a list or field of a record, `**` all texts below.
fn found(document: &Document, pattern: &str) -> Vec<(String, Value)> {
    let mut found = vec![(String::new(), Value::Object(document.clone()))];
    for segment in pattern.split('/').skip(1) {
        let step = |(pointer, value): (String, Value)| -> Vec<(String, Value)> {
            let each: Vec<(String, Value)> = match (segment, value) {
                ("**", value) => return texts(&pointer, &value),
                ("*", Value::Array(items)) => items
                    .into_iter()
                    .enumerate()
                    .map(|(position, item)| (position.to_string(), item))
                    .collect(),
                ("*", Value::Object(fields)) => fields.into_iter().collect(),
                (name, Value::Object(mut fields)) => {
                    let field = fields.remove(name);
                    field.map(|field| (name.to_owned(), field)).into_iter().collect()
                }
                _ => Vec::new(),
            };
            let below = |(name, value): (String, Value)| {
                (format!("{pointer}/{}", super::spot::segment(&name)), value)
            };
            each.into_iter().map(below).collect()
        };
        found = found.into_iter().flat_map(step).collect();
    }
    found
}

fn texts(pointer: &str, value: &Value) -> Vec<(String, Value)> {
    let below =
        |name: &str, value: &Value| texts(&format!("{pointer}/{}", super::spot::segment(name)), value);
    match value {
        Value::String(_) => vec![(pointer.to_owned(), value.clone())],
        Value::Array(items) => items
            .iter()
            .enumerate()
            .flat_map(|(position, item)| below(&position.to_string(), item))
            .collect(),
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, field)| below(name, field))
            .collect(),
        _ => Vec::new(),
    }
}
