//! Keys that tokens are made or checked with, and the sets they are in.

use std::sync::Arc;

use gw_schema::Violations;
use serde_json::{Map, Value, json};

use crate::Id;
use crate::fields::Fields;
use crate::key_pair::{self, PrivateKey};

/// Keys that are looked up together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet {
    /// Identity.
    pub id: Id<Self>,
    /// Unique name.
    pub name: Option<Box<str>>,
    /// Labels.
    pub tags: Vec<Box<str>>,
}

/// A key that tokens are made or checked with.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Identity.
    pub id: Id<Self>,
    /// Unique name.
    pub name: Option<Box<str>>,
    /// By which tokens name it; unique in its set.
    pub kid: Box<str>,
    /// The set it is in.
    pub set: Option<Id<KeySet>>,
    /// The key itself.
    pub material: KeyMaterial,
    /// Labels.
    pub tags: Vec<Box<str>>,
}

/// The two forms of a key.
#[derive(Clone, PartialEq)]
pub enum KeyMaterial {
    /// A JSON web key.
    Jwk(Arc<Map<String, Value>>),
    /// At least one of the two halves of a pair.
    Pem {
        /// The private half.
        private: Option<PrivateKey>,
        /// The public half: a SubjectPublicKeyInfo in DER.
        public: Option<Box<[u8]>>,
    },
}

impl std::fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Jwk(jwk) => f.debug_tuple("Jwk").field(&public_half(jwk)).finish(),
            Self::Pem { private, public } => f
                .debug_struct("Pem")
                .field("private", private)
                .field("public", public)
                .finish(),
        }
    }
}

/// Members of a JSON web key that are secret: those of private keys, and the whole of a symmetric one.
const SECRET: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

impl KeySet {
    pub(crate) fn parse(document: &Map<String, Value>) -> Result<Self, Violations> {
        let fields = Fields::new(document);
        let set = (|| {
            Some(Self {
                id: fields.id()?,
                name: fields.boxed("name"),
                tags: fields.tags(),
            })
        })();
        fields.finish(set)
    }
}

impl Key {
    pub(crate) fn parse(document: &Map<String, Value>) -> Result<Self, Violations> {
        let mut fields = Fields::new(document);
        let kid = fields.boxed("kid");
        let jwk = fields.parsed_with("jwk", |text| jwk(text, kid.as_deref()));
        let material = match jwk {
            Some(jwk) => Some(KeyMaterial::Jwk(Arc::new(jwk))),
            None => pem(&mut fields),
        };
        let key = (|| {
            Some(Self {
                id: fields.id()?,
                name: fields.boxed("name"),
                kid: kid?,
                set: fields.reference("set"),
                material: material?,
                tags: fields.tags(),
            })
        })();
        fields.finish(key)
    }
}

fn jwk(text: &str, kid: Option<&str>) -> Result<Map<String, Value>, &'static str> {
    let Ok(Value::Object(jwk)) = serde_json::from_str(text) else {
        return Err("could not json decode jwk string: expected the text of an object");
    };
    let own = jwk.get("kid").and_then(Value::as_str);
    if kid.is_some() && own != kid {
        return Err("kid in jwk.kid must be equal to keys.kid");
    }
    if !jwk.get("kty").is_some_and(Value::is_string) {
        return Err("invalid jwk: it has no 'kty', the type of the key");
    }
    Ok(jwk)
}

fn pem(fields: &mut Fields<'_>) -> Option<KeyMaterial> {
    let halves = fields.object("pem")?;
    let half = |name: &str| halves.get(name).and_then(Value::as_str);
    let private = half("private_key").map(key_pair::private_key).transpose();
    let private = private
        .map_err(|error| fields.refuse("/pem/private_key", error))
        .ok();
    let public = half("public_key").map(key_pair::public_key).transpose();
    let public = public
        .map_err(|error| fields.refuse("/pem/public_key", error))
        .ok();
    Some(KeyMaterial::Pem {
        private: private?,
        public: public?,
    })
}

fn public_half(jwk: &Map<String, Value>) -> Map<String, Value> {
    let mut jwk = jwk.clone();
    jwk.retain(|name, _| !SECRET.contains(&name.as_str()));
    jwk
}

/// Takes out what is secret of a key.
pub(crate) fn conceal(document: &mut Map<String, Value>) {
    if let Some(Value::String(text)) = document.get_mut("jwk")
        && let Ok(Value::Object(jwk)) = serde_json::from_str(text)
        && jwk.keys().any(|name| SECRET.contains(&name.as_str()))
    {
        *text = Value::Object(public_half(&jwk)).to_string();
    }
    if let Some(Value::Object(pem)) = document.get_mut("pem") {
        pem.insert("private_key".to_owned(), Value::Null);
    }
}

/// Puts back what was taken out of a key that was shown, if it is that key.
pub(crate) fn reveal(previous: &Map<String, Value>, document: &mut Map<String, Value>) {
    let material = |document: &Map<String, Value>| {
        let half = |name: &str| document.get("pem").and_then(|pem| pem.get(name)).cloned();
        json!([document.get("jwk"), half("private_key"), half("public_key")])
    };
    let mut shown = previous.clone();
    conceal(&mut shown);
    if material(document) == material(&shown) {
        for form in ["jwk", "pem"] {
            document.insert(form.to_owned(), previous.get(form).cloned().unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn what_is_shown_holds_no_secret_and_can_be_sent_back() {
        let jwk =
            r#"{"kty":"RSA","kid":"1","n":"abc","e":"AQAB","d":"SECRET","p":"SECRET","oth":["SECRET"]}"#;
        let symmetric = r#"{"kty":"oct","kid":"1","k":"SECRET"}"#;
        for stored in [
            json!({ "jwk": jwk, "pem": null }),
            json!({ "jwk": symmetric, "pem": null }),
            json!({ "jwk": null, "pem": { "private_key": "SECRET", "public_key": "open" } }),
            json!({ "jwk": null, "pem": { "private_key": "SECRET", "public_key": null } }),
        ] {
            let stored = object(stored);
            let mut shown = stored.clone();
            conceal(&mut shown);
            assert!(
                !Value::Object(shown.clone()).to_string().contains("SECRET"),
                "{shown:?}"
            );
            let mut sent = shown.clone();
            reveal(&stored, &mut sent);
            assert_eq!(sent, stored);
            for other in [
                json!({ "jwk": r#"{"kty":"RSA","kid":"1","n":"other"}"# }),
                json!({ "pem": { "public_key": "other" } }),
                json!({ "pem": { "private_key": "new", "public_key": "open" } }),
            ] {
                let mut other = object(other);
                let before = other.clone();
                reveal(&stored, &mut other);
                assert_eq!(other, before, "another key is taken as it is");
            }
        }
        let open = r#"{ "kty": "EC", "kid": "1" }"#;
        let mut shown = object(json!({ "jwk": open }));
        conceal(&mut shown);
        assert_eq!(shown["jwk"], open, "as it was written");
    }

    #[test]
    fn a_keys_debug_text_does_not_show_it() {
        let jwk = object(json!({ "kty": "oct", "k": "SECRET" }));
        assert!(!format!("{:?}", KeyMaterial::Jwk(Arc::new(jwk))).contains("SECRET"));
    }
}
