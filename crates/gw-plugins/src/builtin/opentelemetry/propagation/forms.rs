//! The forms, one by one: how each is read and written.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::super::hex;
use super::{Context, Form};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const B3: HeaderName = HeaderName::from_static("b3");
const B3_TRACE: HeaderName = HeaderName::from_static("x-b3-traceid");
const B3_SPAN: HeaderName = HeaderName::from_static("x-b3-spanid");
const B3_PARENT: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const B3_SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const B3_FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");
const JAEGER: HeaderName = HeaderName::from_static("uber-trace-id");
const OT_TRACE: HeaderName = HeaderName::from_static("ot-tracer-traceid");
const OT_SPAN: HeaderName = HeaderName::from_static("ot-tracer-spanid");
const OT_SAMPLED: HeaderName = HeaderName::from_static("ot-tracer-sampled");
const AWS: HeaderName = HeaderName::from_static("x-amzn-trace-id");
const GCP: HeaderName = HeaderName::from_static("x-cloud-trace-context");
const DATADOG_TRACE: HeaderName = HeaderName::from_static("x-datadog-trace-id");
const DATADOG_SPAN: HeaderName = HeaderName::from_static("x-datadog-parent-id");
const DATADOG_PRIORITY: HeaderName = HeaderName::from_static("x-datadog-sampling-priority");

impl Form {
    /// The trace that the headers tell of in this form; none if they do not, or what they say is wrong.
    pub(super) fn read(self, headers: &HeaderMap) -> Option<Context> {
        let text = |name: &HeaderName| Some(headers.get(name)?.to_str().ok()?.trim());
        match self {
            Self::W3c => w3c(text(&TRACEPARENT)?),
            Self::B3 => {
                let debug = text(&B3_FLAGS).is_some_and(|flags| flags == "1");
                Some(Context {
                    trace: hex::bytes(text(&B3_TRACE)?)?,
                    span: hex::bytes(text(&B3_SPAN)?)?,
                    sampled: if debug {
                        Some(true)
                    } else {
                        text(&B3_SAMPLED).and_then(truth)
                    },
                })
            }
            Self::B3Single => b3_single(text(&B3)?),
            Self::Jaeger => jaeger(text(&JAEGER)?),
            Self::Ot => Some(Context {
                trace: hex::bytes(text(&OT_TRACE)?)?,
                span: hex::bytes(text(&OT_SPAN)?)?,
                sampled: text(&OT_SAMPLED).and_then(truth),
            }),
            Self::Aws => aws(text(&AWS)?),
            Self::Gcp => gcp(text(&GCP)?),
            Self::Datadog => {
                let trace: u64 = text(&DATADOG_TRACE)?.parse().ok().filter(|trace| *trace != 0)?;
                let span: u64 = text(&DATADOG_SPAN)?.parse().ok()?;
                Some(Context {
                    trace: u128::from(trace).to_be_bytes(),
                    span: span.to_be_bytes(),
                    sampled: text(&DATADOG_PRIORITY).and_then(|it| Some(it.parse::<i32>().ok()? > 0)),
                })
            }
        }
    }

