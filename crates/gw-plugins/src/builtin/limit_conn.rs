//! `limit-conn`: so many requests at a time, as APISIX's plugin of this name; those beyond wait, up to a number.

mod under_way;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use gw_core::{Id, PluginUse};
use serde_json::Value;

use self::under_way::{Permit, UnderWay};
use super::limit_count::Policy;
use crate::cx::{LogCx, RequestCx};
use crate::env::{BuildEnv, Lender};
use crate::limits::amount::Amount;
use crate::limits::key::{CallKey, KeyBy, KeyType};
use crate::limits::redis::WithRedis;
use crate::limits::refusal::{Refusal, failed};
use crate::limits::remote::Remote;
use crate::limits::{refused, table::Table};
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, Definition, Plugin, Waiting, WaitingPlugin};
use crate::reply::Flow;

pub(crate) struct LimitConn {
    instance: Option<Id<PluginUse>>,
    rules: Box<[Rule]>,
    /// Whether a rule applies only to calls that have its key.
    is_ruled: bool,
    counts: Counts,
    /// How long one round of requests takes, in seconds as the bits of a float: requests beyond `conn` wait so long.
    round: AtomicU64,
    /// What `round` was before anything was learnt.
    given_round: f64,
    learns: bool,
    refusal: Refusal,
    may_degrade: bool,
    lender: Arc<dyn Lender>,
}

enum Counts {
    Local(Arc<Table<UnderWay>>),
    /// And how long a member that does not leave is kept.
    Remote(Remote, Duration),
}

struct Rule {
    conn: Amount,
    burst: Amount,
    key: KeyBy,
}

#[derive(Debug, serde::Deserialize)]
pub(crate) struct Config {
    conn: Option<Value>,
    burst: Option<Value>,
    default_conn_delay: f64,
    only_use_default_delay: bool,
    key: Option<Box<str>>,
    key_type: KeyType,
    rules: Option<Vec<RuleConfig>>,
    key_ttl: u64,
    rejected_code: u16,
    rejected_msg: Option<Box<str>>,
    policy: Policy,
    allow_degradation: bool,
}

#[derive(Debug, serde::Deserialize)]
struct RuleConfig {
    conn: Value,
    burst: Value,
    key: Box<str>,
}

/// What a request holds until it is over, and how long it was made to wait.
#[derive(Debug, Default)]
pub(crate) struct Held {
    permits: Vec<Permit>,
    delay: Duration,
}

/// Delays below this are not worth a timer.
const LEAST_DELAY: Duration = Duration::from_millis(1);

/// Bound: so long a request is taken to have kept its upstream busy, however long it did: one that is slow says little of others.
const LONGEST_ROUND: Duration = Duration::from_secs(10);

/// Bound: so long a request waits for what has been learnt.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

impl Definition for LimitConn {
    const NAME: &'static str = "limit-conn";
    const PRIORITY: i32 = 906;
    const PHASES: Phases = Phases::of(&[Phase::Access, Phase::Log]);
    const SCHEMA: &'static str = include_str!("limit_conn.json");

    type Config = WithRedis<Config>;

    fn build(WithRedis { own, redis }: Self::Config, env: &BuildEnv) -> Result<Self, BuildError> {
        let is_ruled = own.rules.is_some();
        let missing = |name: &str| refused(format!("/{name}"), "required field missing");
        let rules = match own.rules {
            Some(rules) => {
                let rule = |rule: RuleConfig| {
                    Rule::read(&rule.conn, &rule.burst, &rule.key, KeyType::VarCombination)
                };
                rules.into_iter().map(rule).collect::<Result<_, _>>()?
            }
            None => {
                let conn = own.conn.ok_or_else(|| missing("conn"))?;
                let burst = own.burst.ok_or_else(|| missing("burst"))?;
                let key = own.key.ok_or_else(|| missing("key"))?;
                [Rule::read(&conn, &burst, &key, own.key_type)?].into()
            }
        };
        let key_ttl = Duration::from_secs(own.key_ttl);
        Ok(Self {
            instance: env.instance(),
            rules,
            is_ruled,
            counts: match own.policy {
                Policy::Local => Counts::Local(env.shared().get()),
                Policy::Redis => Counts::Remote(Remote::open(&redis.place()?, env)?, key_ttl),
            },
            round: AtomicU64::new(own.default_conn_delay.to_bits()),
            given_round: own.default_conn_delay,
            learns: !own.only_use_default_delay,
            refusal: Refusal::read(own.rejected_code, own.rejected_msg.as_deref())?,
            may_degrade: own.allow_degradation,
            lender: Arc::clone(env.lender()),
        })
    }
}

impl Rule {
    fn read(conn: &Value, burst: &Value, key: &str, key_type: KeyType) -> Result<Self, BuildError> {
        Ok(Self {
            conn: Amount::read(conn),
            burst: Amount::read(burst),
            key: KeyBy::read(key, key_type)?,
        })
    }

    fn can_delay(&self) -> bool {
        self.burst != Amount::Fixed(0)
    }
}

impl Plugin for LimitConn {
    type State = Held;

    fn access(&self, cx: &mut RequestCx<'_, Held>) -> Flow {
        self.enter_all(cx)
    }

