//! The flags about what stands in front of the gateway, and about TLS with clients.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use gw_proxy::{Ciphers, ClientAuthorities, EdgeSettings, RealIpHeader, TlsSettings, TrustedIps};
use http::HeaderName;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::MinVersion;
use crate::error::StartError;

/// What stands in front of the gateway, and TLS with clients.
#[derive(Debug, clap::Args)]
pub(crate) struct EdgeArgs {
    /// Proxies in front that are believed when they say whom a request is from and how it came: addresses, networks as
    /// `10.0.0.0/8`, and `unix:` for whoever comes by a unix socket [default: none].
    #[arg(
        long,
        env = "GW_TRUSTED_IPS",
        value_name = "CIDR,…",
        value_delimiter = ',',
        value_parser = trusted,
        global = true
    )]
    trusted_ips: Vec<String>,

    /// Header in which they say whom a request is from, or `proxy_protocol` for only what the PROXY protocol says.
    #[arg(
        long,
        env = "GW_REAL_IP_HEADER",
        value_name = "HEADER",
        default_value = "X-Real-IP",
        global = true
    )]
    real_ip_header: Header,

    /// Whether addresses in that header that are trusted themselves are passed over, from the last on: `on` or `off`.
    #[arg(
        long,
        env = "GW_REAL_IP_RECURSIVE",
        value_name = "ON",
        default_value = "off",
        global = true
    )]
    real_ip_recursive: OnOff,

    /// The oldest version of TLS that is spoken with clients.
    #[arg(
        long,
        env = "GW_TLS_MIN_VERSION",
        value_name = "VERSION",
        default_value = "1.2",
        global = true
    )]
    tls_min_version: MinVersion,

    /// Cipher suites that are spoken with clients: `intermediate`, which is all that are safe, `modern`, which is those of
    /// TLS 1.3, or a list of names parted by colons.
    #[arg(
        long,
        env = "GW_TLS_CIPHERS",
        value_name = "SUITES",
        default_value = "intermediate",
        global = true
    )]
    tls_ciphers: Ciphers,

    /// Who may sign certificates of clients: `entities`, which is all CA certificates of the configuration, `tag:NAME`, which
    /// is those with this tag, and files in PEM form.
    #[arg(
        long,
        env = "GW_CLIENT_CA",
        value_name = "WHO,…",
        value_delimiter = ',',
        default_value = "entities",
        global = true
    )]
    client_ca: Vec<Signers>,

    /// How many certificates there may be between a client's and that of such an authority [default: any number].
    #[arg(long, env = "GW_CLIENT_VERIFY_DEPTH", value_name = "N", global = true)]
    client_verify_depth: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Header(RealIpHeader);

impl FromStr for Header {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "proxy_protocol" {
            return Ok(Self(RealIpHeader::ProxyProtocol));
        }
        let name = HeaderName::from_str(text);
        name.map(|name| Self(RealIpHeader::Header(name)))
            .map_err(|_| "expected a header's name or `proxy_protocol`")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OnOff(bool);

impl FromStr for OnOff {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "on" | "true" => Ok(Self(true)),
            "off" | "false" => Ok(Self(false)),
            _ => Err("expected `on` or `off`"),
        }
    }
}

/// Some of those who may sign certificates of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Signers {
    Entities,
    Tag(Box<str>),
    File(PathBuf),
}

impl FromStr for Signers {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text.trim(), text.trim().strip_prefix("tag:")) {
            ("entities", _) => Ok(Self::Entities),
            ("", _) | (_, Some("")) => Err("expected `entities`, `tag:NAME` or a file"),
            (_, Some(tag)) => Ok(Self::Tag(tag.into())),
            (file, None) => Ok(Self::File(file.into())),
        }
    }
}

fn trusted(text: &str) -> Result<String, String> {
    let parsed = TrustedIps::new([text]).map_err(|error| error.to_string());
    parsed.map(|_| text.to_owned())
}

