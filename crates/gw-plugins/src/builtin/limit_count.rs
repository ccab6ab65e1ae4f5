//! `limit-count`: so many requests in a window, as APISIX's plugin of this name; several rules if need be.

use std::sync::Arc;

use gw_core::{Id, PluginUse};
use http::HeaderMap;
use http::header::HeaderName;
use serde_json::Value;

use crate::cx::{RequestCx, ResponseCx};
use crate::env::BuildEnv;
use crate::limits::amount::Amount;
use crate::limits::key::{CallKey, KeyBy, KeyType};
use crate::limits::quota::{Quota, Spent, Terms, WindowType};
use crate::limits::redis::WithRedis;
use crate::limits::refusal::{Refusal, failed};
use crate::limits::remote::{Remote, RemoteError};
use crate::limits::scripts::{Argument, Script};
use crate::limits::table::{Key, Table};
use crate::limits::{number, refused, unix_millis};
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, Definition, Plugin, Waiting, WaitingPlugin};
use crate::reply::Flow;

pub(crate) struct LimitCount {
    /// Whose counts these are.
    holder: Holder,
    rules: Box<[Rule]>,
    /// Whether a rule applies only to calls that have its key.
    is_ruled: bool,
    window_type: WindowType,
    counts: Counts,
    refusal: Refusal,
    may_degrade: bool,
    shows: bool,
}

/// Whose counts these are: an instance's, or those of all instances of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Holder {
    Instance(Option<Id<PluginUse>>),
    Group(Box<str>),
}

enum Counts {
    Local(Arc<Table<Quota>>),
    Remote(Remote),
}

struct Rule {
    count: Amount,
    time_window: Amount,
    key: KeyBy,
    limit: HeaderName,
    remaining: HeaderName,
    reset: HeaderName,
}

#[derive(Debug, serde::Deserialize)]
pub(crate) struct Config {
    count: Option<Value>,
    time_window: Option<Value>,
    window_type: WindowType,
    rules: Option<Vec<RuleConfig>>,
    group: Option<Box<str>>,
    key: Box<str>,
    key_type: KeyType,
    rejected_code: u16,
    rejected_msg: Option<Box<str>>,
    policy: Policy,
    allow_degradation: bool,
    show_limit_quota_header: bool,
}

#[derive(Debug, serde::Deserialize)]
struct RuleConfig {
    count: Value,
    time_window: Value,
    key: Box<str>,
    header_prefix: Option<Box<str>>,
}

/// Where calls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Policy {
    Local,
    Redis,
}

/// What a call comes to by one rule.
struct Turn {
    place: usize,
    key: CallKey,
    terms: Terms,
}

/// What is remembered of a call: for each rule that applied, its place, how many there may be, how many remain, and the
/// milliseconds to the window's end. The first apart, as there is seldom another.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    first: Option<Shown>,
    more: Vec<Shown>,
}

#[derive(Debug)]
struct Shown {
    place: usize,
    limit: u64,
    remaining: u64,
    reset: u64,
}

impl Definition for LimitCount {
    const NAME: &'static str = "limit-count";
    // With APISIX it runs after limit-conn and before limit-req, all of them after authentication and before transformation.
    const PRIORITY: i32 = 905;
    const PHASES: Phases = Phases::of(&[Phase::Access, Phase::HeaderFilter]);
    const SCHEMA: &'static str = include_str!("limit_count.json");

    type Config = WithRedis<Config>;

    fn build(WithRedis { own, redis }: Self::Config, env: &BuildEnv) -> Result<Self, BuildError> {
        let is_ruled = own.rules.is_some();
        let rules = match (own.rules, own.count, own.time_window) {
            (None, Some(count), Some(window)) => vec![Rule::new(
                &count,
                &window,
                KeyBy::read(&own.key, own.key_type)?,
                "",
            )?],
            (Some(rules), None, None) => Rule::read_all(rules, own.group.is_some())?,
            (Some(_), ..) => {
                return Err(refused(
                    "/rules",
                    "count/time_window and rules cannot be specified at the same time",
                ));
            }
            (None, None, _) => return Err(refused("/count", "required field missing")),
            (None, _, None) => return Err(refused("/time_window", "required field missing")),
        };
        Ok(Self {
            holder: match own.group {
                Some(group) => Holder::Group(group),
                None => Holder::Instance(env.instance()),
            },
            rules: rules.into(),
            is_ruled,
            window_type: own.window_type,
            counts: match own.policy {
                Policy::Local => Counts::Local(env.shared().get()),
                Policy::Redis => Counts::Remote(Remote::open(&redis.place()?, env)?),
            },
            refusal: Refusal::read(own.rejected_code, own.rejected_msg.as_deref())?,
            may_degrade: own.allow_degradation,
            shows: own.show_limit_quota_header,
        })
    }
}

