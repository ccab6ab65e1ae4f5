//! Reads typed values out of a checked document, collecting what cannot be read.

use std::cell::RefCell;
use std::fmt::Display;
use std::str::FromStr;

use gw_balancer::health::StatusSet;
use gw_schema::{Violation, ViolationKind, Violations};
use serde_json::{Map, Number, Value};

use crate::Id;

/// A document being read. What is there in another form than is asked for is a violation, never nothing: a route whose
/// paths cannot be read would match everything.
pub(crate) struct Fields<'a> {
    document: &'a Map<String, Value>,
    violations: RefCell<Vec<Violation>>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(document: &'a Map<String, Value>) -> Self {
        Self {
            document,
            violations: RefCell::default(),
        }
    }

    /// The result: `entity`, unless something could not be read.
    pub(crate) fn finish<T>(self, entity: Option<T>) -> Result<T, Violations> {
        match (entity, Violations::none_in(self.violations.into_inner())) {
            (_, Err(violations)) => Err(violations),
            (Some(entity), Ok(())) => Ok(entity),
            (None, Ok(())) => Err(Violations::from(Violation::new(
                "",
                "the document does not have its kind's shape",
            ))),
        }
    }

    pub(crate) fn refuse(&mut self, pointer: impl Into<String>, why: impl Display) {
        self.refuse_with(Violation::new(pointer.into(), why.to_string()));
    }

    pub(crate) fn refuse_with(&mut self, violation: Violation) {
        self.violations.get_mut().push(violation);
    }

    pub(crate) fn refuse_as(&mut self, kind: ViolationKind, pointer: &str, why: &str) {
        self.refuse_with(Violation::new(pointer, why).with_kind(kind));
    }

    pub(crate) fn value(&self, field: &str) -> Option<&'a Value> {
        self.document.get(field).filter(|value| !value.is_null())
    }

    /// What `read` makes of a field that is there; that it can make nothing of it is a violation.
    fn read<T>(&self, field: &str, expected: &str, read: impl FnOnce(&'a Value) -> Option<T>) -> Option<T> {
        let found = read(self.value(field)?);
        if found.is_none() {
            let violation = Violation::new(format!("/{field}"), format!("expected {expected}"));
            let violation = violation.with_kind(ViolationKind::Type);
            let mut violations = self.violations.borrow_mut();
            // Some fields are read more than once.
            if !violations.contains(&violation) {
                violations.push(violation);
            }
        }
        found
    }

    pub(crate) fn object(&self, field: &str) -> Option<&'a Map<String, Value>> {
        self.read(field, "a map", Value::as_object)
    }

    /// The items of a list; none where there is no list.
    pub(crate) fn array(&self, field: &str) -> &'a [Value] {
        self.read(field, "an array", |value| value.as_array().map(Vec::as_slice))
            .unwrap_or_default()
    }

    pub(crate) fn text(&self, field: &str) -> Option<&'a str> {
        self.read(field, "a string", Value::as_str)
    }

    pub(crate) fn boxed(&self, field: &str) -> Option<Box<str>> {
        self.text(field).map(Box::from)
    }

    pub(crate) fn flag(&self, field: &str) -> Option<bool> {
        self.read(field, "a boolean", Value::as_bool)
    }

    pub(crate) fn int<T: TryFrom<i64>>(&self, field: &str) -> Option<T> {
        self.read(field, "an integer in its bounds", |value| {
            let number = value
                .as_i64()
                .or_else(|| i64::try_from(whole::<u64>(value)?).ok())?;
            T::try_from(number).ok()
        })
    }

    /// A list of statuses.
    pub(crate) fn statuses(&self, field: &str) -> Option<StatusSet> {
        self.read(field, "an array of statuses", |value| {
            value.as_array()?.iter().map(whole).collect()
        })
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
        let items = self.array(field);
        let mut parsed = Vec::with_capacity(items.len());
        for (position, item) in items.iter().enumerate() {
            match parse(item.as_str().unwrap_or_default()) {
                Ok(value) => parsed.push(value),
                Err(error) => self.refuse(format!("/{field}/{position}"), error),
            }
        }
        parsed
    }

    /// A list of identities; none where there is no list.
    pub(crate) fn ids<T>(&self, field: &str) -> Vec<Id<T>> {
        let ids = |value: &Value| {
            let list = value.as_array()?.iter();
            list.map(|id| id.as_str()?.parse().ok()).collect()
        };
        self.read(field, "an array of ids", ids).unwrap_or_default()
    }

    pub(crate) fn reference<T>(&self, field: &str) -> Option<Id<T>> {
        self.read(field, "a reference by id", |value| {
            value.get("id")?.as_str()?.parse().ok()
        })
    }

    pub(crate) fn id<T>(&self) -> Option<Id<T>> {
        self.text("id")?.parse().ok()
    }

    pub(crate) fn tags(&self) -> Vec<Box<str>> {
        self.read("tags", "an array of strings", |tags| {
            let tags = tags.as_array()?.iter();
            tags.map(|tag| tag.as_str().map(Box::from)).collect()
        })
        .unwrap_or_default()
    }
}

/// Unix seconds, whole or with a fraction, as milliseconds; 0 for anything else.
pub(crate) fn millis(seconds: Option<&Value>) -> u64 {
    match seconds {
        Some(Value::Number(seconds)) => millis_of(seconds),
        _ => 0,
    }
}

/// The same of a number.
pub(crate) fn millis_of(seconds: &Number) -> u64 {
    let whole = seconds.as_u64().map(|whole| whole.saturating_mul(1000));
    // Note: a float-to-integer cast saturates, which is what a nonsensical time deserves.
    let broken = || seconds.as_f64().map(|s| (s * 1000.0).round() as u64);
    whole.or_else(broken).unwrap_or(0)
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
