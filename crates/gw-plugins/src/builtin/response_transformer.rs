//! `response-transformer`: changes headers and JSON members before the client gets the response.

use http::Method;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde_json::value::{RawValue, to_raw_value};

use super::edit::{self, Edits, Headers, Members};
use crate::cx::ResponseCx;
use crate::env::BuildEnv;
use crate::phase::{Phase, Phases};
use crate::plugin::{BodyNeed, BuildError, Definition, Needs, Plugin};

pub(crate) struct ResponseTransformer {
    headers: Edits<HeaderName, HeaderValue>,
    json: Edits<Box<str>, Box<RawValue>>,
}

#[derive(serde::Deserialize)]
pub(crate) struct Config {
    remove: Lists,
    rename: Lists,
    replace: Lists,
    add: Lists,
    append: Lists,
}

#[derive(serde::Deserialize)]
struct Lists {
    json: Vec<String>,
    /// Only the lists of values have it; the schema sees to that.
    json_types: Option<Vec<Kind>>,
    headers: Vec<String>,
}

#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Boolean,
    Number,
    String,
}

impl Definition for ResponseTransformer {
    const NAME: &'static str = "response-transformer";
    const PRIORITY: i32 = 800;
    const PHASES: Phases = Phases::of(&[Phase::HeaderFilter]);
    const SCHEMA: &'static str = include_str!("response_transformer.json");

    type Config = Config;

    fn build(config: Config, _: &BuildEnv) -> Result<Self, BuildError> {
        Ok(Self {
            headers: headers(&config)?,
            json: members(&config)?,
        })
    }
}

fn headers(config: &Config) -> Result<Edits<HeaderName, HeaderValue>, BuildError> {
    let mut edits = Edits::default();
    for (position, item) in config.remove.headers.iter().enumerate() {
        let name = edit::split(item).map_or("", |(name, _)| name);
        edits
            .remove
            .push(edit::header_name(name, &format!("/remove/headers/{position}"))?);
    }
    for (position, item) in config.rename.headers.iter().enumerate() {
        let pointer = format!("/rename/headers/{position}");
        let (old, new) = edit::split(item).unwrap_or_default();
        edits.rename.push((
            edit::header_name(old, &pointer)?,
            edit::header_name(new.trim(), &pointer)?,
        ));
    }
    let lists = [
        (&config.replace, "replace", &mut edits.replace),
        (&config.add, "add", &mut edits.add),
        (&config.append, "append", &mut edits.append),
    ];
    for (lists, section, made) in lists {
        for (position, item) in lists.headers.iter().enumerate() {
            let pointer = format!("/{section}/headers/{position}");
            let (name, value) = edit::split(item).unwrap_or_default();
            let name = edit::header_name(name, &pointer)?;
            // Note: Kong takes a header without a value, and does nothing with it.
            if !value.trim().is_empty() {
                made.push((name, edit::header_text(value, &pointer)?));
            }
        }
    }
    Ok(edits)
}

fn members(config: &Config) -> Result<Edits<Box<str>, Box<RawValue>>, BuildError> {
    let mut edits = Edits::default();
    for item in &config.remove.json {
        edits
            .remove
            .extend(edit::split(item).map(|(name, _)| name.into()));
    }
    for (position, item) in config.rename.json.iter().enumerate() {
        let (old, new) = edit::split(item).unwrap_or_default();
        if new.is_empty() {
            return Err(BuildError::Setting {
                pointer: format!("/rename/json/{position}").into(),
                message: format!("key '{old}' has no new name").into(),
            });
        }
        edits.rename.push((old.into(), new.into()));
    }
    let lists = [
        (&config.replace, &mut edits.replace),
        (&config.add, &mut edits.add),
        (&config.append, &mut edits.append),
    ];
    for (lists, made) in lists {
        let types = lists.json_types.as_deref().unwrap_or_default();
        for (position, item) in lists.json.iter().enumerate() {
            let (name, value) = edit::split(item).unwrap_or_default();
            // Note: as in Kong, a text that is not of its type adds nothing.
            if let Some(value) = typed(value, types.get(position).copied().unwrap_or(Kind::String)) {
                made.push((name.into(), value));
            }
        }
    }
    Ok(edits)
}

