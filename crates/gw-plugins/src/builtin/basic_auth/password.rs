//! Passwords at rest and how they are checked.
//!
//! A password is stored as PBKDF2 of it, in the form of the PHC strings. That is slow by intention, and a request must not be. So the
//! first right password of a credential is remembered as a quick digest under a key that only this process has, for as long as the
//! credential stays as it is: from then on right and wrong are told apart in about a microsecond. Before that, who has shown too
//! many wrong ones of late has none looked at.

use std::num::NonZeroU32;
use std::sync::OnceLock;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use gw_core::{Credential, Document};
use gw_schema::{Violation, ViolationKind, Violations};
use serde_json::Value;

/// How often the hash is hashed again: a millisecond or two, which is what a worker may be held up for once per credential.
const ROUNDS: NonZeroU32 = NonZeroU32::new(10_000).expect("not zero");

/// Bound: the rounds of a hash that was made elsewhere.
const MOST_ROUNDS: u32 = 1_000_000;

/// How the stored form begins.
const STORED: &str = "$pbkdf2-sha256$";

/// How what Kong has stored begins here: a SHA-1 of password and consumer.
const KONG: &str = "$kong-sha1$";

/// A credential's password, as it is stored.
#[derive(Debug)]
pub(super) struct Password {
    stored: Stored,
    /// The quick digest of the right one, once it was shown.
    known: OnceLock<[u8; 32]>,
}

#[derive(Debug, PartialEq, Eq)]
enum Stored {
    Pbkdf2 {
        rounds: NonZeroU32,
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
    Kong {
        hash: Vec<u8>,
        consumer: String,
    },
    /// Nothing fits it.
    Unreadable,
}

/// What is to be said of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    Wrong,
    /// Too many wrong ones were shown; this one was not looked at.
    NotNow,
}

impl Password {
    pub(super) fn of(credential: &Credential) -> Self {
        let text = credential
            .document
            .get("password")
            .and_then(Value::as_str)
            .unwrap_or_default();
        Self {
            stored: Stored::read(text, || credential.consumer.to_string()),
            known: OnceLock::new(),
        }
    }

    /// Where that takes long, `is_too_much` is asked first whether it is to be looked at.
    pub(super) fn check(
        &self,
        password: &str,
        fresh: &hmac::Key,
        is_too_much: impl FnOnce() -> bool,
    ) -> Verdict {
        let quick = || hmac::sign(fresh, password.as_bytes());
        if let Some(known) = self.known.get() {
            return verdict(constant_time::verify_slices_are_equal(known, quick().as_ref()).is_ok());
        }
        match &self.stored {
            Stored::Unreadable => Verdict::Wrong,
            Stored::Kong { hash, consumer } => {
                let salted = [password.as_bytes(), consumer.as_bytes()].concat();
                let shown = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &salted);
                verdict(constant_time::verify_slices_are_equal(hash, shown.as_ref()).is_ok())
            }
            Stored::Pbkdf2 { rounds, salt, hash } => {
                if is_too_much() {
                    return Verdict::NotNow;
                }
                let is_right = pbkdf2::verify(
                    pbkdf2::PBKDF2_HMAC_SHA256,
                    *rounds,
                    salt,
                    password.as_bytes(),
                    hash,
                )
                .is_ok();
                if is_right {
                    self.remember(quick().as_ref());
                }
                verdict(is_right)
            }
        }
    }

    fn remember(&self, digest: &[u8]) {
        if let Ok(digest) = digest.try_into() {
            self.known.get_or_init(|| digest);
        }
    }
}

fn verdict(is_right: bool) -> Verdict {
    match is_right {
        true => Verdict::Right,
        false => Verdict::Wrong,
    }
}

impl Stored {
    fn read(text: &str, consumer: impl FnOnce() -> String) -> Self {
        if let Some(hash) = text.strip_prefix(KONG).and_then(from_hex) {
            return Self::Kong {
                hash,
                consumer: consumer(),
            };
        }
        Self::pbkdf2(text).unwrap_or(Self::Unreadable)
    }

    fn pbkdf2(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix(STORED)?.split('$');
        let rounds: u32 = parts.next()?.strip_prefix("i=")?.parse().ok()?;
        let rounds = NonZeroU32::new(rounds).filter(|rounds| rounds.get() <= MOST_ROUNDS)?;
        let salt = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
        let hash = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
        (parts.next().is_none() && hash.len() == 32).then_some(Self::Pbkdf2 { rounds, salt, hash })
    }
}

/// Writes the stored form in the place of a password; what is in stored form already stays.
///
/// The salt is the credential's id: random where the gateway makes it, and always the same for the same file.
pub(super) fn settle(document: &mut Document) -> Result<(), Violations> {
    let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
    let (password, id) = (text("password"), text("id").to_ascii_lowercase());
    let is_kept = [STORED, KONG].iter().any(|form| password.starts_with(form));
    if is_kept {
        return match Stored::read(password, String::new) {
            Stored::Unreadable => Err(Violation::new(
                "/password",
                format!("begins like a stored password but is none with at most {MOST_ROUNDS} rounds; send the password itself"),
            )
            .with_kind(ViolationKind::Other)
            .into()),
            _ => Ok(()),
        };
    }
    let mut hash = [0; 32];
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        ROUNDS,
        id.as_bytes(),
        password.as_bytes(),
        &mut hash,
    );
    let (salt, hash) = (STANDARD_NO_PAD.encode(&id), STANDARD_NO_PAD.encode(hash));
    let stored = format!("{STORED}i={ROUNDS}${salt}${hash}");
    document.insert("password".to_owned(), stored.into());
    Ok(())
}

/// Marks a hash that Kong has stored.
pub(super) fn adopt(document: &mut Document) {
    if let Some(Value::String(password)) = document.get_mut("password")
        && password.len() == 40
        && from_hex(password).is_some()
    {
        *password = format!("{KONG}{}", password.to_ascii_lowercase());
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| {
        char::from(*byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests;
