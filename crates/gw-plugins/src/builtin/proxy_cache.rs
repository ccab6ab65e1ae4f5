//! `proxy-cache`: keeps responses in memory and answers with them, as Kong does or as RFC 9111 has it.

mod condition;
mod control;
mod fetch;
mod key;
mod media;

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use http::header::{AGE, AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde::Deserialize;

use crate::builtin::keeping::{Keeper, ToldApart};
use crate::cache::{Boarding, Cache, Flight, Key, Landing, Stored, Target};
use crate::cx::{BodyCx, RequestCx, ResponseCx};
use crate::env::{BuildEnv, Lender};
use crate::phase::{Phase, Phases};
use crate::plugin::{BodyNeed, BuildError, Definition, Needs, Plugin, Waiting, WaitingPlugin};
use crate::reply::{Flow, Reply};

use condition::Held;
use control::Directives;
use fetch::{Fetch, Shown};
use key::Keying;
use media::Media;

const STATUS: HeaderName = HeaderName::from_static("x-cache-status");
const KEY: HeaderName = HeaderName::from_static("x-cache-key");
const DEBUG: HeaderName = HeaderName::from_static("kong-debug");

/// Bound: how long one waits for another's fetch.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct ProxyCache {
    cache: Arc<Cache>,
    lender: Arc<dyn Lender>,
    keying: Keying,
    codes: Box<[StatusCode]>,
    methods: Box<[Method]>,
    types: Box<[Media]>,
    ttl: Duration,
    /// Whether it does as RFC 9111 has it.
    controlled: bool,
    /// Whether, without that, answers to one caller are kept for others too.
    shares_private: bool,
    storage: Option<Duration>,
    shows_age: bool,
    shows_status: bool,
    shows_key: bool,
    most: usize,
    coalesces: bool,
    purges: bool,
}

#[derive(Deserialize)]
pub(crate) struct Config {
    response_code: Vec<u16>,
    request_method: Vec<Box<str>>,
    content_type: Vec<Box<str>>,
    cache_ttl: u64,
    cache_control: bool,
    share_private: bool,
    ignore_uri_case: bool,
    storage_ttl: Option<u64>,
    vary_query_params: Option<Box<[Box<str>]>>,
    vary_headers: Option<Vec<Box<str>>>,
    response_headers: ResponseHeaders,
    max_entry_size: usize,
    coalesce: bool,
    purge_method: bool,
}

#[derive(Deserialize)]
struct ResponseHeaders {
    age: bool,
    #[serde(rename = "Age")]
    older_age: Option<bool>,
    #[serde(rename = "X-Cache-Status")]
    status: bool,
    #[serde(rename = "X-Cache-Key")]
    key: bool,
}

/// What becomes of a request, and what is told of it.
#[derive(Debug, Default)]
pub(crate) struct State {
    status: Option<&'static str>,
    key: Option<Key>,
    debug: bool,
    step: Step,
}

/// Where a request stands.
#[derive(Debug, Default)]
enum Step {
    /// Nothing is to be done any more.
    #[default]
    Done,
    /// It may change what is at this target.
    Unsafe(Target),
    /// The upstream is asked.
    Fetch(Box<Fetch>),
}

/// What came of looking.
enum Looked {
    /// It is settled.
    Over(Flow),
    /// Another fetches it.
    Follows(Arc<Flight>),
}

impl Definition for ProxyCache {
    const NAME: &'static str = "proxy-cache";
    const PRIORITY: i32 = 100;
    const PHASES: Phases = Phases::of(&[Phase::Access, Phase::HeaderFilter, Phase::BodyFilter]);
    const SCHEMA: &'static str = include_str!("proxy_cache.json");

    type Config = Config;