    /// Tells of a trace in this form.
    pub(super) fn write(self, headers: &mut HeaderMap, context: &Context, parent: Option<[u8; 8]>) {
        let (trace, span) = (hex::text(&context.trace), hex::text(&context.span));
        let sampled = context.sampled != Some(false);
        let digit = if sampled { "1" } else { "0" };
        let mut put = |name: HeaderName, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        match self {
            Self::W3c => put(TRACEPARENT, format!("00-{trace}-{span}-0{digit}")),
            Self::B3 => {
                put(B3_TRACE, trace);
                put(B3_SPAN, span);
                put(B3_SAMPLED, digit.to_owned());
                if let Some(parent) = parent {
                    put(B3_PARENT, hex::text(&parent));
                }
            }
            Self::B3Single => {
                let parent = parent.map(|parent| format!("-{}", hex::text(&parent)));
                put(
                    B3,
                    format!("{trace}-{span}-{digit}{}", parent.unwrap_or_default()),
                );
            }
            Self::Jaeger => {
                let parent = parent.map_or_else(|| "0".to_owned(), |parent| hex::text(&parent));
                put(JAEGER, format!("{trace}:{span}:{parent}:0{digit}"));
            }
            Self::Ot => {
                put(OT_TRACE, trace);
                put(OT_SPAN, span);
                put(OT_SAMPLED, digit.to_owned());
            }
            Self::Aws => {
                let (time, rest) = trace.split_at_checked(8).unwrap_or_default();
                put(AWS, format!("Root=1-{time}-{rest};Parent={span};Sampled={digit}"));
            }
            Self::Gcp => {
                let span = u64::from_be_bytes(context.span);
                put(GCP, format!("{trace}/{span};o={digit}"));
            }
            Self::Datadog => {
                let [.., a, b, c, d, e, f, g, h] = context.trace;
                put(
                    DATADOG_TRACE,
                    u64::from_be_bytes([a, b, c, d, e, f, g, h]).to_string(),
                );
                put(DATADOG_SPAN, u64::from_be_bytes(context.span).to_string());
                put(DATADOG_PRIORITY, digit.to_owned());
            }
        }
    }
}

/// `version-trace-parent-flags`, the first three of a fixed length; a later version may have more.
fn w3c(text: &str) -> Option<Context> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_right = version.len() == 2 && trace.len() == 32 && span.len() == 16 && flags.len() == 2;
    let is_whole = version != "00" || parts.next().is_none();
    let flags = u8::from_str_radix(flags, 16).ok()?;
    u8::from_str_radix(version, 16)
        .ok()
        .filter(|version| *version != 0xff)?;
    (is_right && is_whole).then_some(())?;
    Some(Context {
        trace: hex::bytes(trace)?,
        span: hex::bytes(span)?,
        sampled: Some(flags & 1 == 1),
    })
}

/// `trace-span-sampled-parent`, the last two optional.
fn b3_single(text: &str) -> Option<Context> {
    let mut parts = text.split('-');
    Some(Context {
        trace: hex::bytes(parts.next()?)?,
        span: hex::bytes(parts.next()?)?,
        sampled: parts.next().and_then(truth),
    })
}

/// `trace:span:parent:flags`, the numbers without leading zeros.
fn jaeger(text: &str) -> Option<Context> {
    let mut parts = text.split(':');
    let (trace, span, _, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    Some(Context {
        trace: hex::bytes(trace)?,
        span: hex::bytes(span)?,
        sampled: Some(u8::from_str_radix(flags, 16).ok()? & 1 == 1),
    })
}

/// `Root=1-time-rest;Parent=span;Sampled=1`, in any order.
fn aws(text: &str) -> Option<Context> {
    let field = |name: &str| {
        let mut fields = text.split(';').filter_map(|field| field.trim().split_once('='));
        fields
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    };
    let root = field("Root")?.strip_prefix("1-")?.replace('-', "");
    Some(Context {
        trace: hex::bytes(&root)?,
        span: hex::bytes(field("Parent")?)?,
        sampled: field("Sampled").and_then(truth),
    })
}

/// `trace/span;o=1`, the span a decimal number.
fn gcp(text: &str) -> Option<Context> {
    let (trace, rest) = text.split_once('/')?;
    let (span, options) = rest
        .split_once(';')
        .map_or((rest, None), |(span, options)| (span, Some(options)));
    let span: u64 = span.parse().ok().filter(|span| *span != 0)?;
    Some(Context {
        trace: hex::bytes(trace)?,
        span: span.to_be_bytes(),
        sampled: options
            .and_then(|options| options.strip_prefix("o="))
            .and_then(truth),
    })
}

/// Whether it is sampled; `d`, debug, is.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "d" | "true" | "True" => Some(true),
        "0" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
