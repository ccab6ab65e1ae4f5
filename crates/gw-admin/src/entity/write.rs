//! Creating, replacing and patching: from what a client sent to the document that is stored.

use gw_core::{Document, Kind, KindSpec, Kinds};
use gw_schema::{Violation, ViolationKind, Violations};
use gw_store::Op;
use serde_json::{Value, json};

use super::references::lower_ids;
use super::{Entities, Found, Scope, as_id, auto, checks, endpoint_key, merge, shown, text};
use crate::api::Site;
use crate::body::Arguments;
use crate::problem::Problem;

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// POST: new, or refused.
    Create,
    /// PUT: new, or instead of what is there.
    Replace,
    /// PATCH: over what is there.
    Patch,
}

impl Entities<'_> {
    /// The operations that write what a client sent where a path says, and the document they leave there.
    pub(crate) fn write(
        &self,
        site: &Site,
        verb: Verb,
        sent: &Arguments,
    ) -> Result<(Vec<Op>, Document), Problem> {
        let (scope, name) = self.aim(site)?;
        let spec = scope.spec;
        let previous = self.previous(&scope, name.as_deref(), verb)?;
        let mut found = Vec::new();
        let mut document = self.given(spec, sent, previous.as_ref())?;
        bind(&scope, &mut document, &mut found);
        match (&previous, verb) {
            (Some(previous), Verb::Patch) => {
                document = self.merged(spec, previous.clone(), document);
                auto::touch(spec, &mut document, self.now);
            }
            _ => {
                if let Some(name) = &name {
                    take_name(spec, name, previous.as_ref(), &mut document, &mut found);
                }
                carry(spec, previous.as_ref(), &mut document);
                auto::fill(spec, &mut document, self.now);
            }
        }
        if let Some(previous) = &previous {
            check_immutable(spec, previous, &document, &mut found);
        }
        self.complete(spec, &mut document, previous.as_ref(), found)?;
        let id = text(&document, "id").unwrap_or_default();
        if previous.is_none() && self.by_id(spec, id).is_some() {
            return Err(Problem::PrimaryKeyTaken { id: id.to_owned() });
        }
        self.check_references(spec, &document)?;
        let mut ops = self.check_unique(spec, &document)?;
        let mut found = Vec::new();
        let listed = self.write_lists(spec, &mut document, &mut found);
        refuse_if(found, &document)?;
        ops.push(self.put(spec, &document)?);
        ops.extend(listed);
        Ok((ops, shown(spec, document)))
    }

    /// Whether what a client sent would do as a new entity, as far as it can be told without the others.
    pub(crate) fn validate(&self, kind: Kind, sent: &Arguments) -> Result<(), Problem> {
        let spec = self.spec(kind)?;
        let mut document = self.given(spec, sent, None)?;
        auto::fill(spec, &mut document, self.now);
        self.complete(spec, &mut document, None, Vec::new())
    }

    /// What is there before.
    fn previous(
        &self,
        scope: &Scope<'_>,
        name: Option<&str>,
        verb: Verb,
    ) -> Result<Option<Document>, Problem> {
        let Some(name) = name else { return Ok(None) };
        match self.find(scope, name)? {
            Found::Here(document) => Ok(Some(document)),
            Found::Elsewhere => Err(Problem::NotFound),
            Found::Nowhere if verb == Verb::Patch => {
                let key = scope.spec.endpoint_key.clone().filter(|_| as_id(name).is_none());
                if key.is_none() && as_id(name).is_none() {
                    return Err(self.absent(scope.spec, name));
                }
                Err(Problem::Missing {
                    field: key.unwrap_or_else(|| "id".into()),
                    value: name.to_owned(),
                })
            }
            Found::Nowhere => Ok(None),
        }
    }

    /// What the client sent, in the form in which it is stored: types, shorthands, references.
    fn given(
        &self,
        spec: &KindSpec,
        sent: &Arguments,
        previous: Option<&Document>,
    ) -> Result<Document, Problem> {
        let mut document = sent.document.clone();
        if sent.texts {
            let mut value = Value::Object(document);
            spec.schema.coerce(&mut value);
            document = match value {
                Value::Object(document) => document,
                _ => Document::new(),
            };
            if spec.kind == Kind::Plugin {
                let known = previous.and_then(|previous| text(previous, "name"));
                let name = text(&document, "name").or(known).unwrap_or_default().to_owned();
                if let Some(config) = document.get_mut("config") {
                    self.registry.coerce_config(&name, config);
                }
            }
        }
        Kinds::expand(spec.kind, &mut document);
        lower_ids(spec, &mut document);
        self.resolve(spec, &mut document)?;
        Ok(document)
    }

    /// A stored document with a patch over it. A plugin's settings merge by the plugin's own schema, unless the
    /// patch makes it another plugin.
    fn merged(&self, spec: &KindSpec, mut stored: Document, mut patch: Document) -> Document {
        if spec.kind == Kind::Plugin {
            let name = text(&stored, "name").unwrap_or_default().to_owned();
            let renamed = text(&patch, "name").is_some_and(|new| new != name);
            if renamed {
                stored.insert("config".to_owned(), json!({}));
            } else if let (Some(Value::Object(config)), Some(Value::Object(changes)), Some(plugin)) = (
                stored.get_mut("config"),
                patch.get_mut("config"),
                self.registry.get(&name),
            ) {
                merge::merge(plugin.schema.document(), config, std::mem::take(changes));
                patch.remove("config");
            }
        }
        merge::merge(spec.schema.document(), &mut stored, patch);
        stored
    }

    /// Defaults and checks; every violation at once, with those `found` before.
    pub(super) fn complete(
        &self,
        spec: &KindSpec,
        document: &mut Document,
        previous: Option<&Document>,
        found: Vec<Violation>,
    ) -> Result<(), Problem> {
        let ask = |document: &Document| {
            let spared = previous.is_some_and(|previous| self.can_do_without_plugin(previous, document));
            (!spared).then_some(self.registry)
        };
        let fit = |plugin: &Document| self.check_protocols(plugin);
        let found = checks::complete(self.kinds, spec, document, found, ask, fit);
        refuse_if(found, document)
    }

    /// Whether the plugin of an instance, which this node does not have, need not be asked: the instance is switched
    /// off or stays as it was, but for its labels and its own name.
    fn can_do_without_plugin(&self, previous: &Document, document: &Document) -> bool {
        let free = ["enabled", "tags", "instance_name", "updated_at"];
        let same = |field: &String| previous.get(field) == document.get(field);
        let enabled = document.get("enabled");
        self.registry
            .get(text(document, "name").unwrap_or_default())
            .is_none()
            && (enabled == Some(&Value::Bool(false)) || enabled == previous.get("enabled"))
            && document
                .keys()
                .all(|field| free.contains(&field.as_str()) || same(field))
    }
}

