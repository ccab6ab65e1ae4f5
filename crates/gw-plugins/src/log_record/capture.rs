//! Bodies and queries in a log record: of bodies the first bytes, and nothing of the fields that nobody is to read.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName};
use serde_json::Value;

use super::REDACTED;
use crate::plugin::BuildError;

/// The `capture` block.
#[derive(Clone, Debug, serde::Deserialize)]
pub(crate) struct CaptureSettings {
    request_body: usize,
    response_body: usize,
    redact_headers: Vec<Box<str>>,
    redact_fields: Vec<Box<str>>,
}

/// What of bodies is captured, and what of exchanges is hidden.
#[derive(Debug)]
pub(crate) struct Capture {
    request_body: usize,
    response_body: usize,
    headers: Vec<HeaderName>,
    /// In lower case.
    fields: Vec<Box<str>>,
}

impl Capture {
    pub(super) fn new(settings: CaptureSettings) -> Result<Self, BuildError> {
        let header = |(position, name): (usize, &str)| {
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| BuildError::Setting {
                pointer: format!("/capture/redact_headers/{position}").into(),
                message: format!("'{name}' cannot name a header; use letters, digits, '-' and '_'").into(),
            })
        };
        Ok(Self {
            request_body: settings.request_body,
            response_body: settings.response_body,
            headers: settings
                .redact_headers
                .iter()
                .map(|name| &**name)
                .enumerate()
                .map(header)
                .collect::<Result<_, _>>()?,
            fields: settings
                .redact_fields
                .iter()
                .map(|name| name.to_lowercase().into())
                .collect(),
        })
    }

    /// How many bytes of each body.
    pub(super) fn sizes(&self) -> [usize; 2] {
        [self.request_body, self.response_body]
    }

    pub(super) fn hides(&self, name: &HeaderName) -> bool {
        self.headers.contains(name)
    }

    pub(super) fn request(&self, headers: &HeaderMap, kept: &[u8], all: u64, into: &mut Value) {
        if self.request_body > 0 {
            self.put(headers, kept, all, into);
        }
    }

    pub(super) fn response(&self, headers: &HeaderMap, kept: &[u8], all: u64, into: &mut Value) {
        if self.response_body > 0 {
            self.put(headers, kept, all, into);
        }
    }

    /// The body, with `body_encoding` if it is no text, and `body_truncated` if there was more. A body in which something may have
    /// to be hidden, and cannot be found, is `body_omitted`: one that is neither JSON nor a form, whatever it says it is, or is not
    /// whole, or is compressed.
    fn put(&self, headers: &HeaderMap, kept: &[u8], all: u64, into: &mut Value) {
        let is_whole = kept.len() as u64 >= all;
        if !is_whole {
            into["body_truncated"] = true.into();
        }
        let text = match std::str::from_utf8(kept) {
            // Cut within a character.
            Err(error) if !is_whole && error.error_len().is_none() => kept
                .get(..error.valid_up_to())
                .map_or(Err(error), std::str::from_utf8),
            read => read,
        };
        let is_plain = headers
            .get(CONTENT_ENCODING)
            .is_none_or(|coding| coding == "identity");
        let shown = match (self.fields.is_empty(), text) {
            (true, Ok(text)) => Some(text.to_owned()),
            (true, Err(_)) => {
                into["body_encoding"] = "base64".into();
                Some(STANDARD.encode(kept))
            }
            (false, Ok(text)) if is_whole && is_plain => self.without_fields(headers, text),
            (false, _) => None,
        };
        match shown {
            Some(text) => into["body"] = text.into(),
            None => into["body_omitted"] = "cannot be redacted".into(),
        }
    }

    fn without_fields(&self, headers: &HeaderMap, text: &str) -> Option<String> {
        let trimmed = text.trim_start();
        if trimmed.is_empty() {
            return Some(text.to_owned());
        }
        // Also where it is called something else: many a client sends JSON as text, or as a form.
        self.json_without(text).or_else(|| {
            let is_form = is_form(headers) && !trimmed.starts_with(['{', '[', '"']);
            is_form.then(|| self.pairs_without(text))
        })
    }

    /// A path or URL without the values of the arguments that nobody is to read.
    pub(super) fn target<'t>(&self, target: &'t str) -> Cow<'t, str> {
        let Some((path, query)) = target.split_once('?').filter(|_| !self.fields.is_empty()) else {
            return target.into();
        };
        let shown = query.split('&').map(|pair| {
            let named = form_urlencoded::parse(pair.as_bytes()).next();
            match named.is_some_and(|(name, _)| self.is_hidden_argument(&name)) && pair.contains('=') {
                true => Cow::from(format!(
                    "{}={REDACTED}",
                    pair.split('=').next().unwrap_or_default()
                )),
                false => pair.into(),
            }
        });
        format!("{path}?{}", shown.collect::<Vec<_>>().join("&")).into()
    }

    fn json_without(&self, text: &str) -> Option<String> {
        let mut document = serde_json::from_str(text).ok()?;
        self.redact(&mut document);
        Some(document.to_string())
    }

    /// Note: as deep as serde_json reads, 128 levels.
    fn redact(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match self.is_hidden(name) {
                        true => *value = REDACTED.into(),
                        false => self.redact(value),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact(item)),
            _ => {}
        }
    }

    fn pairs_without(&self, text: &str) -> String {
        let pairs = form_urlencoded::parse(text.as_bytes());
        let mut kept = form_urlencoded::Serializer::new(String::with_capacity(text.len()));
        for (name, value) in pairs {
            let is_hidden = self.is_hidden_argument(&name);
            kept.append_pair(&name, if is_hidden { REDACTED } else { &value });
        }
        kept.finish()
    }

    fn is_hidden(&self, name: &str) -> bool {
        self.fields.iter().any(|field| **field == *name.to_lowercase())
    }

    /// The same of an argument or of a field of a form: `user[password]` is a `password`, too.
    fn is_hidden_argument(&self, name: &str) -> bool {
        self.is_hidden(name) || name.split(['[', ']']).any(|piece| self.is_hidden(piece))
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let told = headers
        .get(CONTENT_TYPE)
        .and_then(|told| told.to_str().ok())
        .unwrap_or_default();
    let bare = told.split(';').next().unwrap_or_default().trim();
    bare.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;

    use super::*;

    fn shown(kind: &'static str, body: &[u8], all: usize) -> Value {
        let capture = Capture::new(CaptureSettings {
            request_body: 64,
            response_body: 0,
            redact_headers: vec!["Cookie".into()],
            redact_fields: vec!["Password".into(), "card".into()],
        });
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let mut into = json!({});
        let capture = capture.unwrap();
        capture.request(&headers, body, all as u64, &mut into);
        capture.response(&headers, body, all as u64, &mut into);
        into
    }

    #[test]
    fn fields_are_hidden_wherever_they_are() {
        let body = br#"{"user":"u","password":"p","cards":[{"CARD":{"no":1}}]}"#;
        let hidden = r#"{"cards":[{"CARD":"REDACTED"}],"password":"REDACTED","user":"u"}"#;
        assert_eq!(
            shown("application/json", body, body.len()),
            json!({ "body": hidden })
        );
        assert_eq!(
            shown("application/hal+json; charset=utf-8", body, body.len())["body"],
            hidden
        );
        let form = b"user=u&PassWord=p%20q&x";
        assert_eq!(
            shown("application/x-www-form-urlencoded", form, form.len()),
            json!({ "body": "user=u&PassWord=REDACTED&x=" })
        );
    }

    #[test]
    fn what_cannot_be_redacted_is_not_shown() {
        let omitted = "cannot be redacted";
        assert_eq!(
            shown("application/json", br#"{"password":"sec"#, 99),
            json!({ "body_truncated": true, "body_omitted": omitted })
        );
        assert_eq!(
            shown("application/json", br#"{"password":"sec"#, 16),
            json!({ "body_omitted": omitted })
        );
        assert_eq!(
            shown("application/json", b"\xff", 1),
            json!({ "body_omitted": omitted })
        );
        assert_eq!(shown("application/json", b"", 0), json!({ "body": "" }));
        let multipart = b"--x\r\ncontent-disposition: form-data; name=password\r\n\r\nsecret\r\n--x--";
        let lines = b"{\"password\":\"s\"}\n{\"password\":\"s\"}\n";
        for (kind, body) in [
            ("multipart/form-data; boundary=x", multipart.as_slice()),
            ("application/x-ndjson", lines),
            ("application/x-www-form-urlencoded", br#"{"password":"s""#),
            ("text/plain", b"password: s"),
            ("application/xml", b"<password>s</password>"),
            ("", b"password=s"),
            ("image/png", b"\xff\xd8"),
        ] {
            let expected = json!({ "body_omitted": omitted });
            assert_eq!(shown(kind, body, body.len()), expected, "{kind}");
        }
        // What is JSON is redacted, whatever it says it is.
        for kind in ["text/plain", "", "application/x-www-form-urlencoded", "text/html"] {
            let body = br#"{"password":"s"}"#;
            assert_eq!(
                shown(kind, body, body.len()),
                json!({ "body": r#"{"password":"REDACTED"}"# })
            );
        }
    }

    #[test]
    fn without_fields_to_hide_all_is_shown() {
        let capture = Capture::new(CaptureSettings {
            request_body: 64,
            response_body: 0,
            redact_headers: Vec::new(),
            redact_fields: Vec::new(),
        });
        let capture = capture.unwrap();
        for (body, all, expected) in [
            (
                b"some".as_slice(),
                10,
                json!({ "body": "some", "body_truncated": true }),
            ),
            (b"so\xc3", 10, json!({ "body": "so", "body_truncated": true })),
            (
                b"\xff\xd8",
                2,
                json!({ "body": "/9g=", "body_encoding": "base64" }),
            ),
        ] {
            let mut into = json!({});
            capture.request(&HeaderMap::new(), body, all, &mut into);
            assert_eq!(into, expected);
        }
    }

    #[test]
    fn arguments_are_hidden_and_all_else_stays() {
        let capture = Capture::new(CaptureSettings {
            request_body: 0,
            response_body: 0,
            redact_headers: Vec::new(),
            redact_fields: vec!["password".into(), "Token".into()],
        });
        let capture = capture.unwrap();
        for (target, shown) in [
            ("/a/password=1", "/a/password=1"),
            ("/a?x=1&password=p%20q&&y", "/a?x=1&password=REDACTED&&y"),
            ("http://a/?TOKEN=t=u&token", "http://a/?TOKEN=REDACTED&token"),
            ("/?p%61ssword=p", "/?p%61ssword=REDACTED"),
            (
                "/?user[password]=p&passwords=2",
                "/?user[password]=REDACTED&passwords=2",
            ),
        ] {
            assert_eq!(capture.target(target), shown);
        }
    }
}
