//! The flags about the Admin API: where it listens, and who may call.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use gw_proxy::Address;

/// Where the Admin API listens, and who may call.
#[derive(Debug, clap::Args)]
pub(crate) struct AdminArgs {
    /// Addresses of the Admin API, separated by commas: `IP:PORT`, `unix:/PATH`, or `off`. After an address `ssl` means TLS,
    /// with the certificate of --admin-tls-cert. Whoever may call controls the gateway, so an address that is not of this
    /// machine alone wants --admin-token, --admin-client-ca or --admin-insecure.
    #[arg(
        long,
        env = "GW_ADMIN_LISTEN",
        value_name = "ADDR [ssl],…",
        value_delimiter = ',',
        default_value = "127.0.0.1:8001",
        global = true
    )]
    pub(crate) admin_listen: Vec<AdminListen>,

    /// Only who sends this is answered, as `Authorization: Bearer TOKEN` or `Kong-Admin-Token: TOKEN`. Better in the variable
    /// or in a file: other users of the machine can read command lines [default: none].
    #[arg(
        long,
        env = "GW_ADMIN_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true,
        conflicts_with = "admin_token_file",
        global = true
    )]
    pub(crate) admin_token: Option<Secret>,

    /// File with the token [default: none].
    #[arg(long, env = "GW_ADMIN_TOKEN_FILE", value_name = "FILE", global = true)]
    pub(crate) admin_token_file: Option<PathBuf>,

    /// File with the Admin API's certificate and those above it, in PEM form, for its addresses with `ssl`
    /// [default: none].
    #[arg(
        long,
        env = "GW_ADMIN_TLS_CERT",
        value_name = "FILE",
        requires = "admin_tls_key",
        global = true
    )]
    pub(crate) admin_tls_cert: Option<PathBuf>,

    /// File with that certificate's private key [default: none].
    #[arg(
        long,
        env = "GW_ADMIN_TLS_KEY",
        value_name = "FILE",
        requires = "admin_tls_cert",
        global = true
    )]
    pub(crate) admin_tls_key: Option<PathBuf>,

    /// File with certificates of authorities: at addresses with `ssl` only clients that have a certificate of theirs are
    /// answered [default: none].
    #[arg(
        long,
        env = "GW_ADMIN_CLIENT_CA",
        value_name = "FILE",
        requires = "admin_tls_cert",
        global = true
    )]
    pub(crate) admin_client_ca: Option<PathBuf>,

    /// Answers everybody who reaches the Admin API, at whatever address. For networks that only operators reach
    /// [default: false].
    #[arg(
        long,
        env = "GW_ADMIN_INSECURE",
        value_parser = clap::builder::BoolishValueParser::new(),
        action = clap::ArgAction::SetTrue,
        global = true
    )]
    pub(crate) admin_insecure: bool,

    /// Names by which the Admin API is called, separated by commas, besides `localhost` and loopback addresses. Other names
    /// are refused at loopback addresses without a token, and everywhere if any are given [default: none].
    #[arg(
        long,
        env = "GW_ADMIN_HOST",
        value_name = "NAME,…",
        value_delimiter = ',',
        global = true
    )]
    pub(crate) admin_host: Vec<String>,

    /// Addresses of web pages that may call the Admin API from a browser, separated by commas, such as
    /// `http://localhost:8002` [default: none].
    #[arg(
        long,
        env = "GW_ADMIN_GUI_URL",
        value_name = "URL,…",
        value_delimiter = ',',
        global = true
    )]
    pub(crate) admin_gui_url: Vec<GuiUrl>,

    /// Lets services lead to the gateway's own Admin API, as Kong's loopback pattern has it: protect such a route
    /// [default: false].
    #[arg(
        long,
        env = "GW_ALLOW_ADMIN_UPSTREAM",
        value_parser = clap::builder::BoolishValueParser::new(),
        action = clap::ArgAction::SetTrue,
        global = true
    )]
    pub(crate) allow_admin_upstream: bool,

    /// Lets services lead to the gateway's own proxy addresses, where a wrong route is a loop [default: false].
    #[arg(
        long,
        env = "GW_ALLOW_PROXY_UPSTREAM",
        value_parser = clap::builder::BoolishValueParser::new(),
        action = clap::ArgAction::SetTrue,
        global = true
    )]
    pub(crate) allow_proxy_upstream: bool,
}

