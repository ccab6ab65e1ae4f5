//! Algorithms, and the keys of credentials: a key is of its credential's algorithm and can be used with no other.

use std::sync::OnceLock;

use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use aws_lc_rs::{hmac, rsa};
use gw_core::Document;
use gw_schema::{Violation, ViolationKind, Violations};
use serde_json::Value;

use crate::builtin::auth::{from_base64, from_pem};

/// How a token may be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Hs(Digest),
    Rs(Digest),
    Es(Digest),
    Ps(Digest),
    EdDsa,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Digest {
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    pub(super) fn named(name: &str) -> Option<Self> {
        let (family, digest) = match name.split_at_checked(2)? {
            ("Ed", "DSA") => return Some(Self::EdDsa),
            (family, "256") => (family, Digest::Sha256),
            (family, "384") => (family, Digest::Sha384),
            (family, "512") => (family, Digest::Sha512),
            _ => return None,
        };
        Some(match family {
            "HS" => Self::Hs(digest),
            "RS" => Self::Rs(digest),
            "ES" => Self::Es(digest),
            "PS" => Self::Ps(digest),
            _ => return None,
        })
    }

    /// How signatures of this kind are verified with a key of `bits`, if one is: not for secrets.
    fn verification(self, bits: usize) -> Option<&'static dyn VerificationAlgorithm> {
        use Digest::{Sha256, Sha384, Sha512};
        Some(match self {
            Self::Hs(_) => return None,
            // Note: short keys are taken where the library has them still, as Kong takes them; there are such in use.
            Self::Rs(Sha256) if bits < 2048 => &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
            Self::Rs(Sha512) if bits < 2048 => &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
            Self::Rs(Sha256) => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::Rs(Sha384) => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::Rs(Sha512) => &signature::RSA_PKCS1_2048_8192_SHA512,
            Self::Ps(Sha256) => &signature::RSA_PSS_2048_8192_SHA256,
            Self::Ps(Sha384) => &signature::RSA_PSS_2048_8192_SHA384,
            Self::Ps(Sha512) => &signature::RSA_PSS_2048_8192_SHA512,
            Self::Es(Sha256) => &signature::ECDSA_P256_SHA256_FIXED,
            Self::Es(Sha384) => &signature::ECDSA_P384_SHA384_FIXED,
            Self::Es(Sha512) => &signature::ECDSA_P521_SHA512_FIXED,
            Self::EdDsa => &signature::ED25519,
        })
    }

    fn least_bits(self) -> usize {
        match self {
            Self::Rs(Digest::Sha256 | Digest::Sha512) => 1024,
            _ => 2048,
        }
    }
}

/// A key, decoded.
#[derive(Debug)]
pub(super) enum Key {
    Secret(Box<hmac::Key>),
    Public(Box<ParsedPublicKey>),
}

/// Why a public key is not one for its algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum KeyError {
    #[error("invalid key: expected PEM, '-----BEGIN PUBLIC KEY-----'")]
    NotPem,
    #[error("invalid key: expected an RSA key of {least} to 8192 bits")]
    Rsa { least: usize },
    #[error("invalid key: expected an EC key on the curve {0}")]
    Ec(&'static str),
    #[error("invalid key: expected an Ed25519 key")]
    Ed25519,
}

impl Key {
    fn secret(digest: Digest, secret: &[u8]) -> Self {
        let algorithm = match digest {
            Digest::Sha256 => hmac::HMAC_SHA256,
            Digest::Sha384 => hmac::HMAC_SHA384,
            Digest::Sha512 => hmac::HMAC_SHA512,
        };
        Self::Secret(Box::new(hmac::Key::new(algorithm, secret)))
    }

    fn public(algorithm: Algorithm, pem: &str) -> Result<Self, KeyError> {
        let der = from_pem(pem, &["PUBLIC KEY", "RSA PUBLIC KEY"]).ok_or(KeyError::NotPem)?;
        let wrong = match algorithm {
            Algorithm::Es(Digest::Sha256) => KeyError::Ec("P-256"),
            Algorithm::Es(Digest::Sha384) => KeyError::Ec("P-384"),
            Algorithm::Es(Digest::Sha512) => KeyError::Ec("P-521"),
            Algorithm::EdDsa | Algorithm::Hs(_) => KeyError::Ed25519,
            Algorithm::Rs(_) | Algorithm::Ps(_) => KeyError::Rsa {
                least: algorithm.least_bits(),
            },
        };
        let mut bits = 0;
        if let KeyError::Rsa { least } = wrong {
            bits = rsa::PublicKey::from_der(&der).map_err(|_| wrong)?.modulus_len() * 8;
            if !(least..=8192).contains(&bits) {
                return Err(wrong);
            }
        }
        let verification = algorithm.verification(bits).ok_or(wrong)?;
        let key = ParsedPublicKey::new(verification, &der).map_err(|_| wrong)?;
        Ok(Self::Public(Box::new(key)))
    }

    /// Whether the signature is this key's of these bytes.
    pub(super) fn has_signed(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Secret(key) => hmac::verify(key, signed, signature).is_ok(),
            Self::Public(key) => key.verify_sig(signed, signature).is_ok(),
        }
    }
}

/// What a credential's tokens are verified with. A plugin says how a secret is written, so there may be two keys of one credential.
#[derive(Debug)]
pub(super) struct SigningKeys {
    algorithm: Option<Algorithm>,
    secret: Box<str>,
    pem: Box<str>,
    plain: OnceLock<Option<Key>>,
    base64: OnceLock<Option<Key>>,
}

impl SigningKeys {
    pub(super) fn of(document: &Document) -> Self {
        let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
        Self {
            algorithm: Algorithm::named(text("algorithm")),
            secret: text("secret").into(),
            pem: text("rsa_public_key").into(),
            plain: OnceLock::new(),
            base64: OnceLock::new(),
        }
    }

    pub(super) fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// The key, if there is one.
    pub(super) fn key(&self, secret_is_base64: bool) -> Option<&Key> {
        let algorithm = self.algorithm?;
        let key = match (algorithm, secret_is_base64) {
            (Algorithm::Hs(digest), true) => self.base64.get_or_init(|| {
                // Both alphabets are in use.
                let standard: Vec<u8> = self.secret.trim().bytes().map(standard_digit).collect();
                Some(Key::secret(digest, &from_base64(&standard)?))
            }),
            (Algorithm::Hs(digest), false) => self
                .plain
                .get_or_init(|| Some(Key::secret(digest, self.secret.as_bytes()))),
            _ => self.plain.get_or_init(|| Key::public(algorithm, &self.pem).ok()),
        };
        key.as_ref()
    }
}

fn standard_digit(byte: u8) -> u8 {
    match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    }
}

/// Refuses a credential whose public key is none for its algorithm.
pub(super) fn check(document: &mut Document) -> Result<(), Violations> {
    let keys = SigningKeys::of(document);
    let (Some(algorithm), false) = (keys.algorithm, keys.pem.is_empty()) else {
        return Ok(());
    };
    if matches!(algorithm, Algorithm::Hs(_)) {
        return Ok(());
    }
    match Key::public(algorithm, &keys.pem) {
        Ok(_) => Ok(()),
        Err(error) => Err(Violation::new("/rsa_public_key", error.to_string())
            .with_kind(ViolationKind::Other)
            .into()),
    }
}
