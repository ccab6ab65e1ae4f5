//! `key-auth`: lets in who shows a known key, in a header, a query argument or the body.

mod body;

use std::borrow::Cow;

use bytes::Bytes;
use gw_core::{CredentialForm, CredentialKind};
use gw_schema::{Violation, Violations};
use http::Method;
use http::header::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::auth::{Door, Identifier, Proven, challenge, unauthorized};
use crate::cx::{Facts, RequestCx};
use crate::env::BuildEnv;
use crate::phase::{Phase, Phases};
use crate::plugin::{BodyNeed, BuildError, CredentialDefinition, Definition, Needs, Plugin};
use crate::reply::Flow;

const CREDENTIALS: CredentialKind = CredentialKind("keyauth_credentials");

/// What a key begins with of which only the digest is stored: SHA-256, in hexadecimal. No client may show such a text.
const DIGEST: &str = "$sha256$";

/// Bound: a key is looked for in bodies up to this size, in bytes.
const MAX_BODY: usize = 1024 * 1024;

pub(crate) struct KeyAuth {
    names: Vec<KeyName>,
    in_header: bool,
    in_query: bool,
    in_body: bool,
    hide: bool,
    on_preflight: bool,
    door: Door,
    challenge: HeaderValue,
}

/// A name under which a key may be sent, as text and as header.
struct KeyName {
    text: Box<str>,
    header: HeaderName,
}

#[derive(serde::Deserialize)]
pub(crate) struct Config {
    key_names: Vec<Box<str>>,
    key_in_header: bool,
    key_in_query: bool,
    key_in_body: bool,
    hide_credentials: bool,
    run_on_preflight: bool,
    anonymous: Option<Box<str>>,
    realm: Option<Box<str>>,
}

/// What was found under the names of a key.
#[derive(Debug, PartialEq, Eq)]
enum Shown<'r> {
    Nothing,
    Key(Cow<'r, str>),
    Several,
}

impl Definition for KeyAuth {
    const NAME: &'static str = "key-auth";
    const PRIORITY: i32 = 1250;
    const PHASES: Phases = Phases::of(&[Phase::Access]);
    const SCHEMA: &'static str = include_str!("key_auth.json");
    const CONSUMER_SCOPE: bool = false;
    const CREDENTIAL: Option<CredentialDefinition> = Some(CredentialDefinition {
        kind: CREDENTIALS,
        schema: include_str!("keyauth_credentials.json"),
        form: CredentialForm {
            settle: Some(settle),
            adopt: None,
        },
    });

    type Config = Config;

    fn build(config: Config, _env: &BuildEnv) -> Result<Self, BuildError> {
        let mut names = Vec::with_capacity(config.key_names.len());
        for (position, text) in config.key_names.into_iter().enumerate() {
            let header = HeaderName::from_bytes(text.as_bytes()).map_err(|_| BuildError::Setting {
                pointer: format!("/key_names/{position}").into(),
                message: format!("'{text}' cannot name a header; use letters, digits, '-' and '_'").into(),
            })?;
            names.push(KeyName { text, header });
        }
        Ok(Self {
            names,
            in_header: config.key_in_header,
            in_query: config.key_in_query,
            in_body: config.key_in_body,
            hide: config.hide_credentials,
            on_preflight: config.run_on_preflight,
            door: Door::new(config.anonymous, Identifier::Id),
            challenge: challenge("Key", config.realm.as_deref(), "")?,
        })
    }
}

impl Plugin for KeyAuth {
    type State = ();

    fn needs(&self) -> Needs {
        let request_body = if self.in_body {
            BodyNeed::Whole { max: MAX_BODY }
        } else {
            BodyNeed::None
        };
        Needs::none().request_body(request_body)
    }

    fn access(&self, cx: &mut RequestCx<'_>) -> Flow {
        if !self.on_preflight && cx.method() == Method::OPTIONS {
            return Flow::Continue;
        }
        if self.door.is_open(cx) {
            return Flow::Continue;
        }
        let caller = self.authenticate(cx);
        self.door.pass(
            cx,
            caller.map_err(|message| unauthorized(message, &self.challenge)),
        )
    }
}

impl KeyAuth {
    fn authenticate(&self, cx: &mut RequestCx<'_>) -> Result<Proven, &'static str> {
        let (name, shown) = self.shown(cx);
        let proven = prove(cx.facts(), shown);
        if let Some(name) = name.filter(|_| self.hide) {
            self.hide(name, cx);
        }
        proven
    }

    /// Looks under each name in turn: header, query, body. The first name that is there at all decides.
    fn shown<'r>(&self, cx: &'r RequestCx<'_>) -> (Option<&KeyName>, Shown<'r>) {
        let shown = self
            .names
            .iter()
            .map(|name| (Some(name), self.shown_as(name, cx)));
        let mut there = shown.filter(|(_, shown)| *shown != Shown::Nothing);
        there.next().unwrap_or((None, Shown::Nothing))
    }

