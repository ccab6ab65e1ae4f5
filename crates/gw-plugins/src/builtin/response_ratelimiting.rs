//! `response-ratelimiting`: limits what the upstream says a response has cost, in a header of it.

mod remote;

use std::collections::BTreeMap;
use std::sync::Arc;

use gw_core::{Id, PluginUse};
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, StatusCode};

use self::remote::Keys;
use crate::builtin::rate_limiting::{Policy, unexpected};
use crate::cx::{LogCx, RequestCx, ResponseCx};
use crate::env::{BuildEnv, Lender};
use crate::limits::calendar::{Calendar, Limits, LimitsConfig, Usage};
use crate::limits::caller::{LimitBy, LimitByName};
use crate::limits::period::Period;
use crate::limits::redis::WithRedis;
use crate::limits::remote::Remote;
use crate::limits::table::{Key, Table};
use crate::limits::{number, refused, unix_millis};
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, Definition, Plugin, Waiting, WaitingPlugin};
use crate::reply::{Flow, Reply};

pub(crate) struct ResponseRatelimiting {
    instance: Option<Id<PluginUse>>,
    header: HeaderName,
    by: LimitBy,
    quotas: Box<[Quota]>,
    counts: Counts,
    fault_tolerant: bool,
    blocks: bool,
    hides: bool,
}

/// Where it counts.
enum Counts {
    Local(Arc<Table<Calendar>>),
    Remote(Remote, Arc<dyn Lender>),
}

/// What may be used of one thing.
struct Quota {
    name: Box<str>,
    limits: Limits,
    /// How the upstream is told what remains.
    remaining: HeaderName,
    /// How clients are told, for each limit.
    told: Box<[Told]>,
}

struct Told {
    limit: HeaderValue,
    limit_name: HeaderName,
    remaining_name: HeaderName,
}

#[derive(Debug, serde::Deserialize)]
pub(crate) struct Config {
    header_name: Box<str>,
    limit_by: LimitByName,
    policy: Policy,
    fault_tolerant: bool,
    block_on_first_violation: bool,
    hide_client_headers: bool,
    limits: BTreeMap<Box<str>, LimitsConfig>,
}

/// What is remembered of a call.
#[derive(Debug, Default)]
pub(crate) struct Call {
    /// When it came, in Unix milliseconds.
    at: u64,
    /// For each quota, where it is counted here.
    local: Box<[Key]>,
    /// For each quota, what was used when the call came, and where it is counted in Redis.
    remote: Option<(Vec<Usage>, Keys)>,
    /// For each quota, what the response has cost; to be counted in Redis.
    owed: Vec<u64>,
}

impl Definition for ResponseRatelimiting {
    const NAME: &'static str = "response-ratelimiting";
    const PRIORITY: i32 = 900;
    const PHASES: Phases = Phases::of(&[Phase::Access, Phase::HeaderFilter, Phase::Log]);
    const SCHEMA: &'static str = include_str!("response_ratelimiting.json");

    type Config = WithRedis<Config>;

    fn build(WithRedis { own, redis }: Self::Config, env: &BuildEnv) -> Result<Self, BuildError> {
        let quotas = own
            .limits
            .into_iter()
            .map(|(name, limits)| Quota::read(name, &limits));
        let header = HeaderName::from_bytes(own.header_name.as_bytes()).map_err(|_| {
            refused(
                "/header_name",
                "cannot name a header; use letters, digits, '-' and '_'",
            )
        })?;
        Ok(Self {
            instance: env.instance(),
            header,
            by: LimitBy::read(own.limit_by, None, None)?,
            quotas: quotas.collect::<Result<_, _>>()?,
            counts: match own.policy {
                Policy::Local | Policy::Cluster => Counts::Local(env.shared().get()),
                Policy::Redis => {
                    Counts::Remote(Remote::open(&redis.place()?, env)?, Arc::clone(env.lender()))
                }
            },
            fault_tolerant: own.fault_tolerant,
            blocks: own.block_on_first_violation,
            hides: own.hide_client_headers,
        })
    }
}

