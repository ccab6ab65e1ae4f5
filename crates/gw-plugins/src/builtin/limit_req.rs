//! `limit-req`: requests at an even rate, as APISIX's plugin of this name: a leaky bucket that delays what it holds.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use gw_core::{Id, PluginUse};

use crate::cx::RequestCx;
use crate::env::{BuildEnv, Lender};
use crate::limits::bucket::{Bucket, Shape, delay};
use crate::limits::key::{KeyBy, KeyType};
use crate::limits::redis::WithRedis;
use crate::limits::refusal::{Refusal, failed};
use crate::limits::remote::Remote;
use crate::limits::scripts::{Argument, Script};
use crate::limits::table::Table;
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, Definition, Plugin, Waiting, WaitingPlugin};
use crate::reply::Flow;

use super::limit_count::Policy;

pub(crate) struct LimitReq {
    instance: Option<Id<PluginUse>>,
    shape: Shape,
    key: KeyBy,
    delays: bool,
    counts: Counts,
    refusal: Refusal,
    may_degrade: bool,
    lender: Arc<dyn Lender>,
}

enum Counts {
    Local(Arc<Table<Bucket>>),
    Remote(Remote),
}

#[derive(Debug, serde::Deserialize)]
pub(crate) struct Config {
    rate: f64,
    burst: f64,
    key: Box<str>,
    key_type: KeyType,
    nodelay: bool,
    rejected_code: u16,
    rejected_msg: Option<Box<str>>,
    policy: Policy,
    allow_degradation: bool,
}

/// Delays below this are not worth a timer.
const LEAST_DELAY: Duration = Duration::from_millis(1);

impl Definition for LimitReq {
    const NAME: &'static str = "limit-req";
    const PRIORITY: i32 = 904;
    const PHASES: Phases = Phases::of(&[Phase::Access]);
    const SCHEMA: &'static str = include_str!("limit_req.json");

    type Config = WithRedis<Config>;

    fn build(WithRedis { own, redis }: Self::Config, env: &BuildEnv) -> Result<Self, BuildError> {
        Ok(Self {
            instance: env.instance(),
            shape: Shape {
                rate: own.rate,
                burst: own.burst,
            },
            key: KeyBy::read(&own.key, own.key_type)?,
            delays: !own.nodelay && own.burst > 0.0,
            counts: match own.policy {
                Policy::Local => Counts::Local(env.shared().get()),
                Policy::Redis => Counts::Remote(Remote::open(&redis.place()?, env)?),
            },
            refusal: Refusal::read(own.rejected_code, own.rejected_msg.as_deref())?,
            may_degrade: own.allow_degradation,
            lender: Arc::clone(env.lender()),
        })
    }
}

impl Plugin for LimitReq {
    type State = ();

    fn access(&self, cx: &mut RequestCx<'_>) -> Flow {
        match self.pour(cx) {
            Some(_) => Flow::Continue,
            None => self.refusal.flow(),
        }
    }
}

impl WaitingPlugin for LimitReq {
    fn access_waiting<'a>(&'a self, cx: RequestCx<'a>) -> Waiting<'a> {
        Box::pin(async move {
            let poured = match &self.counts {
                Counts::Local(_) => self.pour(&cx),
                Counts::Remote(remote) => match self.pour_remote(remote, &cx).await {
                    Ok(poured) => poured,
                    Err(flow) => return flow,
                },
            };
            match poured {
                None => self.refusal.flow(),
                Some(delay) => {
                    if self.delays && delay >= LEAST_DELAY {
                        self.lender.tasks().sleep(delay).await;
                    }
                    Flow::Continue
                }
            }
        })
    }

    fn waits(&self) -> bool {
        self.delays || matches!(self.counts, Counts::Remote(_))
    }
}

impl LimitReq {
    /// How long the call is to wait; nothing if it is one too many.
    fn pour(&self, cx: &RequestCx<'_>) -> Option<Duration> {
        let Counts::Local(table) = &self.counts else {
            return Some(Duration::ZERO);
        };
        let since = cx.facts().now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        let key = table.key(&(self.instance, self.key.of(cx)));
        table.with(key, now / 1000, |bucket| bucket.pour(self.shape, now))
    }

    async fn pour_remote(&self, remote: &Remote, cx: &RequestCx<'_>) -> Result<Option<Duration>, Flow> {
        let holder = self.instance.map(|id| id.to_string()).unwrap_or_default();
        let key = format!("limit-req:{holder}:{}", self.key.of(cx));
        let thousandths = |calls: f64| Argument::Number(((calls * 1000.0).round() as u64).max(1));
        let burst = Argument::Number((self.shape.burst * 1000.0).round() as u64);
        let arguments = [thousandths(self.shape.rate), burst];
        let given = remote
            .run(cx.facts().worker, Script::Leak, &[key], &arguments)
            .await;
        match given.as_deref() {
            Ok([excess]) if *excess >= 0 => Ok(Some(delay(*excess as f64 / 1000.0, self.shape))),
            Ok([_]) => Ok(None),
            _ => Err(failed(self.may_degrade, "failed to limit req")),
        }
    }
}

#[cfg(test)]
mod tests;
