//! The compact form of a token: header, claims and signature, of which only what is asked for is kept.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::Algorithm;

/// Padded or not.
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A token that can be read; nothing of it is believed yet.
#[derive(Debug)]
pub(super) struct Token<'t> {
    /// The algorithm that it says it is signed with.
    pub(super) algorithm: Algorithm,
    /// What it names its credential by.
    pub(super) key: String,
    /// The claim, if it is a number.
    pub(super) exp: Option<f64>,
    /// The claim, if it is a number.
    pub(super) nbf: Option<f64>,
    /// What is signed: header and claims as they were sent.
    pub(super) signed: &'t str,
    pub(super) signature: Vec<u8>,
}

/// Why a token cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadToken {
    #[error("invalid JSON")]
    Json,
    #[error("invalid alg")]
    Algorithm,
    /// It wants to be understood in a way that is not known here.
    #[error("invalid crit")]
    Critical,
    #[error("invalid claims")]
    Claims,
    #[error("invalid signature")]
    Signature,
    #[error("it does not say which key has signed it")]
    NoKey,
    #[error("what it names the key by is no name")]
    Key,
}

impl<'t> Token<'t> {
    /// Reads a token whose credential is named by the claim, or by the field of its header, of this name.
    pub(super) fn read(text: &'t str, key_claim: &str) -> Result<Self, BadToken> {
        let (header, rest) = text.split_once('.').ok_or(BadToken::Json)?;
        let (claims, signature) = rest.split_once('.').ok_or(BadToken::Signature)?;
        let signed = text.get(..header.len() + 1 + claims.len()).unwrap_or_default();
        let header = Picked::read(header, key_claim, BadToken::Algorithm)?;
        let claims = Picked::read(claims, key_claim, BadToken::Claims)?;
        let algorithm = header
            .alg
            .as_ref()
            .and_then(Value::as_str)
            .and_then(Algorithm::named);
        let algorithm = algorithm.ok_or(BadToken::Algorithm)?;
        if header.is_critical {
            return Err(BadToken::Critical);
        }
        let signature = URL_SAFE.decode(signature).map_err(|_| BadToken::Signature)?;
        let key = match claims.key.filter(|key| !key.is_null()).or(header.key) {
            Some(Value::String(key)) if !key.is_empty() => key,
            Some(Value::Number(key)) => key.to_string(),
            None | Some(Value::Null) => return Err(BadToken::NoKey),
            Some(_) => return Err(BadToken::Key),
        };
        Ok(Self {
            algorithm,
            key,
            exp: claims.exp.as_ref().and_then(Value::as_f64),
            nbf: claims.nbf.as_ref().and_then(Value::as_f64),
            signed,
            signature,
        })
    }
}

/// What is wanted of an object; all else in it is passed over without being kept.
#[derive(Debug, Default)]
struct Picked {
    key: Option<Value>,
    alg: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
    is_critical: bool,
}

impl Picked {
    /// Reads a part of a token; what is no object is `other`.
    fn read(encoded: &str, key: &str, other: BadToken) -> Result<Self, BadToken> {
        let json = URL_SAFE.decode(encoded).map_err(|_| BadToken::Json)?;
        let mut reader = serde_json::Deserializer::from_slice(&json);
        let picked = reader
            .deserialize_map(Picking { key })
            .and_then(|picked| reader.end().map(|()| picked));
        picked.map_err(|error| match error.classify() {
            serde_json::error::Category::Data => other,
            _ => BadToken::Json,
        })
    }
}

struct Picking<'k> {
    key: &'k str,
}

impl<'de> Visitor<'de> for Picking<'_> {
    type Value = Picked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Picked, A::Error> {
        let mut picked = Picked::default();
        // Of two fields of one name the last counts, here and with whoever reads the token after us.
        while let Some(field) = map.next_key_seed(Naming { key: self.key })? {
            match field {
                Field::Alg => picked.alg = Some(map.next_value()?),
                Field::Exp => picked.exp = Some(map.next_value()?),
                Field::Nbf => picked.nbf = Some(map.next_value()?),
                Field::Key => picked.key = Some(map.next_value()?),
                Field::Crit | Field::Other => drop(map.next_value::<IgnoredAny>()?),
            }
            picked.is_critical |= field == Field::Crit;
        }
        match self.key {
            "alg" => picked.key.clone_from(&picked.alg),
            "exp" => picked.key.clone_from(&picked.exp),
            "nbf" => picked.key.clone_from(&picked.nbf),
            _ => {}
        }
        Ok(picked)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Alg,
    Exp,
    Nbf,
    Crit,
    Key,
    Other,
}

/// Reads the name of a field without keeping it.
struct Naming<'k> {
    key: &'k str,
}

impl<'de> DeserializeSeed<'de> for Naming<'_> {
    type Value = Field;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Naming<'_> {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E>(self, name: &str) -> Result<Field, E> {
        Ok(match name {
            "alg" => Field::Alg,
            "exp" => Field::Exp,
            "nbf" => Field::Nbf,
            "crit" => Field::Crit,
            name if name == self.key => Field::Key,
            _ => Field::Other,
        })
    }
}
