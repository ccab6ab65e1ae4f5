//! Spans as OTLP has them: the messages of `opentelemetry/proto/collector/trace/v1`, as far as they are sent.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::plugin::BuildError;

/// The kind of a span that answers.
pub(super) const SERVER: i32 = 2;
/// The kind of a span that asks.
pub(super) const CLIENT: i32 = 3;

/// The status of what has failed.
const ERROR: i32 = 2;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(super) name: String,
    #[prost(int32, tag = "6")]
    pub(super) kind: i32,
    #[prost(fixed64, tag = "7")]
    pub(super) start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    pub(super) end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    pub(super) attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    pub(super) status: Option<Status>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Status {
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(int32, tag = "3")]
    pub(super) code: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(message, optional, tag = "2")]
    pub(super) value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 2, 3, 4")]
    pub(super) value: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Any {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(super) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Scope {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
}

/// `ScopeSpans`; the spans alone are an entry of the queue.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    pub(super) scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub(super) spans: Vec<Span>,
}

/// `ResourceSpans`, without its spans.
#[derive(Clone, PartialEq, prost::Message)]
struct ResourceHead {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
}

/// What all batches have in common, encoded.
pub(super) struct Batch {
    resource: Vec<u8>,
    scope: Vec<u8>,
}

impl Span {
    pub(super) fn new(trace: [u8; 16], id: [u8; 8], parent: Option<[u8; 8]>, name: &str, kind: i32) -> Self {
        Self {
            trace_id: trace.to_vec(),
            span_id: id.to_vec(),
            parent_span_id: parent.map(|parent| parent.to_vec()).unwrap_or_default(),
            name: name.to_owned(),
            kind,
            ..Self::default()
        }
    }

    /// It began then, and took so long.
    pub(super) fn last(&mut self, begun: u64, took: Duration) {
        self.start_time_unix_nano = begun;
        self.end_time_unix_nano = begun.saturating_add(nanos(took));
    }

    pub(super) fn text(&mut self, key: &str, value: impl Into<String>) {
        self.attributes.push(KeyValue::new(key, Any::Text(value.into())));
    }

    pub(super) fn number(&mut self, key: &str, value: i64) {
        self.attributes.push(KeyValue::new(key, Any::Int(value)));
    }

    pub(super) fn failed(&mut self, why: &str) {
        self.status = Some(Status {
            message: why.to_owned(),
            code: ERROR,
        });
    }
}

impl KeyValue {
    fn new(key: &str, value: Any) -> Self {
        Self {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
        }
    }
}

/// The spans of an exchange, as an entry of the queue.
pub(super) fn entry(spans: Vec<Span>) -> Bytes {
    let part = ScopeSpans { scope: None, spans };
    part.encode_to_vec().into()
}

impl Batch {
    /// With these attributes of the resource, besides those that every resource has.
    pub(super) fn new(attributes: &Map<String, Value>, process: Uuid) -> Result<Self, BuildError> {
        let version = env!("CARGO_PKG_VERSION");
        let mut list = Vec::new();
        for (key, value) in [
            ("service.name", "kong"),
            ("service.instance.id", &*process.to_string()),
            ("service.version", version),
        ] {
            if !attributes.contains_key(key) {
                list.push(KeyValue::new(key, Any::Text(value.to_owned())));
            }
        }
        for (key, value) in attributes {
            let value = match value {
                Value::String(text) => Any::Text(text.clone()),
                Value::Bool(is) => Any::Bool(*is),
                Value::Number(number) => number
                    .as_i64()
                    .map_or_else(|| Any::Double(number.as_f64().unwrap_or_default()), Any::Int),
                _ => {
                    return Err(BuildError::Setting {
                        pointer: format!(
                            "/resource_attributes/{}",
                            key.replace('~', "~0").replace('/', "~1")
                        )
                        .into(),
                        message: "expected a string, a number or a boolean".into(),
                    });
                }
            };
            list.push(KeyValue::new(key, value));
        }
        let resource = ResourceHead {
            resource: Some(Resource { attributes: list }),
        };
        let scope = ScopeSpans {
            scope: Some(Scope {
                name: "kong-internal".to_owned(),
                version: version.to_owned(),
            }),
            spans: Vec::new(),
        };
        Ok(Self {
            resource: resource.encode_to_vec(),
            scope: scope.encode_to_vec(),
        })
    }

    /// An `ExportTraceServiceRequest` of these entries. Repeated fields may be put one after the other as they are.
    pub(super) fn of(&self, entries: &[Bytes]) -> Bytes {
        let spans = self.scope.len() + entries.iter().map(Bytes::len).sum::<usize>();
        let mut resource_spans = BytesMut::with_capacity(self.resource.len() + spans + 16);
        resource_spans.put_slice(&self.resource);
        encode_key(2, WireType::LengthDelimited, &mut resource_spans);
        encode_varint(spans as u64, &mut resource_spans);
        resource_spans.put_slice(&self.scope);
        for entry in entries {
            resource_spans.put_slice(entry);
        }
        let mut request = BytesMut::with_capacity(resource_spans.len() + 16);
        encode_key(1, WireType::LengthDelimited, &mut request);
        encode_varint(resource_spans.len() as u64, &mut request);
        request.put_slice(&resource_spans);
        request.freeze()
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
