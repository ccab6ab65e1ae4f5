//! `aggregate`: answers one request with one JSON document, put together from the answers of several services.

mod compose;
mod part;
mod template;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Request, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use crate::builtin::{composition, keeping};
use crate::cx::RequestCx;
use crate::env::{BuildEnv, Lender};
use crate::lua::Table;
use crate::phase::{Phase, Phases};
use crate::plugin::{BodyNeed, BuildError, Definition, Needs, Plugin, Waiting, WaitingPlugin};
use crate::reply::{Flow, Reply};

use compose::{Composition, Merge, StatusMap};
use part::{Failed, Part, PartConfig};
use template::Sent;

/// Names the parts that have failed.
const FAILED: HeaderName = HeaderName::from_static("x-aggregate-failed");

pub(crate) struct Aggregate {
    parts: Vec<Part>,
    partial: Partial,
    timeout: Duration,
    merge: Merge,
    status: StatusCode,
    partial_status: StatusCode,
    status_map: StatusMap,
    headers: HeaderMap,
    errors_as: Option<Box<str>>,
    /// Bound: bytes of the client's body, if a part is sent it.
    most_body: Option<usize>,
    most_answer: usize,
    captures: bool,
    lender: Arc<dyn Lender>,
}

#[derive(Deserialize)]
pub(crate) struct Config {
    parts: Vec<PartConfig>,
    partial: Partial,
    timeout: u64,
    merge: Merge,
    status: u16,
    partial_status: Option<u16>,
    status_map: std::collections::HashMap<String, u16>,
    response_headers: std::collections::BTreeMap<String, String>,
    errors_as: Option<Box<str>>,
    max_body_size: usize,
    max_answer_size: usize,
}

/// What becomes of a part that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Partial {
    Fail,
    Omit,
    Null,
}

impl Definition for Aggregate {
    const NAME: &'static str = "aggregate";
    /// In the place of an upstream: after all that decides whether a request gets there.
    const PRIORITY: i32 = -110;
    const PHASES: Phases = Phases::of(&[Phase::Access]);
    const SCHEMA: &'static str = include_str!("aggregate.json");

    type Config = Config;

    fn build(config: Config, env: &BuildEnv) -> Result<Self, BuildError> {
        let status = |code: u16, pointer: &str| {
            StatusCode::from_u16(code).map_err(|_| setting(pointer, format!("{code} is no status")))
        };
        let mut parts: Vec<Part> = Vec::with_capacity(config.parts.len());
        for (position, part) in config.parts.into_iter().enumerate() {
            let part = Part::build(part, position, config.partial == Partial::Fail)?;
            if parts.iter().any(|other| other.name == part.name) {
                let message = format!(
                    "another part is called '{}' already; give each its own name",
                    part.name
                );
                return Err(setting(&format!("/parts/{position}/name"), message));
            }
            parts.push(part);
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &config.response_headers {
            let pointer = format!("/response_headers/{name}");
            headers.insert(
                part::header_name(name, &pointer)?,
                part::header_value(value, &pointer)?,
            );
        }
        Ok(Self {
            captures: parts.iter().any(|part| part.uses(Table::UriCaptures)),
            most_body: parts
                .iter()
                .any(|part| part.forward_body)
                .then_some(config.max_body_size),
            parts,
            partial: config.partial,
            timeout: Duration::from_millis(config.timeout),
            merge: config.merge,
            status: status(config.status, "/status")?,
            partial_status: status(config.partial_status.unwrap_or(config.status), "/partial_status")?,
            status_map: StatusMap::build(config.status_map)?,
            headers,
            errors_as: config.errors_as,
            most_answer: config.max_answer_size,
            lender: Arc::clone(env.lender()),
        })
    }
}

fn setting(pointer: &str, message: String) -> BuildError {
    BuildError::Setting {
        pointer: pointer.into(),
        message: message.into(),
    }
}

impl Plugin for Aggregate {
    type State = ();

