//! A request's signature: how it is written in a header, and what it is made over.

use std::sync::OnceLock;

use aws_lc_rs::{constant_time, hmac};
use gw_core::Document;
use http::Version;
use http::header::HOST;
use serde_json::Value;

use crate::builtin::auth::{after_scheme, from_base64};
use crate::cx::RequestCx;

/// How requests may be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "hmac-sha1" => Self::Sha1,
            "hmac-sha224" => Self::Sha224,
            "hmac-sha256" => Self::Sha256,
            "hmac-sha384" => Self::Sha384,
            "hmac-sha512" => Self::Sha512,
            _ => return None,
        })
    }
}

/// A credential's secret, and the keys made of it.
#[derive(Debug)]
pub(super) struct Secret {
    secret: Box<str>,
    /// In boxes: a key takes more than a kilobyte, and few are used.
    keys: [OnceLock<Box<hmac::Key>>; 5],
}

impl Secret {
    pub(super) fn of(document: &Document) -> Self {
        let secret = document.get("secret").and_then(Value::as_str).unwrap_or_default();
        Self {
            secret: secret.into(),
            keys: Default::default(),
        }
    }

    pub(super) fn key(&self, algorithm: Algorithm) -> &hmac::Key {
        let [sha1, sha224, sha256, sha384, sha512] = &self.keys;
        let (key, algorithm) = match algorithm {
            Algorithm::Sha1 => (sha1, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            Algorithm::Sha224 => (sha224, hmac::HMAC_SHA224),
            Algorithm::Sha256 => (sha256, hmac::HMAC_SHA256),
            Algorithm::Sha384 => (sha384, hmac::HMAC_SHA384),
            Algorithm::Sha512 => (sha512, hmac::HMAC_SHA512),
        };
        key.get_or_init(|| Box::new(hmac::Key::new(algorithm, self.secret.as_bytes())))
    }
}

/// What a header says of a signature.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Signature<'h> {
    pub(super) username: &'h str,
    pub(super) algorithm: &'h str,
    headers: &'h str,
    signature: &'h str,
}

impl<'h> Signature<'h> {
    /// Reads `hmac username="…", algorithm="…", headers="…", signature="…"`; nothing if one of them is missing.
    pub(super) fn read(header: &'h str) -> Option<Self> {
        let [mut username, mut algorithm, mut headers, mut signature] = [None; 4];
        let mut rest = after_scheme(header, "hmac")?.trim_start();
        while !rest.is_empty() {
            let (name, after) = rest.split_once("=\"")?;
            let (value, after) = after.split_once('"')?;
            let place = match name {
                "username" => Some(&mut username),
                "algorithm" => Some(&mut algorithm),
                "headers" => Some(&mut headers),
                "signature" => Some(&mut signature),
                _ => None,
            };
            // The first of a name counts; what has no value is as good as absent.
            if let Some(place) = place.filter(|place| place.is_none()) {
                *place = Some(value).filter(|value| !value.is_empty());
            }
            rest = after.trim_start().strip_prefix(',').unwrap_or(after).trim_start();
        }
        Some(Self {
            username: username?,
            algorithm: algorithm?,
            headers: headers?,
            signature: signature?,
        })
    }

    /// The names of what the signature is made over.
    pub(super) fn covered(&self) -> impl Iterator<Item = &'h str> {
        self.headers.split(' ')
    }

    /// Whether it is this key's, of this request.
    pub(super) fn is_of<S>(&self, cx: &RequestCx<'_, S>, key: &hmac::Key) -> bool {
        let mut made = hmac::Context::with_key(key);
        for (position, name) in self.covered().enumerate() {
            if position > 0 {
                made.update(b"\n");
            }
            add(&mut made, cx, name);
        }
        let Some(shown) = from_base64(self.signature.as_bytes()) else {
            return false;
        };
        constant_time::verify_slices_are_equal(made.sign().as_ref(), &shown).is_ok()
    }
}

/// Adds one line of what is signed.
fn add<S>(made: &mut hmac::Context, cx: &RequestCx<'_, S>, name: &str) {
    let facts = cx.facts();
    let value = cx.headers().get(name);
    // The request's own `Host` may not stand among the headers for the upstream.
    let value = value.or_else(|| facts.host.filter(|_| name.eq_ignore_ascii_case(HOST.as_str())));
    let target = facts.target.map_or("/", |target| target.as_str()).as_bytes();
    match (name, value) {
        (_, Some(value)) => {
            made.update(name.as_bytes());
            made.update(b": ");
            made.update(value.as_bytes());
        }
        ("request-line", None) => {
            made.update(facts.method.as_str().as_bytes());
            made.update(b" ");
            made.update(target);
            made.update(b" ");
            made.update(version(cx).as_bytes());
        }
        ("@request-target", None) => {
            made.update(b"@request-target: ");
            for byte in facts.method.as_str().bytes() {
                made.update(&[byte.to_ascii_lowercase()]);
            }
            made.update(b" ");
            made.update(target);
        }
        (_, None) => {
            made.update(name.as_bytes());
            made.update(b":");
        }
    }
}

/// The version of the protocol as a request line has it.
fn version<S>(cx: &RequestCx<'_, S>) -> &'static str {
    match cx.parts.head.version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}