    fn build(config: Config, env: &BuildEnv) -> Result<Self, BuildError> {
        let setting = |pointer: String, message: String| BuildError::Setting {
            pointer: pointer.into(),
            message: message.into(),
        };
        let mut headers = Vec::new();
        for (position, name) in config.vary_headers.unwrap_or_default().iter().enumerate() {
            headers.push(HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
                setting(
                    format!("/vary_headers/{position}"),
                    format!("'{name}' cannot name a header; use letters, digits, '-' and '_'"),
                )
            })?);
        }
        let mut types = Vec::new();
        for (position, text) in config.content_type.iter().enumerate() {
            types.push(Media::parse(text).ok_or_else(|| {
                setting(
                    format!("/content_type/{position}"),
                    format!("'{text}' is no media type; write it as 'application/json'"),
                )
            })?);
        }
        let methods = config.request_method.iter();
        let codes = config.response_code.iter();
        let shown = config.response_headers;
        Ok(Self {
            cache: env.shared().get(),
            lender: Arc::clone(env.lender()),
            keying: Keying {
                told_apart: Arc::new(ToldApart {
                    headers: headers.into(),
                    arguments: config.vary_query_params.filter(|names| !names.is_empty()),
                }),
                ignore_case: config.ignore_uri_case,
            },
            codes: codes
                .filter_map(|code| StatusCode::from_u16(*code).ok())
                .collect(),
            methods: methods.filter_map(|name| name.parse().ok()).collect(),
            types: types.into(),
            ttl: Duration::from_secs(config.cache_ttl),
            controlled: config.cache_control,
            shares_private: config.share_private,
            storage: config.storage_ttl.map(Duration::from_secs),
            shows_age: shown.older_age.unwrap_or(shown.age),
            shows_status: shown.status,
            shows_key: shown.key,
            most: config.max_entry_size,
            coalesces: config.coalesce,
            purges: config.purge_method,
        })
    }
}

impl Plugin for ProxyCache {
    type State = State;

    fn needs(&self) -> Needs {
        Needs::none().response_body().watches_body()
    }

    fn access(&self, cx: &mut RequestCx<'_, State>) -> Flow {
        match self.look(cx, false) {
            Looked::Over(flow) => flow,
            Looked::Follows(_) => Flow::Continue,
        }
    }

    /// Wants nothing of the body; but here the head is still as the upstream sent it.
    fn response_body(&self, cx: &mut ResponseCx<'_, State>) -> BodyNeed {
        if let Step::Fetch(fetch) = &mut cx.state.step {
            fetch.sent = Some(fetch::of_the_end(&cx.parts.head.headers));
        }
        BodyNeed::None
    }

    fn header_filter(&self, cx: &mut ResponseCx<'_, State>) {
        match std::mem::take(&mut cx.state.step) {
            Step::Done => {}
            Step::Unsafe(target) => {
                if cx.is_upstream() && (cx.status().is_success() || cx.status().is_redirection()) {
                    self.cache.remove_target(target);
                }
            }
            Step::Fetch(fetch) => self.answered(cx, fetch),
        }
        let shown = self.shown(cx.state);
        shown.write(cx.headers_mut());
    }

    fn body_filter(&self, cx: &mut BodyCx<'_, State>) {
        let Step::Fetch(fetch) = &mut cx.state.step else {
            return;
        };
        let is_over = fetch.take(cx.parts.chunk, self.most) || cx.parts.last;
        if is_over && let Step::Fetch(fetch) = std::mem::take(&mut cx.state.step) {
            fetch.keep(&self.cache);
        }
    }
}

impl WaitingPlugin for ProxyCache {
    fn access_waiting<'a>(&'a self, mut cx: RequestCx<'a, State>) -> Waiting<'a> {
        Box::pin(async move {
            let flight = match self.look(&mut cx, true) {
                Looked::Over(flow) => return flow,
                Looked::Follows(flight) => flight,
            };
            let mut landing = Landing(flight);
            let mut patience = self.lender.tasks().sleep(PATIENCE);
            std::future::poll_fn(|task| {
                let landed = Pin::new(&mut landing).poll(task).is_ready();
                match landed || patience.as_mut().poll(task).is_ready() {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            })
            .await;
            self.access(&mut cx)
        })
    }

    fn waits(&self) -> bool {
        self.coalesces
    }
}

impl ProxyCache {
    /// Looks whether there is an answer already. If another is fetching it, and `waits`, that is waited for first.
    fn look(&self, cx: &mut RequestCx<'_, State>, waits: bool) -> Looked {
        cx.state.debug = cx.headers().contains_key(&DEBUG);
        if self.purges && cx.method().as_str() == "PURGE" {
            return Looked::Over(self.purge(cx));
        }
        let asked = match self.controlled {
            true => Directives::of(cx.headers()),
            false => Directives::default(),
        };
        if !self.takes(cx) || asked.no_store || self.is_for_one(cx) {
            cx.state.status = Some("Bypass");
            if self.controlled && !cx.method().is_safe() {
                cx.state.step = Step::Unsafe(key::target(cx));
            }
            return Looked::Over(Flow::Continue);
        }
        let (target, key) = (key::target(cx), self.keying.key(cx));
        cx.state.key = Some(key);
        let now = cx.facts().now;
        let found = self.cache.find(target, &key, |stored| {
            stored.is_kept(now) && stored.answers(cx.headers())
        });
        if let Some(stored) = &found
            && self.is_usable(stored, &asked, now)
        {
            cx.state.status = Some("Hit");
            return Looked::Over(self.hit(cx, stored, now).into());
        }
        cx.state.status = Some(match (&found, asked.no_cache) {
            (_, true) => "Bypass",
            (Some(_), false) => "Refresh",
            (None, false) => "Miss",
        });
        if asked.only_if_cached {
            return Looked::Over(Reply::message(StatusCode::GATEWAY_TIMEOUT, "Gateway Timeout").into());
        }
        let mut lead = None;
        if waits && !asked.no_cache {
            match self.cache.board(target, key) {
                Boarding::Leads(leads) => lead = Some(leads),
                Boarding::Follows(flight) => return Looked::Follows(flight),
            }
        }
        let keeper = Keeper::new(&self.keying.told_apart);
        cx.parts.head.extensions.insert(keeper.clone());
        let mut fetch = Fetch::new(target, key, lead, keeper);
        fetch.is_for_one = cx.identity().consumer.is_some() && !cx.identity().anonymous;
        if self.controlled {
            fetch.authorized = cx.headers().contains_key(AUTHORIZATION);
            fetch.if_error = asked.stale_if_error;
            fetch.asked = cx.headers().clone();
            if let Some(stored) = found.as_ref().filter(|stored| stored.can_be_validated()) {
                fetch.held = Some(Held::of(cx.headers()));
                condition::validate(cx.headers_mut(), stored);
            }
        }
        fetch.stale = found;
        cx.state.step = Step::Fetch(Box::new(fetch));
        Looked::Over(Flow::Continue)
    }

