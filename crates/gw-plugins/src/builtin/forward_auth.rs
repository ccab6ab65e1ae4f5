//! `forward-auth`: asks another service whether a request may pass.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, InvalidHeaderName};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use serde_json::{Map, Value};

use super::keeping::Vouched;
use crate::cx::RequestCx;
use crate::dollar_template::DollarTemplate;
use crate::env::{BuildEnv, CallError, CallTerms, Lender};
use crate::phase::{Phase, Phases};
use crate::plugin::{BodyNeed, BuildError, Definition, Needs, Plugin, Waiting, WaitingPlugin};
use crate::reply::{Flow, Reply};

/// Bound: the body that the service is sent, in bytes.
const MAX_BODY: usize = 1 << 20;

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

pub(crate) struct ForwardAuth {
    uri: Uri,
    method: Method,
    request_headers: Vec<HeaderName>,
    extra_headers: Vec<(HeaderName, DollarTemplate)>,
    upstream_headers: Vec<HeaderName>,
    client_headers: Vec<HeaderName>,
    consumer_header: Option<HeaderName>,
    terms: CallTerms,
    pass_on_error: bool,
    status_on_error: StatusCode,
    lender: Arc<dyn Lender>,
}

#[derive(serde::Deserialize)]
pub(crate) struct Config {
    uri: Box<str>,
    request_method: Box<str>,
    request_headers: Vec<Box<str>>,
    extra_headers: Option<Map<String, Value>>,
    upstream_headers: Vec<Box<str>>,
    client_headers: Vec<Box<str>>,
    consumer_header: Option<Box<str>>,
    timeout: u64,
    ssl_verify: bool,
    keepalive: bool,
    keepalive_timeout: u64,
    allow_degradation: bool,
    status_on_error: u16,
}

impl Definition for ForwardAuth {
    const NAME: &'static str = "forward-auth";
    const PRIORITY: i32 = 1010;
    const PHASES: Phases = Phases::of(&[Phase::Access]);
    const SCHEMA: &'static str = include_str!("forward_auth.json");
    // It may find out who the consumer is.
    const CONSUMER_SCOPE: bool = false;

    type Config = Config;

    fn build(config: Config, env: &BuildEnv) -> Result<Self, BuildError> {
        let uri = config.uri.parse::<Uri>().ok().filter(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
        });
        let Some(uri) = uri else {
            return Err(setting(
                "/uri",
                &format!(
                    "'{}' cannot be called; write it as 'http://host:port/path'",
                    config.uri
                ),
            ));
        };
        let mut extra_headers = Vec::new();
        for (name, value) in config.extra_headers.iter().flatten() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let place = format!("/extra_headers/{}", name.replace('~', "~0").replace('/', "~1"));
            let name = name
                .parse()
                .map_err(|_: InvalidHeaderName| setting(&place, "cannot name a header"))?;
            extra_headers.push((name, DollarTemplate::parse(&text)));
        }
        let consumer_header = config
            .consumer_header
            .map(|name| named("/consumer_header", &name))
            .transpose()?;
        Ok(Self {
            uri,
            method: if *config.request_method == *"POST" {
                Method::POST
            } else {
                Method::GET
            },
            request_headers: names("request_headers", &config.request_headers)?,
            extra_headers,
            upstream_headers: names("upstream_headers", &config.upstream_headers)?,
            client_headers: names("client_headers", &config.client_headers)?,
            consumer_header,
            terms: CallTerms {
                timeout: Duration::from_millis(config.timeout),
                verify: config.ssl_verify,
                keepalive: config
                    .keepalive
                    .then(|| Duration::from_millis(config.keepalive_timeout)),
                ..CallTerms::default()
            },
            pass_on_error: config.allow_degradation,
            status_on_error: StatusCode::from_u16(config.status_on_error).unwrap_or(StatusCode::FORBIDDEN),
            lender: Arc::clone(env.lender()),
        })
    }
}

fn setting(pointer: &str, message: &str) -> BuildError {
    BuildError::Setting {
        pointer: pointer.into(),
        message: message.into(),
    }
}

fn named(place: &str, name: &str) -> Result<HeaderName, BuildError> {
    name.parse()
        .map_err(|_: InvalidHeaderName| setting(place, &format!("'{name}' cannot name a header")))
}

fn names(field: &str, list: &[Box<str>]) -> Result<Vec<HeaderName>, BuildError> {
    list.iter()
        .enumerate()
        .map(|(position, name)| named(&format!("/{field}/{position}"), name))
        .collect()
}

impl Plugin for ForwardAuth {
    type State = ();

    fn needs(&self) -> Needs {
        match self.method == Method::POST {
            true => Needs::none().request_body(BodyNeed::Whole { max: MAX_BODY }),
            false => Needs::none(),
        }
    }
}

