//! Every kind's way from a document to an entity that cannot be wrong.

use std::fmt;
use std::sync::Arc;

use gw_schema::{CompileError, Violation, ViolationKind, Violations};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::kind::{CredentialForm, CredentialKind, Kind, KindSpec};
use crate::route::PlainRoutes;
use crate::seal::Secrets;
use crate::{CaCertificate, Certificate, Consumer, ConsumerGroup, Credential, FilterChain, GroupMember, Key};
use crate::{KeySet, PluginUse, Route, Service, Sni, Target, Upstream, Vault};
use crate::{algorithm, certificate, key, plugin_use, route, service, upstream};

/// A JSON object, as committed and as shown.
pub type Document = Map<String, Value>;

/// One parsed entity of any kind.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each variant is the type it holds")]
pub enum Entity {
    Service(Arc<Service>),
    Route(Arc<Route>),
    Consumer(Arc<Consumer>),
    Plugin(Arc<PluginUse>),
    Upstream(Arc<Upstream>),
    Target(Arc<Target>),
    Credential(Arc<Credential>),
    Certificate(Arc<Certificate>),
    Sni(Arc<Sni>),
    CaCertificate(Arc<CaCertificate>),
    ConsumerGroup(Arc<ConsumerGroup>),
    GroupMember(Arc<GroupMember>),
    Vault(Arc<Vault>),
    Key(Arc<Key>),
    KeySet(Arc<KeySet>),
    FilterChain(Arc<FilterChain>),
}

impl Entity {
    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Service(_) => Kind::Service,
            Self::Route(_) => Kind::Route,
            Self::Consumer(_) => Kind::Consumer,
            Self::Plugin(_) => Kind::Plugin,
            Self::Upstream(_) => Kind::Upstream,
            Self::Target(_) => Kind::Target,
            Self::Credential(credential) => Kind::Credential(credential.kind),
            Self::Certificate(_) => Kind::Certificate,
            Self::Sni(_) => Kind::Sni,
            Self::CaCertificate(_) => Kind::CaCertificate,
            Self::ConsumerGroup(_) => Kind::ConsumerGroup,
            Self::GroupMember(_) => Kind::GroupMember,
            Self::Vault(_) => Kind::Vault,
            Self::Key(_) => Kind::Key,
            Self::KeySet(_) => Kind::KeySet,
            Self::FilterChain(_) => Kind::FilterChain,
        }
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> Uuid {
        match self {
            Self::Service(entity) => entity.id.uuid(),
            Self::Route(entity) => entity.id.uuid(),
            Self::Consumer(entity) => entity.id.uuid(),
            Self::Plugin(entity) => entity.id.uuid(),
            Self::Upstream(entity) => entity.id.uuid(),
            Self::Target(entity) => entity.id.uuid(),
            Self::Credential(entity) => entity.id.uuid(),
            Self::Certificate(entity) => entity.id.uuid(),
            Self::Sni(entity) => entity.id.uuid(),
            Self::CaCertificate(entity) => entity.id.uuid(),
            Self::ConsumerGroup(entity) => entity.id.uuid(),
            Self::GroupMember(entity) => entity.id.uuid(),
            Self::Vault(entity) => entity.id.uuid(),
            Self::Key(entity) => entity.id.uuid(),
            Self::KeySet(entity) => entity.id.uuid(),
            Self::FilterChain(entity) => entity.id.uuid(),
        }
    }
}

/// What is in a store cannot be read as an entity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is not even a document.
    #[error("it is not a JSON object")]
    Document(#[source] serde_json::Error),
    /// It is not one of its kind.
    #[error("it cannot be read")]
    Entity(#[source] Violations),
}

/// All kinds the gateway knows: its own and the credentials of its plugins.
#[derive(Clone)]
pub struct Kinds {
    specs: Arc<[KindSpec]>,
    plain_routes: Option<Arc<PlainRoutes>>,
    pub(crate) secrets: Secrets,
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.specs.iter().map(|spec| spec.kind))
            .finish()
    }
}

/// Kept here, apart from the plugin that reads them, because tools write them whatever plugins there are.
const ACLS: Kind = Kind::Credential(CredentialKind("acls"));

const CORE: [(Kind, &str); 16] = [
    (Kind::Service, include_str!("schemas/service.json")),
    (Kind::Route, include_str!("schemas/route.json")),
    (Kind::Consumer, include_str!("schemas/consumer.json")),
    (Kind::Plugin, include_str!("schemas/plugin.json")),
    (Kind::Upstream, include_str!("schemas/upstream.json")),
    (Kind::Target, include_str!("schemas/target.json")),
    (Kind::Certificate, include_str!("schemas/certificate.json")),
    (Kind::Sni, include_str!("schemas/sni.json")),
    (Kind::CaCertificate, include_str!("schemas/ca_certificate.json")),
    (Kind::ConsumerGroup, include_str!("schemas/consumer_group.json")),
    (Kind::GroupMember, include_str!("schemas/group_member.json")),
    (Kind::Vault, include_str!("schemas/vault.json")),
    (Kind::Key, include_str!("schemas/key.json")),
    (Kind::KeySet, include_str!("schemas/key_set.json")),
    (Kind::FilterChain, include_str!("schemas/filter_chain.json")),
    (ACLS, include_str!("schemas/acl.json")),
];

