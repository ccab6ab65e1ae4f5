//! What is found wrong while a file is read: collected, not thrown.

use std::collections::HashSet;

use gw_core::Document;
use gw_schema::{Violation, ViolationKind};
use serde_json::Value;

use super::source::Missing;
use super::{Ignored, UnknownPlugins, Withheld};

/// Bound: faults that are told of one file.
pub(super) const MAX_FAULTS: usize = 1000;

/// What was found wrong so far.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) found: Vec<Violation>,
    /// What is left out, because it wants a plugin that is not here.
    pub(super) ignored: Vec<Ignored>,
    /// The places of values that the environment does not have: nothing else is said of them.
    unfilled: HashSet<String>,
    /// What becomes of plugins that are not here.
    pub(super) unknown_plugins: UnknownPlugins,
}

impl Faults {
    pub(super) fn tolerating(unknown_plugins: UnknownPlugins) -> Self {
        Self {
            unknown_plugins,
            ..Self::default()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Whether there are more than anybody wants to know.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= MAX_FAULTS
    }

    pub(super) fn push(&mut self, violation: Violation) {
        if !self.unfilled.contains(&violation.pointer) {
            self.found.push(violation);
        }
    }

    pub(super) fn add(&mut self, pointer: impl Into<String>, message: &str, kind: ViolationKind) {
        self.push(Violation::new(pointer, message).with_kind(kind));
    }

    /// Says what to write instead of what was found last.
    pub(super) fn hint(&mut self, hint: &str) {
        if let Some(last) = self.found.last_mut() {
            last.hint = Some(hint.to_owned());
        }
    }

    /// Suggests the nearest of these names, if one is near.
    pub(super) fn hint_nearest<'a>(&mut self, name: &str, known: impl IntoIterator<Item = &'a str>) {
        // Bound: each search costs as much as there are names.
        if self.found.len() > MAX_FAULTS / 10 {
            return;
        }
        if let Some(near) = gw_schema::nearest(name, known) {
            self.hint(&format!("did you mean `{near}`?"));
        }
    }

    pub(super) fn unknown<'a>(
        &mut self,
        pointer: String,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) {
        self.add(pointer, "unknown field", ViolationKind::Unknown);
        self.hint_nearest(name, known);
    }

    /// A list of what comes with a plugin that is not here.
    pub(super) fn absent(&mut self, pointer: String, name: &str, plugin: &'static str) {
        if self.unknown_plugins == UnknownPlugins::Ignored {
            self.ignored.push(Ignored {
                kind: "plugins",
                name: plugin.to_owned(),
                pointer,
                position: None,
                what: format!("'{name}' come with the plugin '{plugin}', which is not here"),
                remedy: String::new(),
            });
            return;
        }
        let message = format!("'{name}' come with the plugin '{plugin}', which is not here");
        self.add(pointer, &message, ViolationKind::Unknown);
    }

    pub(super) fn unfilled(&mut self, missing: Missing) {
        let Missing { pointer, unfilled } = missing;
        let name = unfilled.name;
        match unfilled.why {
            Withheld::Unset => {
                let message = format!("the environment has no variable '{name}'");
                self.add(pointer, &message, ViolationKind::Other);
            }
            Withheld::Secret => {
                let message = format!("the environment's variable '{name}' is not read for a request");
                self.add(pointer, &message, ViolationKind::Other);
                self.hint("fill it in before sending");
            }
        }
        self.unfilled
            .extend(self.found.last().map(|last| last.pointer.clone()));
    }

    /// Checks the fields that may stand anywhere and mean nothing.
    pub(super) fn check_remarks(&mut self, record: &Document, pointer: &str) {
        let is = |field: &str, right: fn(&Value) -> bool| {
            record
                .get(field)
                .is_none_or(|value| value.is_null() || right(value))
        };
        if !is("_comment", Value::is_string) {
            self.add(
                format!("{pointer}/_comment"),
                "expected a string",
                ViolationKind::Type,
            );
        }
        if !is("_ignore", Value::is_array) {
            self.add(
                format!("{pointer}/_ignore"),
                "expected an array",
                ViolationKind::Type,
            );
        }
    }
}
