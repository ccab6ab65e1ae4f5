//! `rate-limiting`: so many requests per second to year, for each consumer, address, service, header or path.

mod remote;
mod synced;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use gw_core::{Id, PluginUse};
use http::header::{HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};

use self::remote::Keys;
use self::synced::Synced;
use crate::cx::{RequestCx, ResponseCx};
use crate::env::BuildEnv;
use crate::limits::calendar::{Calendar, Limits, LimitsConfig, Usage};
use crate::limits::caller::{CallerKeys, LimitBy, LimitByName};
use crate::limits::period::Period;
use crate::limits::redis::WithRedis;
use crate::limits::remote::Remote;
use crate::limits::table::Table;
use crate::limits::{number, refused, unix_millis};
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, Definition, Plugin, Waiting, WaitingPlugin};
use crate::reply::{Flow, Reply};

pub(crate) struct RateLimiting {
    instance: Option<Id<PluginUse>>,
    limits: Limits,
    by: LimitBy,
    counts: Counts,
    fault_tolerant: bool,
    /// Of each limit, as told to clients; none if they are not told.
    told: Option<Box<[Told]>>,
    status: StatusCode,
    message: Cow<'static, str>,
}

/// Where it counts.
enum Counts {
    Local(Arc<Table<Calendar>>, CallerKeys),
    /// In Redis, each call.
    Remote(Remote),
    /// Here, and every now and then in Redis.
    Synced(Arc<Table<Calendar>>, CallerKeys, Arc<Synced>),
}

/// How clients are told of a limit.
struct Told {
    limit: HeaderValue,
    limit_name: HeaderName,
    remaining_name: HeaderName,
}

#[derive(Debug, serde::Deserialize)]
pub(crate) struct Config {
    limit_by: LimitByName,
    header_name: Option<Box<str>>,
    path: Option<Box<str>>,
    policy: Policy,
    fault_tolerant: bool,
    hide_client_headers: bool,
    error_code: u16,
    error_message: String,
    sync_rate: f64,
    second: Option<f64>,
    minute: Option<f64>,
    hour: Option<f64>,
    day: Option<f64>,
    month: Option<f64>,
    year: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Policy {
    Local,
    Cluster,
    Redis,
}

/// What is remembered of a call: what it found, and when, in Unix seconds.
#[derive(Debug)]
pub(crate) struct Counted {
    usage: Usage,
    at: u64,
}

const DEFAULT_MESSAGE: &str = "API rate limit exceeded";

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

impl Definition for RateLimiting {
    const NAME: &'static str = "rate-limiting";
    const PRIORITY: i32 = 910;
    const PHASES: Phases = Phases::of(&[Phase::Access, Phase::HeaderFilter]);
    const SCHEMA: &'static str = include_str!("rate_limiting.json");

    type Config = WithRedis<Config>;

    fn build(WithRedis { own, redis }: Self::Config, env: &BuildEnv) -> Result<Self, BuildError> {
        let limits = Limits::read(
            &LimitsConfig {
                second: own.second,
                minute: own.minute,
                hour: own.hour,
                day: own.day,
                month: own.month,
                year: own.year,
            },
            "",
        )?;
        let is_synced = own.sync_rate != -1.0;
        if is_synced && own.policy != Policy::Redis {
            return Err(refused(
                "/sync_rate",
                "sync_rate can only be used with the redis policy",
            ));
        }
        if is_synced && own.sync_rate < 0.02 {
            return Err(refused(
                "/sync_rate",
                "sync_rate must be greater than 0.02, or -1 to disable",
            ));
        }
        let table = || {
            let table = env.shared().get::<Table<Calendar>>();
            let keys = CallerKeys::new(&table, &env.instance());
            (table, keys)
        };
        let counts = match own.policy {
            Policy::Local | Policy::Cluster => {
                let (table, keys) = table();
                Counts::Local(table, keys)
            }
            Policy::Redis => {
                let remote = Remote::open(&redis.place()?, env)?;
                match is_synced {
                    false => Counts::Remote(remote),
                    true => {
                        let every = Duration::from_secs_f64(own.sync_rate.min(86_400.0));
                        let synced = Synced::new(remote, every, Arc::clone(env.lender()));
                        let (table, keys) = table();
                        Counts::Synced(table, keys, Arc::new(synced))
                    }
                }
            }
        };
        let told = (!own.hide_client_headers).then(|| limits.iter().map(Told::of).collect());
        let message = match own.error_message == DEFAULT_MESSAGE {
            true => Cow::Borrowed(DEFAULT_MESSAGE),
            false => Cow::Owned(own.error_message),
        };
        Ok(Self {
            instance: env.instance(),
            limits,
            by: LimitBy::read(own.limit_by, own.header_name.as_deref(), own.path)?,
            counts,
            fault_tolerant: own.fault_tolerant,
            told,
            status: StatusCode::from_u16(own.error_code)
                .map_err(|_| refused("/error_code", "value should be between 200 and 599"))?,
            message,
        })
    }
}

impl Plugin for RateLimiting {
    type State = Option<Counted>;