impl Kinds {
    /// The gateway's own kinds and these credential kinds, each with its schema document.
    ///
    /// # Errors
    /// A credential's schema is not one.
    ///
    /// # Panics
    /// Never: the gateway's own schemas are tested.
    pub fn new(credentials: impl IntoIterator<Item = (CredentialKind, Value)>) -> Result<Self, CompileError> {
        let mut specs = Vec::with_capacity(CORE.len());
        for (kind, text) in CORE {
            let document = serde_json::from_str(text).expect("the gateway's own schemas are JSON");
            specs.push(KindSpec::from_schema(kind, document)?);
        }
        for (kind, document) in credentials {
            specs.push(KindSpec::from_schema(Kind::Credential(kind), document)?);
        }
        let mut kinds = Self {
            specs: specs.into(),
            plain_routes: None,
            secrets: Secrets::default(),
        };
        // What may have secrets needs to be opened first.
        if !kinds.has_secrets(Kind::Route)
            && let Ok(Entity::Route(defaults)) = kinds.load(Kind::Route, route::example())
        {
            kinds.plain_routes = Arc::into_inner(defaults).map(|route| Arc::new(PlainRoutes::with(route)));
        }
        Ok(kinds)
    }

    /// The same, with the stored form of these credentials.
    #[must_use]
    pub fn formed(mut self, forms: impl IntoIterator<Item = (CredentialKind, CredentialForm)>) -> Self {
        let mut specs = self.specs.to_vec();
        for (kind, form) in forms {
            if let Some(spec) = specs.iter_mut().find(|spec| spec.kind == Kind::Credential(kind)) {
                spec.form = form;
            }
        }
        self.specs = specs.into();
        self
    }

    /// The specification of `kind`, if it is known.
    #[must_use]
    pub fn spec(&self, kind: Kind) -> Option<&KindSpec> {
        self.specs.iter().find(|spec| spec.kind == kind)
    }