impl Quota {
    fn read(name: Box<str>, limits: &LimitsConfig) -> Result<Self, BuildError> {
        let pointer = format!("/limits/{}", name.replace('~', "~0").replace('/', "~1"));
        let limits = Limits::read(limits, &pointer)?;
        let header = |what: &str, period: &str| {
            let text = format!("x-ratelimit-{what}-{name}{period}");
            HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
                refused(
                    &*pointer,
                    "a limit's name becomes part of a header's; use letters, digits, '-' and '_'",
                )
            })
        };
        let told = limits.iter().map(|(period, limit)| {
            let period = format!("-{}", period.name());
            Ok(Told {
                limit: number::value(limit),
                limit_name: header("limit", &period)?,
                remaining_name: header("remaining", &period)?,
            })
        });
        let told = told.collect::<Result<_, BuildError>>()?;
        Ok(Self {
            remaining: header("remaining", "")?,
            told,
            limits,
            name,
        })
    }

    /// What remains in the tightest window.
    fn left(&self, usage: &Usage) -> u64 {
        let left = |(period, limit): (Period, u64)| limit.saturating_sub(usage.used[period as usize]);
        self.limits.iter().map(left).min().unwrap_or(0)
    }
}

impl Plugin for ResponseRatelimiting {
    type State = Option<Call>;

    fn access(&self, cx: &mut RequestCx<'_, Self::State>) -> Flow {
        let Counts::Local(table) = &self.counts else {
            return Flow::Continue;
        };
        let at = unix_millis(cx.facts().now);
        let caller = self.by.caller(cx);
        let key = |quota: &Quota| table.key(&(self.instance, caller, &quota.name));
        let local: Box<[Key]> = self.quotas.iter().map(key).collect();
        let used =
            |(quota, key): (&Quota, &Key)| table.with(*key, at, |kept| kept.usage(&quota.limits, at / 1000));
        let usages: Vec<Usage> = self.quotas.iter().zip(&local).map(used).collect();
        let call = Call {
            at,
            local,
            ..Call::default()
        };
        self.admit(cx, &usages, call)
    }

    fn header_filter(&self, cx: &mut ResponseCx<'_, Self::State>) {
        let costs = match cx.parts.upstream {
            true => self.costs(&cx.parts.head.headers),
            false => vec![0; self.quotas.len()],
        };
        cx.parts.head.headers.remove(&self.header);
        let Some(call) = cx.state.as_mut() else { return };
        let (usages, passes) = match &self.counts {
            Counts::Local(table) => self.count(table, call, &costs),
            Counts::Remote(..) => self.owe(call, &costs),
        };
        let headers = &mut cx.parts.head.headers;
        if !self.hides {
            for (quota, usage) in self.quotas.iter().zip(&usages) {
                for ((period, limit), told) in quota.limits.iter().zip(&quota.told) {
                    let left = limit.saturating_sub(usage.used[period as usize]);
                    headers.insert(told.limit_name.clone(), told.limit.clone());
                    headers.insert(told.remaining_name.clone(), number::value(left));
                }
            }
        }
        if !passes {
            // Kong's answer has no body, but what was told of the limits so far.
            let mut reply = Reply::bytes(StatusCode::TOO_MANY_REQUESTS, "");
            for told in self
                .quotas
                .iter()
                .flat_map(|quota| &quota.told)
                .filter(|_| !self.hides)
            {
                for name in [&told.limit_name, &told.remaining_name] {
                    if let Some(value) = cx.headers().get(name) {
                        reply.headers.insert(name.clone(), value.clone());
                    }
                }
            }
            cx.replace(reply);
        }
    }

    fn log(&self, cx: &mut LogCx<'_, Self::State>) {
        if let Counts::Remote(remote, lender) = &self.counts
            && let Some(call) = cx.state.take()
            && let Some((_, keys)) = call.remote
        {
            let paid = keys.add(&self.quotas, &call.owed, call.at / 1000);
            if let Some(paid) = paid {
                let (remote, worker) = (remote.clone(), cx.parts.facts.worker);
                // Note: that Redis fails is said where it is asked.
                lender
                    .tasks()
                    .spawn(Box::pin(async move { drop(paid.send(&remote, worker).await) }));
            }
        }
    }
}

