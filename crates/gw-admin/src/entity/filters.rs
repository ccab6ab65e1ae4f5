//! `/routes/{r}/filters/…`: the filters that requests of a route go through, of the service's chain and of its own.

use gw_core::{Document, Kind};
use serde_json::{Value, json};

use super::{Entities, reference, text};
use crate::problem::Problem;

/// Which filters are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filters {
    All,
    Enabled,
    Disabled,
}

impl Entities<'_> {
    /// The filters of the route called `name`, in the order in which they run.
    pub(crate) fn filters(&self, which: Filters, name: &str) -> Result<Value, Problem> {
        let route = self.top(Kind::Route, name)?;
        let chains = self.spec(Kind::FilterChain)?;
        let service = reference(&route, "service").map(|id| (Kind::Service, id, "service"));
        let own = text(&route, "id").map(|id| (Kind::Route, id, "route"));
        let mut listed = Vec::new();
        for (kind, id, from) in service.into_iter().chain(own) {
            for chain in self.children(kind, id, chains) {
                let filters = chain.get("filters").and_then(Value::as_array);
                listed.extend(
                    filters
                        .into_iter()
                        .flatten()
                        .map(|filter| shown(&chain, filter, from)),
                );
            }
        }
        listed.retain(|filter| match which {
            Filters::All => true,
            Filters::Enabled => filter["enabled"] == true,
            Filters::Disabled => filter["enabled"] == false,
        });
        Ok(json!({ "filters": listed }))
    }
}

fn shown(chain: &Document, filter: &Value, from: &str) -> Value {
    let runs = |enabled: Option<&Value>| enabled == Some(&Value::Bool(true));
    json!({
        "name": filter.get("name"),
        "config": filter.get("config"),
        "enabled": runs(chain.get("enabled")) && runs(filter.get("enabled")),
        "from": from,
        "filter_chain": { "id": chain.get("id"), "name": chain.get("name") },
    })
}
