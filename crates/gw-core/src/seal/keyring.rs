//! The keys that secrets are sealed with: AES-256-GCM, a nonce drawn for each text, the place as associated data.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// What a sealed text begins with. A secret that begins so is not taken.
const MARK: &str = "sealed:v1:";

/// Bytes of a key.
const KEY_LEN: usize = 32;

/// Bound: characters of a key's name.
const MAX_NAME: usize = 64;

/// Keys by name: the first seals, all open. Cloning shares them.
#[derive(Clone)]
pub struct Keyring {
    keys: Arc<[Named]>,
}

struct Named {
    name: Box<str>,
    key: RandomizedNonceKey,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// Why a text is no keyring.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// There is no key in it.
    #[error(
        "the keyring has no key; write one a line, `NAME:KEY`, the key being 32 random bytes in base64 \
         (`openssl rand -base64 32`)"
    )]
    Empty,
    /// A line has no colon.
    #[error("line {line} of the keyring is not of the form `NAME:KEY`")]
    Form {
        /// Counted from 1.
        line: usize,
    },
    /// A key has a name that could not stand in a sealed text.
    #[error("line {line} of the keyring: a key's name has 1 to {MAX_NAME} letters, digits, '.', '_' and '-'")]
    Name {
        /// Counted from 1.
        line: usize,
    },
    /// Two keys have the same name.
    #[error("line {line} of the keyring: there is a key '{name}' before; name each differently")]
    Double {
        /// Counted from 1.
        line: usize,
        /// The name.
        name: Box<str>,
    },
    /// A key is not 32 bytes in base64.
    #[error(
        "line {line} of the keyring: the key '{name}' is not {KEY_LEN} bytes in base64; make one with \
         `openssl rand -base64 {KEY_LEN}`"
    )]
    Key {
        /// Counted from 1.
        line: usize,
        /// The name.
        name: Box<str>,
    },
}

/// Why a sealed text was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OpenError {
    #[error("is sealed with the key '{name}', and this gateway has no keyring")]
    NoKeyring { name: Box<str> },
    #[error("is sealed with the key '{name}', which the keyring does not have (it has {known})")]
    NoKey { name: Box<str>, known: Box<str> },
    #[error(
        "is sealed with another key than '{name}' now is, was sealed for another entity or field, or was altered"
    )]
    Refused { name: Box<str> },
    #[error("begins like a sealed text and is none")]
    Form,
}

/// A secret that was not sealed: there is no randomness to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret could not be sealed: the system gave no random bytes")]
pub struct SealError;

