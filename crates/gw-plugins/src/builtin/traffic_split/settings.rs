//! From APISIX's settings to rules.

use gw_core::{Expr, Id, PluginUse};
use serde_json::Value;

use super::own::{self, Inline};
use super::{Arm, Rule, Shares, TrafficSplit};
use crate::plugin::BuildError;
use crate::steering::OwnUpstream;

#[derive(serde::Deserialize)]
pub(crate) struct Settings {
    rules: Vec<RuleSettings>,
    key: Option<Box<str>>,
}

#[derive(serde::Deserialize)]
struct RuleSettings {
    #[serde(rename = "match")]
    matches: Option<Vec<Match>>,
    weighted_upstreams: Vec<Weighted>,
}

#[derive(serde::Deserialize)]
struct Match {
    vars: Value,
}

#[derive(serde::Deserialize)]
struct Weighted {
    upstream_id: Option<Value>,
    upstream: Option<Inline>,
    weight: u64,
}

impl Settings {
    pub(super) fn build(self, instance: Option<Id<PluginUse>>) -> Result<TrafficSplit, BuildError> {
        let mut own = Vec::new();
        let rules = self.rules.into_iter().enumerate();
        let rules = rules.map(|(position, rule)| rule.build(position, instance, &mut own));
        let rules: Vec<Rule> = rules.collect::<Result<_, _>>()?;
        let is_capture = |name: &str| name.starts_with("uri_param_");
        let mut vars = rules.iter().flat_map(|rule| &rule.matches);
        let captures = vars.any(|vars| vars.caller_variables().any(is_capture))
            || self.key.as_deref().is_some_and(is_capture);
        Ok(TrafficSplit {
            rules,
            key: self.key,
            own,
            captures,
        })
    }
}

impl RuleSettings {
    fn build(
        self,
        position: usize,
        instance: Option<Id<PluginUse>>,
        own: &mut Vec<OwnUpstream>,
    ) -> Result<Rule, BuildError> {
        let place = format!("/rules/{position}");
        let mut matches = Vec::new();
        for (position, one) in self.matches.into_iter().flatten().enumerate() {
            let vars = Expr::from_json(&one.vars).map_err(|error| {
                let inner: String = error
                    .place
                    .positions()
                    .iter()
                    .map(|position| format!("/{position}"))
                    .collect();
                BuildError::Setting {
                    pointer: format!("{place}/match/{position}/vars{inner}").into(),
                    message: format!("failed to validate the 'vars' expression: {error}").into(),
                }
            })?;
            matches.push(vars);
        }
        let weights: Vec<u64> = self.weighted_upstreams.iter().map(|arm| arm.weight).collect();
        let shares = Shares::new(&weights).ok_or_else(|| BuildError::Setting {
            pointer: format!("{place}/weighted_upstreams").into(),
            message: "all weights are 0; give one of them a share".into(),
        })?;
        let mut arms = Vec::new();
        for (position, arm) in self.weighted_upstreams.into_iter().enumerate() {
            let place = format!("{place}/weighted_upstreams/{position}/upstream");
            arms.push(match (arm.upstream_id, arm.upstream) {
                (Some(id), _) => stored(&id),
                (None, Some(inline)) => {
                    let upstream = own::build(inline, instance, own.len(), &place)?;
                    let id = upstream.upstream.id;
                    own.push(upstream);
                    Arm::Own(id)
                }
                (None, None) => Arm::Same,
            });
        }
        Ok(Rule {
            matches,
            arms,
            shares,
        })
    }
}

/// Ids of ours are UUIDs; anything else is a name.
fn stored(id: &Value) -> Arm {
    let text = match id {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.parse() {
        Ok(id) => Arm::Id(id),
        Err(_) => Arm::Name(text.into()),
    }
}
