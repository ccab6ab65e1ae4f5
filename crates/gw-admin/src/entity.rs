//! One CRUD for every kind: what is stored, seen through one view and found as paths name it.

pub(crate) mod auto;
pub(crate) mod checks;
mod delete;
mod filters;
mod link;
mod list;
mod listing;
mod merge;
mod put;
mod recheck;
mod references;
mod tags;
mod version;
mod write;

use gw_core::{Document, Kind, KindSpec, Kinds, index};
use gw_plugins::Registry;
use gw_store::View;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::{Collection, Endpoint, Site};
use crate::problem::Problem;
pub(crate) use filters::Filters;
pub(crate) use listing::without_lists;
pub(crate) use put::written;
pub(crate) use references::lower_ids;
pub(crate) use version::{config_tag, history};
pub(crate) use write::Verb;

/// The entities of one view, at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entities<'a> {
    pub(crate) kinds: &'a Kinds,
    pub(crate) registry: &'a Registry,
    pub(crate) view: &'a View,
    /// Unix milliseconds: when credentials expire, and what automatic times say.
    pub(crate) now: u64,
}

/// The entities a path selects from.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    spec: &'a KindSpec,
    /// The one they all belong to.
    parent: Option<Parent>,
}

/// The entity that others belong to by one of their fields.
#[derive(Debug)]
struct Parent {
    kind: Kind,
    id: String,
    field: Box<str>,
}

/// Where an entity is.
#[derive(Debug)]
enum Found {
    Here(Document),
    /// It belongs to another parent than the path says.
    Elsewhere,
    Nowhere,
}

impl<'a> Entities<'a> {
    /// The entity a path names, as it is shown.
    pub(crate) fn read(&self, site: &Site, query: &[(String, String)]) -> Result<Document, Problem> {
        let (scope, name) = self.aim(site)?;
        let name = name.unwrap_or_default();
        match self.find(&scope, &name)? {
            Found::Here(document) => {
                let mut shown = shown(scope.spec, document);
                if scope.parent.is_none() && matches!(site.endpoint, Endpoint::One { .. }) {
                    self.show_ties(scope.spec, &mut shown, query);
                }
                Ok(shown)
            }
            Found::Elsewhere | Found::Nowhere => Err(self.absent(scope.spec, &name)),
        }
    }

    /// What is said of a name nobody has.
    fn absent(&self, spec: &KindSpec, name: &str) -> Problem {
        let by_another = spec.lists.first().filter(|_| as_id(name).is_none());
        match by_another.and_then(|listing| self.kinds.by_name(&listing.kind)) {
            Some(listed) => Problem::NobodyNamed {
                title: listed.title.clone(),
            },
            None => Problem::NotFound,
        }
    }

    /// Which entities a path selects from, and the name of the one it means, if it means one.
    fn aim(&self, site: &Site) -> Result<(Scope<'a>, Option<String>), Problem> {
        let mut names = site.names.iter();
        let mut name = || names.next().map(String::as_str).ok_or(Problem::NotFound);
        match &site.endpoint {
            Endpoint::List { of, .. } if of.below.is_some() => Ok((self.scope(of, Some(name()?))?, None)),
            Endpoint::List { of, .. } => Ok((self.scope(of, None)?, None)),
            Endpoint::One { of } => {
                let parent = of.below.as_ref().map(|_| name()).transpose()?;
                Ok((self.scope(of, parent)?, Some(name()?.to_owned())))
            }
            Endpoint::Referred { from, field, to } => {
                let from = self.top(*from, name()?)?;
                let id = reference(&from, field).ok_or(Problem::NotFound)?.to_owned();
                Ok((
                    Scope {
                        spec: self.spec(*to)?,
                        parent: None,
                    },
                    Some(id),
                ))
            }
            _ => Err(Problem::NotFound),
        }
    }

