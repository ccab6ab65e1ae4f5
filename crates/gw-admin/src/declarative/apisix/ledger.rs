//! What comes out of a file of APISIX's: entities, where they come from, and what is to be said of them.

use gw_core::Document;
use gw_schema::{Violation, ViolationKind};
use serde_json::Value;

use crate::declarative::fidelity::{Remark, Verdict};
use crate::declarative::mapped::{Mapped, Origins};
use crate::declarative::spot::segment;

/// An entity as Kong's file would have it, with what stands below it.
#[derive(Debug)]
pub(super) struct Entity {
    fields: Document,
    /// Places in the entity, and where in the file they come from.
    moves: Vec<(String, String)>,
}

impl Entity {
    /// One that comes from this place of the file.
    pub(super) fn new(origin: &str) -> Self {
        Self {
            fields: Document::new(),
            moves: vec![(String::new(), origin.to_owned())],
        }
    }

    pub(super) fn set(&mut self, field: &str, value: impl Into<Value>) {
        self.fields.insert(field.to_owned(), value.into());
    }

    /// Sets a field that comes from another one of the file.
    pub(super) fn set_from(&mut self, field: &str, value: impl Into<Value>, origin: impl Into<String>) {
        self.moved(format!("/{}", segment(field)), origin.into());
        self.set(field, value);
    }

    /// Notes where in the file a place of the entity comes from.
    pub(super) fn moved(&mut self, place: String, origin: String) {
        self.moves.push((place, origin));
    }

    /// What a field of those in a list below says.
    pub(super) fn texts(&self, list: &str, field: &str) -> impl Iterator<Item = &str> {
        let children = self.fields.get(list).and_then(Value::as_array);
        let children = children.into_iter().flatten();
        children.filter_map(move |child| child.get(field)?.as_str())
    }

    /// Puts an entity into a list below.
    pub(super) fn adopt(&mut self, list: &str, child: Self) {
        let children = self
            .fields
            .entry(list)
            .or_insert_with(|| Value::Array(Vec::new()));
        let Value::Array(children) = children else { return };
        let place = format!("/{}/{}", segment(list), children.len());
        children.push(Value::Object(child.fields));
        let moves = child.moves.into_iter();
        self.moves
            .extend(moves.map(|(below, origin)| (format!("{place}{below}"), origin)));
    }
}

/// Collects what comes out of a file.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    document: Document,
    origins: Origins,
    remarks: Vec<Remark>,
    faults: Vec<Violation>,
}

impl Ledger {
    /// Adds an entity to a list of the file.
    pub(super) fn add(&mut self, list: &str, entity: Entity) {
        let entities = self
            .document
            .entry(list)
            .or_insert_with(|| Value::Array(Vec::new()));
        let Value::Array(entities) = entities else { return };
        let place = format!("/{list}/{}", entities.len());
        entities.push(Value::Object(entity.fields));
        for (below, origin) in entity.moves {
            self.origins.add(format!("{place}{below}"), origin);
        }
    }

    pub(super) fn adapted(&mut self, pointer: impl Into<String>, what: impl Into<String>, remedy: &str) {
        self.remark(Remark::new(pointer, Verdict::Adapted, what, remedy));
    }

    pub(super) fn unsupported(&mut self, pointer: impl Into<String>, what: impl Into<String>, remedy: &str) {
        self.remark(Remark::new(pointer, Verdict::Unsupported, what, remedy));
    }

    fn remark(&mut self, remark: Remark) {
        // What several routes share is told of once.
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }

    /// Something that is wrong, or cannot be here.
    pub(super) fn fault(&mut self, pointer: impl Into<String>, message: &str, kind: ViolationKind) {
        self.push(Violation::new(pointer, message).with_kind(kind));
    }

    /// The same with what to do about it.
    pub(super) fn fault_with(
        &mut self,
        pointer: impl Into<String>,
        message: &str,
        kind: ViolationKind,
        hint: &str,
    ) {
        self.push(Violation::new(pointer, message).with_kind(kind).with_hint(hint));
    }

    pub(super) fn push(&mut self, violation: Violation) {
        if !self.faults.contains(&violation) {
            self.faults.push(violation);
        }
    }

    /// Suggests the nearest of these names for what was found wrong last.
    pub(super) fn hint_nearest<'a>(&mut self, name: &str, known: impl IntoIterator<Item = &'a str>) {
        if let Some(last) = self.faults.last_mut() {
            last.hint = gw_schema::nearest(name, known).map(|near| format!("did you mean `{near}`?"));
        }
    }

    pub(super) fn finish(mut self) -> Mapped {
        self.document
            .insert("_format_version".to_owned(), Value::from("3.0"));
        Mapped {
            document: self.document,
            origins: self.origins,
            remarks: self.remarks,
            faults: self.faults,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_made_knows_where_it_comes_from() {
        let mut ledger = Ledger::default();
        let mut plugin = Entity::new("/routes/7/plugins/cors");
        plugin.set("config", json!({ "origins": ["a"] }));
        plugin.moved("/config".to_owned(), "/routes/7/plugins/cors".to_owned());
        plugin.moved(
            "/config/origins".to_owned(),
            "/routes/7/plugins/cors/allow_origins".to_owned(),
        );
        let mut route = Entity::new("/routes/7");
        route.set_from("uris", json!(["/"]), "/routes/7/uri");
        route.adopt("plugins", plugin);
        ledger.add("routes", route);
        let mapped = ledger.finish();
        assert_eq!(
            Value::Object(mapped.document),
            json!({ "_format_version": "3.0", "routes": [{ "uris": ["/"], "plugins": [{ "config": { "origins": ["a"] } }] }] })
        );
        for (made, origin) in [
            ("/routes/0/name", "/routes/7/name"),
            ("/routes/0/uris", "/routes/7/uri"),
            (
                "/routes/0/plugins/0/config/origins/1",
                "/routes/7/plugins/cors/allow_origins/1",
            ),
            (
                "/routes/0/plugins/0/config/max_age",
                "/routes/7/plugins/cors/max_age",
            ),
            ("/routes/0/plugins/0", "/routes/7/plugins/cors"),
        ] {
            assert_eq!(mapped.origins.of(made), origin, "{made}");
        }
    }
}
