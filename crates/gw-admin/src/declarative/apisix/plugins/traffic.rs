//! traffic-split: the upstreams it names, and those within it, as ours.

use gw_core::Document;
use serde_json::{Value, json};

use super::{Made, Scope};
use crate::declarative::apisix::conf::Conf;
use crate::declarative::apisix::upstreams::{Timeouts, Upstream};

pub(super) fn traffic_split(conf: &mut Conf<'_, '_>) -> Made {
    let mut all = Vec::new();
    if let Some(rules) = conf.take_list("rules") {
        let rules: Vec<Value> = rules
            .into_iter()
            .enumerate()
            .map(|(position, rule)| match rule {
                Value::Object(rule) => Value::Object(self::rule(conf, rule, position, &mut all)),
                other => other,
            })
            .collect();
        conf.set_from("rules", rules, "rules");
    }
    let own = conf.mapping.destination.clone();
    if own.is_none()
        && conf.scope == Scope::Route
        && let Some((_, first)) = all.first()
    {
        // Nothing else says by which protocol, and for how long.
        let service = conf.mapping.service_to(first, &Timeouts::default(), None);
        let at = conf.at("rules");
        conf.of_route.push(("service", json!({ "name": service }), at));
        conf.of_route
            .push(("preserve_host", Value::Bool(first.passes_host), conf.at("rules")));
    }
    if let Some(own) = own.or_else(|| all.first().map(|(_, first)| first.clone())) {
        let differing = all.iter().filter(|(_, upstream)| !upstream.is_asked_like(&own));
        for (at, _) in differing {
            let what = "it is asked by the scheme, the name and the timeouts of the route's own upstream";
            let remedy = "give both the same `scheme`, `pass_host` and `timeout`";
            conf.mapping.ledger.unsupported(at, what, remedy);
        }
    }
    Made::As("traffic-split")
}

fn rule(
    conf: &mut Conf<'_, '_>,
    mut rule: Document,
    position: usize,
    all: &mut Vec<(String, Upstream)>,
) -> Document {
    let Some(Value::Array(arms)) = rule.get_mut("weighted_upstreams") else {
        return rule;
    };
    for (arm_position, arm) in arms.iter_mut().enumerate() {
        let Value::Object(arm) = arm else { continue };
        if !arm.contains_key("upstream") && !arm.contains_key("upstream_id") {
            continue; // the route's own
        }
        let at = format!(
            "{}/rules/{position}/weighted_upstreams/{arm_position}",
            conf.pointer
        );
        let name = arm
            .get("upstream")
            .and_then(|own| own.get("name")?.as_str())
            .map(str::to_owned);
        let Some(upstream) = conf.mapping.upstream_of(arm, &at, name.as_deref()) else {
            continue;
        };
        arm.remove("upstream");
        arm.insert("upstream_id".to_owned(), Value::from(upstream.name.as_str()));
        all.push((at, upstream));
    }
    rule
}
