//! Forms: from pairs of texts to a document, by Kong's rules for names.
//!
//! | form | document |
//! |---|---|
//! | `a=x` | `{"a":"x"}` |
//! | `a=` | `{"a":null}` |
//! | `a=x&a=y`, `a[]=x&a[]=y`, `a[1]=x&a[2]=y` | `{"a":["x","y"]}` |
//! | `a.b=x`, `a[b]=x` | `{"a":{"b":"x"}}` |
//! | `.a=x`, `a.=x` | `{".a":"x"}`, `{"a.":"x"}` |
//!
//! All values are texts; a schema turns them into what it expects.

use std::collections::BTreeMap;

use gw_core::Document;
use serde_json::Value;

/// Bound: arguments of one request.
pub(crate) const MAX_ARGUMENTS: usize = 1000;

/// Bound: levels one name may go down.
const MAX_DEPTH: usize = 32;

/// Why a form is not a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum FormError {
    #[error("Too many arguments")]
    TooManyArguments,
    #[error("Cannot parse arguments: a percent-encoded text is not UTF-8")]
    Encoding,
    #[error("Cannot parse arguments: the name '{name}' has more than {MAX_DEPTH} levels")]
    TooDeep { name: Box<str> },
    #[error("Cannot parse arguments: '{name}' is given as one kind of value and as another; give it once")]
    Conflict { name: Box<str> },
    #[error("Cannot parse arguments: it looks like JSON; send it with 'Content-Type: application/json'")]
    Json,
}

/// The pairs of a form or of a query, decoded, in order.
pub(crate) fn pairs(text: &[u8]) -> Result<Vec<(String, String)>, FormError> {
    let mut pairs = Vec::new();
    for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        if pairs.len() == MAX_ARGUMENTS {
            return Err(FormError::TooManyArguments);
        }
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let mut half = || decoded(halves.next().unwrap_or_default());
        pairs.push((half()?, half()?));
    }
    Ok(pairs)
}

fn decoded(text: &[u8]) -> Result<String, FormError> {
    let spaced: Vec<u8> = text
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    let bytes: Vec<u8> = percent_encoding::percent_decode(&spaced).collect();
    String::from_utf8(bytes).map_err(|_| FormError::Encoding)
}

/// The document a form stands for.
pub(crate) fn decode(text: &[u8]) -> Result<Document, FormError> {
    if text.trim_ascii_start().starts_with(b"{") {
        return Err(FormError::Json);
    }
    document(pairs(text)?)
}

/// The document that named texts stand for.
pub(crate) fn document(pairs: Vec<(String, String)>) -> Result<Document, FormError> {
    let mut root = Node::Record(BTreeMap::new());
    for (name, value) in pairs {
        let steps = steps(&name).unwrap_or_else(|| vec![Step::Name(name.clone())]);
        if steps.len() > MAX_DEPTH {
            return Err(FormError::TooDeep { name: name.into() });
        }
        root.put(&steps, value)
            .map_err(|Clash| FormError::Conflict { name: name.into() })?;
    }
    match root.into_value() {
        Value::Object(document) => Ok(document),
        _ => Ok(Document::new()),
    }
}

/// One step of a name, from the outside in.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// `.b` or `[b]`
    Name(String),
    /// `[2]`
    Position(u32),
    /// `[]`
    Next,
}

/// The steps of a name; `None` when it is to be taken literally.
fn steps(name: &str) -> Option<Vec<Step>> {
    if name.starts_with('.') || name.ends_with('.') {
        return None;
    }
    let mut steps = Vec::new();
    let mut rest = name;
    loop {
        let end = rest.find(['.', '[', ']']).unwrap_or(rest.len());
        let (word, tail) = rest.split_at_checked(end)?;
        if word.is_empty() {
            return None;
        }
        steps.push(Step::Name(word.to_owned()));
        rest = tail;
        while let Some(open) = rest.strip_prefix('[') {
            let (word, tail) = open.split_once(']')?;
            steps.push(match word {
                "" => Step::Next,
                word if word.contains('[') => return None,
                word => word
                    .parse()
                    .map_or_else(|_| Step::Name(word.to_owned()), Step::Position),
            });
            rest = tail;
        }
        if rest.is_empty() {
            return Some(steps);
        }
        rest = rest.strip_prefix('.')?;
    }
}

/// A value under construction.
#[derive(Debug, Default)]
enum Node {
    #[default]
    Empty,
    Text(String),
    List(BTreeMap<u32, Self>),
    Record(BTreeMap<String, Self>),
}

/// A name stands for two kinds of value at once.
struct Clash;

impl Node {
    fn put(&mut self, steps: &[Step], text: String) -> Result<(), Clash> {
        let Some((step, below)) = steps.split_first() else {
            return match self {
                Self::Empty => {
                    *self = Self::Text(text);
                    Ok(())
                }
                // Repeated: a list of all of them.
                Self::Text(_) | Self::List(_) => self.at(None)?.put(&[], text),
                Self::Record(_) => Err(Clash),
            };
        };
        match step {
            Step::Name(name) => {
                if matches!(self, Self::Empty) {
                    *self = Self::Record(BTreeMap::new());
                }
                let Self::Record(fields) = self else {
                    return Err(Clash);
                };
                fields.entry(name.clone()).or_default().put(below, text)
            }
            Step::Next => self.at(None)?.put(below, text),
            Step::Position(position) => {
                let item = self.at(Some(*position))?;
                if below.is_empty() && matches!(item, Self::Text(_)) {
                    return Err(Clash);
                }
                item.put(below, text)
            }
        }
    }

    /// The item at a position of this list, or behind its last.
    fn at(&mut self, position: Option<u32>) -> Result<&mut Self, Clash> {
        match self {
            Self::Empty => *self = Self::List(BTreeMap::new()),
            Self::Text(first) => *self = Self::List(BTreeMap::from([(1, Self::Text(std::mem::take(first)))])),
            Self::List(_) | Self::Record(_) => {}
        }
        let Self::List(items) = self else {
            return Err(Clash);
        };
        let behind = || {
            items
                .last_key_value()
                .map_or(Some(1), |(last, _)| last.checked_add(1))
        };
        let position = position.or_else(behind).ok_or(Clash)?;
        Ok(items.entry(position).or_default())
    }

    fn into_value(self) -> Value {
        match self {
            Self::Empty => Value::Null,
            Self::Text(text) if text.is_empty() => Value::Null,
            Self::Text(text) => Value::String(text),
            Self::List(items) => items.into_values().map(Self::into_value).collect(),
            Self::Record(fields) => Value::Object(
                fields
                    .into_iter()
                    .map(|(name, field)| (name, field.into_value()))
                    .collect(),
            ),
        }
    }
}

#[cfg(test)]
mod tests;