    fn access(&self, cx: &mut RequestCx<'_, Self::State>) -> Flow {
        let millis = unix_millis(cx.facts().now);
        let at = millis / 1000;
        let usage = match &self.counts {
            Counts::Local(table, keys) => {
                let key = keys.of(table, &self.by.caller(cx));
                table.with(key, millis, |calendar| calendar.take(&self.limits, 1, at))
            }
            Counts::Synced(table, keys, synced) => {
                let caller = self.by.caller(cx);
                let key = keys.of(table, &caller);
                let usage = table.with(key, millis, |calendar| calendar.take(&self.limits, 1, at));
                if usage.passes {
                    let keys = Keys::of(self.instance, cx.facts(), &caller, &self.limits, at);
                    synced.count(table, key, &self.limits, keys, at);
                }
                usage
            }
            Counts::Remote(_) => return Flow::Continue,
        };
        self.answer(cx, Counted { usage, at })
    }

    fn header_filter(&self, cx: &mut ResponseCx<'_, Self::State>) {
        if let Some(counted) = cx.state.take()
            && let Some(told) = &self.told
        {
            self.tell(told, &counted, cx.headers_mut());
        }
    }
}

impl WaitingPlugin for RateLimiting {
    fn access_waiting<'a>(&'a self, mut cx: RequestCx<'a, Self::State>) -> Waiting<'a> {
        let Counts::Remote(remote) = &self.counts else {
            return Box::pin(std::future::ready(self.access(&mut cx)));
        };
        let at = unix_millis(cx.facts().now) / 1000;
        let keys = Keys::of(self.instance, cx.facts(), &self.by.caller(&cx), &self.limits, at);
        Box::pin(async move {
            match keys.take(remote, cx.facts().worker, &self.limits, at).await {
                Ok(usage) => self.answer(&mut cx, Counted { usage, at }),
                Err(_) if self.fault_tolerant => Flow::Continue,
                Err(_) => unexpected(),
            }
        })
    }

    fn waits(&self) -> bool {
        matches!(self.counts, Counts::Remote(_))
    }
}

/// What clients are told if counts cannot be had.
pub(crate) fn unexpected() -> Flow {
    Reply::message(StatusCode::INTERNAL_SERVER_ERROR, "An unexpected error occurred").into()
}

impl RateLimiting {
    fn answer(&self, cx: &mut RequestCx<'_, Option<Counted>>, counted: Counted) -> Flow {
        let passes = counted.usage.passes;
        if self.told.is_some() {
            *cx.state = Some(counted);
        }
        match passes {
            true => Flow::Continue,
            false => Reply::message(self.status, self.message.clone()).into(),
        }
    }

    /// Tells the limits, what remains of each, and of the tightest one when it begins anew.
    fn tell(&self, told: &[Told], counted: &Counted, headers: &mut HeaderMap) {
        headers.reserve(told.len() * 2 + 4);
        let mut tightest: Option<(u64, Period, &Told, HeaderValue)> = None;
        for ((period, limit), told) in self.limits.iter().zip(told) {
            let left = limit.saturating_sub(counted.usage.used[period as usize]);
            let remaining = number::value(left);
            headers.insert(told.limit_name.clone(), told.limit.clone());
            headers.insert(told.remaining_name.clone(), remaining.clone());
            // Of several with as little left, the longest counts.
            if tightest.as_ref().is_none_or(|(least, ..)| left <= *least) {
                tightest = Some((left, period, told, remaining));
            }
        }
        let Some((_, period, told, remaining)) = tightest else {
            return;
        };
        let end = period.end(period.begin(counted.at));
        let reset = number::value(end.saturating_sub(counted.at).max(1));
        headers.insert(LIMIT, told.limit.clone());
        headers.insert(REMAINING, remaining);
        if !counted.usage.passes {
            headers.insert(RETRY_AFTER, reset.clone());
        }
        headers.insert(RESET, reset);
    }
}

impl Told {
    fn of((period, limit): (Period, u64)) -> Self {
        let [limit_name, remaining_name] = match period {
            Period::Second => ["x-ratelimit-limit-second", "x-ratelimit-remaining-second"],
            Period::Minute => ["x-ratelimit-limit-minute", "x-ratelimit-remaining-minute"],
            Period::Hour => ["x-ratelimit-limit-hour", "x-ratelimit-remaining-hour"],
            Period::Day => ["x-ratelimit-limit-day", "x-ratelimit-remaining-day"],
            Period::Month => ["x-ratelimit-limit-month", "x-ratelimit-remaining-month"],
            Period::Year => ["x-ratelimit-limit-year", "x-ratelimit-remaining-year"],
        };
        Self {
            limit: number::value(limit),
            limit_name: HeaderName::from_static(limit_name),
            remaining_name: HeaderName::from_static(remaining_name),
        }
    }
}

#[cfg(test)]
mod tests;
