//! Reads typed values out of a checked document, collecting what cannot be read.

use std::fmt::Display;
use std::str::FromStr;

use gw_balancer::health::StatusSet;
use gw_schema::{Violation, ViolationKind, Violations};
use serde_json::{Map, Value};

use crate::Id;

/// A document being read.
pub(crate) struct Fields<'a> {
    document: &'a Map<String, Value>,
    violations: Vec<Violation>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(document: &'a Map<String, Value>) -> Self {
        Self {
            document,
            violations: Vec::new(),
        }
    }

    /// The result: `entity`, unless something could not be read.
    pub(crate) fn finish<T>(self, entity: Option<T>) -> Result<T, Violations> {
        match (entity, Violations::none_in(self.violations)) {
            (_, Err(violations)) => Err(violations),
            (Some(entity), Ok(())) => Ok(entity),
            (None, Ok(())) => Err(Violations::from(Violation::new(
                "",
                "the document does not have its kind's shape",
            ))),
        }
    }

    pub(crate) fn refuse(&mut self, pointer: impl Into<String>, why: impl Display) {
        self.violations
            .push(Violation::new(pointer.into(), why.to_string()));
    }

    pub(crate) fn refuse_with(&mut self, violation: Violation) {
        self.violations.push(violation);
    }

    pub(crate) fn refuse_as(&mut self, kind: ViolationKind, pointer: &str, why: &str) {
        self.violations.push(Violation::new(pointer, why).with_kind(kind));
    }

    pub(crate) fn value(&self, field: &str) -> Option<&'a Value> {
        self.document.get(field).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&self, field: &str) -> Option<&'a str> {
        self.value(field).and_then(Value::as_str)
    }

    pub(crate) fn boxed(&self, field: &str) -> Option<Box<str>> {
        self.text(field).map(Box::from)
    }

    pub(crate) fn flag(&self, field: &str) -> Option<bool> {
        self.value(field).and_then(Value::as_bool)
    }

    pub(crate) fn int<T: TryFrom<i64>>(&self, field: &str) -> Option<T> {
        let value = self.value(field)?;
        let number = value
            .as_i64()
            .or_else(|| i64::try_from(whole::<u64>(value)?).ok())?;
        T::try_from(number).ok()
    }

    /// A list of statuses.
    pub(crate) fn statuses(&self, field: &str) -> Option<StatusSet> {
        let list = self.value(field)?.as_array()?;
        list.iter().map(whole).collect()
    }

    /// A time in Unix seconds, whole or with a fraction, as milliseconds.
    pub(crate) fn millis(&self, field: &str) -> u64 {
        millis(self.value(field))
    }

    pub(crate) fn parsed<T>(&mut self, field: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.parsed_with(field, str::parse)
    }

    pub(crate) fn parsed_with<T, E: Display>(
        &mut self,
        field: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        parse(self.text(field)?)
            .map_err(|error| self.refuse(format!("/{field}"), error))
            .ok()
    }

    pub(crate) fn deserialized<T: serde::de::DeserializeOwned>(&mut self, field: &str) -> Option<T> {
        let value = self.value(field)?.clone();
        serde_json::from_value(value)
            .map_err(|error| self.refuse(format!("/{field}"), error))
            .ok()
    }

    /// A list of texts, each parsed; the ones that cannot be are reported by position.
    pub(crate) fn list<T, E: Display>(
        &mut self,
        field: &str,
        mut parse: impl FnMut(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let items = self.value(field).and_then(Value::as_array);
        let mut parsed = Vec::with_capacity(items.map_or(0, Vec::len));
        for (position, item) in items.into_iter().flatten().enumerate() {
            match parse(item.as_str().unwrap_or_default()) {
                Ok(value) => parsed.push(value),
                Err(error) => self.refuse(format!("/{field}/{position}"), error),
            }
        }
        parsed
    }

    /// A list of identities; none where there is no list.
    pub(crate) fn ids<T>(&self, field: &str) -> Vec<Id<T>> {
        let list = self.value(field).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(|id| id.as_str()?.parse().ok())
            .collect()
    }

    pub(crate) fn reference<T>(&self, field: &str) -> Option<Id<T>> {
        self.value(field)?.get("id")?.as_str()?.parse().ok()
    }

    pub(crate) fn id<T>(&self) -> Option<Id<T>> {
        self.text("id")?.parse().ok()
    }

    pub(crate) fn tags(&self) -> Vec<Box<str>> {
        let tags = self.value("tags").and_then(Value::as_array);
        tags.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(Box::from)
            .collect()
    }
}

/// Unix seconds, whole or with a fraction, as milliseconds; 0 for anything else.
pub(crate) fn millis(seconds: Option<&Value>) -> u64 {
    match seconds {
        Some(Value::Number(n)) => n
            .as_u64()
            .map(|whole| whole.saturating_mul(1000))
            .or_else(|| {
                // Note: a float-to-integer cast saturates, which is what a nonsensical time deserves.
                n.as_f64().map(|s| (s * 1000.0).round() as u64)
            })
            .unwrap_or(0),
        _ => 0,
    }
}

/// A whole number, however it is written: `5.0` is one too.
pub(crate) fn whole<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    let rounded = || {
        value
            .as_f64()
            .filter(|number| number.fract() == 0.0 && (0.0..1e10).contains(number))
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, and within the bounds above"
    )]
    let number = value.as_u64().or_else(|| rounded().map(|number| number as u64))?;
    T::try_from(number).ok()
}