    fn log(&self, cx: &mut LogCx<'_, Held>) {
        let held = std::mem::take(cx.state);
        // From the upstream's time alone: for how long a client reads what it is sent is its own affair.
        if let Some(upstream) = cx
            .parts
            .upstream
            .filter(|_| self.learns && !held.permits.is_empty())
        {
            self.learn(upstream.min(LONGEST_ROUND));
        }
        drop(held); // Its places are given back: here, or with its state if this phase never comes.
    }
}

impl WaitingPlugin for LimitConn {
    fn access_waiting<'a>(&'a self, mut cx: RequestCx<'a, Held>) -> Waiting<'a> {
        Box::pin(async move {
            let flow = match &self.counts {
                Counts::Local(_) => self.enter_all(&mut cx),
                Counts::Remote(remote, key_ttl) => self.enter_all_remote(&mut cx, remote, *key_ttl).await,
            };
            let delay = cx.state.delay;
            if matches!(flow, Flow::Continue) && delay >= LEAST_DELAY {
                self.lender.tasks().sleep(delay).await;
            }
            flow
        })
    }

    fn waits(&self) -> bool {
        matches!(self.counts, Counts::Remote(..)) || self.rules.iter().any(Rule::can_delay)
    }
}

impl LimitConn {
    /// The key and the numbers of a rule for this call; nothing if the rule does not apply.
    fn turn<S>(&self, rule: &Rule, cx: &RequestCx<'_, S>) -> Result<Option<(CallKey, u64, u64)>, Flow> {
        let key = match rule.key.found(cx) {
            Some(key) => key,
            None if self.is_ruled => return Ok(None),
            None => CallKey::Address(cx.facts().client),
        };
        let burst = match &rule.burst {
            Amount::Fixed(burst) => Ok(*burst),
            varies => varies.of(cx),
        };
        match (rule.conn.of(cx), burst) {
            (Ok(conn), Ok(burst)) => Ok(Some((key, conn, burst))),
            _ => Err(failed(self.may_degrade, "failed to limit conn")),
        }
    }

    fn enter_all(&self, cx: &mut RequestCx<'_, Held>) -> Flow {
        let Counts::Local(table) = &self.counts else {
            return Flow::Continue;
        };
        for (place, rule) in self.rules.iter().enumerate() {
            let (key, conn, burst) = match self.turn(rule, cx) {
                Ok(Some(turn)) => turn,
                Ok(None) => continue,
                Err(flow) => return self.leave(cx, flow),
            };
            let key = table.key(&(self.instance, place, &key));
            match UnderWay::enter(table, key, conn.saturating_add(burst)) {
                Some((permit, count)) => self.hold(cx, permit, count, conn),
                None => return self.leave(cx, self.refusal.flow()),
            }
        }
        self.settle(cx)
    }

    async fn enter_all_remote(
        &self,
        cx: &mut RequestCx<'_, Held>,
        remote: &Remote,
        key_ttl: Duration,
    ) -> Flow {
        let holder = self.instance.map(|id| id.to_string()).unwrap_or_default();
        for (place, rule) in self.rules.iter().enumerate() {
            let (key, conn, burst) = match self.turn(rule, cx) {
                Ok(Some(turn)) => turn,
                Ok(None) => continue,
                Err(flow) => return self.leave(cx, flow),
            };
            let key = format!("limit-conn:{holder}:{place}:{key}");
            let (worker, most) = (cx.facts().worker, conn.saturating_add(burst));
            match under_way::enter_remote(remote, &self.lender, worker, key, most, key_ttl).await {
                Ok(Some((permit, count))) => self.hold(cx, permit, count, conn),
                Ok(None) => return self.leave(cx, self.refusal.flow()),
                Err(_) => return self.leave(cx, failed(self.may_degrade, "failed to limit conn")),
            }
        }
        self.settle(cx)
    }

    /// The request is one of `count` that are under way.
    fn hold(&self, cx: &mut RequestCx<'_, Held>, permit: Permit, count: u64, conn: u64) {
        cx.state.permits.push(permit);
        if count > conn {
            let rounds = (count - 1) / conn.max(1);
            let delay =
                |round: f64| Duration::try_from_secs_f64(rounds as f64 * round).unwrap_or(Duration::MAX);
            let (learnt, given) = (
                delay(f64::from_bits(self.round.load(Relaxed))),
                delay(self.given_round),
            );
            cx.state.delay = cx
                .state
                .delay
                .saturating_add(learnt.min(given.max(LONGEST_DELAY)));
        }
    }

    /// The request does not go on as one of those under way.
    fn leave(&self, cx: &mut RequestCx<'_, Held>, flow: Flow) -> Flow {
        *cx.state = Held::default();
        flow
    }

    fn settle(&self, cx: &RequestCx<'_, Held>) -> Flow {
        match cx.state.permits.is_empty() {
            // With APISIX a call that no rule applies to is a mistake in the rules.
            true => failed(self.may_degrade, "failed to limit conn"),
            false => Flow::Continue,
        }
    }

    /// A request took so long: half of what is known is forgotten for it.
    fn learn(&self, took: Duration) {
        let halfway = |bits| Some(((f64::from_bits(bits) + took.as_secs_f64()) / 2.0).to_bits());
        let learnt = self.round.fetch_update(Relaxed, Relaxed, halfway);
        debug_assert!(learnt.is_ok(), "there is always something to learn");
    }
}

#[cfg(test)]
mod tests;
