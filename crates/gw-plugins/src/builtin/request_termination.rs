//! `request-termination`: answers in the upstream's place: with a message, a body, or an echo of the request.

mod echo;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use crate::cx::RequestCx;
use crate::env::BuildEnv;
use crate::limits::refused;
use crate::phase::{Phase, Phases};
use crate::plugin::{BodyNeed, BuildError, Definition, Needs, Plugin};
use crate::reply::{Flow, Reply};

/// Bound: bodies up to this size are echoed, in bytes.
const MAX_BODY: usize = 1024 * 1024;

pub(crate) struct RequestTermination {
    status: StatusCode,
    /// What is answered; nothing for an echo.
    body: Option<Bytes>,
    content_type: Option<HeaderValue>,
    message: Option<Box<str>>,
    /// Only requests with this header or query argument are answered.
    trigger: Option<(HeaderName, Box<str>)>,
}

#[derive(Debug, serde::Deserialize)]
pub(crate) struct Config {
    status_code: u16,
    message: Option<Box<str>>,
    content_type: Option<Box<str>>,
    body: Option<Box<str>>,
    echo: bool,
    trigger: Option<Box<str>>,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

impl Definition for RequestTermination {
    const NAME: &'static str = "request-termination";
    const PRIORITY: i32 = 2;
    const PHASES: Phases = Phases::of(&[Phase::Access]);
    const SCHEMA: &'static str = include_str!("request_termination.json");

    type Config = Config;

    fn build(config: Config, _env: &BuildEnv) -> Result<Self, BuildError> {
        let set = |text: Option<Box<str>>| text.filter(|text| !text.is_empty());
        let (message, body, content_type) = (set(config.message), set(config.body), set(config.content_type));
        let (has_body, has_type) = (body.is_some(), content_type.is_some());
        if message.is_some() && (has_body || has_type) {
            return Err(refused(
                "/message",
                "message cannot be used with content_type or body",
            ));
        }
        if has_type && !has_body {
            return Err(refused("/content_type", "content_type requires a body"));
        }
        if config.echo && (has_body || has_type) {
            return Err(refused("/echo", "echo cannot be used with content_type and body"));
        }
        let status = StatusCode::from_u16(config.status_code)
            .map_err(|_| refused("/status_code", "value should be between 200 and 599"))?;
        let message = message.or_else(|| default_message(status).map(Into::into));
        let content_type = content_type.map(|text| {
            HeaderValue::from_str(&text).map_err(|_| refused("/content_type", "cannot be sent in a header"))
        });
        let (body, content_type) = match (config.echo, body, &message) {
            (true, ..) => (None, Some(JSON)),
            (false, Some(body), _) => (Some(Bytes::from(body.into_string())), content_type.transpose()?),
            (false, None, Some(message)) => {
                let document = json!({ "message": message }).to_string();
                (Some(Bytes::from(document)), Some(JSON))
            }
            (false, None, None) => (Some(Bytes::new()), None),
        };
        let trigger = config.trigger.map(|name| {
            let header = HeaderName::from_bytes(name.as_bytes());
            let header = header.map_err(|_| {
                refused(
                    "/trigger",
                    "cannot name a header; use letters, digits, '-' and '_'",
                )
            });
            Ok((header?, name))
        });
        Ok(Self {
            status,
            body,
            content_type,
            message,
            trigger: trigger.transpose()?,
        })
    }
}

/// Kong's texts.
fn default_message(status: StatusCode) -> Option<&'static str> {
    Some(match status.as_u16() {
        401 => "Unauthorized",
        404 => "Not found",
        405 => "Method not allowed",
        500 => "An unexpected error occurred",
        502 => "Bad Gateway",
        503 => "Service unavailable",
        _ => return None,
    })
}

impl Plugin for RequestTermination {
    type State = ();

    fn needs(&self) -> Needs {
        let body = match self.body {
            Some(_) => BodyNeed::None,
            None => BodyNeed::Whole { max: MAX_BODY },
        };
        Needs::none().request_body(body)
    }

    fn access(&self, cx: &mut RequestCx<'_>) -> Flow {
        if !self.is_meant(cx) {
            return Flow::Continue;
        }
        let body = match &self.body {
            Some(body) => body.clone(),
            None => echo::of(cx, self.message.as_deref()).into(),
        };
        let mut headers = HeaderMap::new();
        if let Some(content_type) = &self.content_type {
            headers.insert(CONTENT_TYPE, content_type.clone());
        }
        let reply = Reply::bytes(self.status, body);
        Reply { headers, ..reply }.into()
    }
}

impl RequestTermination {
    fn is_meant(&self, cx: &RequestCx<'_>) -> bool {
        let Some((header, argument)) = &self.trigger else {
            return true;
        };
        let query = cx.uri().query().unwrap_or_default().as_bytes();
        cx.headers().contains_key(header)
            || form_urlencoded::parse(query).any(|(name, _)| *name == **argument)
    }
}

#[cfg(test)]
mod tests;
