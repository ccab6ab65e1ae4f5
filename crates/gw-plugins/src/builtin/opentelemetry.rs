//! `opentelemetry`: traces requests, tells upstreams of the trace, and sends spans to a collector by OTLP over HTTP.

mod hex;
mod otlp;
mod propagation;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::builtin::http_log::{Endpoint, endpoint, headers, terms};
use crate::cx::{LogCx, LogParts, RequestCx, ResponseCx};
use crate::env::{BuildEnv, Lender, Lent};
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, Definition, Plugin};
use crate::queue::{Queue, QueueSettings, Sink, Undelivered};
use crate::reply::Flow;
use crate::settings::fields;

use otlp::{Batch, Span};
use propagation::{Context, Propagation, PropagationSettings};

pub(crate) struct Opentelemetry {
    propagation: Propagation,
    /// The share of traces that begin here and are sampled, of 2^64.
    sampled: u128,
    trace_header: Option<HeaderName>,
    queue: Queue,
    lender: Arc<dyn Lender>,
}

#[derive(Clone, Debug, serde::Deserialize)]
pub(crate) struct Config {
    traces_endpoint: Option<Box<str>>,
    endpoint: Option<Box<str>>,
    logs_endpoint: Option<Box<str>>,
    #[serde(deserialize_with = "fields")]
    headers: Map<String, Value>,
    #[serde(deserialize_with = "fields")]
    resource_attributes: Map<String, Value>,
    queue: QueueSettings,
    batch_span_count: Option<usize>,
    batch_flush_delay: Option<f64>,
    connect_timeout: f64,
    send_timeout: f64,
    read_timeout: f64,
    http_response_header_for_traceid: Option<Box<str>>,
    header_type: Option<Box<str>>,
    sampling_rate: Option<f64>,
    propagation: PropagationSettings,
}

/// A request's part in a trace.
#[derive(Debug, Default)]
pub(crate) struct Trace(Option<Part>);

#[derive(Debug)]
struct Part {
    trace: [u8; 16],
    /// The span before this one.
    parent: Option<[u8; 8]>,
    /// The request's span.
    request: [u8; 8],
    /// The span of the try that is answered, which the upstream is told.
    attempt: [u8; 8],
    sampled: bool,
    /// The forms in which it came.
    came: Option<propagation::Form>,
}

/// A collector.
struct Collector {
    endpoint: Endpoint,
    batch: Batch,
}

/// What tells this process from others of the same service.
struct ProcessId(Uuid);

impl Definition for Opentelemetry {
    const NAME: &'static str = "opentelemetry";
    const PRIORITY: i32 = 14;
    const PHASES: Phases = Phases::of(&[Phase::Rewrite, Phase::Access, Phase::HeaderFilter, Phase::Log]);
    const SCHEMA: &'static str = include_str!("opentelemetry.json");

    type Config = Config;

    fn build(config: Config, env: &BuildEnv) -> Result<Self, BuildError> {
        if config.logs_endpoint.is_some() {
            return Err(setting(
                "/logs_endpoint",
                "is not supported: traces are sent, logs are not; leave it out",
            ));
        }
        let (place, url) = match (&config.traces_endpoint, &config.endpoint) {
            (Some(url), _) => ("/traces_endpoint", url),
            (None, Some(url)) => ("/endpoint", url),
            (None, None) => return Err(setting("/traces_endpoint", "required field missing")),
        };
        let (uri, user) = endpoint(url, place)?;
        let mut headers = headers(&config.headers)?;
        if let Some(user) = user {
            headers.entry(http::header::AUTHORIZATION).or_insert(user);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let process = env.shared().get_or(|| ProcessId(Uuid::new_v4()));
        let sink = Collector {
            endpoint: Endpoint {
                uri,
                method: Method::POST,
                headers,
                terms: terms(
                    config.connect_timeout + config.send_timeout + config.read_timeout,
                    60_000.0,
                ),
                lender: Arc::clone(env.lender()),
            },
            batch: Batch::new(&config.resource_attributes, process.0)?,
        };
        let queue = config.queue.clone();
        let queue = queue.with_old_names(config.batch_span_count, config.batch_flush_delay, (200, 3.0));
        let trace_header = config.http_response_header_for_traceid.as_deref();
        Ok(Self {
            propagation: Propagation::new(&config.propagation, config.header_type.as_deref())?,
            sampled: share(config.sampling_rate.unwrap_or(1.0)),
            trace_header: trace_header
                .map(HeaderName::try_from)
                .transpose()
                .map_err(|_| setting("/http_response_header_for_traceid", "cannot name a header"))?,
            queue: Queue::open(env, Self::NAME, &config, &queue, Arc::new(sink)),
            lender: Arc::clone(env.lender()),
        })
    }
}

impl Plugin for Opentelemetry {
    type State = Trace;

    fn rewrite(&self, cx: &mut RequestCx<'_, Trace>) -> Flow {
        // As early as may be: what an authentication plugin refuses belongs to the trace too.
        cx.state.0 = Some(self.begin(cx.headers()));
        Flow::Continue
    }

    fn access(&self, cx: &mut RequestCx<'_, Trace>) -> Flow {
        // One that is bound to a consumer comes in only here.
        let part = match cx.state.0.take() {
            Some(part) => part,
            None => self.begin(cx.headers()),
        };
        let context = Context {
            trace: part.trace,
            span: part.attempt,
            sampled: Some(part.sampled),
        };
        self.propagation
            .inject(cx.headers_mut(), &context, part.parent, part.came);
        cx.state.0 = Some(part);
        Flow::Continue
    }

