//! Vaults: where secrets are kept that fields may refer to.

use std::sync::Arc;

use gw_schema::Violations;
use serde_json::{Map, Value};

use crate::Id;
use crate::fields::Fields;

/// A configured source of secrets.
#[derive(Clone, Debug, PartialEq)]
pub struct Vault {
    /// Identity.
    pub id: Id<Self>,
    /// By which references name it; unique.
    pub prefix: Box<str>,
    /// Which vault.
    pub name: Box<str>,
    /// The vault's own settings.
    pub config: Arc<Value>,
    /// Labels.
    pub tags: Vec<Box<str>>,
}

impl Vault {
    pub(crate) fn parse(document: &Map<String, Value>) -> Result<Self, Violations> {
        let fields = Fields::new(document);
        let vault = (|| {
            Some(Self {
                id: fields.id()?,
                prefix: fields.boxed("prefix")?,
                name: fields.boxed("name")?,
                config: Arc::new(fields.value("config")?.clone()),
                tags: fields.tags(),
            })
        })();
        fields.finish(vault)
    }
}
