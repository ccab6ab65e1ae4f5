//! `batch-requests`: answers one request with the answers to many.

mod batch;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::builtin::{composition, keeping};
use crate::cx::RequestCx;
use crate::env::{BuildEnv, Lender};
use crate::phase::{Phase, Phases};
use crate::plugin::{BodyNeed, BuildError, Definition, Needs, Plugin, Waiting, WaitingPlugin};
use crate::reply::{Flow, Reply};

use batch::Batch;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

pub(crate) struct BatchRequests {
    config: Config,
    lender: Arc<dyn Lender>,
}

#[derive(Deserialize)]
pub(crate) struct Config {
    max_body_size: usize,
    max_items: usize,
    concurrency: usize,
    max_answer_size: usize,
    max_total_size: usize,
    max_timeout: u64,
}

impl Definition for BatchRequests {
    const NAME: &'static str = "batch-requests";
    /// In the place of an upstream: after all that decides whether a request gets there.
    const PRIORITY: i32 = -100;
    const PHASES: Phases = Phases::of(&[Phase::Access]);
    const SCHEMA: &'static str = include_str!("batch_requests.json");

    type Config = Config;

    fn build(config: Config, env: &BuildEnv) -> Result<Self, BuildError> {
        Ok(Self {
            config,
            lender: Arc::clone(env.lender()),
        })
    }
}

impl Plugin for BatchRequests {
    type State = ();

    fn needs(&self) -> Needs {
        Needs::none().request_body(BodyNeed::Whole {
            max: self.config.max_body_size,
        })
    }
}

impl WaitingPlugin for BatchRequests {
    fn access_waiting<'a>(&'a self, cx: RequestCx<'a>) -> Waiting<'a> {
        Box::pin(async move {
            if cx.method() != Method::POST {
                let reply = Reply::message(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
                return reply.header(ALLOW, HeaderValue::from_static("POST")).into();
            }
            if composition::is_inner(&cx) {
                // Each would multiply what the one around it asks for.
                return refused(
                    StatusCode::LOOP_DETECTED,
                    "a batch cannot be part of another request",
                );
            }
            match Batch::read(cx.body(), self.config.max_items) {
                Ok(batch) => self.answer(&cx, batch).await,
                Err(message) => refused(StatusCode::BAD_REQUEST, &message),
            }
        })
    }
}

fn refused(status: StatusCode, message: &str) -> Flow {
    let reply = Reply::bytes(status, json!({ "error_msg": message }).to_string());
    reply.header(CONTENT_TYPE, JSON).into()
}

impl BatchRequests {
    async fn answer(&self, cx: &RequestCx<'_>, batch: Batch) -> Flow {
        keeping::refuse(cx); // its body says what it is about, and no cache looks at that
        let time = Duration::from_millis(batch.timeout.min(self.config.max_timeout));
        let (common, outer) = (&batch.common, cx.headers());
        let (inner, tasks) = (cx.facts().inner, self.lender.tasks());
        let room = AtomicUsize::new(self.config.max_total_size);
        let room = &room;
        // Each is made when its turn comes: they may be many, and each has all that is common to them.
        let asked = batch
            .items
            .into_iter()
            .enumerate()
            .map(|(place, item)| async move {
                let Ok(request) = item.request(common, outer) else {
                    return (place, failed(431, "too many headers"));
                };
                let answer = composition::ask(inner, tasks, request, self.config.max_answer_size, time).await;
                (
                    place,
                    answer.map_or_else(
                        || failed(504, "upstream timeout"),
                        |answer| told_item(answer, room),
                    ),
                )
            });
        let mut items: Vec<_> = stream::iter(asked)
            .buffer_unordered(self.config.concurrency)
            .collect()
            .await;
        items.sort_unstable_by_key(|(place, _)| *place);
        let items = items.into_iter().map(|(_, item)| item).collect();
        let reply = Reply::bytes(StatusCode::OK, Value::Array(items).to_string());
        reply.header(CONTENT_TYPE, JSON).into()
    }
}

fn failed(status: u16, reason: &str) -> Value {
    json!({ "status": status, "reason": reason })
}

/// An answer as it stands in the list, if there is `room` for it.
fn told_item(answer: Response<Bytes>, room: &AtomicUsize) -> Value {
    let (head, body) = answer.into_parts();
    let taken = room.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(body.len()));
    if taken.is_err() {
        return failed(502, "the answers are too large");
    }
    let mut item = json!({
        "status": head.status.as_u16(),
        "reason": head.status.canonical_reason().unwrap_or_default(),
        "headers": told(&head.headers),
    });
    let has_none = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if has_none && body.is_empty() {
        return item;
    }
    match std::str::from_utf8(&body) {
        Ok(text) => item["body"] = text.into(),
        Err(_) => {
            item["body"] = STANDARD.encode(&body).into();
            item["body_encoding"] = "base64".into();
        }
    }
    item
}

/// The headers, each name as it is mostly written; several values are a list.
fn told(headers: &HeaderMap) -> Map<String, Value> {
    let told = headers.keys().map(|name| {
        let values = headers.get_all(name).iter();
        let mut values: Vec<Value> = values
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned().into())
            .collect();
        let value = match values.len() {
            1 => values.swap_remove(0),
            _ => Value::Array(values),
        };
        (title(name), value)
    });
    told.collect()
}

/// `content-type` as `Content-Type`.
fn title(name: &HeaderName) -> String {
    let mut begins = true;
    let letter = |letter: char| {
        let upper = std::mem::replace(&mut begins, letter == '-');
        if upper {
            letter.to_ascii_uppercase()
        } else {
            letter
        }
    };
    name.as_str().chars().map(letter).collect()
}

#[cfg(test)]
mod tests;
