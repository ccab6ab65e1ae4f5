//! `hmac-auth`: lets in who signs requests with a known secret.

mod signature;

use std::time::SystemTime;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gw_core::{CredentialForm, CredentialKind};
use http::header::{AUTHORIZATION, DATE, HeaderName, HeaderValue, PROXY_AUTHORIZATION};

use self::signature::{Algorithm, Secret, Signature};
use super::auth::{Door, Identifier, Proven, challenge, header, unauthorized};
use crate::cx::RequestCx;
use crate::env::BuildEnv;
use crate::phase::{Phase, Phases};
use crate::plugin::{BodyNeed, BuildError, CredentialDefinition, Definition, Needs, Plugin};
use crate::reply::{Flow, Reply};

const CREDENTIALS: CredentialKind = CredentialKind("hmacauth_credentials");

/// Bound: the body of a request whose digest is checked, in bytes.
const MAX_BODY: usize = 8 << 20;

const X_DATE: HeaderName = HeaderName::from_static("x-date");
const DIGEST: HeaderName = HeaderName::from_static("digest");

const NO_DATE: &str =
    "HMAC signature cannot be verified, a valid date or x-date header is required for HMAC Authentication";

pub(crate) struct HmacAuth {
    hide: bool,
    /// In seconds.
    skew: f64,
    enforced: Vec<Box<str>>,
    algorithms: Vec<Algorithm>,
    check_body: bool,
    door: Door,
    challenge: HeaderValue,
}

#[derive(serde::Deserialize)]
pub(crate) struct Config {
    hide_credentials: bool,
    clock_skew: f64,
    enforce_headers: Vec<Box<str>>,
    algorithms: Vec<Box<str>>,
    validate_request_body: bool,
    anonymous: Option<Box<str>>,
    realm: Option<Box<str>>,
}

impl Definition for HmacAuth {
    const NAME: &'static str = "hmac-auth";
    const PRIORITY: i32 = 1030;
    const PHASES: Phases = Phases::of(&[Phase::Access]);
    const SCHEMA: &'static str = include_str!("hmac_auth.json");
    const CONSUMER_SCOPE: bool = false;
    const CREDENTIAL: Option<CredentialDefinition> = Some(CredentialDefinition {
        kind: CREDENTIALS,
        schema: include_str!("hmacauth_credentials.json"),
        form: CredentialForm {
            settle: None,
            adopt: None,
        },
    });

    type Config = Config;

    fn build(config: Config, _: &BuildEnv) -> Result<Self, BuildError> {
        Ok(Self {
            hide: config.hide_credentials,
            skew: config.clock_skew,
            enforced: config.enforce_headers,
            algorithms: config
                .algorithms
                .iter()
                .filter_map(|name| Algorithm::named(name))
                .collect(),
            check_body: config.validate_request_body,
            door: Door::new(config.anonymous, Identifier::Key),
            challenge: challenge("hmac", config.realm.as_deref(), "")?,
        })
    }
}

impl Plugin for HmacAuth {
    type State = ();

    fn needs(&self) -> Needs {
        match self.check_body {
            true => Needs::none().request_body(BodyNeed::Whole { max: MAX_BODY }),
            false => Needs::none(),
        }
    }

    fn access(&self, cx: &mut RequestCx<'_>) -> Flow {
        if self.door.is_open(cx) {
            return Flow::Continue;
        }
        let caller = self.authenticate(cx);
        self.door.pass(cx, caller)
    }
}

impl HmacAuth {
    fn authenticate(&self, cx: &mut RequestCx<'_>) -> Result<Proven, Box<Reply>> {
        let unknown = || unauthorized("Unauthorized", &self.challenge);
        if ![AUTHORIZATION, PROXY_AUTHORIZATION]
            .iter()
            .any(|name| cx.headers().contains_key(name))
        {
            return Err(unauthorized("Unauthorized", &self.challenge));
        }
        if ![X_DATE, DATE].iter().any(|name| self.is_recent(cx, name)) {
            return Err(unauthorized(NO_DATE, &self.challenge));
        }
        let shown = |name: &HeaderName| header(cx, name).and_then(Signature::read);
        let (name, signature) = match shown(&PROXY_AUTHORIZATION) {
            Some(signature) => (PROXY_AUTHORIZATION, Some(signature)),
            None => (AUTHORIZATION, shown(&AUTHORIZATION)),
        };
        let verified = signature
            .ok_or_else(unknown)
            .and_then(|signature| self.verify(cx, &signature));
        if self.hide {
            cx.headers_mut().remove(name);
        }
        verified
    }

    fn verify(&self, cx: &RequestCx<'_>, signature: &Signature<'_>) -> Result<Proven, Box<Reply>> {
        let facts = cx.facts();
        let unknown = || unauthorized("Unauthorized", &self.challenge);
        let other = || unauthorized("Unauthorized", &self.challenge);
        let covers = |name: &str| {
            signature
                .covered()
                .any(|covered| covered.eq_ignore_ascii_case(name))
        };
        let algorithm = Algorithm::named(signature.algorithm).filter(|named| self.algorithms.contains(named));
        let (Some(algorithm), true) = (algorithm, self.enforced.iter().all(|name| covers(name))) else {
            return Err(unknown());
        };
        let found = facts.config.credential(CREDENTIALS, signature.username);
        let credential = found.ok_or_else(unknown)?;
        let secret = credential.prepared.get_or(|| Secret::of(&credential.document));
        let is_signed = secret.is_some_and(|secret| signature.is_of(cx, secret.key(algorithm)));
        if !is_signed || self.check_body && !is_digested(cx) {
            return Err(other());
        }
        Proven::of(facts, credential).ok_or_else(unknown)
    }

    fn is_recent(&self, cx: &RequestCx<'_>, name: &HeaderName) -> bool {
        let Some(date) = header(cx, name).and_then(|date| httpdate::parse_http_date(date).ok()) else {
            return false;
        };
        let now: SystemTime = cx.facts().now;
        let off = now.duration_since(date).unwrap_or_else(|error| error.duration());
        // Note: dates have whole seconds, and what is left of the present one is not counted.
        off.as_secs_f64().floor() <= self.skew
    }
}

/// Whether the body is the one of which `Digest` tells; or there is neither.
fn is_digested(cx: &RequestCx<'_>) -> bool {
    let body = cx.body().map(|body| &**body).unwrap_or_default();
    let Some(told) = cx.headers().get(DIGEST) else {
        return body.is_empty();
    };
    let digest = STANDARD.encode(digest::digest(&digest::SHA256, body));
    told.as_bytes().strip_prefix(b"SHA-256=") == Some(digest.as_bytes())
}

#[cfg(test)]
mod tests;