/// `IP:PORT [ssl]`, `:PORT`, `unix:/PATH` or `off`, as Kong's `admin_listen` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AdminListen {
    Off,
    At { address: Address, tls: bool },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AdminListenError {
    #[error("`{0}` is not an address; expected IP:PORT, [IPv6]:PORT, :PORT, unix:/PATH or off")]
    Address(Box<str>),
    #[error("`{0}` is no word for this listener; expected `ssl`")]
    Word(Box<str>),
}

impl FromStr for AdminListen {
    type Err = AdminListenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split_whitespace();
        let written = words.next().unwrap_or_default();
        if written == "off" {
            return match words.next() {
                None => Ok(Self::Off),
                Some(word) => Err(AdminListenError::Word(word.into())),
            };
        }
        let wrong = || AdminListenError::Address(written.into());
        let address = match (written.strip_prefix("unix:"), written.strip_prefix(':')) {
            (Some(path), _) if path.starts_with('/') => Address::from(Path::new(path)),
            (Some(_), _) => return Err(wrong()),
            (_, Some(port)) => SocketAddr::from(([0, 0, 0, 0], port.parse().map_err(|_| wrong())?)).into(),
            (None, None) => written.parse::<SocketAddr>().map_err(|_| wrong())?.into(),
        };
        let mut tls = false;
        for word in words {
            match word {
                "ssl" => tls = true,
                // What these ask nginx for has no use here.
                "http2" | "reuseport" | "deferred" | "bind" => {}
                _ if word.starts_with("backlog=") => {}
                _ => return Err(AdminListenError::Word(word.into())),
            }
        }
        Ok(Self::At { address, tls })
    }
}

impl fmt::Display for AdminListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At { address, tls } => write!(f, "{address}{}", if *tls { " ssl" } else { "" }),
        }
    }
}

/// A token, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl FromStr for Secret {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let visible = |byte: u8| byte.is_ascii_graphic();
        let fits = !text.is_empty() && text.bytes().all(visible);
        fits.then(|| Self(text.to_owned()))
            .ok_or("expected visible ASCII characters without blanks")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A web page's address, of which browsers tell the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GuiUrl {
    pub(crate) origin: Box<str>,
}

impl FromStr for GuiUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected http://HOST[:PORT] or https://HOST[:PORT]";
        let uri: http::Uri = text.trim().parse().map_err(|_| EXPECTED)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(EXPECTED);
        };
        // Browsers leave out what goes without saying.
        let default = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return Err(EXPECTED),
        };
        let host = authority.host().to_ascii_lowercase();
        let origin = match authority.port_u16() {
            Some(port) if port != default => format!("{scheme}://{host}:{port}"),
            _ => format!("{scheme}://{host}"),
        };
        Ok(Self {
            origin: origin.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kong_s_words_are_understood() {
        for (text, shown) in [
            ("127.0.0.1:8001", "127.0.0.1:8001"),
            (
                "127.0.0.1:8444 http2 ssl reuseport backlog=16384",
                "127.0.0.1:8444 ssl",
            ),
            (" :8001", "0.0.0.0:8001"),
            ("unix:/run/gw-admin.sock", "unix:/run/gw-admin.sock"),
            ("off", "off"),
        ] {
            let listen: AdminListen = text.parse().unwrap();
            assert_eq!(listen.to_string(), shown);
            assert_eq!(shown.parse(), Ok(listen));
        }
        for text in ["", "localhost:8001", "8001", "unix:relative", "unix:", ":x"] {
            let wrong = text.parse::<AdminListen>();
            assert_eq!(wrong, Err(AdminListenError::Address(text.into())));
        }
        assert_eq!(
            "1.2.3.4:5 tls".parse::<AdminListen>(),
            Err(AdminListenError::Word("tls".into()))
        );
    }

    #[test]
    fn a_page_s_address_tells_its_origin() {
        for (text, origin) in [
            ("http://localhost:8002", "http://localhost:8002"),
            ("https://GUI.example:443/manager/", "https://gui.example"),
            ("http://gui.example:80", "http://gui.example"),
            ("http://[::1]:8002/", "http://[::1]:8002"),
        ] {
            assert_eq!(text.parse::<GuiUrl>().unwrap().origin.as_ref(), origin);
        }
        for text in ["", "localhost:8002", "ftp://a", "/manager"] {
            assert!(text.parse::<GuiUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_token_has_no_blanks_and_is_not_shown() {
        let secret: Secret = "s3cret".parse().unwrap();
        assert_eq!(format!("{secret:?}"), "***");
        for text in ["", "a b", "a\n", "ä"] {
            assert!(text.parse::<Secret>().is_err(), "{text:?}");
        }
    }
}
