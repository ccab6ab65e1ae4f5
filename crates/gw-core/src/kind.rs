//! The kinds of entity, and what the control plane must know of each: all of it read from the kind's schema.

use std::fmt;

use gw_schema::{CompileError, Schema, Violations};
use serde_json::{Map, Value};

use crate::seal::Places;

/// What an entity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An upstream application.
    Service,
    /// Which requests go to a service.
    Route,
    /// Who calls.
    Consumer,
    /// One configured instance of a plugin.
    Plugin,
    /// A virtual host name that balances over targets.
    Upstream,
    /// One address of an upstream.
    Target,
    /// A certificate with its private key.
    Certificate,
    /// A server name for which a certificate is shown.
    Sni,
    /// The certificate of an authority.
    CaCertificate,
    /// Consumers that are treated alike.
    ConsumerGroup,
    /// That a consumer is in a group.
    GroupMember,
    /// Where secrets are kept.
    Vault,
    /// A key that tokens are made or checked with.
    Key,
    /// Keys that are looked up together.
    KeySet,
    /// Proxy-Wasm filters of a route or a service.
    FilterChain,
    /// A credential of a consumer; its kind was declared by a plugin.
    Credential(CredentialKind),
}

/// The name of a credential kind, e.g. `keyauth_credentials`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CredentialKind(pub &'static str);

/// Brings a credential's document into its stored form, or says what is wrong with it.
pub type Settle = fn(&mut Map<String, Value>) -> Result<(), Violations>;

/// How a plugin brings its credentials into the form in which they are stored. By default they are stored as they are written.
#[derive(Clone, Copy, Debug, Default)]
pub struct CredentialForm {
    /// Checks what the schema cannot, and writes what is not kept as it was given (a password) in its stored form. Called with every
    /// document that the schema takes; what is in stored form already must stay as it is.
    pub settle: Option<Settle>,
    /// Marks what Kong has stored (in files that say `_transform: false`), so that [`CredentialForm::settle`] leaves it.
    pub adopt: Option<fn(&mut Map<String, Value>)>,
}

impl Kind {
    /// The plural by which the kind is known in error messages and store keys, e.g. `services`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "services",
            Self::Route => "routes",
            Self::Consumer => "consumers",
            Self::Plugin => "plugins",
            Self::Upstream => "upstreams",
            Self::Target => "targets",
            Self::Certificate => "certificates",
            Self::Sni => "snis",
            Self::CaCertificate => "ca_certificates",
            Self::ConsumerGroup => "consumer_groups",
            Self::GroupMember => "consumer_group_consumers",
            Self::Vault => "vaults",
            Self::Key => "keys",
            Self::KeySet => "key_sets",
            Self::FilterChain => "filter_chains",
            Self::Credential(CredentialKind(name)) => name,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What happens to an entity when the one it refers to is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDelete {
    /// It is deleted too.
    Cascade,
    /// The deletion is refused while it exists.
    Refuse,
    /// The same, unless the deletion says that it shall take along what refers to the entity.
    RefuseUnlessTold,
}

/// A field that refers to another entity by `{ "id": … }`, or to several by a list of ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The field's name.
    pub field: Box<str>,
    /// The plural name of the kind referred to, e.g. `services`.
    pub target: Box<str>,
    /// What the target's deletion does.
    pub on_delete: OnDelete,
    /// Whether the field is a list of ids.
    pub many: bool,
    /// What the field is called in a request below the other end of a link, e.g. `group`.
    pub argument: Box<str>,
}

/// A field that lists entities of another kind that refer here, and is written through to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The field's name: a list of the other kind's endpoint keys.
    pub field: Box<str>,
    /// The plural name of the other kind, e.g. `snis`.
    pub kind: Box<str>,
}

impl Reference {
    /// The ids that a document refers to by this field.
    pub fn ids<'d>(&self, document: &'d Map<String, Value>) -> impl Iterator<Item = &'d str> + use<'d> {
        let value = document.get(&*self.field).unwrap_or(&Value::Null);
        let (one, many) = if self.many {
            (None, value.as_array())
        } else {
            (value.get("id"), None)
        };
        one.into_iter()
            .chain(many.into_iter().flatten())
            .filter_map(Value::as_str)
    }
}

/// How a field gets its value when the client gives none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auto {
    /// A random UUID.
    Uuid,
    /// Unix seconds.
    Now,
    /// Unix seconds with a millisecond fraction.
    NowMillis,
    /// 32 random alphanumerics.
    Random,
}