fn refuse_if(found: Vec<Violation>, document: &Document) -> Result<(), Problem> {
    Violations::none_in(found).map_err(|violations| Problem::Schema {
        violations,
        document: Box::new(document.clone()),
    })
}

/// Writes the parent from the path into the document.
fn bind(scope: &Scope<'_>, document: &mut Document, found: &mut Vec<Violation>) {
    let Some(parent) = &scope.parent else { return };
    let own = json!({ "id": parent.id });
    let sent = document.insert(parent.field.as_ref().to_owned(), own.clone());
    if let Some(sent) = sent.filter(|sent| !sent.is_null() && *sent != own) {
        let why = format!("must be '{}', which the path names", parent.id);
        found.push(Violation::new(format!("/{}", parent.field), why).with_kind(ViolationKind::Reference));
        document.insert(parent.field.as_ref().to_owned(), sent);
    }
}

/// Writes the name from the path of a PUT into the document: the id, or the endpoint key.
fn take_name(
    spec: &KindSpec,
    name: &str,
    previous: Option<&Document>,
    document: &mut Document,
    found: &mut Vec<Violation>,
) {
    let id = as_id(name).filter(|id| previous.is_none_or(|previous| text(previous, "id") == Some(id)));
    let (field, value) = match (id, &spec.endpoint_key) {
        (Some(id), _) => ("id", id),
        (None, Some(field)) => (&**field, endpoint_key(spec.kind, field, name)),
        (None, None) => return list_name(spec, name, document),
    };
    match document.get(field) {
        None | Some(Value::Null) => {
            document.insert(field.to_owned(), Value::from(value));
        }
        Some(Value::String(sent)) if *sent != value => {
            let why = format!("must be '{value}', which the path names");
            found.push(Violation::new(format!("/{field}"), why).with_hint("to rename it, PATCH it"));
        }
        Some(_) => {}
    }
}

/// Adds a name from the path to the list that holds such names, if it is a list and does not have it.
fn list_name(spec: &KindSpec, name: &str, document: &mut Document) {
    let Some(listing) = spec.lists.first() else { return };
    let list = document
        .entry(&*listing.field)
        .or_insert_with(|| Value::Array(Vec::new()));
    if list.is_null() {
        *list = Value::Array(Vec::new());
    }
    if let Value::Array(names) = list
        && !names.iter().any(|listed| {
            listed
                .as_str()
                .is_some_and(|listed| listed.eq_ignore_ascii_case(name))
        })
    {
        names.push(Value::from(name));
    }
}

/// What a replacement keeps when it does not say it: whatever cannot change, what is kept elsewhere, and what it
/// must have but cannot have read here.
fn carry(spec: &KindSpec, previous: Option<&Document>, document: &mut Document) {
    let Some(previous) = previous else { return };
    let unread = spec
        .write_only
        .iter()
        .filter(|field| spec.schema.is_required(field));
    for field in spec.immutable.iter().chain(unread) {
        if document.get(&**field).is_none_or(Value::is_null)
            && let Some(value) = previous.get(&**field)
        {
            document.insert(field.as_ref().to_owned(), value.clone());
        }
    }
    Kinds::reveal(spec.kind, previous, document);
    for listing in &spec.lists {
        if let (false, Some(value)) = (
            document.contains_key(&*listing.field),
            previous.get(&*listing.field),
        ) {
            document.insert(listing.field.as_ref().to_owned(), value.clone());
        }
    }
}

fn check_immutable(spec: &KindSpec, previous: &Document, document: &Document, found: &mut Vec<Violation>) {
    let same = |a: Option<&Value>, b: Option<&Value>| match (a, b) {
        (Some(Value::Number(a)), Some(Value::Number(b))) => a.as_f64() == b.as_f64(),
        (a, b) => a == b,
    };
    for field in &spec.immutable {
        let pointer = format!("/{field}");
        let told = found.iter().any(|known| known.pointer == pointer);
        if !told && !same(previous.get(&**field), document.get(&**field)) {
            found.push(Violation::new(pointer, "immutable field cannot be updated"));
        }
    }
}
