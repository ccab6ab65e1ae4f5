//! The flags about what secrets are sealed with.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use gw_core::{Keyring, Kinds};
use gw_plugins::Registry;

use crate::control::Place;
use crate::error::StartError;

/// What secrets are sealed with before they are stored.
#[derive(Debug, clap::Args)]
pub(crate) struct SecretArgs {
    /// File with the keys that secrets are sealed with before they are stored, one a line, `NAME:KEY`, where the key is 32
    /// random bytes in base64: the first seals, all open. Without any, secrets are stored in clear text [default: none].
    #[arg(long, env = "GW_KEYRING", value_name = "FILE", global = true)]
    pub(crate) keyring: Option<PathBuf>,

    /// These keys themselves, parted by commas or line ends. Better in the variable: other users of the machine can read
    /// command lines [default: none].
    #[arg(
        long,
        env = "GW_KEYRING_KEYS",
        value_name = "NAME:KEY,…",
        hide_env_values = true,
        conflicts_with = "keyring",
        global = true
    )]
    pub(crate) keyring_keys: Option<Keys>,

    /// Does not start without a keyring [default: false].
    #[arg(
        long,
        env = "GW_REQUIRE_SEALING",
        value_parser = clap::builder::BoolishValueParser::new(),
        action = clap::ArgAction::SetTrue,
        global = true
    )]
    pub(crate) require_sealing: bool,
}

/// A keyring as given by a flag or variable.
#[derive(Clone, Debug)]
pub(crate) struct Keys(Keyring);

impl FromStr for Keys {
    type Err = gw_core::KeyringError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Keyring::parse(&text.replace(',', "\n")).map(Self)
    }
}

impl SecretArgs {
    /// The kinds of entity of these plugins, with their secrets sealed if there is a keyring.
    pub(crate) fn kinds(&self, registry: &Registry) -> Result<Kinds, StartError> {
        let kinds = registry
            .kinds()
            .map_err(|error| StartError::Schema(error.into()))?;
        match self.keyring()? {
            Some(keyring) => Ok(kinds.sealed_with(keyring)),
            None if self.require_sealing => Err(StartError::NoKeyring),
            None => Ok(kinds),
        }
    }

    fn keyring(&self) -> Result<Option<Keyring>, StartError> {
        match (&self.keyring_keys, &self.keyring) {
            (Some(Keys(keyring)), _) => Ok(Some(keyring.clone())),
            (None, Some(path)) => read(path).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Says once what becomes of secrets; of a file, whoever wrote it knows.
    pub(crate) fn tell(kinds: &Kinds, place: &Place) {
        match kinds.keyring() {
            _ if place.is_file() => {}
            Some(keyring) => {
                let key = keyring.names().next().unwrap_or_default();
                tracing::info!(key, "secrets are sealed before they are stored");
            }
            None => tracing::info!("secrets are stored in clear text; --keyring seals them"),
        }
    }
}

fn read(path: &Path) -> Result<Keyring, StartError> {
    let text = std::fs::read_to_string(path).map_err(|source| StartError::KeyringFile {
        path: path.to_owned(),
        source,
    })?;
    Keyring::parse(&text).map_err(|source| StartError::Keyring {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_one_line_and_not_shown() {
        let key = "A".repeat(43);
        let keys: Keys = format!("two:{key}=,one:{key}").parse().unwrap();
        assert_eq!(keys.0.names().collect::<Vec<_>>(), ["two", "one"]);
        assert!(!format!("{keys:?}").contains("AAAA"));
        let refused = "one:short".parse::<Keys>().unwrap_err().to_string();
        assert!(
            refused.contains("'one'") && !refused.contains("short"),
            "{refused}"
        );
    }
}
