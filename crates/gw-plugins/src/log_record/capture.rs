//! Bodies in a log record: their first bytes, without the fields that nobody is to read.

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

/// What a body is, as far as it matters for what is hidden in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Pairs,
    Other,
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

    /// The body, with `body_encoding` if it is no text, and `body_truncated` if there was more. A body in which something is to be
    /// hidden, and cannot be found because it is not whole, is `body_omitted`.
    fn put(&self, headers: &HeaderMap, kept: &[u8], all: u64, into: &mut Value) {
        let is_whole = kept.len() as u64 >= all;
        if !is_whole {
            into["body_truncated"] = true.into();
        }
        let form = match self.fields.is_empty() {
            true => Form::Other,
            false => form(headers),
        };
        let is_plain = headers
            .get(CONTENT_ENCODING)
            .is_none_or(|coding| coding == "identity");
        let text = match std::str::from_utf8(kept) {
            // Cut within a character.
            Err(error) if !is_whole && error.error_len().is_none() => kept
                .get(..error.valid_up_to())
                .map_or(Err(error), std::str::from_utf8),
            read => read,
        };
        let shown = match (form, text) {
            (Form::Json | Form::Pairs, _) if !is_whole || !is_plain => None,
            (Form::Json, Ok(text)) if text.trim().is_empty() => Some(text.to_owned()),
            (Form::Json, Ok(text)) => self.json_without(text),
            (Form::Pairs, Ok(text)) => Some(self.pairs_without(text)),
            (Form::Json | Form::Pairs, Err(_)) => None,
            (Form::Other, Ok(text)) => Some(text.to_owned()),
            (Form::Other, Err(_)) => {
                into["body_encoding"] = "base64".into();
                Some(STANDARD.encode(kept))
            }
        };
        match shown {
            Some(text) => into["body"] = text.into(),
            None => into["body_omitted"] = "cannot be redacted".into(),
        }
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
            let is_hidden = self.is_hidden(&name);
            kept.append_pair(&name, if is_hidden { REDACTED } else { &value });
        }
        kept.finish()
    }

    fn is_hidden(&self, name: &str) -> bool {
        self.fields.iter().any(|field| **field == *name.to_lowercase())
    }
}

fn form(headers: &HeaderMap) -> Form {
    let told = headers
        .get(CONTENT_TYPE)
        .and_then(|told| told.to_str().ok())
        .unwrap_or_default();
    let bare = told
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if bare.ends_with("/json") || bare.ends_with("+json") {
        Form::Json
    } else if bare == "application/x-www-form-urlencoded" {
        Form::Pairs
    } else {
        Form::Other
    }
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
        assert_eq!(
            shown("text/plain", b"some", 10),
            json!({ "body": "some", "body_truncated": true })
        );
        assert_eq!(shown("text/plain", b"so\xc3", 10)["body"], "so");
        assert_eq!(
            shown("image/png", b"\xff\xd8", 2),
            json!({ "body": "/9g=", "body_encoding": "base64" })
        );
    }
}
