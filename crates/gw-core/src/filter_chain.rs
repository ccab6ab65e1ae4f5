//! Filter chains: Proxy-Wasm filters for a route or a service.

use std::sync::Arc;

use gw_schema::Violations;
use serde_json::{Map, Value};

use crate::fields::Fields;
use crate::{Id, Route, Service};

/// Filters that run, in order, for a route or a service.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterChain {
    /// Identity.
    pub id: Id<Self>,
    /// Unique name.
    pub name: Option<Box<str>>,
    /// Requests it runs for.
    pub place: FilterPlace,
    /// The filters, in order.
    pub filters: Vec<Filter>,
    /// False: as if absent.
    pub enabled: bool,
    /// Labels.
    pub tags: Vec<Box<str>>,
}

/// What a filter chain is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterPlace {
    /// This route.
    Route(Id<Route>),
    /// Routes of this service.
    Service(Id<Service>),
}

/// One filter of a chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// Which filter.
    pub name: Box<str>,
    /// The filter's own settings.
    pub config: Arc<Value>,
    /// False: as if absent.
    pub enabled: bool,
}

impl FilterChain {
    pub(crate) fn parse(document: &Map<String, Value>) -> Result<Self, Violations> {
        let fields = Fields::new(document);
        let chain = (|| {
            let route = fields.reference("route").map(FilterPlace::Route);
            let filters = fields.array("filters");
            Some(Self {
                id: fields.id()?,
                name: fields.boxed("name"),
                place: route.or_else(|| fields.reference("service").map(FilterPlace::Service))?,
                filters: filters.iter().map(Filter::parse).collect::<Option<_>>()?,
                enabled: fields.flag("enabled")?,
                tags: fields.tags(),
            })
        })();
        fields.finish(chain)
    }
}

impl Filter {
    fn parse(item: &Value) -> Option<Self> {
        let fields = Fields::new(item.as_object()?);
        Some(Self {
            name: fields.boxed("name")?,
            config: Arc::new(fields.value("config").cloned().unwrap_or_default()),
            enabled: fields.flag("enabled")?,
        })
    }
}
