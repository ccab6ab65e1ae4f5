//! What is encrypted with, in the words of Kong and OpenSSL.

use std::str::FromStr;

use tokio_rustls::rustls::SupportedCipherSuite;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::aws_lc_rs::{self, cipher_suite as suites};

/// The cipher suites that are spoken with clients: all that are known, unless some are named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ciphers {
    /// By their place in the table; none = all.
    chosen: Option<Vec<usize>>,
}

/// A text that names no cipher suites.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CiphersError {
    /// Not a suite that is spoken here.
    #[error(
        "`{name}` is no cipher suite that is spoken here; expected `modern`, `intermediate`, or a list of {}",
        names()
    )]
    Unknown {
        /// What was given.
        name: Box<str>,
    },
    /// Kong's word for what is not safe.
    #[error(
        "`old` stands for cipher suites that are not safe, and none of those is spoken; choose `intermediate`"
    )]
    Old,
}

struct Suite {
    /// IANA's name.
    name: &'static str,
    /// OpenSSL's, where that is another.
    alias: &'static str,
    suite: SupportedCipherSuite,
}

const TABLE: [Suite; 9] = [
    suite("TLS_AES_256_GCM_SHA384", "", suites::TLS13_AES_256_GCM_SHA384),
    suite("TLS_AES_128_GCM_SHA256", "", suites::TLS13_AES_128_GCM_SHA256),
    suite(
        "TLS_CHACHA20_POLY1305_SHA256",
        "",
        suites::TLS13_CHACHA20_POLY1305_SHA256,
    ),
    suite(
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    suite(
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    suite(
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    suite(
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    suite(
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    suite(
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-RSA-CHACHA20-POLY1305",
        suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

/// The first of them are those of TLS 1.3.
const OF_TLS13: usize = 3;

const fn suite(name: &'static str, alias: &'static str, suite: SupportedCipherSuite) -> Suite {
    Suite { name, alias, suite }
}

fn names() -> String {
    let name = |suite: &Suite| {
        if suite.alias.is_empty() {
            suite.name
        } else {
            suite.alias
        }
    };
    TABLE.iter().map(name).collect::<Vec<_>>().join(":")
}

impl FromStr for Ciphers {
    type Err = CiphersError;

    /// Reads `modern`, `intermediate`, or names parted by colons, commas or spaces. As for OpenSSL a list that names none of
    /// TLS 1.3 leaves those as they are.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "intermediate" => return Ok(Self::default()),
            "modern" => {
                return Ok(Self {
                    chosen: Some((0..OF_TLS13).collect()),
                });
            }
            "old" => return Err(CiphersError::Old),
            _ => {}
        }
        let find = |name: &str| {
            let named = |suite: &Suite| suite.name == name || (suite.alias == name && !name.is_empty());
            TABLE
                .iter()
                .position(named)
                .ok_or_else(|| CiphersError::Unknown { name: name.into() })
        };
        let words = text.split([':', ',', ' ']).filter(|word| !word.is_empty());
        let mut chosen = words.map(find).collect::<Result<Vec<_>, _>>()?;
        if chosen.is_empty() {
            return Err(CiphersError::Unknown { name: "".into() });
        }
        if chosen.iter().all(|place| *place >= OF_TLS13) {
            chosen.extend(0..OF_TLS13);
        }
        Ok(Self { chosen: Some(chosen) })
    }
}

impl Ciphers {
    /// What speaks these.
    pub(crate) fn provider(&self) -> CryptoProvider {
        let mut provider = aws_lc_rs::default_provider();
        if let Some(chosen) = &self.chosen {
            let suite = |place: &usize| TABLE.get(*place).map(|suite| suite.suite);
            provider.cipher_suites = chosen.iter().filter_map(suite).collect();
        }
        provider
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoken(text: &str) -> Vec<String> {
        let provider = text.parse::<Ciphers>().unwrap().provider();
        let name = |suite: &SupportedCipherSuite| format!("{:?}", suite.suite());
        provider.cipher_suites.iter().map(name).collect()
    }

    #[test]
    fn words_and_lists_are_understood() {
        assert_eq!(spoken("intermediate").len(), TABLE.len());
        assert_eq!(spoken("modern").len(), 3);
        let listed = spoken("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256");
        assert_eq!(listed.len(), 5, "those of TLS 1.3 stay: {listed:?}");
        assert_eq!(listed[0], "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
        assert_eq!(spoken("TLS_AES_128_GCM_SHA256"), ["TLS13_AES_128_GCM_SHA256"]);
        for suite in &TABLE {
            assert!(suite.name.parse::<Ciphers>().is_ok());
        }
    }

    #[test]
    fn others_are_refused_by_name() {
        assert_eq!("old".parse::<Ciphers>(), Err(CiphersError::Old));
        for text in ["", "RC4-MD5", "ECDHE-RSA-AES128-GCM-SHA256:AES128-SHA"] {
            let error = text.parse::<Ciphers>().unwrap_err();
            assert!(matches!(error, CiphersError::Unknown { .. }), "{text}: {error}");
        }
    }
}