    /// The specification of the kind with this plural name, e.g. `services`.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&KindSpec> {
        self.specs.iter().find(|spec| spec.kind.name() == name)
    }

    /// All specifications.
    pub fn iter(&self) -> impl Iterator<Item = &KindSpec> {
        self.specs.iter()
    }

    /// The fields of other kinds that refer to `kind`.
    pub fn referrers(&self, kind: Kind) -> impl Iterator<Item = (&KindSpec, &crate::Reference)> {
        self.specs.iter().flat_map(move |spec| {
            let references = spec.references.iter();
            references
                .filter(move |reference| *reference.target == *kind.name())
                .map(move |r| (spec, r))
        })
    }

    /// Brings what a client sent into the stored form, before defaults: shorthands are spelt out.
    ///
    /// To be called on a whole document and on a patch alike.
    pub fn expand(kind: Kind, document: &mut Document) {
        match kind {
            Kind::Service => service::expand_url(document),
            Kind::Route => route::expand(document),
            Kind::Upstream => algorithm::settle(document),
            Kind::Target => upstream::default_target_port(document),
            Kind::Sni => certificate::lower_name(document),
            Kind::CaCertificate => certificate::add_digest(document),
            Kind::Plugin => plugin_use::drop_run_on(document),
            Kind::Consumer | Kind::Credential(_) => {}
            Kind::Certificate | Kind::ConsumerGroup | Kind::GroupMember => {}
            Kind::Vault | Kind::Key | Kind::KeySet | Kind::FilterChain => {}
        }
    }

    /// Takes what is secret out of a document that is to be shown, beyond the fields that are never shown.
    pub fn conceal(kind: Kind, document: &mut Document) {
        if kind == Kind::Key {
            key::conceal(document);
        }
    }

    /// Puts back what [`conceal`](Self::conceal) took out, into a document that replaces the one it was taken from
    /// and says what was shown of it.
    pub fn reveal(kind: Kind, previous: &Document, document: &mut Document) {
        if kind == Kind::Key {
            key::reveal(previous, document);
        }
    }

    /// Fills in defaults, checks the schema and parses: what an entity of `kind` needs to exist.
    ///
    /// A plugin instance's `config` is left alone, it belongs to the plugin.
    ///
    /// # Errors
    /// Every violation, the schema's and the parser's.
    pub fn complete(&self, kind: Kind, document: &mut Document) -> Result<Entity, Violations> {
        let Some(spec) = self.spec(kind) else {
            return Err(Violation::new("", format!("no plugin declares the kind '{kind}'")).into());
        };
        if kind == Kind::Route {
            route::default_strip_path_by_uris(document);
        }
        let mut value = Value::Object(std::mem::take(document));
        spec.schema.fill_defaults(&mut value);
        let checked = spec.schema.check(&value);
        if let Value::Object(filled) = value {
            *document = filled;
        }
        if let (Ok(()), Some(settle)) = (&checked, spec.form.settle) {
            settle(document)?;
        }
        let parsed = self.parse(kind, document);
        match (checked, parsed) {
            (Ok(()), parsed) => parsed,
            (Err(violations), Ok(_)) => Err(known_shorthands(spec, violations)),
            (Err(schema), Err(parser)) => Err(known_shorthands(spec, merge(schema, parser))),
        }
    }

    /// Reads a document back from a store, tolerantly: defaults that a newer schema has are filled in, fields that
    /// an older schema does not know are left alone. What is sealed is opened.
    ///
    /// # Errors
    /// What cannot be read, by place.
    pub fn load(&self, kind: Kind, mut document: Document) -> Result<Entity, Violations> {
        let Some(spec) = self.spec(kind) else {
            return Err(Violation::new("", format!("no plugin declares the kind '{kind}'")).into());
        };
        self.open(kind, &mut document)?;
        let mut value = Value::Object(document);
        spec.schema.fill_defaults(&mut value);
        match value {
            Value::Object(document) => self.parse(kind, &document),
            _ => Err(Violation::new("", "expected a record").into()),
        }
    }

    /// Reads an entity from the bytes in a store, as [`load`](Self::load) does from a document.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn read(&self, kind: Kind, stored: &[u8]) -> Result<Entity, ReadError> {
        if kind == Kind::Route
            && let Some(route) = self.plain_routes.as_ref().and_then(|plain| plain.read(stored))
        {
            return Ok(Entity::Route(route.into()));
        }
        let document = serde_json::from_slice(stored).map_err(ReadError::Document)?;
        self.load(kind, document).map_err(ReadError::Entity)
    }

    /// Parses a document that has all its defaults.
    ///
    /// # Errors
    /// What cannot be read, by place.
    pub fn parse(&self, kind: Kind, document: &Document) -> Result<Entity, Violations> {
        Ok(match kind {
            Kind::Service => Entity::Service(Service::parse(document)?.into()),
            Kind::Route => Entity::Route(Route::parse(document)?.into()),
            Kind::Consumer => Entity::Consumer(Consumer::parse(document)?.into()),
            Kind::Plugin => Entity::Plugin(PluginUse::parse(document)?.into()),
            Kind::Upstream => Entity::Upstream(Upstream::parse(document)?.into()),
            Kind::Target => Entity::Target(Target::parse(document)?.into()),
            Kind::Certificate => Entity::Certificate(Certificate::parse(document)?.into()),
            Kind::Sni => Entity::Sni(Sni::parse(document)?.into()),
            Kind::CaCertificate => Entity::CaCertificate(CaCertificate::parse(document)?.into()),
            Kind::ConsumerGroup => Entity::ConsumerGroup(ConsumerGroup::parse(document)?.into()),
            Kind::GroupMember => Entity::GroupMember(GroupMember::parse(document)?.into()),
            Kind::Vault => Entity::Vault(Vault::parse(document)?.into()),
            Kind::Key => Entity::Key(Key::parse(document)?.into()),
            Kind::KeySet => Entity::KeySet(KeySet::parse(document)?.into()),
            Kind::FilterChain => Entity::FilterChain(FilterChain::parse(document)?.into()),
            Kind::Credential(credential) => {
                let Some(spec) = self.spec(kind) else {
                    return Err(Violation::new("", format!("no plugin declares the kind '{kind}'")).into());
                };
                Entity::Credential(Credential::parse(credential, spec, document)?.into())
            }
        })
    }
}

/// A shorthand that was not spelt out is not unknown: it is of the wrong type.
fn known_shorthands(spec: &KindSpec, violations: Violations) -> Violations {
    let mut all = violations.into_vec();
    for violation in &mut all {
        let name = violation.pointer.strip_prefix('/').unwrap_or_default();
        if violation.kind == ViolationKind::Unknown && spec.shorthands.iter().any(|known| **known == *name) {
            let pointer = std::mem::take(&mut violation.pointer);
            *violation = Violation::new(pointer, "expected a string").with_kind(ViolationKind::Type);
        }
    }
    refused(all)
}

fn refused(all: Vec<Violation>) -> Violations {
    match Violations::none_in(all) {
        Err(violations) => violations,
        Ok(()) => Violation::new("", "invalid").into(),
    }
}

/// The schema's violations, and those of the parser at places the schema is content with. Where a text does not match
/// its pattern the parser knows better why.
fn merge(schema: Violations, parser: Violations) -> Violations {
    let mut all: Vec<Violation> = schema.into_iter().collect();
    // What the schema refuses the parser cannot read either, in it or around it.
    let below = |inner: &str, outer: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let covered = |pointer: &str, all: &[Violation]| {
        all.iter().any(|known| {
            let at = &*known.pointer;
            at == pointer || !at.is_empty() && (below(pointer, at) || below(at, pointer))
        })
    };
    for violation in parser {
        let same = all
            .iter_mut()
            .find(|known| known.kind == ViolationKind::Pattern && known.pointer == violation.pointer);
        if let Some(same) = same {
            *same = violation;
        } else if !covered(&violation.pointer, &all) {
            all.push(violation);
        }
    }
    refused(all)
}
