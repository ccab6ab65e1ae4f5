//! What the plugins that authenticate share: whose a credential is, who stands in for a stranger, how strangers are challenged.
//!
//! Several of them on a route add up: every one without `anonymous` must be content; of those with it, the first that knows the caller
//! is enough, and the others are not asked.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use gw_core::{Consumer, Credential};
use http::StatusCode;
use http::header::{HeaderName, HeaderValue, WWW_AUTHENTICATE};

use crate::cx::{Facts, RequestCx};
use crate::plugin::BuildError;
use crate::reply::{Flow, Reply};

/// A credential that was shown and is good, and whose it is.
pub(super) struct Proven {
    consumer: Arc<Consumer>,
    credential: Arc<Credential>,
}

/// What the upstream is told of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identifier {
    /// Its id.
    Id,
    /// The value it is found by: a user name, the key of a token.
    Key,
}

/// The way in, when the caller's credential was looked at.
pub(super) struct Door {
    anonymous: Option<Box<str>>,
    identifier: Identifier,
}

impl Proven {
    /// Whose it is; nobody's if it has expired.
    pub(super) fn of(facts: &Facts<'_>, credential: &Arc<Credential>) -> Option<Self> {
        let now = || {
            let since = facts.now.duration_since(UNIX_EPOCH);
            since.unwrap_or_default().as_millis()
        };
        if credential
            .expires
            .is_some_and(|expires| u128::from(expires) <= now())
        {
            return None;
        }
        let consumer = facts.config.consumer(credential.consumer)?;
        Some(Self {
            consumer: Arc::clone(consumer),
            credential: Arc::clone(credential),
        })
    }
}

impl Door {
    pub(super) fn new(anonymous: Option<Box<str>>, identifier: Identifier) -> Self {
        Self {
            anonymous,
            identifier,
        }
    }

    /// Whether another plugin has found out who it is, which is all that `anonymous` asks for.
    pub(super) fn is_open<S>(&self, cx: &RequestCx<'_, S>) -> bool {
        self.anonymous.is_some() && cx.identity().credential.is_some()
    }

    /// Lets the caller in as who it is, or as the anonymous consumer; or gives the refusal.
    pub(super) fn pass<S>(&self, cx: &mut RequestCx<'_, S>, caller: Result<Proven, Box<Reply>>) -> Flow {
        let refusal = match caller {
            Ok(Proven { consumer, credential }) => {
                let shown = Arc::clone(&credential);
                match (self.identifier, &shown.key) {
                    (Identifier::Key, Some(key)) => cx.authenticate_as(consumer, credential, key),
                    _ => cx.authenticate(consumer, credential),
                }
                return Flow::Continue;
            }
            Err(refusal) => refusal,
        };
        let Some(anonymous) = &self.anonymous else {
            return Flow::Respond(refusal);
        };
        match cx.facts().config.consumer_named(anonymous) {
            Some(consumer) => {
                cx.pass_as(Arc::clone(consumer));
                Flow::Continue
            }
            None => Reply::message(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("anonymous consumer {anonymous} is configured but doesn't exist"),
            )
            .into(),
        }
    }
}

/// 401 with this message, and what the caller should come with.
pub(super) fn unauthorized(message: impl Into<Cow<'static, str>>, challenge: &HeaderValue) -> Box<Reply> {
    Box::new(Reply::message(StatusCode::UNAUTHORIZED, message).header(WWW_AUTHENTICATE, challenge.clone()))
}

/// `Basic`, `Basic realm="service"`, and what follows.
pub(super) fn challenge(scheme: &str, realm: Option<&str>, more: &str) -> Result<HeaderValue, BuildError> {
    let realm = realm.map(|realm| {
        let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
        format!(" realm=\"{quoted}\"")
    });
    let text = format!("{scheme}{}{more}", realm.unwrap_or_default());
    HeaderValue::from_str(&text).map_err(|_| BuildError::Setting {
        pointer: "/realm".into(),
        message: "cannot be sent in a header; use visible ASCII characters".into(),
    })
}

/// What follows the name of an authentication scheme in a header, if it is that scheme.
pub(super) fn after_scheme<'h>(header: &'h str, scheme: &str) -> Option<&'h str> {
    let header = header.trim_start();
    let (name, rest) = header.split_at_checked(scheme.len())?;
    name.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// The first value of a header, if it is text.
pub(super) fn header<'c, S>(cx: &'c RequestCx<'_, S>, name: &HeaderName) -> Option<&'c str> {
    cx.headers().get(name)?.to_str().ok()
}

/// Unix seconds.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Reads base64 as Kong does: padded or not.
pub(super) fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    use base64::Engine as _;
    use base64::engine::DecodePaddingMode;
    use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    ENGINE.decode(text).ok()
}

/// The bytes of the first part of a PEM text that has one of these labels.
pub(super) fn from_pem(text: &str, labels: &[&str]) -> Option<Vec<u8>> {
    let mut rest = text;
    loop {
        let (_, after) = rest.split_once("-----BEGIN ")?;
        let (label, after) = after.split_once("-----")?;
        let (encoded, after) = after.split_once("-----END ")?;
        if labels.contains(&label) {
            let encoded: Vec<u8> = encoded
                .bytes()
                .filter(|byte| !byte.is_ascii_whitespace())
                .collect();
            return from_base64(&encoded);
        }
        rest = after;
    }
}

/// Checks how often a request that passes allocates, beyond what the kit does for one that nothing is done with.
#[cfg(test)]
#[track_caller]
pub(super) fn allocations<B: Into<bytes::Bytes>>(
    kit: &crate::kit::Kit,
    request: impl Fn() -> http::Request<B>,
    expected: u64,
) {
    struct Nothing;
    impl crate::Definition for Nothing {
        const NAME: &'static str = "nothing";
        const PRIORITY: i32 = 1;
        const PHASES: crate::Phases = crate::Phases::of(&[crate::Phase::Access]);
        const SCHEMA: &'static str = "{}";
        type Config = serde_json::Value;
        fn build(_: Self::Config, _: &crate::BuildEnv) -> Result<Self, BuildError> {
            Ok(Self)
        }
    }
    impl crate::Plugin for Nothing {
        type State = ();
    }
    let nothing = crate::kit::Kit::new::<Nothing>(serde_json::json!({}));
    let count = |kit: &crate::kit::Kit| {
        let ran = kit.access(request()); // What is made once is made now.
        assert!(ran.reply.is_none(), "{:?}", ran.reply);
        let request = request();
        allocation_counter::measure(|| drop(kit.access(request))).count_total
    };
    assert_eq!(count(kit) - count(&nothing), expected);
}
