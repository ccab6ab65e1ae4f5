//! `jwt`: lets in who shows a JSON Web Token that a known key has signed.

mod key;
mod token;

use std::borrow::Cow;

use gw_core::{CredentialForm, CredentialKind};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde_json::{Map, Value};

use self::key::{Algorithm, SigningKeys};
use self::token::{BadToken, Token};
use super::auth::{Door, Identifier, Proven, after_scheme, challenge, seconds, unauthorized};
use crate::cx::RequestCx;
use crate::env::BuildEnv;
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, CredentialDefinition, Definition, Plugin};
use crate::reply::{Flow, Reply};
use crate::variables::cookie_of;

const CREDENTIALS: CredentialKind = CredentialKind("jwt_secrets");

pub(crate) struct Jwt {
    headers: Vec<HeaderName>,
    arguments: Vec<Box<str>>,
    cookies: Vec<Box<str>>,
    key_claim: Box<str>,
    secret_is_base64: bool,
    verify: Verify,
    on_preflight: bool,
    door: Door,
    challenge: HeaderValue,
    challenge_with_error: HeaderValue,
}

/// What is asked of a token's claims.
struct Verify {
    exp: bool,
    nbf: bool,
    /// In seconds.
    most_ahead: Option<f64>,
}

#[derive(serde::Deserialize)]
pub(crate) struct Config {
    header_names: Vec<Box<str>>,
    uri_param_names: Vec<Box<str>>,
    cookie_names: Vec<Box<str>>,
    key_claim_name: Box<str>,
    secret_is_base64: bool,
    claims_to_verify: Option<Vec<Box<str>>>,
    maximum_expiration: f64,
    run_on_preflight: bool,
    anonymous: Option<Box<str>>,
    realm: Option<Box<str>>,
}

impl Definition for Jwt {
    const NAME: &'static str = "jwt";
    const PRIORITY: i32 = 1450;
    const PHASES: Phases = Phases::of(&[Phase::Access]);
    const SCHEMA: &'static str = include_str!("jwt.json");
    const CONSUMER_SCOPE: bool = false;
    const CREDENTIAL: Option<CredentialDefinition> = Some(CredentialDefinition {
        kind: CREDENTIALS,
        schema: include_str!("jwt_secrets.json"),
        form: CredentialForm {
            settle: Some(key::check),
            adopt: None,
        },
    });

    type Config = Config;

    fn build(config: Config, _: &BuildEnv) -> Result<Self, BuildError> {
        let verify = config.claims_to_verify.unwrap_or_default();
        let verify = Verify {
            exp: verify.iter().any(|claim| **claim == *"exp"),
            nbf: verify.iter().any(|claim| **claim == *"nbf"),
            most_ahead: Some(config.maximum_expiration).filter(|most| *most > 0.0),
        };
        if verify.most_ahead.is_some() && !verify.exp {
            return Err(BuildError::Setting {
                pointer: "/claims_to_verify".into(),
                message: "expected to contain: exp; that is what 'maximum_expiration' limits".into(),
            });
        }
        let mut headers = Vec::with_capacity(config.header_names.len());
        for (position, name) in config.header_names.iter().enumerate() {
            headers.push(
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| BuildError::Setting {
                    pointer: format!("/header_names/{position}").into(),
                    message: format!("'{name}' cannot name a header; use letters, digits, '-' and '_'")
                        .into(),
                })?,
            );
        }
        Ok(Self {
            headers,
            arguments: config.uri_param_names,
            cookies: config.cookie_names,
            key_claim: config.key_claim_name,
            secret_is_base64: config.secret_is_base64,
            verify,
            on_preflight: config.run_on_preflight,
            door: Door::new(config.anonymous, Identifier::Key),
            challenge: challenge("Bearer", config.realm.as_deref(), "")?,
            challenge_with_error: challenge("Bearer", config.realm.as_deref(), " error=\"invalid_token\"")?,
        })
    }
}

impl Plugin for Jwt {
    type State = ();

    fn access(&self, cx: &mut RequestCx<'_>) -> Flow {
        if !self.on_preflight && cx.method() == Method::OPTIONS {
            return Flow::Continue;
        }
        if self.door.is_open(cx) {
            return Flow::Continue;
        }
        let caller = self.authenticate(cx);
        self.door.pass(cx, caller)
    }
}

/// What was found in the places for a token.
enum Shown<'c> {
    Nothing,
    One(Cow<'c, str>),
    Several,
}

impl<'c> Shown<'c> {
    /// One more; the same one twice is one.
    fn and(self, token: Cow<'c, str>) -> Self {
        match self {
            shown if token.is_empty() => shown,
            Self::Nothing => Self::One(token),
            Self::One(known) if known == token => Self::One(known),
            Self::One(_) | Self::Several => Self::Several,
        }
    }
}