    fn header_filter(&self, cx: &mut ResponseCx<'_, Trace>) {
        if let (Some(name), Some(part)) = (&self.trace_header, &cx.state.0)
            && let Ok(value) = HeaderValue::try_from(hex::text(&part.trace))
        {
            cx.headers_mut().insert(name.clone(), value);
        }
    }

    fn log(&self, cx: &mut LogCx<'_, Trace>) {
        if let Some(part) = cx.state.0.take().filter(|part| part.sampled) {
            self.queue.push(otlp::entry(self.spans(&part, &cx.parts)));
        }
    }
}

impl Opentelemetry {
    /// Goes on with the trace that the headers tell of, or begins one.
    fn begin(&self, headers: &HeaderMap) -> Part {
        let came = self.propagation.extract(headers);
        let context = came.as_ref().map(|(_, context)| context);
        let trace = match context {
            Some(context) => context.trace,
            None => self.lender.random().max(1).to_be_bytes(),
        };
        // Who began a trace has decided; otherwise its last half does, so that all who see it decide alike.
        let sampled = context.and_then(|context| context.sampled).unwrap_or_else(|| {
            let [.., a, b, c, d, e, f, g, h] = trace;
            u128::from(u64::from_be_bytes([a, b, c, d, e, f, g, h])) < self.sampled
        });
        Part {
            trace,
            parent: context.map(|context| context.span),
            request: self.span_id(),
            attempt: self.span_id(),
            sampled,
            came: came.map(|(form, _)| form),
        }
    }

    fn span_id(&self) -> [u8; 8] {
        let [.., a, b, c, d, e, f, g, h] = self.lender.random().to_be_bytes();
        // All zeros name no span.
        u64::from_be_bytes([a, b, c, d, e, f, g, h]).max(1).to_be_bytes()
    }

    /// The spans of a request and of its tries.
    fn spans(&self, part: &Part, parts: &LogParts<'_>) -> Vec<Span> {
        let facts = &parts.facts;
        let begun = nanos(facts.now);
        let target = facts.target.map_or("/", |target| target.as_str());
        let host = facts.host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        let status = parts.status.as_u16();
        let mut request = Span::new(part.trace, part.request, part.parent, "kong", otlp::SERVER);
        request.last(begun, parts.total);
        request.text("http.method", facts.method.as_str());
        request.text("http.url", format!("{}://{host}{target}", facts.scheme.as_str()));
        request.text("http.host", host);
        request.text("http.scheme", facts.scheme.as_str());
        request.text("net.peer.ip", facts.client.to_string());
        request.text("kong.request.id", facts.request_id());
        request.number("http.status_code", i64::from(status));
        if let Some(route) = facts.route {
            let name = route.name.as_deref();
            request.text(
                "kong.route",
                name.map_or_else(|| route.id.to_string(), str::to_owned),
            );
        }
        if let Some(service) = facts.service {
            request.text(
                "kong.service",
                service.name.as_deref().unwrap_or(&service.target.host),
            );
        }
        if let Some(consumer) = parts.identity.consumer.as_deref() {
            let name = consumer.username.as_deref();
            request.text(
                "kong.consumer",
                name.map_or_else(|| consumer.id.to_string(), str::to_owned),
            );
        }
        if let Some(failure) = parts.failure {
            request.text("error.type", failure);
        }
        if status >= 500 {
            request.failed(parts.failure.unwrap_or_default());
        }
        let mut spans = vec![request];
        let count = parts.tries.count();
        let mut start = begun.saturating_add(otlp::nanos(parts.gateway));
        for position in 0..count {
            let Some(tried) = parts.tries.at(position) else {
                break;
            };
            let id = if position + 1 == count {
                part.attempt
            } else {
                self.span_id()
            };
            let mut span = Span::new(part.trace, id, Some(part.request), "kong.balancer", otlp::CLIENT);
            span.last(start, tried.elapsed);
            start = span.end_time_unix_nano;
            span.text("net.peer.name", &*tried.target);
            span.number("try_count", i64::try_from(position + 1).unwrap_or(i64::MAX));
            if let Some(address) = tried.address {
                span.text("net.peer.ip", address.ip().to_string());
                span.number("net.peer.port", i64::from(address.port()));
            }
            match tried.status {
                Some(status) => {
                    span.number("http.status_code", i64::from(status));
                    if status >= 500 {
                        span.failed("");
                    }
                }
                None => span.failed(tried.outcome),
            }
            spans.push(span);
        }
        spans
    }
}

impl Sink for Collector {
    fn deliver(&self, batch: &[Bytes]) -> Lent<'static, Result<(), Undelivered>> {
        self.endpoint.send(self.batch.of(batch))
    }
}

/// A share, of 2^64.
fn share(rate: f64) -> u128 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share is from 0 to 1, and a cast stops at the ends"
    )]
    let share = (rate.clamp(0.0, 1.0) * 18_446_744_073_709_551_616.0) as u128;
    share
}

fn nanos(time: SystemTime) -> u64 {
    otlp::nanos(
        time.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO),
    )
}

fn setting(pointer: &str, message: &str) -> BuildError {
    BuildError::Setting {
        pointer: pointer.into(),
        message: message.into(),
    }
}

#[cfg(test)]
mod tests;