impl WaitingPlugin for ResponseRatelimiting {
    fn access_waiting<'a>(&'a self, mut cx: RequestCx<'a, Self::State>) -> Waiting<'a> {
        let Counts::Remote(remote, _) = &self.counts else {
            return Box::pin(std::future::ready(self.access(&mut cx)));
        };
        let at = unix_millis(cx.facts().now);
        let keys = Keys::of(
            self.instance,
            cx.facts(),
            &self.by.caller(&cx),
            &self.quotas,
            at / 1000,
        );
        Box::pin(async move {
            match keys.read(remote, cx.facts().worker, &self.quotas).await {
                Ok(usages) => {
                    let call = Call {
                        at,
                        remote: Some((usages.clone(), keys)),
                        ..Call::default()
                    };
                    self.admit(&mut cx, &usages, call)
                }
                Err(_) if self.fault_tolerant => Flow::Continue,
                Err(_) => unexpected(),
            }
        })
    }

    fn waits(&self) -> bool {
        matches!(self.counts, Counts::Remote(..))
    }
}

impl ResponseRatelimiting {
    /// Tells the upstream what remains; or the client that nothing does, if that is wanted.
    fn admit(&self, cx: &mut RequestCx<'_, Option<Call>>, usages: &[Usage], call: Call) -> Flow {
        for (quota, usage) in self.quotas.iter().zip(usages) {
            if self.blocks && !usage.passes {
                let message = format!("API rate limit exceeded for '{}'", quota.name);
                return Reply::message(StatusCode::TOO_MANY_REQUESTS, message).into();
            }
            let left = number::value(quota.left(usage));
            cx.headers_mut().insert(quota.remaining.clone(), left);
        }
        *cx.state = Some(call);
        Flow::Continue
    }

    /// What the response has cost of each quota: `video=1, image=2`.
    fn costs(&self, headers: &HeaderMap) -> Vec<u64> {
        let mut costs = vec![0; self.quotas.len()];
        let lines = headers
            .get_all(&self.header)
            .iter()
            .filter_map(|line| line.to_str().ok());
        for (name, cost) in lines
            .flat_map(|line| line.split(','))
            .filter_map(|pair| pair.split_once('='))
        {
            let place = self.quotas.iter().position(|quota| *quota.name == *name.trim());
            if let (Some(place), Ok(cost)) = (place, cost.trim().parse()) {
                costs[place] = cost;
            }
        }
        costs
    }

    /// Counts the costs; none of them if a quota that they are taken from is used up. As with Kong, the last response may cost
    /// more than is left.
    fn count(&self, table: &Table<Calendar>, call: &Call, costs: &[u64]) -> (Vec<Usage>, bool) {
        let now = call.at / 1000;
        let all = || self.quotas.iter().zip(&call.local).zip(costs);
        let is_used_up = |((quota, key), cost): ((&Quota, &Key), &u64)| {
            table.with(*key, call.at, |kept| {
                let fits = *cost == 0 || kept.usage(&quota.limits, now).passes;
                if fits {
                    kept.add(&quota.limits, *cost, now);
                }
                !fits
            })
        };
        let used_up = all().position(is_used_up);
        for ((quota, key), cost) in all().take(used_up.unwrap_or(0)) {
            table.with(*key, call.at, |kept| kept.take_back(&quota.limits, *cost, now));
        }
        let used =
            |(quota, key): (&Quota, &Key)| table.with(*key, call.at, |kept| kept.usage(&quota.limits, now));
        (
            self.quotas.iter().zip(&call.local).map(used).collect(),
            used_up.is_none(),
        )
    }

    /// The same where Redis counts: by what it said when the call came; it is told when the exchange is over.
    fn owe(&self, call: &mut Call, costs: &[u64]) -> (Vec<Usage>, bool) {
        let Some((usages, _)) = &call.remote else {
            return (Vec::new(), true);
        };
        let passes = usages
            .iter()
            .zip(costs)
            .all(|(usage, cost)| *cost == 0 || usage.passes);
        let mut usages = usages.clone();
        if passes {
            costs.clone_into(&mut call.owed);
        }
        for ((quota, usage), cost) in self.quotas.iter().zip(&mut usages).zip(costs) {
            for (period, _) in quota.limits.iter() {
                let used = &mut usage.used[period as usize];
                *used = used.saturating_add(*cost);
            }
        }
        (usages, passes)
    }
}

#[cfg(test)]
mod tests;
