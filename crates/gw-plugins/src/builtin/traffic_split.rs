//! `traffic-split`: sends shares of the requests to other upstreams.

mod own;
mod settings;
mod shares;

use gw_core::{Expr, Id, Upstream};
use http::StatusCode;

use self::settings::Settings;
use self::shares::Shares;
use crate::cx::RequestCx;
use crate::env::BuildEnv;
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, Definition, Needs, Plugin};
use crate::reply::{Flow, Reply};
use crate::steering::{OwnUpstream, UpstreamChoice};

pub(crate) struct TrafficSplit {
    rules: Vec<Rule>,
    /// The variable that requests stick by.
    key: Option<Box<str>>,
    own: Vec<OwnUpstream>,
    captures: bool,
}

struct Rule {
    /// One of them must hold; none: all requests meet the rule.
    matches: Vec<Expr>,
    arms: Vec<Arm>,
    shares: Shares,
}

/// Where a share of the requests goes.
enum Arm {
    /// Where it would go anyway.
    Same,
    Id(Id<Upstream>),
    Name(Box<str>),
    /// An upstream of this instance.
    Own(Id<Upstream>),
}

impl Definition for TrafficSplit {
    const NAME: &'static str = "traffic-split";
    const PRIORITY: i32 = 966;
    const PHASES: Phases = Phases::of(&[Phase::Access]);
    const SCHEMA: &'static str = include_str!("traffic_split.json");

    type Config = Settings;

    fn build(settings: Settings, env: &BuildEnv) -> Result<Self, BuildError> {
        settings.build(env.instance())
    }
}

impl Plugin for TrafficSplit {
    type State = ();

    fn needs(&self) -> Needs {
        match self.captures {
            true => Needs::none().captures(),
            false => Needs::none(),
        }
    }

    fn upstreams(&self) -> Vec<OwnUpstream> {
        self.own.clone()
    }

    fn access(&self, cx: &mut RequestCx<'_>) -> Flow {
        let meets = |rule: &&Rule| rule.matches.is_empty() || rule.matches.iter().any(|vars| cx.admits(vars));
        let Some(rule) = self.rules.iter().find(meets) else {
            return Flow::Continue;
        };
        let key = self
            .key
            .as_deref()
            .and_then(|name| cx.variable(name))
            .filter(|key| !key.is_empty());
        let place = match &key {
            Some(key) => rule.shares.of(key.as_bytes()),
            None => rule.shares.next(),
        };
        let choice = match rule.arms.get(place) {
            None | Some(Arm::Same) => return Flow::Continue,
            Some(Arm::Id(id)) => UpstreamChoice::Stored(*id),
            Some(Arm::Own(id)) => UpstreamChoice::Own(*id),
            Some(Arm::Name(name)) => match cx.facts().config.upstream_named(name) {
                Some(upstream) => UpstreamChoice::Stored(upstream.id),
                None => {
                    let message = "failure to get a peer from the ring-balancer";
                    return Reply::message(StatusCode::SERVICE_UNAVAILABLE, message).into();
                }
            },
        };
        cx.set_upstream(choice);
        Flow::Continue
    }
}

#[cfg(test)]
mod tests;