/// The text as a value of JSON.
fn typed(text: &str, kind: Kind) -> Option<Box<RawValue>> {
    match kind {
        _ if text.is_empty() => None,
        Kind::String => Some(edit::written(text)),
        Kind::Boolean => to_raw_value(&(text == "true")).ok(),
        Kind::Number => {
            let number: serde_json::Number = serde_json::from_str(text.trim()).ok()?;
            to_raw_value(&number).ok()
        }
    }
}

impl Plugin for ResponseTransformer {
    type State = ();

    fn needs(&self) -> Needs {
        match self.json.is_empty() {
            true => Needs::none(),
            false => Needs::none().response_body(),
        }
    }

    fn response_body(&self, cx: &mut ResponseCx<'_>) -> BodyNeed {
        match self.edits_body(cx) {
            true => BodyNeed::Whole { max: edit::MOST_BODY },
            false => BodyNeed::None,
        }
    }

    fn header_filter(&self, cx: &mut ResponseCx<'_>) {
        let edits_body = self.edits_body(cx);
        self.headers
            .apply(&mut Headers(cx.headers_mut()), |value| Some(value.clone()));
        if self.json.is_empty() {
            return;
        }
        if edits_body
            && let Some(body) = cx.body().cloned()
            && let Some(mut members) = Members::read(&body)
            && self.json.apply(&mut members, |value| Some(value.clone()))
        {
            cx.set_body(members.write().into());
        } else if cx.facts().method == Method::HEAD && is_json(cx.headers()) {
            // The length of the body that GET would have is not known.
            cx.headers_mut().remove(CONTENT_LENGTH);
        }
    }
}