impl Rule {
    fn read_all(rules: Vec<RuleConfig>, in_group: bool) -> Result<Vec<Self>, BuildError> {
        if in_group {
            return Err(refused(
                "/group",
                "group and rules cannot be specified at the same time",
            ));
        }
        let mut read = Vec::with_capacity(rules.len());
        for (place, rule) in rules.iter().enumerate() {
            if rules.iter().take(place).any(|other| other.key == rule.key) {
                let message = format!("duplicate key '{}' in rules", rule.key);
                return Err(refused(format!("/rules/{place}/key"), message));
            }
            let number = (place + 1).to_string();
            let prefix = rule.header_prefix.as_deref().unwrap_or(&number);
            let key = KeyBy::read(&rule.key, KeyType::VarCombination)?;
            read.push(Self::new(
                &rule.count,
                &rule.time_window,
                key,
                &format!("{prefix}-"),
            )?);
        }
        Ok(read)
    }

    fn new(count: &Value, time_window: &Value, key: KeyBy, prefix: &str) -> Result<Self, BuildError> {
        let header = |what: &str| {
            let name = format!("x-{prefix}ratelimit-{what}");
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
                refused(
                    "/rules",
                    format!("'{name}' cannot name a header; use letters, digits and '-'"),
                )
            })
        };
        Ok(Self {
            count: Amount::read(count),
            time_window: Amount::read(time_window),
            key,
            limit: header("limit")?,
            remaining: header("remaining")?,
            reset: header("reset")?,
        })
    }
}

impl Plugin for LimitCount {
    type State = Counted;

    fn access(&self, cx: &mut RequestCx<'_, Counted>) -> Flow {
        let Counts::Local(table) = &self.counts else {
            return Flow::Continue;
        };
        let now = unix_millis(cx.facts().now);
        let mut taken: Vec<Key> = Vec::new();
        let (mut applied, mut passes) = (0, true);
        for (place, rule) in self.rules.iter().enumerate() {
            let turn = match self.turn(place, rule, cx) {
                Ok(Some(turn)) => turn,
                Ok(None) => continue,
                Err(flow) => {
                    take_back(table, &taken, now);
                    return flow;
                }
            };
            applied += 1;
            let key = table.key(&(&self.holder, place, &turn.key));
            let spent = table.with(key, now, |quota| quota.take(turn.terms, now));
            let shown = turn.shown(spent);
            cx.state.add(shown);
            if !spent.passes {
                passes = false;
                break;
            }
            if self.rules.len() > 1 {
                taken.push(key);
            }
        }
        if !passes {
            take_back(table, &taken, now);
        }
        self.answer(applied, passes)
    }

    fn header_filter(&self, cx: &mut ResponseCx<'_, Counted>) {
        if self.shows {
            let Counted { first, more } = std::mem::take(cx.state);
            for shown in first.into_iter().chain(more) {
                self.rules[shown.place].tell(&shown, cx.headers_mut());
            }
        }
    }
}

/// Takes back what was counted for a call that does not pass.
fn take_back(table: &Table<Quota>, taken: &[Key], now: u64) {
    for key in taken {
        table.with(*key, now, Quota::take_back);
    }
}

