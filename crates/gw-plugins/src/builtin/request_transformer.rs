//! `request-transformer`: changes method, path, headers, query arguments and body before the request goes upstream.

mod settings;
mod template;

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode};

use self::settings::{Settings, Value};
use self::template::{Tables, Template};
use super::edit::{self, Edits, Format, Headers, Members, Multipart, Pairs, escape};
use crate::cx::RequestCx;
use crate::env::BuildEnv;
use crate::lua::{EvalError, Table};
use crate::phase::{Phase, Phases};
use crate::plugin::{BodyNeed, BuildError, Definition, Needs, Plugin};
use crate::reply::{Flow, Reply};

pub(crate) struct RequestTransformer {
    method: Option<Method>,
    uri: Option<Value<Box<str>>>,
    headers: Edits<HeaderName, Value<HeaderValue>>,
    /// Headers that are renamed to `Host`, and what it is replaced by.
    host_from: Vec<HeaderName>,
    host: Option<Value<HeaderValue>>,
    query: Edits<Box<str>, Value<Box<str>>>,
    body: Edits<Box<str>, Value<Box<str>>>,
    /// What the values refer to by their places.
    templates: Vec<Template>,
}

impl Definition for RequestTransformer {
    const NAME: &'static str = "request-transformer";
    const PRIORITY: i32 = 801;
    const PHASES: Phases = Phases::of(&[Phase::Access]);
    const SCHEMA: &'static str = include_str!("request_transformer.json");

    type Config = Settings;

    fn build(settings: Settings, _: &BuildEnv) -> Result<Self, BuildError> {
        settings.build()
    }
}

impl Plugin for RequestTransformer {
    type State = ();

    fn needs(&self) -> Needs {
        let mut needs = Needs::none();
        if !self.body.is_empty() || self.puts_form_into_query() {
            needs = needs.request_body(BodyNeed::Whole { max: edit::MOST_BODY });
        }
        if self
            .templates
            .iter()
            .any(|template| template.uses(Table::UriCaptures))
        {
            needs = needs.captures();
        }
        needs
    }

    fn access(&self, cx: &mut RequestCx<'_>) -> Flow {
        let Ok(rendered) = self.render(cx) else {
            return broken();
        };
        if let Some(uri) = &self.uri
            && !set_uri(cx, &text(uri, &rendered))
        {
            return broken();
        }
        if let Some(method) = &self.method {
            cx.set_method(method.clone());
        }
        self.edit_headers(cx, &rendered);
        self.edit_query(cx, &rendered);
        self.edit_body(cx, &rendered);
        Flow::Continue
    }
}

impl RequestTransformer {
    /// All templates by the request as it is: an edit does not see what another has done.
    fn render(&self, cx: &RequestCx<'_>) -> Result<Vec<Vec<u8>>, EvalError> {
        let tables = Tables::of(cx);
        self.templates
            .iter()
            .map(|template| template.render(&tables))
            .collect()
    }

    fn puts_form_into_query(&self) -> bool {
        let bodiless = [Method::GET, Method::HEAD, Method::TRACE];
        self.method
            .as_ref()
            .is_some_and(|method| bodiless.contains(method))
    }

    fn edit_headers(&self, cx: &mut RequestCx<'_>, rendered: &[Vec<u8>]) {
        for name in &self.host_from {
            if let Some(host) = cx.headers_mut().remove(name) {
                cx.set_host(host);
            }
        }
        if let Some(host) = self.host.as_ref().and_then(|host| header(host, rendered)) {
            cx.set_host(host);
        }
        self.headers
            .apply(&mut Headers(cx.headers_mut()), |value| header(value, rendered));
    }

    fn edit_query(&self, cx: &mut RequestCx<'_>, rendered: &[Vec<u8>]) {
        let is_form = || edit::format(cx.headers()) == Some(Format::Form);
        let form = match cx.body() {
            Some(body) if self.puts_form_into_query() && is_form() => body.clone(),
            _ => Bytes::new(),
        };
        if form.is_empty() && self.query.is_empty() {
            return;
        }
        let form = String::from_utf8_lossy(&form);
        let query = cx.uri().query().unwrap_or_default().to_owned();
        let mut pairs = Pairs::read(&query);
        pairs.extend(&form);
        let changed = self
            .query
            .apply(&mut pairs, |value| Some(text(value, rendered).into_owned()));
        if changed || !form.is_empty() {
            let query = pairs.write();
            cx.set_query(Some(&*escape::query(&query)).filter(|query| !query.is_empty()));
        }
    }

    fn edit_body(&self, cx: &mut RequestCx<'_>, rendered: &[Vec<u8>]) {
        if self.body.is_empty() {
            return;
        }
        let Some(format) = edit::format(cx.headers()) else {
            return;
        };
        let body = cx.body().cloned().unwrap_or_default();
        let value = |value: &Value<Box<str>>| text(value, rendered).into_owned();
        let made = match format {
            Format::Json => {
                let read = match body.is_empty() {
                    true => Some(Members::default()),
                    false => Members::read(&body),
                };
                read.and_then(|mut members| {
                    let changed = self
                        .body
                        .apply(&mut members, |known| Some(edit::written(&value(known))));
                    changed.then(|| members.write())
                })
            }
            Format::Form => std::str::from_utf8(&body).ok().and_then(|form| {
                let mut pairs = Pairs::read(form);
                let changed = self.body.apply(&mut pairs, |known| Some(value(known)));
                changed.then(|| pairs.write().into_bytes())
            }),
            Format::Multipart => edit::boundary(cx.headers()).and_then(|boundary| {
                let mut form = Multipart::read(&body, boundary)?;
                let changed = self.body.apply(&mut form, |known| Some(value(known)));
                changed.then(|| form.write())
            }),
        };
        if let Some(made) = made {
            cx.set_body(made.into());
        }
    }
}

/// The path for the upstream, and arguments that it brings before those of the request.
fn set_uri(cx: &mut RequestCx<'_>, uri: &str) -> bool {
    let (path, brought) = match uri.split_once('?') {
        Some((path, brought)) => (path, Some(brought)),
        None => (uri, None),
    };
    if let Some(brought) = brought {
        let query = match cx.uri().query() {
            Some(own) if !own.is_empty() => format!("{brought}&{own}"),
            _ => brought.to_owned(),
        };
        cx.set_query(Some(&escape::query(&query)));
    }
    cx.set_path(&escape::path(path))
}

/// What Kong answers when a template fails.
fn broken() -> Flow {
    Reply::message(StatusCode::INTERNAL_SERVER_ERROR, "An unexpected error occurred").into()
}

fn text<'v>(value: &'v Value<Box<str>>, rendered: &'v [Vec<u8>]) -> Cow<'v, str> {
    match value {
        Value::Fixed(text) => Cow::Borrowed(text),
        Value::Template(place) => String::from_utf8_lossy(rendered.get(*place).map_or(&[], Vec::as_slice)),
    }
}

fn header(value: &Value<HeaderValue>, rendered: &[Vec<u8>]) -> Option<HeaderValue> {
    match value {
        Value::Fixed(value) => Some(value.clone()),
        Value::Template(place) => edit::header_value(rendered.get(*place)?),
    }
}

#[cfg(test)]
mod tests;