impl ResponseTransformer {
    /// Whether the response has a body to edit: a JSON one, and not compressed.
    fn edits_body(&self, cx: &ResponseCx<'_>) -> bool {
        let status = cx.status();
        let has_body = cx.facts().method != Method::HEAD
            && !status.is_informational()
            && ![StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
        let encoding = cx.headers().get(CONTENT_ENCODING);
        let is_plain = encoding.is_none_or(|encoding| encoding == "identity");
        !self.json.is_empty() && has_body && is_plain && is_json(cx.headers())
    }
}

/// Whether the body is `application/json`, with whatever parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let types = headers.get(CONTENT_TYPE).and_then(|types| types.to_str().ok());
    types.is_some_and(|types| {
        types.split(',').any(|one| {
            let essence = one.split(';').next().unwrap_or_default().trim();
            ["application/json", "application/*", "*/*"]
                .iter()
                .any(|json| essence.eq_ignore_ascii_case(json))
        })
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{Request, Response};
    use serde_json::{Value, json};

    use super::*;
    use crate::kit::{Answered, Kit};
    use crate::registry::Registry;

    fn respond(settings: Value, method: &str, headers: &[(&str, &str)], body: &str) -> Answered {
        let kit = Kit::new::<ResponseTransformer>(settings);
        let request = Request::builder()
            .method(method)
            .uri("/")
            .body(Bytes::new())
            .unwrap();
        let mut ran = kit.access(request);
        let response = headers
            .iter()
            .fold(Response::builder(), |response, (name, value)| {
                response.header(*name, *value)
            });
        let (first, second) = body.split_at(body.len() / 2);
        let chunks = [first, second]
            .map(|chunk| Bytes::from(chunk.to_owned()))
            .to_vec();
        kit.respond(&mut ran, response.body(chunks).unwrap())
    }

    #[test]
    fn headers_are_edited_in_kongs_order() {
        let settings = json!({
            "remove": { "headers": ["Server", "x-powered-by: PHP"] },
            "rename": { "headers": ["X-Old:X-New"] },
            "replace": { "headers": ["X-There: replaced", "X-Absent:no"] },
            "add": { "headers": ["X-There:no", "X-Added: $(latencies.request)", "X-Env:${latency}", "X-Nothing:"] },
            "append": { "headers": ["X-There:more"] },
        });
        let answered = respond(
            settings,
            "GET",
            &[
                ("server", "x"),
                ("x-powered-by", "x"),
                ("x-old", "1"),
                ("x-old", "2"),
                ("x-new", "3"),
                ("x-there", "a"),
                ("x-there", "b"),
            ],
            "body",
        );
        let headers = answered.head.headers;
        let all = |name: &str| {
            headers
                .get_all(name)
                .iter()
                .map(|value| value.to_str().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(all("x-new"), ["1", "2"]);
        assert_eq!(all("x-there"), ["replaced", "more"]);
        assert_eq!(
            all("x-added"),
            ["$(latencies.request)"],
            "there are no templates here"
        );
        assert_eq!(all("x-env"), ["${latency}"]);
        for absent in ["server", "x-powered-by", "x-old", "x-absent", "x-nothing"] {
            assert!(!headers.contains_key(absent), "{absent}");
        }
        assert_eq!(answered.body, "body");
    }

    #[test]
    fn members_are_edited_with_their_types() {
        let settings = json!({
            "remove": { "json": ["gone"] },
            "rename": { "json": ["old:new"] },
            "replace": { "json": ["there:5", "absent:1", "flag:true"], "json_types": ["number", "string", "boolean"] },
            "add": { "json": ["n:1.50", "b:false", "s:x\"y", "bad:text"], "json_types": ["number", "boolean", "string", "number"] },
            "append": { "json": ["list:2", "there:3"], "json_types": ["number"] },
        });
        let body = r#"{"gone":1,"old":{"x":1e400},"there":"x","flag":0,"list":[1]}"#;
        let expected =
            r#"{"new":{"x":1e400},"there":[5,"3"],"flag":true,"list":[1,2],"n":1.5,"b":false,"s":"x\"y"}"#;
        for content_type in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "text/html, application/json",
        ] {
            let answered = respond(settings.clone(), "GET", &[("content-type", content_type)], body);
            assert_eq!(answered.body, expected);
        }
    }

    #[test]
    fn other_bodies_pass_as_they_are() {
        let settings = json!({ "remove": { "json": ["a"] }, "add": { "json": ["b:1"] } });
        let table: [(&[(&str, &str)], &str); 7] = [
            (&[("content-type", "text/plain")], r#"{"a":1}"#),
            (&[("content-type", "application/problem+json")], r#"{"a":1}"#),
            (&[], r#"{"a":1}"#),
            (
                &[("content-type", "application/json"), ("content-encoding", "gzip")],
                r#"{"a":1}"#,
            ),
            (&[("content-type", "application/json")], r#"[{"a":1}]"#),
            (&[("content-type", "application/json")], r#"{"a":1"#),
            (&[("content-type", "application/json")], ""),
        ];
        for (headers, body) in table {
            assert_eq!(
                respond(settings.clone(), "GET", headers, body).body,
                body,
                "{headers:?}"
            );
        }
    }

    #[test]
    fn a_length_that_is_not_known_is_not_told() {
        let settings = json!({ "remove": { "json": ["a"] } });
        let headers = [("content-type", "application/json"), ("content-length", "7")];
        let answered = respond(settings, "HEAD", &headers, "");
        assert!(!answered.head.headers.contains_key("content-length"));
        let answered = respond(json!({ "add": { "headers": ["a:b"] } }), "HEAD", &headers, "");
        assert_eq!(answered.head.headers["content-length"], "7");
    }

    #[test]
    fn wrong_settings_are_refused_by_their_place() {
        for (settings, pointer, message) in [
            (
                json!({ "add": { "headers": ["X A:b"] } }),
                "/config/add/headers/0",
                "'X A' is not a valid header",
            ),
            (
                json!({ "add": { "json": ["a"] } }),
                "/config/add/json/0",
                "is not written as `name:value`",
            ),
            (
                json!({ "add": { "json": ["a:1"], "json_types": ["int"] } }),
                "/config/add/json_types/0",
                "expected one of",
            ),
            (
                json!({ "rename": { "json": ["a:"] } }),
                "/config/rename/json/0",
                "key 'a' has no new name",
            ),
            (
                json!({ "remove": { "json_types": [] } }),
                "/config/remove/json_types",
                "unknown field",
            ),
        ] {
            let mut document = json!({ "name": "response-transformer", "config": settings });
            let registry = Registry::new().with::<ResponseTransformer>();
            let found = registry
                .complete(document.as_object_mut().unwrap())
                .unwrap_err()
                .into_vec();
            assert_eq!(found[0].pointer, pointer);
            assert!(found[0].message.contains(message), "{found:?}");
        }
    }
}
