//! Answers: a status, a document, and the headers that every answer has.

use std::time::Instant;

use bytes::Bytes;
use gw_store::Revision;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS, ALLOW, CONNECTION, CONTENT_LENGTH,
    CONTENT_TYPE, ETAG, RETRY_AFTER, SERVER,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use serde_json::Value;

use crate::conditions::Conditions;
use crate::problem::Problem;

/// The name and version of the gateway.
const SERVER_NAME: &str = concat!("gw/", env!("CARGO_PKG_VERSION"));

const ADMIN_LATENCY: HeaderName = HeaderName::from_static("x-kong-admin-latency");
const CONFIG_REVISION: HeaderName = HeaderName::from_static("x-config-revision");
const CONFIG_APPLIED: HeaderName = HeaderName::from_static("x-config-applied");

/// What is to be answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Option<Value>,
    /// A document in the place of `body` that is written already, because it is long.
    pub(crate) written: Option<Bytes>,
    /// What the body is; JSON but for what is `written`.
    pub(crate) media_type: &'static str,
    /// The revision the answer is about; none = the newest.
    pub(crate) revision: Option<Revision>,
    /// Stored, but not served by this node in time.
    pub(crate) pending: bool,
    /// The methods of the path.
    pub(crate) allow: Option<String>,
    /// To be asked for again, in a second.
    pub(crate) again: bool,
    /// Of the process that follows this one.
    pub(crate) elsewhere: bool,
    /// The ETag of what is answered.
    pub(crate) tag: Option<String>,
    /// Further headers.
    pub(crate) headers: HeaderMap,
}

impl Answer {
    pub(crate) fn ok(body: Value, revision: Revision) -> Self {
        Self {
            body: Some(body),
            revision: Some(revision),
            ..Self::empty(StatusCode::OK)
        }
    }

    pub(crate) fn empty(status: StatusCode) -> Self {
        Self {
            status,
            body: None,
            written: None,
            media_type: "application/json; charset=utf-8",
            revision: None,
            pending: false,
            allow: None,
            again: false,
            elsewhere: false,
            tag: None,
            headers: HeaderMap::new(),
        }
    }

    /// With an ETag; 304 to a client that has it.
    pub(crate) fn tagged(self, tag: Option<String>, conditions: &Conditions) -> Self {
        let is_known = tag.as_deref().is_some_and(|tag| conditions.has(tag));
        let answer = if is_known {
            Self {
                revision: self.revision,
                ..Self::empty(StatusCode::NOT_MODIFIED)
            }
        } else {
            self
        };
        Self { tag, ..answer }
    }

    /// With a header that may hold anything; what cannot stand in one is left out of it.
    pub(crate) fn with(mut self, name: HeaderName, text: &str) -> Self {
        let text: String = text.chars().filter(|letter| !letter.is_control()).collect();
        if let Ok(value) = HeaderValue::try_from(text) {
            self.headers.insert(name, value);
        }
        self
    }

    /// The response to a request that began at `started`; `head` is the newest revision.
    pub(crate) fn into_response(
        self,
        request: &Parts,
        head: Revision,
        started: Instant,
    ) -> Response<Full<Bytes>> {
        let body = self
            .written
            .or_else(|| self.body.map(|body| Bytes::from(body.to_string())));
        let mut response = Response::new(Full::default());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(SERVER, HeaderValue::from_static(SERVER_NAME));
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(CONFIG_REVISION, self.revision.unwrap_or(head).0.into());
        if self.pending {
            headers.insert(CONFIG_APPLIED, HeaderValue::from_static("pending"));
        }
        if self.again {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.elsewhere {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(tag) = self.tag.and_then(|tag| HeaderValue::try_from(tag).ok()) {
            headers.insert(ETAG, tag);
        }
        headers.extend(self.headers);
        if let Some(allow) = self.allow.and_then(|allow| HeaderValue::try_from(allow).ok()) {
            headers.insert(ALLOW, allow.clone());
            if request.method == Method::OPTIONS {
                headers.insert(ACCESS_CONTROL_ALLOW_METHODS, allow);
                let asked = request.headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
                let asked = asked.unwrap_or(HeaderValue::from_static("Content-Type"));
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked);
            }
        }
        if let Some(body) = &body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
            headers.insert(CONTENT_LENGTH, body.len().into());
        }
        let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        headers.insert(ADMIN_LATENCY, millis.into());
        match body {
            Some(body) if request.method != Method::HEAD => response.map(|_| Full::new(body)),
            _ => response,
        }
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Self {
        let status = problem.status();
        let allow = match &problem {
            Problem::MethodNotAllowed { allow } => Some(allow.clone()),
            _ => None,
        };
        Self {
            again: problem.passes(),
            elsewhere: matches!(problem, Problem::HandedOver),
            tag: match &problem {
                Problem::Unmet { state, .. } => state.clone(),
                _ => None,
            },
            body: Some(problem.document()),
            allow,
            ..Self::empty(status)
        }
    }
}
