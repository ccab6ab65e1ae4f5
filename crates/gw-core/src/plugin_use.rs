//! Plugin instances: which plugin runs, with which settings, for which requests.

use std::sync::Arc;

use gw_router::Expr;
use gw_schema::Violations;
use serde_json::{Map, Value};

use crate::fields::Fields;
use crate::route::read_expression;
use crate::units::Protocols;
use crate::{Consumer, ConsumerGroup, Id, Route, Service};

/// One configured instance of a plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginUse {
    /// Identity.
    pub id: Id<Self>,
    /// Which plugin.
    pub name: Box<str>,
    /// Requests it runs for.
    pub scope: Scope,
    /// The plugin's own settings, opaque here.
    pub config: Arc<Value>,
    /// Request protocols it runs for.
    pub protocols: Protocols,
    /// False: as if absent.
    pub enabled: bool,
    /// In place of the plugin's own priority.
    pub priority: Option<i32>,
    /// Of the requests in its scope, those it runs for.
    pub filter: Option<Expr>,
    /// Whether it runs besides the instance that is chosen of its name.
    pub global_rule: bool,
    /// Labels.
    pub tags: Vec<Box<str>>,
}

/// What a plugin instance is bound to; nothing set = every request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Only this route.
    pub route: Option<Id<Route>>,
    /// Only routes of this service.
    pub service: Option<Id<Service>>,
    /// Only this consumer.
    pub consumer: Option<Id<Consumer>>,
    /// Only consumers of this group.
    pub consumer_group: Option<Id<ConsumerGroup>>,
}

impl Scope {
    /// How specific the scope is, by Kong's order of choice: of two instances of one plugin that both cover a
    /// request, the one with the larger number runs.
    #[must_use]
    pub fn specificity(&self) -> u8 {
        let place = (self.route.is_some(), self.service.is_some());
        match (place, self.consumer.is_some(), self.consumer_group.is_some()) {
            ((true, true), true, _) => 11,
            ((true, true), false, true) => 10,
            ((true, false), true, _) => 9,
            ((false, true), true, _) => 8,
            ((true, false), false, true) => 7,
            ((false, true), false, true) => 6,
            ((true, true), false, false) => 5,
            ((false, false), true, _) => 4,
            ((false, false), false, true) => 3,
            ((true, false), false, false) => 2,
            ((false, true), false, false) => 1,
            ((false, false), false, false) => 0,
        }
    }
}

impl PluginUse {
    pub(crate) fn parse(document: &Map<String, Value>) -> Result<Self, Violations> {
        let mut fields = Fields::new(document);
        let plugin = (|| {
            Some(Self {
                id: fields.id()?,
                name: fields.boxed("name")?,
                scope: Scope {
                    route: fields.reference("route"),
                    service: fields.reference("service"),
                    consumer: fields.reference("consumer"),
                    consumer_group: fields.reference("consumer_group"),
                },
                config: Arc::new(fields.value("config")?.clone()),
                enabled: fields.flag("enabled")?,
                priority: fields.int("priority"),
                filter: read_expression(&mut fields, "filter"),
                global_rule: fields.flag("global_rule")?,
                tags: fields.tags(),
                protocols: fields.deserialized("protocols")?,
            })
        })();
        fields.finish(plugin)
    }
}

/// Takes out a field of Kong 1.x that its clients still send: where there is one gateway, both values mean the same.
pub(crate) fn drop_run_on(document: &mut Map<String, Value>) {
    if matches!(
        document.get("run_on").and_then(Value::as_str),
        Some("first" | "all")
    ) {
        document.remove("run_on");
    }
}