    /// Whether its answer may be kept, and may come from what is kept.
    fn takes(&self, cx: &RequestCx<'_, State>) -> bool {
        self.methods.contains(cx.method())
            && !condition::is_for_the_upstream(cx.headers())
            && !cx.headers().contains_key("sec-websocket-key")
    }

    /// Whether it shows the upstream who asks by something that requests are not told apart by.
    fn is_for_one(&self, cx: &RequestCx<'_, State>) -> bool {
        let identity = cx.identity();
        let is_known = identity.consumer.is_some() && !identity.anonymous;
        let shows = |name: HeaderName| {
            let is_told_apart = self.keying.told_apart.headers.contains(&name);
            !is_told_apart && cx.headers().contains_key(name)
        };
        !self.controlled
            && !self.shares_private
            && !is_known
            && [AUTHORIZATION, COOKIE].into_iter().any(shows)
    }

    /// Whether it may be answered with, without asking the upstream.
    fn is_usable(&self, stored: &Stored, asked: &Directives, now: SystemTime) -> bool {
        if !self.controlled {
            // Kong counts whole seconds.
            let since = now.duration_since(stored.at).unwrap_or_default();
            return since.as_secs() <= self.ttl.as_secs();
        }
        let age = stored.age(now);
        if asked.no_cache || stored.terms.always_validate || asked.max_age.is_some_and(|most| age > most) {
            return false;
        }
        let left = stored.lifetime.saturating_sub(age);
        if !left.is_zero() {
            return asked.min_fresh.is_none_or(|least| left >= least);
        }
        let late = age.saturating_sub(stored.lifetime);
        !stored.terms.never_stale
            && asked.min_fresh.is_none()
            && asked.max_stale.is_some_and(|most| late <= most)
    }

    fn hit(&self, cx: &RequestCx<'_, State>, stored: &Stored, now: SystemTime) -> Reply {
        let mut headers = stored.headers.clone();
        self.tell_age(cx.state, &mut headers, stored.age(now));
        let has = self.controlled && Held::of(cx.headers()).has(stored);
        fetch::reply(stored, headers, has)
    }

    fn tell_age(&self, state: &State, headers: &mut HeaderMap, age: Duration) {
        if self.shows_age || state.debug {
            headers.insert(AGE, HeaderValue::from(age.as_secs()));
        }
    }

    fn purge(&self, cx: &RequestCx<'_, State>) -> Flow {
        let status = match self.cache.remove_target(key::target(cx)) {
            true => StatusCode::OK,
            false => StatusCode::NOT_FOUND,
        };
        Reply::bytes(status, "").into()
    }

    fn shown(&self, state: &State) -> Shown {
        Shown {
            status: state.status.filter(|_| self.shows_status || state.debug),
            key: state.key.filter(|_| self.shows_key || state.debug),
        }
    }
}

#[cfg(test)]
mod tests;
