//! `http-log`: sends a record of every exchange to an HTTP server, with bodies if it is to.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Uri};
use serde_json::{Map, Value};

use crate::cx::LogCx;
use crate::env::{BuildEnv, CallTerms, Lender, Lent};
use crate::log_record::{CaptureSettings, Recorder};
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, Definition, Needs, Plugin};
use crate::queue::{Queue, QueueSettings, Sink, Undelivered};
use crate::settings::fields;

pub(crate) struct HttpLog {
    recorder: Recorder,
    queue: Queue,
}

#[derive(Clone, Debug, serde::Deserialize)]
pub(crate) struct Config {
    http_endpoint: Box<str>,
    method: Box<str>,
    content_type: Box<str>,
    timeout: f64,
    keepalive: f64,
    #[serde(deserialize_with = "fields")]
    headers: Map<String, Value>,
    #[serde(deserialize_with = "fields")]
    custom_fields_by_lua: Map<String, Value>,
    queue: QueueSettings,
    queue_size: Option<usize>,
    flush_timeout: Option<f64>,
    capture: Option<CaptureSettings>,
}

/// An HTTP server that takes entries.
pub(crate) struct Endpoint {
    pub(crate) uri: Uri,
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) terms: CallTerms,
    pub(crate) lender: Arc<dyn Lender>,
}

/// Records, as the body of a request.
struct Records {
    endpoint: Endpoint,
    /// Whether several may come at once: they are a list then, also if there is but one.
    listed: bool,
}

impl Definition for HttpLog {
    const NAME: &'static str = "http-log";
    const PRIORITY: i32 = 12;
    const PHASES: Phases = Phases::of(&[Phase::Log]);
    const SCHEMA: &'static str = include_str!("http_log.json");

    type Config = Config;

    fn build(config: Config, env: &BuildEnv) -> Result<Self, BuildError> {
        let usual = (1, 2.0);
        let queue = config
            .queue
            .clone()
            .with_old_names(config.queue_size, config.flush_timeout, usual);
        let (uri, user) = endpoint(&config.http_endpoint, "/http_endpoint")?;
        let mut headers = headers(&config.headers)?;
        if let Some(user) = user {
            if headers.contains_key(AUTHORIZATION) {
                let message = "specifying both an 'Authorization' header and user info in 'http_endpoint' is not allowed";
                return Err(setting("", message));
            }
            headers.insert(AUTHORIZATION, user);
        }
        let content_type = HeaderValue::try_from(&*config.content_type);
        headers.insert(
            CONTENT_TYPE,
            content_type.map_err(|_| setting("/content_type", "cannot be sent"))?,
        );
        let sink = Records {
            listed: queue.max_batch_size > 1,
            endpoint: Endpoint {
                uri,
                method: config
                    .method
                    .parse()
                    .map_err(|_| setting("/method", "is not a method"))?,
                headers,
                terms: terms(config.timeout, config.keepalive),
                lender: Arc::clone(env.lender()),
            },
        };
        let recorder = Recorder::new(Some(&config.custom_fields_by_lua), config.capture.clone())?;
        Ok(Self {
            recorder,
            queue: Queue::open(env, Self::NAME, &config, &queue, Arc::new(sink)),
        })
    }
}

impl Plugin for HttpLog {
    type State = ();

    fn needs(&self) -> Needs {
        self.recorder.needs()
    }

    fn log(&self, cx: &mut LogCx<'_>) {
        self.queue.push(self.recorder.entry(&cx.parts));
    }
}

impl Sink for Records {
    fn deliver(&self, batch: &[Bytes]) -> Lent<'static, Result<(), Undelivered>> {
        let body = match batch {
            [one] if !self.listed => one.clone(),
            entries => {
                let mut list =
                    Vec::with_capacity(entries.iter().map(|entry| entry.len() + 1).sum::<usize>() + 2);
                for entry in entries {
                    list.push(if list.is_empty() { b'[' } else { b',' });
                    list.extend_from_slice(entry);
                }
                list.push(b']');
                list.into()
            }
        };
        self.endpoint.send(body)
    }
}

impl Endpoint {
    /// Sends a body, and looks at the status of the answer.
    pub(crate) fn send(&self, body: Bytes) -> Lent<'static, Result<(), Undelivered>> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let (lender, terms) = (Arc::clone(&self.lender), self.terms.clone());
        Box::pin(async move {
            let status = lender.http().send(request, terms).await?.status();
            match status.as_u16() < 400 {
                true => Ok(()),
                false => Err(Undelivered::Status(status)),
            }
        })
    }
}

/// The terms of calls with times in milliseconds, as Kong writes them. Like Kong, log servers are not verified.
pub(crate) fn terms(timeout: f64, keepalive: f64) -> CallTerms {
    let mut terms = CallTerms::default();
    terms.timeout = Duration::try_from_secs_f64(timeout / 1000.0).unwrap_or(terms.timeout);
    terms.keepalive = Duration::try_from_secs_f64(keepalive / 1000.0)
        .ok()
        .filter(|keepalive| !keepalive.is_zero());
    terms.verify = false;
    terms
}

/// A URL that can be called, and the credentials that were in it.
pub(crate) fn endpoint(url: &str, place: &str) -> Result<(Uri, Option<HeaderValue>), BuildError> {
    let missing = |what: &str| setting(place, &format!("missing {what} in url"));
    let (scheme, rest) = url.split_once("://").ok_or_else(|| missing("scheme"))?;
    if !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") {
        return Err(setting(
            place,
            "is no address that can be called; write it as `http://host:port/path`",
        ));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).ok_or_else(|| missing("host"))?;
    let (user, place_of) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    if place_of.is_empty() || place_of.starts_with(':') {
        return Err(missing("host"));
    }
    let path = path.split('#').next().unwrap_or_default();
    let slash = if path.starts_with('/') { "" } else { "/" };
    let uri = format!("{scheme}://{place_of}{slash}{path}").parse();
    let uri = uri.map_err(|_| {
        setting(
            place,
            "is no address that can be called; write it as `http://host:port/path`",
        )
    })?;
    let user = user.map(|user| {
        let basic = format!("Basic {}", STANDARD.encode(user));
        let mut basic =
            HeaderValue::try_from(basic).map_err(|_| setting(place, "has user info that cannot be sent"))?;
        basic.set_sensitive(true);
        Ok(basic)
    });
    Ok((uri, user.transpose()?))
}

/// Headers that are sent with every call.
pub(crate) fn headers(fields: &Map<String, Value>) -> Result<HeaderMap, BuildError> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let place = format!("/headers/{}", name.replace('~', "~0").replace('/', "~1"));
        for kept in ["Host", "Content-Length", "Content-Type"] {
            if name.eq_ignore_ascii_case(kept) {
                return Err(setting(&place, &format!("cannot contain '{kept}' header")));
            }
        }
        let read = HeaderName::try_from(name.as_str());
        let read = read.map_err(|_| {
            setting(
                &place,
                &format!("bad header name '{name}', allowed characters are A-Z, a-z, 0-9, '_', and '-'"),
            )
        })?;
        let value = value.as_str().and_then(|value| HeaderValue::try_from(value).ok());
        headers.insert(
            read,
            value.ok_or_else(|| setting(&place, "cannot be sent in a header"))?,
        );
    }
    Ok(headers)
}

fn setting(pointer: &str, message: &str) -> BuildError {
    BuildError::Setting {
        pointer: pointer.into(),
        message: message.into(),
    }
}

#[cfg(test)]
mod tests;