    fn shown_as<'r>(&self, name: &KeyName, cx: &'r RequestCx<'_>) -> Shown<'r> {
        if self.in_header {
            let values = cx.headers().get_all(&name.header).iter();
            let shown = one(values.map(|value| match std::str::from_utf8(value.as_bytes()) {
                Ok(text) => Cow::Borrowed(text),
                Err(_) => String::from_utf8_lossy(value.as_bytes()),
            }));
            if shown != Shown::Nothing {
                return shown;
            }
        }
        if self.in_query {
            let query = cx.uri().query().unwrap_or_default();
            let shown = one(values_in(query.as_bytes(), &name.text).map(Cow::Owned));
            if shown != Shown::Nothing {
                return shown;
            }
        }
        match cx.body() {
            Some(bytes) if self.in_body => {
                let values = body::values(cx.headers(), bytes, &name.text);
                one(values.into_iter().map(Cow::Owned))
            }
            _ => Shown::Nothing,
        }
    }

    fn hide(&self, name: &KeyName, cx: &mut RequestCx<'_>) {
        cx.headers_mut().remove(&name.header);
        if let Some(query) = cx.uri().query() {
            let rest = without(query, &name.text);
            if rest.len() != query.len() {
                cx.set_query(Some(rest.as_str()).filter(|rest| !rest.is_empty()));
            }
        }
        if self.in_body
            && let Some(bytes) = cx.body()
            && let Some(rest) = body::without(cx.headers(), bytes, &name.text)
        {
            cx.set_body(rest);
        }
    }
}

/// The text by which a key is known that is stored as its digest.
fn digest(key: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
    let mut text = String::with_capacity(DIGEST.len() + 2 * digest.as_ref().len());
    text.push_str(DIGEST);
    for byte in digest.as_ref() {
        for half in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(half), 16));
        }
    }
    text
}

/// A key that is a digest is one, in lower case; any other is taken as it is.
fn settle(credential: &mut Map<String, Value>) -> Result<(), Violations> {
    let Some(Value::String(key)) = credential.get_mut("key") else {
        return Ok(());
    };
    let Some(digits) = key.strip_prefix(DIGEST) else {
        return Ok(());
    };
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let why = "begins as a digest and is none: '$sha256$' and 64 hexadecimal digits";
        let hint = "write what `printf %s KEY | sha256sum` says, or a key that begins otherwise";
        return Err(Violation::new("/key", why).with_hint(hint).into());
    }
    key.make_ascii_lowercase();
    Ok(())
}

/// Whose a key is.
fn prove(facts: &Facts<'_>, shown: Shown<'_>) -> Result<Proven, &'static str> {
    let key = match shown {
        Shown::Key(key) if !key.is_empty() => key,
        Shown::Several => return Err("Duplicate API key found"),
        Shown::Key(_) | Shown::Nothing => return Err("No API key found in request"),
    };
    let named = |key: &str| facts.config.credential(CREDENTIALS, key);
    let plain = (!key.starts_with(DIGEST)).then(|| named(&key)).flatten();
    let credential = plain.or_else(|| named(&digest(&key))).ok_or("Unauthorized")?;
    Proven::of(facts, credential).ok_or("Unauthorized")
}

fn one<'r>(mut values: impl Iterator<Item = Cow<'r, str>>) -> Shown<'r> {
    match (values.next(), values.next()) {
        (None, _) => Shown::Nothing,
        (Some(key), None) => Shown::Key(key),
        (Some(_), Some(_)) => Shown::Several,
    }
}

/// The values of `name` in a query or form.
fn values_in<'a>(encoded: &'a [u8], name: &'a str) -> impl Iterator<Item = String> + 'a {
    form_urlencoded::parse(encoded)
        .filter(move |(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// A query or form without the pairs called `name`; the others stay as they were written.
fn without(encoded: &str, name: &str) -> String {
    let is_other = |pair: &&str| !form_urlencoded::parse(pair.as_bytes()).any(|(key, _)| key == name);
    encoded.split('&').filter(is_other).collect::<Vec<_>>().join("&")
}

/// As [`without`], for a body.
fn form_without(encoded: &Bytes, name: &str) -> Option<Bytes> {
    let text = std::str::from_utf8(encoded).ok()?;
    Some(Bytes::from(without(text, name)))
}

#[cfg(test)]
mod tests;