impl WaitingPlugin for LimitCount {
    fn access_waiting<'a>(&'a self, mut cx: RequestCx<'a, Counted>) -> Waiting<'a> {
        let Counts::Remote(remote) = &self.counts else {
            return Box::pin(std::future::ready(self.access(&mut cx)));
        };
        Box::pin(async move {
            let mut turns = Vec::with_capacity(self.rules.len());
            for (place, rule) in self.rules.iter().enumerate() {
                match self.turn(place, rule, &cx) {
                    Ok(turn) => turns.extend(turn),
                    Err(flow) => return flow,
                }
            }
            if turns.is_empty() {
                return self.answer(0, true);
            }
            match self.take_remote(remote, cx.facts().worker, &turns).await {
                Err(_) => failed(self.may_degrade, "failed to limit count"),
                Ok((spent, passes)) => {
                    for (turn, spent) in turns.iter().zip(spent) {
                        cx.state.add(turn.shown(spent));
                    }
                    self.answer(turns.len(), passes)
                }
            }
        })
    }

    fn waits(&self) -> bool {
        matches!(self.counts, Counts::Remote(_))
    }
}

impl LimitCount {
    /// What the call comes to by a rule; nothing if the rule does not apply.
    fn turn<S>(&self, place: usize, rule: &Rule, cx: &RequestCx<'_, S>) -> Result<Option<Turn>, Flow> {
        let key = match rule.key.found(cx) {
            Some(key) => key,
            None if self.is_ruled => return Ok(None),
            None => CallKey::Address(cx.facts().client),
        };
        let (Ok(count), Ok(seconds)) = (rule.count.of(cx), rule.time_window.of(cx)) else {
            return Err(failed(self.may_degrade, "failed to limit count"));
        };
        let terms = Terms {
            window_type: self.window_type,
            count,
            length: seconds.saturating_mul(1000),
        };
        Ok(Some(Turn { place, key, terms }))
    }

    async fn take_remote(
        &self,
        remote: &Remote,
        worker: usize,
        turns: &[Turn],
    ) -> Result<(Vec<Spent>, bool), RemoteError> {
        let script = match self.window_type {
            WindowType::Fixed => Script::TakeFixed,
            WindowType::Sliding => Script::TakeSliding,
        };
        let keys: Vec<String> = turns.iter().map(|turn| self.remote_key(turn)).collect();
        let mut arguments = vec![Argument::Number(1)];
        for turn in turns {
            arguments.extend([
                Argument::Number(turn.terms.count),
                Argument::Number(turn.terms.length / 1000),
            ]);
        }
        let given = remote.run(worker, script, &keys, &arguments).await?;
        let passes = given.last() == Some(&1);
        let spent = |pair: &[i64]| match pair {
            [used, reset] => Some(Spent {
                used: used.unsigned_abs(),
                passes,
                reset: reset.unsigned_abs(),
            }),
            _ => None,
        };
        Ok((given.chunks(2).filter_map(spent).collect(), passes))
    }

    fn remote_key(&self, turn: &Turn) -> String {
        let Turn { place, key, .. } = turn;
        let window_type = match self.window_type {
            WindowType::Fixed => "fixed",
            WindowType::Sliding => "sliding",
        };
        match &self.holder {
            Holder::Instance(Some(id)) => format!("limit-count:{window_type}:{id}:{place}:{key}"),
            Holder::Instance(None) => format!("limit-count:{window_type}::{place}:{key}"),
            Holder::Group(group) => format!("limit-count:{window_type}:{group}:{place}:{key}"),
        }
    }

    fn answer(&self, applied: usize, passes: bool) -> Flow {
        match passes {
            // With APISIX a call that no rule applies to is a mistake in the rules.
            true if applied == 0 => failed(self.may_degrade, "failed to limit count"),
            true => Flow::Continue,
            false => self.refusal.flow(),
        }
    }
}

impl Turn {
    fn shown(&self, spent: Spent) -> Shown {
        Shown {
            place: self.place,
            limit: self.terms.count,
            remaining: self.terms.count.saturating_sub(spent.used),
            reset: spent.reset,
        }
    }
}

impl Rule {
    fn tell(&self, shown: &Shown, headers: &mut HeaderMap) {
        headers.insert(self.limit.clone(), number::value(shown.limit));
        headers.insert(self.remaining.clone(), number::value(shown.remaining));
        headers.insert(self.reset.clone(), number::value(shown.reset.div_ceil(1000)));
    }
}

impl Counted {
    fn add(&mut self, shown: Shown) {
        match self.first {
            None => self.first = Some(shown),
            Some(_) => self.more.push(shown),
        }
    }
}

#[cfg(test)]
mod tests;
