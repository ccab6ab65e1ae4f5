//! From what stands nested in a file to one list of entities, each knowing whose child it is.

use gw_core::{Document, Kind, KindSpec, Kinds};
use gw_schema::ViolationKind;
use serde_json::Value;

use super::Entry;
use super::deck::Head;
use super::faults::Faults;
use super::spot::segment;

/// Kinds that come with a plugin, for those that are not here.
const BY_PLUGIN: [(&str, &str); 9] = [
    ("keyauth_credentials", "key-auth"),
    ("basicauth_credentials", "basic-auth"),
    ("hmacauth_credentials", "hmac-auth"),
    ("jwt_secrets", "jwt"),
    ("oauth2_credentials", "oauth2"),
    ("oauth2_tokens", "oauth2"),
    ("oauth2_authorization_codes", "oauth2"),
    ("mtls_auth_credentials", "mtls-auth"),
    ("acme_storage", "acme"),
];

/// An entity on its way from the file to an [`Entry`].
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) kind: Kind,
    /// Where it stands, as a JSON pointer.
    pub(super) pointer: String,
    /// Its own fields.
    pub(super) document: Document,
    /// The entity it stands below, and the field by which it belongs to it.
    pub(super) parent: Option<(Box<str>, usize)>,
    /// The fields that hold lists of others.
    pub(super) children: Vec<String>,
    pub(super) made: Vec<Box<str>>,
    /// It wants a plugin that is not here, and is left out.
    pub(super) is_absent: bool,
}

/// What a field of an entity is, if it is not one of its own.
enum Below<'a> {
    /// A list of entities that belong to it by this field.
    Children(&'a KindSpec, &'a str),
    /// A list of names of entities that are tied to it: the link's field for itself, then for them.
    Tied(&'a KindSpec, &'a str, &'a gw_core::Reference),
    /// Entities of a plugin that is not here.
    Absent(&'static str),
}

/// Makes one list of a file.
pub(super) struct Flattening<'a> {
    kinds: &'a Kinds,
    head: &'a Head,
    faults: &'a mut Faults,
    drafts: Vec<Draft>,
}

impl Draft {
    pub(super) fn into_entry(self) -> Entry {
        let Self {
            kind,
            pointer,
            document,
            made,
            ..
        } = self;
        Entry {
            kind,
            document,
            made,
            pointer,
            position: None,
        }
    }
}

impl<'a> Flattening<'a> {
    pub(super) fn new(kinds: &'a Kinds, head: &'a Head, faults: &'a mut Faults) -> Self {
        Self {
            kinds,
            head,
            faults,
            drafts: Vec::new(),
        }
    }

    /// All entities of a file; parents come before their children.
    pub(super) fn run(mut self, document: &Document) -> Vec<Draft> {
        for (name, value) in document.iter().filter(|(name, _)| !name.starts_with('_')) {
            let pointer = format!("/{}", segment(name));
            if let Some(spec) = self.kinds.by_name(name) {
                self.list(spec, value, &pointer, None);
            } else if let Some(plugin) = by_plugin(name) {
                self.faults.absent(pointer, name, plugin);
            } else {
                let known = self.kinds.iter().map(|spec| spec.kind.name());
                self.faults.unknown(pointer, name, known);
            }
        }
        self.drafts
    }

    fn list(&mut self, spec: &KindSpec, list: &Value, pointer: &str, parent: Option<(&str, usize)>) {
        let items = match list {
            Value::Null => return,
            Value::Array(items) => items,
            _ => {
                return self
                    .faults
                    .add(pointer.to_owned(), "expected an array", ViolationKind::Type);
            }
        };
        for (position, item) in items.iter().enumerate() {
            let pointer = format!("{pointer}/{position}");
            match (item, &spec.endpoint_key) {
                (Value::Object(record), _) => self.entity(spec, record, pointer, parent),
                // As an answer lists the names of a certificate.
                (Value::String(name), Some(field)) if self.is_listed(spec, parent) => {
                    let mut record = Document::new();
                    record.insert(field.as_ref().to_owned(), Value::from(name.as_str()));
                    self.entity(spec, &record, pointer, parent);
                }
                _ => self.faults.add(pointer, "expected a record", ViolationKind::Type),
            }
        }
    }

    /// Whether the parent has these as a list of names as well.
    fn is_listed(&self, spec: &KindSpec, parent: Option<(&str, usize)>) -> bool {
        let parent = parent.and_then(|(_, parent)| self.drafts.get(parent));
        let parent = parent.and_then(|parent| self.kinds.spec(parent.kind));
        parent.is_some_and(|parent| {
            parent
                .lists
                .iter()
                .any(|listing| *listing.kind == *spec.kind.name())
        })
    }

