//! `basic-auth`: lets in who shows a known user name and its password, as HTTP's basic authentication sends them.

mod attempts;
mod password;

use std::sync::Arc;

use aws_lc_rs::hmac;
use gw_core::{CredentialForm, CredentialKind};
use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue, PROXY_AUTHORIZATION, RETRY_AFTER};

use self::attempts::Attempts;
use self::password::{Password, Verdict};
use super::auth::{Door, Identifier, Proven, after_scheme, challenge, from_base64, header, unauthorized};
use crate::cx::{Facts, RequestCx};
use crate::env::BuildEnv;
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, CredentialDefinition, Definition, Plugin};
use crate::reply::{Flow, Reply};

const CREDENTIALS: CredentialKind = CredentialKind("basicauth_credentials");

pub(crate) struct BasicAuth {
    hide: bool,
    door: Door,
    challenge: HeaderValue,
    fresh: Arc<FreshKey>,
    attempts: Arc<Attempts>,
}

/// The key of the quick digests by which passwords are known again: new with each start of the program, and nowhere else.
struct FreshKey(hmac::Key);

impl Default for FreshKey {
    fn default() -> Self {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).expect("the system has random numbers");
        Self(hmac::Key::new(hmac::HMAC_SHA256, &key))
    }
}

#[derive(serde::Deserialize)]
pub(crate) struct Config {
    hide_credentials: bool,
    anonymous: Option<Box<str>>,
    realm: Box<str>,
}

impl Definition for BasicAuth {
    const NAME: &'static str = "basic-auth";
    const PRIORITY: i32 = 1100;
    const PHASES: Phases = Phases::of(&[Phase::Access]);
    const SCHEMA: &'static str = include_str!("basic_auth.json");
    const CONSUMER_SCOPE: bool = false;
    const CREDENTIAL: Option<CredentialDefinition> = Some(CredentialDefinition {
        kind: CREDENTIALS,
        schema: include_str!("basicauth_credentials.json"),
        form: CredentialForm {
            settle: Some(password::settle),
            adopt: Some(password::adopt),
        },
    });

    type Config = Config;

    fn build(config: Config, env: &BuildEnv) -> Result<Self, BuildError> {
        Ok(Self {
            hide: config.hide_credentials,
            door: Door::new(config.anonymous, Identifier::Key),
            challenge: challenge("Basic", Some(&config.realm), "")?,
            fresh: env.shared().get(),
            attempts: env.shared().get(),
        })
    }
}

impl Plugin for BasicAuth {
    type State = ();

    fn access(&self, cx: &mut RequestCx<'_>) -> Flow {
        if self.door.is_open(cx) {
            return Flow::Continue;
        }
        let caller = self.authenticate(cx);
        self.door.pass(cx, caller)
    }
}

impl BasicAuth {
    fn authenticate(&self, cx: &mut RequestCx<'_>) -> Result<Proven, Box<Reply>> {
        let facts = cx.facts();
        let refused = || unauthorized("Unauthorized", &self.challenge);
        let mut stranger = None;
        for name in [PROXY_AUTHORIZATION, AUTHORIZATION] {
            let Some(shown) = self.shown(cx, &name) else {
                continue;
            };
            let Some((username, password)) = shown.split_once(':').filter(|(name, _)| !name.is_empty())
            else {
                continue;
            };
            let Some(credential) = facts.config.credential(CREDENTIALS, username) else {
                stranger = Some(username.to_owned());
                continue;
            };
            let stored = credential.prepared.get_or(|| Password::of(credential));
            let is_too_much = || self.attempts.are_too_many(username, facts.client, facts.begun);
            let verdict = stored.map(|stored| stored.check(password, &self.fresh.0, is_too_much));
            return match verdict {
                Some(Verdict::Right) => Proven::of(facts, credential).ok_or_else(refused),
                Some(Verdict::NotNow) => Err(not_now()),
                Some(Verdict::Wrong) | None => Err(self.wrong(facts, username)),
            };
        }
        Err(stranger.map_or_else(refused, |username| self.wrong(facts, &username)))
    }

    /// The answer to a wrong password, or to a name that there is not.
    fn wrong(&self, facts: &Facts<'_>, username: &str) -> Box<Reply> {
        if self.attempts.are_too_many(username, facts.client, facts.begun) {
            return not_now();
        }
        self.attempts.count(username, facts.client, facts.begun);
        unauthorized("Unauthorized", &self.challenge)
    }

    /// Name and password as one of the headers shows them, with the colon between them.
    fn shown(&self, cx: &mut RequestCx<'_>, name: &HeaderName) -> Option<String> {
        let encoded = after_scheme(header(cx, name)?, "basic").map(str::trim);
        let shown = encoded.and_then(|encoded| String::from_utf8(from_base64(encoded.as_bytes())?).ok());
        if self.hide {
            cx.headers_mut().remove(name);
        }
        shown
    }
}

/// Somebody tries passwords; see [`attempts`] for when this is said.
fn not_now() -> Box<Reply> {
    let reply = Reply::message(StatusCode::TOO_MANY_REQUESTS, "Too many wrong passwords");
    Box::new(reply.header(RETRY_AFTER, HeaderValue::from_static("1")))
}

#[cfg(test)]
mod tests;