impl Jwt {
    fn authenticate(&self, cx: &RequestCx<'_>) -> Result<Proven, Box<Reply>> {
        let token = match self.shown(cx) {
            Shown::One(token) => token,
            Shown::Several => return Err(self.invalid("Multiple tokens provided")),
            Shown::Nothing => return Err(unauthorized("Unauthorized", &self.challenge)),
        };
        let token = Token::read(&token, &self.key_claim).map_err(|bad| self.invalid(self.bad(&bad)))?;
        let facts = cx.facts();
        let found = facts.config.credential(CREDENTIALS, &token.key);
        let credential = found
            .ok_or_else(|| self.invalid(format!("No credentials found for given '{}'", self.key_claim)))?;
        let keys = credential
            .prepared
            .get_or(|| SigningKeys::of(&credential.document));
        if keys.is_none_or(|keys| keys.algorithm() != Some(token.algorithm)) {
            return Err(self.invalid("Invalid algorithm"));
        }
        let key = keys.and_then(|keys| keys.key(self.secret_is_base64));
        let key = key.ok_or_else(|| self.invalid("Invalid key/secret"))?;
        if !key.has_signed(token.signed.as_bytes(), &token.signature) {
            return Err(self.invalid("Invalid signature"));
        }
        let errors = self.verify.run(&token, seconds(facts.now));
        if !errors.is_empty() {
            return Err(self.expired(errors));
        }
        Proven::of(facts, credential).ok_or_else(|| {
            self.invalid(format!(
                "Could not find consumer for '{}={}'",
                self.key_claim, token.key
            ))
        })
    }

    /// The token, from arguments, cookies and headers. It may stand in several places.
    fn shown<'c>(&self, cx: &'c RequestCx<'_>) -> Shown<'c> {
        let mut shown = Shown::Nothing;
        let query = cx.uri().query().unwrap_or_default();
        if !self.arguments.is_empty() && !query.is_empty() {
            for (name, value) in form_urlencoded::parse(query.as_bytes()) {
                if self.arguments.iter().any(|known| **known == *name) {
                    shown = shown.and(value);
                }
            }
        }
        for name in &self.cookies {
            shown = shown.and(cookie_of(cx.headers(), name).unwrap_or_default().into());
        }
        for name in &self.headers {
            let value = cx.headers().get(name).and_then(|value| value.to_str().ok());
            let token = value.and_then(|value| after_scheme(value, "bearer"));
            let token = token.filter(|token| token.starts_with([' ', '\t']));
            shown = shown.and(token.unwrap_or_default().trim().into());
        }
        shown
    }

    fn bad(&self, bad: &BadToken) -> Cow<'static, str> {
        match bad {
            BadToken::NoKey => format!("No mandatory '{}' in claims", self.key_claim).into(),
            BadToken::Key => format!("Invalid '{}' in claims", self.key_claim).into(),
            other => format!("Bad token; {other}").into(),
        }
    }

    fn invalid(&self, message: impl Into<Cow<'static, str>>) -> Box<Reply> {
        unauthorized(message, &self.challenge_with_error)
    }

    /// What is wrong by claim, which is all that the answer says.
    fn expired(&self, errors: Map<String, Value>) -> Box<Reply> {
        let reply = Reply::bytes(StatusCode::UNAUTHORIZED, Value::Object(errors).to_string());
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        let reply = reply.header(CONTENT_TYPE, json);
        Box::new(reply.header(http::header::WWW_AUTHENTICATE, self.challenge_with_error.clone()))
    }
}

impl Verify {
    /// What is wrong with the claims, by their names.
    fn run(&self, token: &Token<'_>, now: u64) -> Map<String, Value> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "whole numbers are exact for as long as seconds fit 53 bits"
        )]
        let now = now as f64;
        let mut errors = Map::new();
        let mut refuse = |claim: &str, why: &str| drop(errors.insert(claim.to_owned(), why.into()));
        if self.exp {
            match token.exp {
                None => refuse("exp", "must be a number"),
                Some(exp) if exp <= now => refuse("exp", "token expired"),
                Some(_) => {}
            }
        }
        if self.nbf {
            match token.nbf {
                None => refuse("nbf", "must be a number"),
                Some(nbf) if nbf > now => refuse("nbf", "token not valid yet"),
                Some(_) => {}
            }
        }
        if let (Some(exp), Some(most), true) = (token.exp, self.most_ahead, errors.is_empty())
            && exp - now > most
        {
            errors.insert("exp".to_owned(), "exceeds maximum allowed expiration".into());
        }
        errors
    }
}

#[cfg(test)]
mod tests;
