//! Values with `$(…)` in them.

use std::borrow::Cow;

use http::HeaderMap;

use super::super::edit::Pairs;
use crate::cx::RequestCx;
use crate::lua::{self, EvalError, Expression, ReadError, Table, Value};

/// A text with expressions in it.
#[derive(Clone, Debug)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Text(Box<str>),
    Expression(Expression),
}

impl Template {
    /// Reads a text; none if there is no expression in it. As in Kong, one lasts from `$(` to the bracket that closes it, whether
    /// or not brackets are in quotes; without that bracket it is text.
    ///
    /// # Errors
    /// An expression cannot be read.
    pub(super) fn read(source: &str) -> Result<Option<Self>, ReadError> {
        let mut parts = Vec::new();
        let mut rest = source;
        let mut text = String::new();
        while let Some((before, after)) = rest.split_once("$(") {
            text.push_str(before);
            let Some((inside, following)) = closed(after) else {
                text.push_str("$(");
                rest = after;
                continue;
            };
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text).into()));
            }
            parts.push(Part::Expression(Expression::read(inside)?));
            rest = following;
        }
        text.push_str(rest);
        if parts.is_empty() {
            return Ok(None);
        }
        if !text.is_empty() {
            parts.push(Part::Text(text.into()));
        }
        Ok(Some(Self(parts)))
    }

    /// Whether an expression looks into `table`.
    pub(super) fn uses(&self, table: Table) -> bool {
        let expressions = self.0.iter().filter_map(|part| match part {
            Part::Expression(expression) => Some(expression),
            Part::Text(_) => None,
        });
        expressions.into_iter().any(|expression| expression.uses(table))
    }

    /// The text for a request. Nil and false become nothing, as in Kong.
    ///
    /// # Errors
    /// An expression fails.
    pub(super) fn render(&self, tables: &Tables<'_>) -> Result<Vec<u8>, EvalError> {
        let mut text = Vec::new();
        for part in &self.0 {
            match part {
                Part::Text(fixed) => text.extend_from_slice(fixed.as_bytes()),
                Part::Expression(expression) => {
                    let value = expression.run(tables)?;
                    if value.is_true() {
                        text.extend_from_slice(&value.into_text());
                    }
                }
            }
        }
        Ok(text)
    }
}

/// What is before the bracket that closes the one just opened, and what is after it.
fn closed(text: &str) -> Option<(&str, &str)> {
    let mut open = 1_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => open += 1,
            b')' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some((text.get(..at)?, text.get(at + 1..)?));
        }
    }
    None
}

/// A request, as expressions see it.
pub(super) struct Tables<'r> {
    headers: &'r HeaderMap,
    query: &'r str,
    captures: &'r [(Box<str>, Box<str>)],
}

impl<'r> Tables<'r> {
    pub(super) fn of(cx: &'r RequestCx<'_>) -> Self {
        Self {
            headers: cx.headers(),
            query: cx.uri().query().unwrap_or_default(),
            captures: cx.facts().captures,
        }
    }

    fn header(&self, name: &str) -> Value<'_> {
        let is_plain = !name.bytes().any(|byte| byte == b'_');
        let values = match is_plain {
            true => self.headers.get_all(name),
            false => self.headers.get_all(name.replace('_', "-")),
        };
        several(
            values
                .iter()
                .map(|value| Value::Text(Cow::Borrowed(value.as_bytes()))),
        )
    }

    fn argument(&self, name: &str) -> Value<'_> {
        several(Pairs::values(self.query, name).map(|value| match value {
            Some(Cow::Borrowed(text)) => Value::Text(Cow::Borrowed(text.as_bytes())),
            Some(Cow::Owned(text)) => Value::Text(Cow::Owned(text.into_bytes())),
            None => Value::Bool(true),
        }))
    }

    fn capture(&self, name: &str) -> Option<Value<'_>> {
        let (_, value) = self.captures.iter().find(|(key, _)| **key == *name)?;
        Some(Value::Text(Cow::Borrowed(value.as_bytes())))
    }
}

impl lua::Tables for Tables<'_> {
    fn named(&self, table: Table, name: &str) -> Value<'_> {
        match table {
            Table::Headers => self.header(name),
            Table::QueryParams => self.argument(name),
            Table::UriCaptures => self.capture(name).unwrap_or(Value::Nil),
            // Note: only code of users puts something there in Kong, and there is none here.
            Table::Shared => Value::Nil,
        }
    }

    fn numbered(&self, table: Table, number: usize) -> Value<'_> {
        if table != Table::UriCaptures {
            return Value::Nil;
        }
        let by_place = || {
            let (_, value) = self.captures.get(number.checked_sub(1)?)?;
            Some(Value::Text(Cow::Borrowed(value.as_bytes())))
        };
        self.capture(&number.to_string())
            .or_else(by_place)
            .unwrap_or(Value::Nil)
    }
}

/// Nothing, the one there is, or a list of them.
fn several<'v>(mut values: impl Iterator<Item = Value<'v>>) -> Value<'v> {
    let Some(first) = values.next() else {
        return Value::Nil;
    };
    let Some(second) = values.next() else { return first };
    let all = [first, second].into_iter().chain(values);
    Value::List(all.map(Value::into_text).collect())
}