    fn entity(&mut self, spec: &KindSpec, record: &Document, pointer: String, parent: Option<(&str, usize)>) {
        let index = self.drafts.len();
        self.drafts.push(Draft {
            kind: spec.kind,
            pointer: pointer.clone(),
            document: Document::new(),
            parent: parent.map(|(field, parent)| (field.into(), parent)),
            children: Vec::new(),
            made: Vec::new(),
            is_absent: false,
        });
        self.faults.check_remarks(record, &pointer);
        let (mut document, mut children) = (Document::new(), Vec::new());
        let mut below = Vec::new();
        for (name, value) in record {
            let pointer = format!("{pointer}/{}", segment(name));
            match name.as_str() {
                "_comment" | "_ignore" => continue,
                "_config" if spec.kind == Kind::Plugin => continue,
                _ => {}
            }
            match below_of(self.kinds, spec, name) {
                None => {
                    document.insert(name.clone(), value.clone());
                    continue;
                }
                Some(Below::Absent(plugin)) => self.faults.absent(pointer, name, plugin),
                Some(found) => below.push((found, value, pointer)),
            }
            children.push(name.clone());
        }
        if let Some(shared) = record.get("_config").filter(|_| spec.kind == Kind::Plugin) {
            self.head
                .share_config(shared, &mut document, &pointer, self.faults);
        }
        let takes_tags = spec.schema.document().pointer("/properties/tags").is_some();
        self.head.complete(spec.kind.name(), takes_tags, &mut document);
        if let Some(draft) = self.drafts.get_mut(index) {
            draft.document = document;
            draft.children = children;
        }
        for (found, value, pointer) in below {
            match found {
                Below::Children(child, field) => self.list(child, value, &pointer, Some((field, index))),
                Below::Tied(link, near, far) => self.ties(link, near, far, value, &pointer, index),
                Below::Absent(_) => {}
            }
        }
    }

    /// Entities that are named where they are tied to another: `groups: [{name: gold}]`.
    fn ties(
        &mut self,
        link: &KindSpec,
        near: &str,
        far: &gw_core::Reference,
        list: &Value,
        pointer: &str,
        parent: usize,
    ) {
        let items = match list {
            Value::Null => return,
            Value::Array(items) => items,
            _ => {
                return self
                    .faults
                    .add(pointer.to_owned(), "expected an array", ViolationKind::Type);
            }
        };
        let names = self
            .kinds
            .by_name(&far.target)
            .map(|target| target.unique.as_slice());
        let is_name = |field: &str| {
            field == "id"
                || names
                    .iter()
                    .any(|names| names.iter().any(|name| **name == *field))
        };
        for (position, item) in items.iter().enumerate() {
            let pointer = format!("{pointer}/{position}");
            let name = match item {
                Value::String(_) => item.clone(),
                Value::Object(record) => {
                    let given = record.iter().filter(|(_, value)| !value.is_null());
                    let (known, strange): (Vec<_>, Vec<_>) = given.partition(|(field, _)| is_name(field));
                    for (field, _) in strange {
                        let target = &far.target;
                        let message = format!("unknown field; here '{target}' are only named");
                        let pointer = format!("{pointer}/{}", segment(field));
                        self.faults.add(pointer, &message, ViolationKind::Unknown);
                    }
                    // Any one of its names will do.
                    let Some((field, value)) = known.first() else {
                        self.faults
                            .add(pointer, "required field missing", ViolationKind::Required);
                        continue;
                    };
                    let mut record = Document::new();
                    record.insert((*field).clone(), (*value).clone());
                    Value::Object(record)
                }
                _ => {
                    self.faults.add(pointer, "expected a record", ViolationKind::Type);
                    continue;
                }
            };
            let mut record = Document::new();
            record.insert(far.field.as_ref().to_owned(), name);
            self.entity(link, &record, pointer, Some((near, parent)));
        }
    }
}

/// What a field of an entity holds, if it is not one of the entity's own.
fn below_of<'a>(kinds: &'a Kinds, spec: &KindSpec, name: &str) -> Option<Below<'a>> {
    let own = spec
        .schema
        .document()
        .get("properties")
        .is_some_and(|fields| fields.get(name).is_some());
    let listed = spec.lists.iter().any(|listing| *listing.field == *name);
    if own && !listed {
        return None;
    }
    let to = |child: &'a KindSpec| {
        let fields = child.references.iter();
        fields
            .filter(|field| !field.many)
            .find(|field| *field.target == *spec.kind.name())
    };
    if let Some(child) = kinds.by_name(name)
        && let Some(field) = to(child)
    {
        return Some(Below::Children(child, &field.field));
    }
    for link in kinds.iter().filter(|link| link.is_link) {
        let Some(near) = to(link) else { continue };
        let Some(far) = link.references.iter().find(|far| *far.field != *near.field) else {
            continue;
        };
        if *far.target == *name || name.strip_suffix('s') == Some(&*far.argument) {
            return Some(Below::Tied(link, &near.field, far));
        }
    }
    if spec.kind == Kind::Consumer && kinds.by_name(name).is_none() {
        return by_plugin(name).map(Below::Absent);
    }
    None
}

/// The names of the lists that may stand below an entity, for suggestions.
pub(super) fn lists_below<'a>(kinds: &'a Kinds, spec: &'a KindSpec) -> impl Iterator<Item = &'a str> {
    kinds.iter().filter_map(|child| {
        let belongs = child
            .references
            .iter()
            .any(|field| *field.target == *spec.kind.name());
        belongs.then_some(child.kind.name())
    })
}

fn by_plugin(name: &str) -> Option<&'static str> {
    BY_PLUGIN
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, plugin)| *plugin)
}