    fn needs(&self) -> Needs {
        let needs = match self.most_body {
            Some(max) => Needs::none().request_body(BodyNeed::Whole { max }),
            None => Needs::none(),
        };
        if self.captures { needs.captures() } else { needs }
    }
}

impl WaitingPlugin for Aggregate {
    fn access_waiting<'a>(&'a self, cx: RequestCx<'a>) -> Waiting<'a> {
        Box::pin(async move {
            let sent = Sent {
                headers: cx.headers(),
                query: cx.uri().query().unwrap_or_default(),
                captures: cx.facts().captures,
            };
            if keeping::keeper(&cx).is_some_and(|keeper| !self.is_told_apart(&cx, keeper.told_apart())) {
                keeping::refuse(&cx);
            }
            let requests = self.parts.iter().map(|part| part.request(&cx, &sent));
            match requests.collect::<Option<Vec<_>>>() {
                Some(requests) => self.answer(&cx, requests).await,
                None => Reply::message(StatusCode::BAD_REQUEST, "Bad request").into(),
            }
        })
    }
}

impl Aggregate {
    /// Whether a cache that tells requests apart so may keep the document: the parts' routes find out who asks, by whatever
    /// they are sent.
    fn is_told_apart(&self, cx: &RequestCx<'_>, by: &keeping::ToldApart) -> bool {
        cx.facts().client_certificate.is_none() && self.parts.iter().all(|part| part.is_told_apart(cx, by))
    }

    /// Asks for all parts at once, and puts their answers together.
    async fn answer(&self, cx: &RequestCx<'_>, requests: Vec<Request<bytes::Bytes>>) -> Flow {
        let (inner, tasks) = (cx.facts().inner, self.lender.tasks());
        let asked = self
            .parts
            .iter()
            .zip(requests)
            .enumerate()
            .map(|(place, (part, request))| async move {
                let time = part.timeout.map_or(self.timeout, |time| time.min(self.timeout));
                let answer = composition::ask(inner, tasks, request, self.most_answer, time).await;
                (
                    place,
                    answer
                        .ok_or(Failed::TimedOut)
                        .and_then(|answer| part.read(answer)),
                )
            });
        let mut asked: FuturesUnordered<_> = asked.collect();
        let mut answers: Vec<Option<Result<_, Failed>>> = self.parts.iter().map(|_| None).collect();
        while let Some((place, answer)) = asked.next().await {
            let part = &self.parts[place];
            if let Err(failed) = &answer
                && part.required
                && part.default.is_none()
            {
                keeping::refuse(cx);
                return self.fail(part, failed); // the others are not waited for
            }
            answers[place] = Some(answer);
        }
        if answers.iter().any(|answer| !matches!(answer, Some(Ok(_)))) {
            keeping::refuse(cx); // next time it may be whole
        }
        self.compose(answers)
    }

    fn compose(&self, answers: Vec<Option<Result<Box<serde_json::value::RawValue>, Failed>>>) -> Flow {
        let mut composition = Composition::new(self.merge);
        let mut failures = Vec::new();
        for (part, answer) in self.parts.iter().zip(answers) {
            match answer.unwrap_or(Err(Failed::TimedOut)) {
                Ok(value) => composition.add(&part.name, value),
                Err(failed) => {
                    match (&part.default, self.partial) {
                        (Some(default), _) => composition.add(&part.name, default.clone()),
                        (None, Partial::Null) => composition.set(&part.name, compose::raw(&Value::Null)),
                        (None, Partial::Omit | Partial::Fail) => {}
                    }
                    failures.push((&*part.name, failed));
                }
            }
        }
        let status = if failures.is_empty() {
            self.status
        } else {
            self.partial_status
        };
        if let Some(name) = &self.errors_as {
            let told = failures
                .iter()
                .map(|(name, failed)| ((*name).to_owned(), failed.document()));
            composition.set(name, compose::raw(&Value::Object(told.collect())));
        }
        let mut reply = Reply::bytes(status, composition.write());
        reply
            .headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        reply.headers.extend(self.headers.clone());
        let names: Vec<_> = failures.iter().map(|(name, _)| *name).collect();
        if let Ok(names) = HeaderValue::try_from(names.join(", "))
            && !failures.is_empty()
        {
            reply.headers.insert(FAILED, names);
        }
        reply.into()
    }

    /// The whole has failed with this part.
    fn fail(&self, part: &Part, failed: &Failed) -> Flow {
        let status = self.status_map.status(failed);
        let mut reply = Reply::message(status, format!("part '{}' failed: {failed}", part.name));
        if let Ok(name) = HeaderValue::from_str(&part.name) {
            reply.headers.insert(FAILED, name);
        }
        reply.into()
    }
}

#[cfg(test)]
mod tests;