/// Everything the control plane needs to serve one kind, derived from its schema document.
#[derive(Clone, Debug)]
pub struct KindSpec {
    /// The kind.
    pub kind: Kind,
    /// The schema: shape, defaults, descriptions.
    pub schema: Schema,
    /// What one of them is called, e.g. `CA certificate`.
    pub title: Box<str>,
    /// Path of the collection at the top level, e.g. `services`, `key-auths`.
    pub path: Box<str>,
    /// Path of the collection below the entity it belongs to, e.g. `routes`, `key-auth`.
    pub nested_path: Box<str>,
    /// Whether the top-level collection exists (targets live only below their upstream).
    pub listed: bool,
    /// The field accepted in paths in place of the id.
    pub endpoint_key: Option<Box<str>>,
    /// Fields whose values are unique over the kind.
    pub unique: Vec<Box<str>>,
    /// Sets of fields whose values together are unique, each sorted by name.
    pub unique_together: Vec<Vec<Box<str>>>,
    /// Fields that refer to other entities.
    pub references: Vec<Reference>,
    /// Fields that are filled by the gateway.
    pub auto: Vec<(Box<str>, Auto)>,
    /// Fields that keep their value once made.
    pub immutable: Vec<Box<str>>,
    /// Fields that are taken and never shown.
    pub write_only: Vec<Box<str>>,
    /// Fields that are null where nothing is said of them.
    pub blank: Vec<Box<str>>,
    /// Fields that list entities of other kinds.
    pub lists: Vec<Listing>,
    /// Fields that are taken and spelt out in others, each a text.
    pub shorthands: Vec<Box<str>>,
    /// Whether entities of this kind only tie two others to each other, and are seen as lists below these.
    pub is_link: bool,
    /// Under which name one of them is shown a second time, beside what it is tied to.
    pub shown_as: Option<Box<str>>,
    /// How its documents are brought into stored form.
    pub form: CredentialForm,
    /// Where its documents have secrets.
    pub(crate) secrets: Option<Places>,
}

impl KindSpec {
    /// Reads the specification out of a schema document: the `x-…` keywords say what is unique, automatic, a reference.
    ///
    /// # Errors
    /// The document is not a schema.
    pub fn from_schema(kind: Kind, document: Value) -> Result<Self, CompileError> {
        let about = document
            .get("x-kind")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        let text = |key: &str| about.get(key).and_then(Value::as_str).map(Box::from);
        let flag = |key: &str| about.get(key).and_then(Value::as_bool);
        let path: Box<str> = text("path").unwrap_or_else(|| kind.name().into());
        let mut spec = Self {
            kind,
            nested_path: text("nested-path").unwrap_or_else(|| path.clone()),
            path,
            listed: flag("listed").unwrap_or(true),
            title: document
                .get("title")
                .and_then(Value::as_str)
                .unwrap_or(kind.name())
                .into(),
            endpoint_key: None,
            unique: Vec::new(),
            unique_together: about
                .get("unique-together")
                .map(unique_together)
                .unwrap_or_default(),
            references: Vec::new(),
            auto: Vec::new(),
            immutable: Vec::new(),
            write_only: Vec::new(),
            blank: Vec::new(),
            lists: Vec::new(),
            shorthands: document
                .get("x-shorthands")
                .and_then(Value::as_object)
                .map(|all| all.keys().map(|name| name.as_str().into()).collect())
                .unwrap_or_default(),
            is_link: flag("link").unwrap_or(false),
            shown_as: text("shown-as"),
            form: CredentialForm::default(),
            secrets: Places::of(&document),
            schema: Schema::compile(document)?,
        };
        let properties = spec
            .schema
            .document()
            .get("properties")
            .and_then(Value::as_object)
            .cloned();
        for (field, property) in properties.iter().flatten() {
            if let Some(property) = property.as_object() {
                spec.read_property(field, property);
            }
        }
        Ok(spec)
    }

    fn read_property(&mut self, field: &str, property: &Map<String, Value>) {
        let flag = |key: &str| property.get(key).and_then(Value::as_bool).unwrap_or(false);
        let text = |key: &str| property.get(key).and_then(Value::as_str);
        if flag("x-unique") {
            self.unique.push(field.into());
        }
        if flag("x-endpoint-key") {
            self.endpoint_key = Some(field.into());
        }
        if flag("x-immutable") {
            self.immutable.push(field.into());
        }
        if flag("writeOnly") {
            self.write_only.push(field.into());
        }
        if property.get("default").is_some_and(Value::is_null) {
            self.blank.push(field.into());
        }
        if let Some(kind) = text("x-lists") {
            self.lists.push(Listing {
                field: field.into(),
                kind: kind.into(),
            });
        }
        if let Some(target) = text("x-references") {
            let on_delete = match text("x-on-delete") {
                Some("cascade") => OnDelete::Cascade,
                Some("refuse-unless-told") => OnDelete::RefuseUnlessTold,
                _ => OnDelete::Refuse,
            };
            self.references.push(Reference {
                field: field.into(),
                target: target.into(),
                on_delete,
                many: property.get("items").is_some(),
                argument: text("x-argument").unwrap_or(field).into(),
            });
        }
        let auto = match text("x-auto") {
            Some("uuid") => Auto::Uuid,
            Some("now") => Auto::Now,
            Some("now-ms") => Auto::NowMillis,
            Some("random") => Auto::Random,
            _ => return,
        };
        self.auto.push((field.into(), auto));
    }

    /// Takes out what [`Schema::fill_defaults`] puts back at any time: the nulls of fields that are null by default. They
    /// are the greater part of most documents.
    pub fn thin(&self, document: &mut Map<String, Value>) {
        for field in &self.blank {
            if document.get(&**field).is_some_and(Value::is_null) {
                document.remove(&**field);
            }
        }
    }

    /// Whether the endpoint key finds an entity over the whole kind (a target's does so only within its upstream).
    #[must_use]
    pub fn endpoint_key_is_unique(&self) -> bool {
        self.endpoint_key
            .as_ref()
            .is_some_and(|key| self.unique.contains(key))
    }
}

fn unique_together(sets: &Value) -> Vec<Vec<Box<str>>> {
    let fields = |set: &Value| -> Vec<Box<str>> {
        set.as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(Box::from)
            .collect()
    };
    sets.as_array().into_iter().flatten().map(fields).collect()
}
