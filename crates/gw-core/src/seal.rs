//! Secrets at rest: sealed on the way into the store, opened on the way out, and nowhere else.
//!
//! Which fields are secret a schema says by `"x-secret": "sealed"`. Each text there is sealed by itself, for its place:
//! the kind and the id of the entity and the field, so that one cannot be put where another was.

mod keyring;
mod places;

use std::collections::HashMap;
use std::sync::Arc;

use gw_schema::{Violation, Violations};
use serde_json::{Map, Value};

use crate::{Kind, Kinds};
pub use keyring::{Keyring, KeyringError, SealError};
pub(crate) use places::Places;

/// What a secret is shown as where it is not shown.
const MASK: &str = "***";

/// What is secret in plugins' settings, and what it is sealed with.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    keyring: Option<Keyring>,
    plugins: Arc<HashMap<Box<str>, Places>>,
}

/// How the secrets of a stored document are sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sealing {
    /// Those that the key sealed that seals now.
    pub current: usize,
    /// Those that another key sealed.
    pub older: usize,
    /// Those in clear text.
    pub clear: usize,
}

impl Kinds {
    /// The same, with the schemas of these plugins' settings: what is secret there.
    #[must_use]
    pub fn with_settings<'s>(mut self, plugins: impl IntoIterator<Item = (&'s str, &'s Value)>) -> Self {
        let secret = plugins
            .into_iter()
            .filter_map(|(name, schema)| Some((name.into(), Places::of(schema)?)));
        self.secrets.plugins = Arc::new(secret.collect());
        self
    }

    /// The same, with a keyring: [`Kinds::seal`] seals from then on, and [`Kinds::open`] opens what its keys sealed.
    #[must_use]
    pub fn sealed_with(mut self, keyring: Keyring) -> Self {
        self.secrets.keyring = Some(keyring);
        self
    }

    /// What secrets are sealed with, if they are.
    #[must_use]
    pub fn keyring(&self) -> Option<&Keyring> {
        self.secrets.keyring.as_ref()
    }

    /// Seals what is secret in a document that is about to be stored; without a keyring nothing. What is as it was
    /// `before`, in the document that is stored now, stays sealed as it is, unless with an older key.
    ///
    /// # Errors
    /// The system gives no random bytes. The document must not be stored then.
    pub fn seal(
        &self,
        kind: Kind,
        document: &mut Map<String, Value>,
        before: Option<&Value>,
    ) -> Result<(), SealError> {
        let Some(keyring) = &self.secrets.keyring else {
            return Ok(());
        };
        let mut failed = None;
        self.visit(kind, document, &mut |place, at, text| {
            if keyring::is_sealed(text) {
                return; // What cannot be opened here, and was let stay.
            }
            let known = before
                .and_then(|before| before.pointer(at))
                .and_then(Value::as_str);
            let known = known.filter(|known| keyring.is_current(known));
            if let Some(known) = known.filter(|known| keyring.open(known, place).as_deref() == Ok(&**text)) {
                *text = known.to_owned();
                return;
            }
            match keyring.seal(text, place) {
                Ok(sealed) => *text = sealed,
                Err(error) => failed = Some(error),
            }
        });
        failed.map_or(Ok(()), Err)
    }

    /// Opens what is sealed in a document; what is in clear text stays as it is.
    ///
    /// # Errors
    /// What cannot be opened, by place, with the name of the key. It is sealed still.
    pub fn open(&self, kind: Kind, document: &mut Map<String, Value>) -> Result<(), Violations> {
        let mut found = Vec::new();
        self.visit(kind, document, &mut |place, at, text| {
            if !keyring::is_sealed(text) {
                return;
            }
            let opened = match &self.secrets.keyring {
                Some(keyring) => keyring.open(text, place),
                None => Err(keyring::without_keyring(text)),
            };
            match opened {
                Ok(opened) => *text = opened,
                Err(error) => found.push(Violation::new(at, error.to_string()).with_hint(
                    "start the gateway with a keyring that has the key, or write the secret anew",
                )),
            }
        });
        Violations::none_in(found)
    }

    /// Puts a mask in place of what is secret in a document that is to be shown, sealed or not.
    pub fn mask(&self, kind: Kind, document: &mut Map<String, Value>) {
        self.visit(kind, document, &mut |_, _, text| {
            MASK.clone_into(text);
        });
    }

    /// Says how the secrets of a document are sealed, as it is stored.
    #[must_use]
    pub fn sealing(&self, kind: Kind, document: &mut Map<String, Value>) -> Sealing {
        let mut sealing = Sealing::default();
        self.visit(kind, document, &mut |_, _, text| {
            let keyring = self.secrets.keyring.as_ref();
            let count = if !keyring::is_sealed(text) {
                &mut sealing.clear
            } else if keyring.is_some_and(|keyring| keyring.is_current(text)) {
                &mut sealing.current
            } else {
                &mut sealing.older
            };
            *count = count.saturating_add(1);
        });
        sealing
    }

    /// Whether documents of a kind may have secrets.
    #[must_use]
    pub fn has_secrets(&self, kind: Kind) -> bool {
        kind == Kind::Plugin && !self.secrets.plugins.is_empty()
            || self.spec(kind).is_some_and(|spec| spec.secrets.is_some())
    }

    /// Calls `each` with every secret text, the place it is sealed for, and the pointer to it.
    fn visit(
        &self,
        kind: Kind,
        document: &mut Map<String, Value>,
        each: &mut dyn FnMut(&str, &str, &mut String),
    ) {
        if !self.has_secrets(kind) {
            return;
        }
        let text = |field: &str| document.get(field).and_then(Value::as_str);
        // Ids are shown as they are written; stored they are in lower case.
        let id = text("id").unwrap_or_default().to_ascii_lowercase();
        let settings = text("name").filter(|_| kind == Kind::Plugin);
        let settings = settings.and_then(|name| self.secrets.plugins.get(name));
        let mut in_place = |at: &str, text: &mut String| each(&format!("gw/1/{kind}/{id}{at}"), at, text);
        if let (Some(places), Some(Value::Object(config))) = (settings, document.get_mut("config")) {
            places.visit(config, "/config", &mut in_place);
        }
        if let Some(places) = self.spec(kind).and_then(|spec| spec.secrets.as_ref()) {
            places.visit(document, "", &mut in_place);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Document;

    const KEYS: &str = "one:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const ROTATED: &str = "two:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n\
                           one:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    fn kinds(keyring: &str) -> Kinds {
        plain().sealed_with(Keyring::parse(keyring).unwrap())
    }

    fn plain() -> Kinds {
        let schema =
            json!({ "properties": { "redis": { "properties": { "password": { "x-secret": "sealed" } } } } });
        Kinds::new([]).unwrap().with_settings([("limiter", &schema)])
    }

    fn object(value: Value) -> Document {
        value.as_object().unwrap().clone()
    }

    fn certificate(id: &str) -> Document {
        object(json!({ "id": id, "cert": "open", "key": "private", "key_alt": null }))
    }

    #[test]
    fn a_document_comes_back_as_it_went() {
        let kinds = kinds(KEYS);
        let plugin = json!({ "id": "p", "name": "limiter", "config": { "redis": { "password": "private", "host": "h" } } });
        for (kind, document) in [
            (Kind::Certificate, certificate("c")),
            (Kind::Plugin, object(plugin)),
            (
                Kind::Key,
                object(json!({ "id": "k", "jwk": "private", "pem": null })),
            ),
            (
                Kind::Key,
                object(json!({ "id": "k", "pem": { "private_key": "private", "public_key": "open" } })),
            ),
            (
                Kind::Service,
                object(json!({ "id": "s", "name": "private, but no secret" })),
            ),
        ] {
            let mut stored = document.clone();
            kinds.seal(kind, &mut stored, None).unwrap();
            let text = Value::from(stored.clone()).to_string();
            assert!(!text.contains("\"private\""), "{text}");
            assert_eq!(stored == document, kind == Kind::Service);
            assert_eq!(kinds.sealing(kind, &mut stored).clear, 0);
            kinds.open(kind, &mut stored).unwrap();
            assert_eq!(stored, document);
            let mut masked = document.clone();
            kinds.mask(kind, &mut masked);
            assert!(!Value::from(masked).to_string().contains("\"private\""));
        }
    }

    #[test]
    fn a_sealed_text_is_of_use_in_its_place_alone() {
        let kinds = kinds(KEYS);
        let mut stored = certificate("c");
        kinds.seal(Kind::Certificate, &mut stored, None).unwrap();
        let mut moved = stored.clone();
        moved.insert("id".to_owned(), "d".into());
        let mut elsewhere = stored.clone();
        let key = elsewhere.insert("key".to_owned(), "x".into()).unwrap();
        elsewhere.insert("key_alt".to_owned(), key);
        for mut document in [moved, elsewhere] {
            let before = document.clone();
            let refused = kinds.open(Kind::Certificate, &mut document).unwrap_err();
            assert!(
                refused
                    .to_string()
                    .contains("was sealed for another entity or field"),
                "{refused}"
            );
            assert_eq!(document, before, "still sealed");
        }
        let mut upper = stored;
        upper.insert("id".to_owned(), "C".into());
        kinds.open(Kind::Certificate, &mut upper).unwrap();
    }

    #[test]
    fn what_did_not_change_is_not_sealed_anew_but_with_the_new_key() {
        let kinds = kinds(KEYS);
        let mut stored = certificate("c");
        kinds.seal(Kind::Certificate, &mut stored, None).unwrap();
        let before = Value::from(stored.clone());
        let mut again = certificate("c");
        kinds.seal(Kind::Certificate, &mut again, Some(&before)).unwrap();
        assert_eq!(again, stored);
        let mut changed = certificate("c");
        changed.insert("key".to_owned(), "other".into());
        kinds
            .seal(Kind::Certificate, &mut changed, Some(&before))
            .unwrap();
        assert_ne!(changed["key"], stored["key"]);

        let rotated = self::kinds(ROTATED);
        assert_eq!(rotated.sealing(Kind::Certificate, &mut stored).older, 1);
        let mut again = certificate("c");
        rotated
            .seal(Kind::Certificate, &mut again, Some(&before))
            .unwrap();
        assert_eq!(rotated.sealing(Kind::Certificate, &mut again).current, 1);
    }

    #[test]
    fn without_its_key_a_secret_is_refused_and_not_taken_for_a_text() {
        let mut stored = certificate("c");
        kinds(ROTATED).seal(Kind::Certificate, &mut stored, None).unwrap();
        let check = |kinds: &Kinds, expected: &str| {
            let refused = kinds.load(Kind::Certificate, stored.clone()).unwrap_err();
            let told: Vec<_> = refused
                .iter()
                .map(|one| (one.pointer.clone(), one.message.clone()))
                .collect();
            assert_eq!(told, [("/key".to_owned(), expected.to_owned())]);
        };
        check(
            &plain(),
            "is sealed with the key 'two', and this gateway has no keyring",
        );
        check(
            &kinds(KEYS),
            "is sealed with the key 'two', which the keyring does not have (it has one)",
        );
    }

    #[test]
    fn clear_text_is_read_and_counted() {
        let mut document = certificate("c");
        assert_eq!(kinds(KEYS).sealing(Kind::Certificate, &mut document).clear, 1);
        kinds(KEYS).open(Kind::Certificate, &mut document).unwrap();
        assert_eq!(document, certificate("c"));
        plain().seal(Kind::Certificate, &mut document, None).unwrap();
        assert_eq!(
            document,
            certificate("c"),
            "as Kong stores it, where there is no keyring"
        );
    }
}