impl Keyring {
    /// Reads a keyring: a key a line, `NAME:KEY`, 32 bytes in base64. Empty lines and those that begin with `#` do not
    /// count.
    ///
    /// # Errors
    /// What is wrong with it, and in which line; never a key.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let mut keys: Vec<Named> = Vec::new();
        for (index, text) in text.lines().enumerate() {
            let (line, text) = (index.saturating_add(1), text.trim());
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (name, key) = text.split_once(':').ok_or(KeyringError::Form { line })?;
            let (name, key) = (name.trim(), key.trim());
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_plain) {
                return Err(KeyringError::Name { line });
            }
            if keys.iter().any(|known| *known.name == *name) {
                return Err(KeyringError::Double {
                    line,
                    name: name.into(),
                });
            }
            let bytes = STANDARD.decode(key).or_else(|_| STANDARD_NO_PAD.decode(key));
            let bytes = bytes.or_else(|_| URL_SAFE_NO_PAD.decode(key.trim_end_matches('=')));
            let bytes = bytes.ok().filter(|bytes| bytes.len() == KEY_LEN);
            let key = bytes.and_then(|bytes| RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok());
            let key = key.ok_or_else(|| KeyringError::Key {
                line,
                name: name.into(),
            })?;
            keys.push(Named {
                name: name.into(),
                key,
            });
        }
        if keys.is_empty() {
            return Err(KeyringError::Empty);
        }
        Ok(Self { keys: keys.into() })
    }

    /// The names of the keys, the one that seals first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| &*key.name)
    }

    /// Seals a text for a place.
    pub(super) fn seal(&self, text: &str, place: &str) -> Result<String, SealError> {
        let key = self.keys.first().ok_or(SealError)?;
        let mut sealed = text.as_bytes().to_vec();
        let nonce = key
            .key
            .seal_in_place_append_tag(Aad::from(place.as_bytes()), &mut sealed);
        let nonce = nonce.map_err(|_| SealError)?;
        let mut bytes = nonce.as_ref().to_vec();
        bytes.append(&mut sealed);
        Ok(format!("{MARK}{}:{}", key.name, URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Opens a text that was sealed for a place.
    pub(super) fn open(&self, sealed: &str, place: &str) -> Result<String, OpenError> {
        let (name, bytes) = parts(sealed).ok_or(OpenError::Form)?;
        let Some(key) = self.keys.iter().find(|key| *key.name == *name) else {
            return Err(OpenError::NoKey {
                name: name.into(),
                known: self.names().collect::<Vec<_>>().join(", ").into(),
            });
        };
        let bytes = URL_SAFE_NO_PAD.decode(bytes).map_err(|_| OpenError::Form)?;
        let (nonce, rest) = bytes.split_at_checked(NONCE_LEN).ok_or(OpenError::Form)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError::Form)?;
        let mut rest = rest.to_vec();
        let refused = || OpenError::Refused { name: name.into() };
        let opened = key
            .key
            .open_in_place(nonce, Aad::from(place.as_bytes()), &mut rest);
        let opened = opened.map_err(|_| refused())?;
        String::from_utf8(opened.to_vec()).map_err(|_| refused())
    }

    /// Whether a text is sealed with the key that seals now.
    pub(super) fn is_current(&self, sealed: &str) -> bool {
        let first = self.keys.first().map(|key| &*key.name);
        first.is_some() && parts(sealed).map(|(name, _)| name) == first
    }
}

/// Whether a text is a sealed one, by how it begins.
pub(super) fn is_sealed(text: &str) -> bool {
    text.starts_with(MARK)
}

/// Why a sealed text cannot be opened where there is no keyring.
pub(super) fn without_keyring(sealed: &str) -> OpenError {
    match parts(sealed) {
        Some((name, _)) => OpenError::NoKeyring { name: name.into() },
        None => OpenError::Form,
    }
}

/// The name of the key, and what was sealed with it.
fn parts(sealed: &str) -> Option<(&str, &str)> {
    sealed.strip_prefix(MARK)?.split_once(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const TWO: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    fn keyring(text: &str) -> Keyring {
        Keyring::parse(text).unwrap()
    }

    #[test]
    fn what_is_sealed_is_opened_in_its_place_alone() {
        let keys = keyring(&format!("one:{ONE}"));
        for text in ["", "secret", "sealed:v1:", "\u{1f511}"] {
            let sealed = keys.seal(text, "here").unwrap();
            assert!(
                is_sealed(&sealed) && sealed.starts_with("sealed:v1:one:"),
                "{sealed}"
            );
            assert_eq!(keys.open(&sealed, "here").as_deref(), Ok(text));
            let refused = Err(OpenError::Refused { name: "one".into() });
            assert_eq!(keys.open(&sealed, "there"), refused);
        }
        assert_ne!(
            keys.seal("secret", "here"),
            keys.seal("secret", "here"),
            "equal secrets look different"
        );
    }

    #[test]
    fn each_byte_counts() {
        let keys = keyring(&format!("one:{ONE}"));
        let sealed = keys.seal("secret", "here").unwrap();
        for position in 0..sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(bytes).unwrap();
            assert!(keys.open(&altered, "here").is_err(), "{altered}");
            assert!(keys.open(sealed.get(..position).unwrap(), "here").is_err());
        }
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let old = keyring(&format!("one:{ONE}"));
        let new = keyring(&format!("# rotated\n\ntwo:{TWO}\n one : {ONE} \n"));
        let sealed = old.seal("secret", "here").unwrap();
        assert_eq!(new.open(&sealed, "here").as_deref(), Ok("secret"));
        assert!(!new.is_current(&sealed) && old.is_current(&sealed));
        let sealed = new.seal("secret", "here").unwrap();
        assert!(new.is_current(&sealed));
        let missing = old.open(&sealed, "here").unwrap_err();
        assert_eq!(
            missing.to_string(),
            "is sealed with the key 'two', which the keyring does not have (it has one)"
        );
        let renamed = keyring(&format!("two:{ONE}"));
        assert_eq!(
            renamed.open(&sealed, "here"),
            Err(OpenError::Refused { name: "two".into() })
        );
    }

    #[test]
    fn what_is_no_keyring_is_said_by_line() {
        let check = |text: &str, expected: KeyringError| {
            assert_eq!(Keyring::parse(text).unwrap_err(), expected, "{text}");
        };
        check("", KeyringError::Empty);
        check("# nothing\n\n", KeyringError::Empty);
        check("one", KeyringError::Form { line: 1 });
        check(&format!("\n:{ONE}"), KeyringError::Name { line: 2 });
        check(&format!("o ne:{ONE}"), KeyringError::Name { line: 1 });
        let name: Box<str> = "one".into();
        check(
            "one:c2hvcnQ=",
            KeyringError::Key {
                line: 1,
                name: name.clone(),
            },
        );
        check(
            "one:?",
            KeyringError::Key {
                line: 1,
                name: name.clone(),
            },
        );
        check(
            &format!("one:{ONE}\none:{TWO}"),
            KeyringError::Double { line: 2, name },
        );
        assert!(!format!("{:?}", keyring(&format!("one:{ONE}"))).contains("AAAA"));
    }
}