impl EdgeArgs {
    /// What stands in front of the gateway.
    pub(crate) fn settings(&self) -> Result<EdgeSettings, StartError> {
        Ok(EdgeSettings {
            trusted_ips: TrustedIps::new(self.trusted_ips.iter().map(String::as_str)).unwrap_or_default(),
            real_ip_header: self.real_ip_header.0.clone(),
            real_ip_recursive: self.real_ip_recursive.0,
            client_authorities: self.authorities()?,
        })
    }

    /// What is negotiated with clients.
    pub(crate) fn tls(&self) -> TlsSettings {
        TlsSettings {
            min_version: self.tls_min_version.into(),
            ciphers: self.tls_ciphers.clone(),
        }
    }

    fn authorities(&self) -> Result<ClientAuthorities, StartError> {
        let mut authorities = ClientAuthorities {
            entities: false,
            depth: self.client_verify_depth,
            ..ClientAuthorities::default()
        };
        let mut all = false;
        for signers in &self.client_ca {
            match signers {
                Signers::Entities => all = true,
                Signers::Tag(tag) => {
                    authorities.entities = true;
                    authorities.tag = Some(tag.clone());
                }
                Signers::File(path) => authorities.files.extend(certificates(path)?),
            }
        }
        if all {
            authorities.entities = true;
            authorities.tag = None;
        }
        Ok(authorities)
    }
}

fn certificates(path: &Path) -> Result<Vec<Box<[u8]>>, StartError> {
    let refused = |why: String| StartError::ClientCa {
        path: path.to_path_buf(),
        why,
    };
    let read = CertificateDer::pem_file_iter(path).map_err(|error| refused(error.to_string()))?;
    let read = read.collect::<Result<Vec<_>, _>>();
    let read = read.map_err(|error| refused(error.to_string()))?;
    if read.is_empty() {
        return Err(refused("there is no certificate in it".to_owned()));
    }
    Ok(read.into_iter().map(|der| der.as_ref().into()).collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        edge: EdgeArgs,
    }

    fn settings(args: &[&str]) -> Result<EdgeSettings, StartError> {
        let args = std::iter::once("gw").chain(args.iter().copied());
        Only::try_parse_from(args).unwrap().edge.settings()
    }

    #[test]
    fn kong_s_words_are_understood() {
        assert_eq!(settings(&[]).unwrap(), EdgeSettings::default());
        let edge = settings(&[
            "--trusted-ips=10.0.0.0/8,unix:,::1",
            "--real-ip-header=X-Forwarded-For",
            "--real-ip-recursive=on",
        ])
        .unwrap();
        assert_eq!(
            edge.trusted_ips,
            TrustedIps::new(["10.0.0.0/8", "unix:", "::1"]).unwrap()
        );
        assert!(edge.real_ip_recursive);
        let name = HeaderName::from_static("x-forwarded-for");
        assert_eq!(edge.real_ip_header, RealIpHeader::Header(name));
        let edge = settings(&["--real-ip-header=proxy_protocol"]).unwrap();
        assert_eq!(edge.real_ip_header, RealIpHeader::ProxyProtocol);
        for wrong in [
            "--trusted-ips=10.0.0.0/33",
            "--real-ip-header=a b",
            "--real-ip-recursive=maybe",
        ] {
            assert!(Only::try_parse_from(["gw", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn who_may_sign_is_told_by_word_tag_and_file() {
        let tagged = settings(&["--client-ca=tag:clients"]).unwrap().client_authorities;
        assert_eq!((tagged.entities, tagged.tag.as_deref()), (true, Some("clients")));
        let both = settings(&["--client-ca=tag:clients,entities"])
            .unwrap()
            .client_authorities;
        assert_eq!((both.entities, both.tag), (true, None));
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../gw-core/tests/fixtures/pem");
        let file = settings(&[&format!("--client-ca={folder}/rsa.crt")])
            .unwrap()
            .client_authorities;
        assert_eq!((file.entities, file.files.len()), (false, 1));
        for wrong in ["none.crt", "rsa.key"] {
            let error = settings(&[&format!("--client-ca={folder}/{wrong}")]).unwrap_err();
            assert!(matches!(error, StartError::ClientCa { .. }), "{wrong}: {error}");
        }
    }
}