impl WaitingPlugin for ForwardAuth {
    fn access_waiting<'a>(&'a self, mut cx: RequestCx<'a, ()>) -> Waiting<'a> {
        let call = self.lender.http().send(self.question(&cx), self.terms.clone());
        Box::pin(async move { self.decide(&mut cx, call.await) })
    }
}

impl ForwardAuth {
    /// What the service is asked.
    fn question(&self, cx: &RequestCx<'_>) -> Request<Bytes> {
        let mut headers = HeaderMap::new();
        let mut set = |name: HeaderName, value: Option<String>| {
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                headers.insert(name, value);
            }
        };
        set(FORWARDED_PROTO, cx.variable("scheme"));
        set(FORWARDED_METHOD, cx.variable("request_method"));
        set(FORWARDED_HOST, cx.variable("host"));
        // In the form that the route was found by: `/public/../admin` is not what the service is to judge.
        set(FORWARDED_URI, cx.uri().path_and_query().map(ToString::to_string));
        set(FORWARDED_FOR, cx.variable("remote_addr"));
        for (name, template) in &self.extra_headers {
            set(
                name.clone(),
                Some(template.fill(|variable| cx.variable(variable)).text),
            );
        }
        let mut body = Bytes::new();
        let mut sent: Vec<&HeaderName> = self.request_headers.iter().collect();
        if self.method == Method::POST {
            body = cx.body().cloned().unwrap_or_default();
            sent.extend([&CONTENT_TYPE, &CONTENT_ENCODING]);
        }
        for name in sent.into_iter().filter(|name| !is_of_the_connection(name)) {
            if !headers.contains_key(name) {
                for value in cx.headers().get_all(name) {
                    headers.append(name, value.clone());
                }
            }
        }
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        request
    }

    fn decide(&self, cx: &mut RequestCx<'_>, answer: Result<Response<Bytes>, CallError>) -> Flow {
        let (answer, body) = match answer {
            Ok(answer) => answer.into_parts(),
            Err(_) if self.pass_on_error => {
                // What only the service may say nobody says then.
                self.take_away(cx.headers_mut());
                return Flow::Continue;
            }
            Err(_) => return Reply::bytes(self.status_on_error, Bytes::new()).into(),
        };
        if answer.status.as_u16() >= 300 {
            return self.refuse(&answer.headers, answer.status, body).into();
        }
        if let Some(header) = &self.consumer_header {
            let name = answer
                .headers
                .get(header)
                .and_then(|name| name.to_str().ok())
                .unwrap_or_default();
            if name.is_empty() {
                return Reply::message(StatusCode::FORBIDDEN, "consumer header missing in auth response")
                    .into();
            }
            let Some(consumer) = cx.facts().config.consumer_named(name) else {
                return Reply::message(StatusCode::FORBIDDEN, "consumer not found").into();
            };
            cx.vouch_who(Arc::clone(consumer));
        }
        // What the service does not say the client may not say either.
        self.take_away(cx.headers_mut());
        let mut said = Vec::new();
        for name in &self.upstream_headers {
            for value in answer.headers.get_all(name) {
                cx.headers_mut().append(name, value.clone());
                said.push((name.clone(), value.clone()));
            }
        }
        if !said.is_empty() {
            cx.parts.head.extensions.insert(Vouched(said));
        }
        Flow::Continue
    }

    /// Takes the headers that only the service may send out of the request, and those that many an upstream takes for them:
    /// CGI and its heirs read `X_User` and `X-User` as one.
    fn take_away(&self, headers: &mut HeaderMap) {
        let alike = |one: &HeaderName, other: &HeaderName| {
            let plain = |byte: u8| if byte == b'_' { b'-' } else { byte };
            let (one, other) = (one.as_str().bytes(), other.as_str().bytes());
            one.map(plain).eq(other.map(plain))
        };
        let taken = headers
            .keys()
            .filter(|name| self.upstream_headers.iter().any(|own| alike(own, name)));
        for name in taken.cloned().collect::<Vec<_>>() {
            headers.remove(name);
        }
    }

    fn refuse(&self, headers: &HeaderMap, status: StatusCode, body: Bytes) -> Reply {
        let mut reply = Reply::bytes(status, body);
        let told = self
            .client_headers
            .iter()
            .filter(|name| !is_of_the_connection(name) && **name != CONTENT_TYPE);
        for name in told.chain([&CONTENT_TYPE]) {
            for value in headers.get_all(name) {
                reply = reply.header(name.clone(), value.clone());
            }
        }
        reply
    }
}

/// Whether a header belongs to one connection and its messages, and not to who asks or answers.
fn is_of_the_connection(name: &HeaderName) -> bool {
    use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
    [
        CONNECTION,
        CONTENT_LENGTH,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ]
    .contains(name)
}

#[cfg(test)]
mod tests;