    fn scope(&self, of: &Collection, parent: Option<&str>) -> Result<Scope<'a>, Problem> {
        let parent = match (&of.below, parent) {
            (Some(below), Some(name)) => {
                let document = self.top(below.parent, name)?;
                let id = text(&document, "id").unwrap_or_default().to_owned();
                Some(Parent {
                    kind: below.parent,
                    id,
                    field: below.field.clone(),
                })
            }
            _ => None,
        };
        Ok(Scope {
            spec: self.spec(of.of)?,
            parent,
        })
    }

    /// The entity of a kind by its name, wherever it belongs.
    fn top(&self, kind: Kind, name: &str) -> Result<Document, Problem> {
        match self.find(
            &Scope {
                spec: self.spec(kind)?,
                parent: None,
            },
            name,
        )? {
            Found::Here(document) => Ok(document),
            Found::Elsewhere | Found::Nowhere => Err(self.absent(self.spec(kind)?, name)),
        }
    }

    pub(crate) fn spec(&self, kind: Kind) -> Result<&'a KindSpec, Problem> {
        self.kinds.spec(kind).ok_or(Problem::NotFound)
    }

    /// Finds an entity by its id or, failing that, by its endpoint key.
    fn find(&self, scope: &Scope<'_>, name: &str) -> Result<Found, Problem> {
        let spec = scope.spec;
        let id = as_id(name);
        if let Some(document) = id.as_deref().and_then(|id| self.by_id(spec, id)) {
            return Ok(scope.locate(document));
        }
        if id.is_none() && !spec.lists.is_empty() {
            return Ok(self
                .by_listed(spec, name)
                .map_or(Found::Nowhere, |document| scope.locate(document)));
        }
        let field = spec
            .endpoint_key
            .as_ref()
            .filter(|_| spec.endpoint_key_is_unique() || scope.parent.is_some());
        let Some(field) = field else {
            return match id {
                Some(_) => Ok(Found::Nowhere),
                None => Err(Problem::InvalidPrimaryKey { id: name.to_owned() }),
            };
        };
        let value = endpoint_key(spec.kind, field, name);
        let key = if spec.endpoint_key_is_unique() {
            Some(index::unique(spec.kind, field, &value))
        } else {
            scope.key_within_parent(field, value)
        };
        let found = key.and_then(|key| self.holders(spec, &key).next());
        Ok(found.map_or(Found::Nowhere, |document| scope.locate(document)))
    }

    pub(crate) fn by_id(&self, spec: &KindSpec, id: &str) -> Option<Document> {
        self.document(spec, &index::entity_key(spec.kind, id))
    }

    /// The entities that hold an index key.
    pub(crate) fn holders<'s>(
        &'s self,
        spec: &'s KindSpec,
        key: &str,
    ) -> impl Iterator<Item = Document> + use<'s, 'a> {
        self.view
            .holders(key)
            .filter_map(|key| self.document(spec, key.as_str()))
    }

    /// The entities of a kind that refer to a parent, oldest first.
    fn children<'s>(
        &'s self,
        parent: Kind,
        parent_id: &str,
        spec: &'s KindSpec,
    ) -> impl Iterator<Item = Document> + use<'s, 'a> {
        let entries = self
            .view
            .index_range(&index::referring(parent, parent_id, spec.kind), None);
        entries.filter_map(|(_, key)| self.document(spec, key.as_str()))
    }

    /// What is stored under a key, opened, with the defaults of today's schema; not what has expired. A secret that cannot
    /// be opened is sealed still.
    pub(crate) fn document(&self, spec: &KindSpec, key: &str) -> Option<Document> {
        let entry = self.view.get(key)?;
        let mut value: Value = match serde_json::from_slice(&entry.value) {
            Ok(value) => value,
            Err(error) => {
                tracing::error!(key, %error, "a stored entity is not JSON");
                return None;
            }
        };
        if let Value::Object(document) = &mut value {
            // What stays sealed the node reports as what it cannot serve.
            let _sealed = self.kinds.open(spec.kind, document);
        }
        spec.schema.fill_defaults(&mut value);
        let Value::Object(mut document) = value else {
            return None;
        };
        if spec.kind == Kind::Plugin {
            let plugin = text(&document, "name").and_then(|name| self.registry.get(name));
            if let (Some(plugin), Some(config)) = (plugin, document.get_mut("config")) {
                plugin.schema.fill_defaults(config);
            }
        }
        self.fill_lists(spec, &mut document);
        (!self.has_expired(spec.kind, &document)).then_some(document)
    }

    fn has_expired(&self, kind: Kind, document: &Document) -> bool {
        matches!(kind, Kind::Credential(_))
            && gw_core::expiry(document).is_some_and(|expiry| expiry <= self.now)
    }
}

impl Scope<'_> {
    fn locate(&self, document: Document) -> Found {
        let belongs = |parent: &Parent| reference(&document, &parent.field) == Some(&*parent.id);
        if self.parent.as_ref().is_none_or(belongs) {
            Found::Here(document)
        } else {
            Found::Elsewhere
        }
    }

    /// The index key of the one child of the parent whose `field` has a value.
    fn key_within_parent(&self, field: &str, value: String) -> Option<String> {
        let parent = self.parent.as_ref()?;
        let pair = [field, &*parent.field];
        let set = self
            .spec
            .unique_together
            .iter()
            .find(|set| set.len() == 2 && set.iter().all(|f| pair.contains(&&**f)))?;
        let mut document = Document::new();
        document.insert(field.to_owned(), Value::from(value));
        document.insert(parent.field.as_ref().to_owned(), json!({ "id": parent.id }));
        Some(index::together(self.spec.kind, set, &document))
    }
}

/// A document as an answer shows it: without what is only taken.
pub(crate) fn shown(spec: &KindSpec, mut document: Document) -> Document {
    for field in &spec.write_only {
        document.insert(field.as_ref().to_owned(), Value::Null);
    }
    Kinds::conceal(spec.kind, &mut document);
    document
}

/// The id that a name in a path is, if it is one, as stored.
pub(crate) fn as_id(name: &str) -> Option<String> {
    // Bound: only the dashed form; 32 hexadecimal digits may be an API key.
    let id = Uuid::try_parse(name).ok().filter(|_| name.len() == 36)?;
    Some(id.to_string())
}

/// An endpoint key in the form in which it is stored.
fn endpoint_key(kind: Kind, field: &str, name: &str) -> String {
    let mut document = Document::new();
    document.insert(field.to_owned(), Value::from(name));
    Kinds::expand(kind, &mut document);
    text(&document, field).unwrap_or(name).to_owned()
}

fn text<'d>(document: &'d Document, field: &str) -> Option<&'d str> {
    document.get(field).and_then(Value::as_str)
}

/// The id a field refers to.
pub(crate) fn reference<'d>(document: &'d Document, field: &str) -> Option<&'d str> {
    document
        .get(field)
        .and_then(|value| value.get("id"))
        .and_then(Value::as_str)
}
