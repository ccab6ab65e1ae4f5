//! `cors`: tells browsers which pages of other origins may call, and answers their preflights.

mod origins;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, Entry, HeaderName, HeaderValue, ORIGIN,
    VARY,
};
use http::{HeaderMap, Method, StatusCode};

use self::origins::Origins;
use crate::cx::{RequestCx, ResponseCx};
use crate::env::BuildEnv;
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, Definition, Plugin};
use crate::reply::{Flow, Reply};

const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");
const TRUE: HeaderValue = HeaderValue::from_static("true");
const ANY: HeaderValue = HeaderValue::from_static("*");
const BY_ORIGIN: HeaderValue = HeaderValue::from_static("Origin");

pub(crate) struct Cors {
    origins: Origins,
    methods: HeaderValue,
    /// None: those that the preflight asks for.
    headers: Option<HeaderValue>,
    exposed: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
    credentials: bool,
    preflight_continue: bool,
    private_network: bool,
    origin_absent: bool,
}

#[derive(serde::Deserialize)]
pub(crate) struct Config {
    origins: Option<Vec<Box<str>>>,
    methods: Vec<Box<str>>,
    headers: Option<Vec<Box<str>>>,
    exposed_headers: Option<Vec<Box<str>>>,
    credentials: bool,
    max_age: Option<serde_json::Number>,
    preflight_continue: bool,
    private_network: bool,
    allow_origin_absent: bool,
}

/// What is known of a request when its response comes.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    origin: Option<HeaderValue>,
    /// Whether it is a preflight: its response has its headers, or gets them from the upstream.
    is_preflight: bool,
    /// Whether the request has been seen; if another plugin answered before, its origin is not known.
    seen: bool,
}

impl Definition for Cors {
    const NAME: &'static str = "cors";
    const PRIORITY: i32 = 2000;
    const PHASES: Phases = Phases::of(&[Phase::Access, Phase::HeaderFilter]);
    const SCHEMA: &'static str = include_str!("cors.json");

    type Config = Config;

    fn build(config: Config, _: &BuildEnv) -> Result<Self, BuildError> {
        let max_age = config.max_age.map(|seconds| seconds.to_string());
        Ok(Self {
            origins: Origins::read(&config.origins.unwrap_or_default())?,
            methods: list(&config.methods, "/methods")?.unwrap_or_else(|| HeaderValue::from_static("")),
            headers: list(&config.headers.unwrap_or_default(), "/headers")?,
            exposed: list(&config.exposed_headers.unwrap_or_default(), "/exposed_headers")?,
            max_age: max_age.and_then(|seconds| HeaderValue::from_maybe_shared(Bytes::from(seconds)).ok()),
            credentials: config.credentials,
            preflight_continue: config.preflight_continue,
            private_network: config.private_network,
            origin_absent: config.allow_origin_absent,
        })
    }
}

/// The texts in one header; none if there are none.
fn list(texts: &[Box<str>], pointer: &str) -> Result<Option<HeaderValue>, BuildError> {
    if texts.is_empty() {
        return Ok(None);
    }
    let value = HeaderValue::from_maybe_shared(Bytes::from(texts.join(",")));
    value.map(Some).map_err(|_| BuildError::Setting {
        pointer: pointer.into(),
        message: "cannot be sent in a header; use visible ASCII characters".into(),
    })
}

impl Plugin for Cors {
    type State = Asked;

    fn access(&self, cx: &mut RequestCx<'_, Asked>) -> Flow {
        let origin = cx.headers().get(ORIGIN).cloned();
        let asks = cx.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let is_preflight = cx.method() == Method::OPTIONS && origin.is_some() && asks;
        *cx.state = Asked {
            origin,
            is_preflight,
            seen: true,
        };
        match is_preflight && !self.preflight_continue {
            true => self.preflight(cx).into(),
            false => Flow::Continue,
        }
    }

    fn header_filter(&self, cx: &mut ResponseCx<'_, Asked>) {
        let asked = std::mem::take(cx.state);
        if asked.is_preflight || (asked.origin.is_none() && !self.origin_absent) {
            return;
        }
        // Note: an answer given before this plugin saw the request is told to nobody.
        if !asked.seen && !self.origin_absent {
            return;
        }
        self.allow(cx.headers_mut(), asked.origin.as_ref());
        if let Some(exposed) = &self.exposed {
            cx.headers_mut()
                .insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
        }
    }
}

impl Cors {
    fn preflight(&self, cx: &RequestCx<'_, Asked>) -> Reply {
        let mut reply = Reply::bytes(StatusCode::OK, Bytes::new());
        reply.headers.reserve(8);
        self.allow(&mut reply.headers, cx.state.origin.as_ref());
        let headers = &mut reply.headers;
        if let Some(allowed) = self
            .headers
            .as_ref()
            .or(cx.headers().get(ACCESS_CONTROL_REQUEST_HEADERS))
        {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed.clone());
        }
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        if let Some(max_age) = &self.max_age {
            headers.insert(ACCESS_CONTROL_MAX_AGE, max_age.clone());
        }
        if self.private_network && cx.headers().get(REQUEST_PRIVATE_NETWORK) == Some(&TRUE) {
            headers.insert(ALLOW_PRIVATE_NETWORK, TRUE);
        }
        reply
    }

    /// Who may read the response, and by what that differs.
    fn allow(&self, headers: &mut HeaderMap, origin: Option<&HeaderValue>) {
        let (allowed, any) = match &self.origins {
            Origins::Any => (Some(ANY), true),
            Origins::One(one) => (Some(one.clone()), false),
            Origins::Several(several) => match origin {
                Some(_) if several.any => (Some(ANY), true),
                Some(origin) => (several.admitted(origin), false),
                None => (None, false),
            },
        };
        if !matches!(self.origins, Origins::Any) {
            vary(headers);
        }
        match (self.credentials, any, origin) {
            // All may call with credentials: then the response must name the one that does.
            (true, true, Some(origin)) => {
                vary(headers);
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
                return;
            }
            (true, false, _) => drop(headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE)),
            _ => {}
        }
        match allowed {
            Some(allowed) => drop(headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed)),
            None => drop(headers.remove(ACCESS_CONTROL_ALLOW_ORIGIN)),
        }
    }
}

/// Says that the response differs by origin, unless it says so already.
fn vary(headers: &mut HeaderMap) {
    let says_so = |name: &str| name.trim().eq_ignore_ascii_case("origin") || name.trim() == "*";
    match headers.entry(VARY) {
        Entry::Vacant(none) => drop(none.insert(BY_ORIGIN)),
        Entry::Occupied(mut some) => {
            let mut lines = some.iter().filter_map(|line| line.to_str().ok());
            if !lines.any(|line| line.split(',').any(says_so)) {
                some.append(BY_ORIGIN);
            }
        }
    }
}

#[cfg(test)]
mod tests;
