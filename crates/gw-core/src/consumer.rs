//! Consumers, who call, and their credentials.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use gw_schema::Violations;
use serde_json::{Map, Value};

use crate::fields::Fields;
use crate::kind::CredentialKind;
use crate::{Id, KindSpec};

/// Who calls: a user or an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Identity.
    pub id: Id<Self>,
    /// Unique name.
    pub username: Option<Box<str>>,
    /// The consumer's id in the operator's own records.
    pub custom_id: Option<Box<str>>,
    /// Labels.
    pub tags: Vec<Box<str>>,
    /// How upstreams are told of it.
    pub told: Prepared,
}

impl Consumer {
    pub(crate) fn parse(document: &Map<String, Value>) -> Result<Self, Violations> {
        let fields = Fields::new(document);
        let consumer = (|| {
            Some(Self {
                id: fields.id()?,
                username: fields.boxed("username"),
                custom_id: fields.boxed("custom_id"),
                tags: fields.tags(),
                told: Prepared::default(),
            })
        })();
        fields.finish(consumer)
    }
}

/// Consumers that are treated alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroup {
    /// Identity.
    pub id: Id<Self>,
    /// Unique name.
    pub name: Box<str>,
    /// Labels.
    pub tags: Vec<Box<str>>,
}

impl ConsumerGroup {
    pub(crate) fn parse(document: &Map<String, Value>) -> Result<Self, Violations> {
        let fields = Fields::new(document);
        let group = (|| {
            Some(Self {
                id: fields.id()?,
                name: fields.boxed("name")?,
                tags: fields.tags(),
            })
        })();
        fields.finish(group)
    }
}

/// That a consumer is in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// Identity.
    pub id: Id<Self>,
    /// Who.
    pub consumer: Id<Consumer>,
    /// In which group.
    pub group: Id<ConsumerGroup>,
}

impl GroupMember {
    pub(crate) fn parse(document: &Map<String, Value>) -> Result<Self, Violations> {
        let fields = Fields::new(document);
        let member = (|| {
            Some(Self {
                id: fields.id()?,
                consumer: fields.reference("consumer")?,
                group: fields.reference("consumer_group")?,
            })
        })();
        fields.finish(member)
    }
}

/// The groups that a consumer's entries of the kind `acls` name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessGroups {
    /// Their names, in the order of the entries' ids.
    pub names: Box<[Box<str>]>,
    /// How upstreams are told of them.
    pub told: Prepared,
}

impl AccessGroups {
    pub(crate) fn of<'c>(acls: impl Iterator<Item = &'c Arc<Credential>>) -> Self {
        let name = |acl: &Arc<Credential>| {
            let name = acl.document.get("group").and_then(Value::as_str);
            Box::from(name.unwrap_or_default())
        };
        Self {
            names: acls.map(name).collect(),
            told: Prepared::default(),
        }
    }
}

/// What a consumer shows to prove who it is; its fields belong to the plugin that declared the kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Credential {
    /// Identity.
    pub id: Id<Self>,
    /// Which plugin's credential.
    pub kind: CredentialKind,
    /// Whose it is.
    pub consumer: Id<Consumer>,
    /// The value it is found by: its kind's first unique field.
    pub key: Option<Box<str>>,
    /// Unix milliseconds after which it no longer counts.
    pub expires: Option<u64>,
    /// The whole document.
    pub document: Arc<Map<String, Value>>,
    /// What its plugin has made of the document.
    pub prepared: Prepared,
    /// How upstreams are told of it.
    pub told: Prepared,
}

/// What is made of an entity when it is first met (a key that is decoded, a header's value), kept as long as the entity is.
///
/// It is no part of what the entity says: all are equal, and none is shown.
#[derive(Clone, Default)]
pub struct Prepared(OnceLock<Arc<dyn Any + Send + Sync>>);

impl Prepared {
    /// What was made at first; none if something else of another type was.
    pub fn get_or<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.0.get_or_init(|| Arc::new(make())).downcast_ref()
    }
}

impl PartialEq for Prepared {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Prepared {}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prepared")
    }
}

impl Credential {
    pub(crate) fn parse(
        kind: CredentialKind,
        spec: &KindSpec,
        document: &Map<String, Value>,
    ) -> Result<Self, Violations> {
        let fields = Fields::new(document);
        let credential = (|| {
            Some(Self {
                id: fields.id()?,
                kind,
                consumer: fields.reference("consumer")?,
                key: spec.unique.first().and_then(|field| fields.boxed(field)),
                expires: expiry(document),
                document: Arc::new(document.clone()),
                prepared: Prepared::default(),
                told: Prepared::default(),
            })
        })();
        fields.finish(credential)
    }
}

/// When a document with a `ttl` (seconds after `created_at`) ceases to count, in Unix milliseconds.
#[must_use]
pub fn expiry(document: &Map<String, Value>) -> Option<u64> {
    let fields = Fields::new(document);
    let ttl: u64 = fields.int("ttl")?;
    Some(
        fields
            .millis("created_at")
            .saturating_add(ttl.saturating_mul(1000)),
    )
}
