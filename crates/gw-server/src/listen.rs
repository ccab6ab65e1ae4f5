//! An address that clients connect to, and what is spoken there, in Kong's words.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use gw_proxy::{Address, ListenSocket, Listener, VerifyClient};

/// `ADDR [ssl] [http2]`, as Kong's `proxy_listen` has it; `:PORT` is that port of every IPv4 address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listen {
    pub(crate) address: Address,
    /// Who may connect to a path.
    pub(crate) mode: Option<u32>,
    pub(crate) tls: bool,
    http2: bool,
    proxied: bool,
    verify: VerifyClient,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ListenError {
    #[error(
        "`{0}` is not an address; expected IP:PORT, [IPv6]:PORT, :PORT or unix:/PATH, then `ssl` and other words if wanted"
    )]
    Address(Box<str>),
    #[error(
        "`{0}` is no word for a listener; expected `ssl`, `http2`, `http1`, `proxy_protocol`, `verify_client=…` or `mode=…`"
    )]
    Word(Box<str>),
    #[error(
        "`{0}` is nothing that clients are asked for; expected on, optional, optional_no_ca, strict, auto or off"
    )]
    Verify(Box<str>),
    #[error("`{0}` is no mode of a file; expected digits from 0 to 7, as 0660")]
    Mode(Box<str>),
    #[error("`{0}` does not go with `{1}`")]
    Alone(&'static str, &'static str),
}

/// What clients are asked for, and the word for it.
const VERIFY: [(&str, VerifyClient); 6] = [
    ("auto", VerifyClient::Auto),
    ("off", VerifyClient::Off),
    ("optional", VerifyClient::Optional),
    ("optional_no_ca", VerifyClient::OptionalNoCa),
    ("on", VerifyClient::On),
    ("strict", VerifyClient::Strict),
];

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split_whitespace();
        let address = words.next().unwrap_or_default();
        let mut listen = Self {
            address: parse_address(address).ok_or_else(|| ListenError::Address(address.into()))?,
            mode: None,
            tls: false,
            http2: true,
            proxied: false,
            verify: VerifyClient::Auto,
        };
        for word in words {
            match word.split_once('=').unwrap_or((word, "")) {
                ("ssl", "") => listen.tls = true,
                ("http2", "") => listen.http2 = true,
                ("http1", "") => listen.http2 = false,
                ("proxy_protocol", "") => listen.proxied = true,
                ("verify_client", how) => {
                    let known = VERIFY.iter().find(|(name, _)| *name == how);
                    listen.verify = known.ok_or_else(|| ListenError::Verify(how.into()))?.1;
                }
                ("mode", digits) => {
                    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777);
                    listen.mode = Some(mode.ok_or_else(|| ListenError::Mode(digits.into()))?);
                }
                // What these ask nginx for holds here anyway, or is the system's to say.
                ("reuseport" | "deferred" | "bind", "") | ("backlog", _) => {}
                _ => return Err(ListenError::Word(word.into())),
            }
        }
        if listen.mode.is_some() && listen.address.ip().is_some() {
            return Err(ListenError::Alone("mode", "IP:PORT"));
        }
        if listen.verify != VerifyClient::Auto && !listen.tls {
            return Err(ListenError::Alone("verify_client", "a listener without ssl"));
        }
        Ok(listen)
    }
}

fn parse_address(text: &str) -> Option<Address> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = Path::new(path);
        return (path.is_absolute() && path.file_name().is_some()).then(|| path.into());
    }
    let parsed = match text.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}").parse(),
        None => text.parse(),
    };
    parsed.ok().map(Address::Ip)
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if self.tls {
            f.write_str(" ssl")?;
        }
        if !self.http2 {
            f.write_str(" http1")?;
        }
        if self.proxied {
            f.write_str(" proxy_protocol")?;
        }
        if let Some((name, _)) = VERIFY.iter().find(|(_, verify)| *verify == self.verify)
            && self.verify != VerifyClient::Auto
        {
            write!(f, " verify_client={name}")?;
        }
        match self.mode {
            Some(mode) => write!(f, " mode={mode:04o}"),
            None => Ok(()),
        }
    }
}

impl Listen {
    /// Takes a bound socket into service.
    pub(crate) fn on(&self, socket: impl Into<ListenSocket>) -> Listener {
        let mut listener = Listener::new(socket).http2(self.http2).verify_client(self.verify);
        if self.tls {
            listener = listener.tls();
        }
        if self.proxied {
            listener = listener.proxy_protocol();
        }
        listener
    }

    /// How a client addresses it.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kong_s_words_are_understood() {
        for (text, shown) in [
            ("0.0.0.0:8000", "0.0.0.0:8000"),
            (" :80 ", "0.0.0.0:80"),
            ("[::]:8443 ssl", "[::]:8443 ssl"),
            (
                "0.0.0.0:8443 http2 ssl reuseport backlog=16384",
                "0.0.0.0:8443 ssl",
            ),
            ("127.0.0.1:1 ssl http1", "127.0.0.1:1 ssl http1"),
            (
                "127.0.0.1:1 proxy_protocol ssl verify_client=optional_no_ca",
                "127.0.0.1:1 ssl proxy_protocol verify_client=optional_no_ca",
            ),
            ("127.0.0.1:1 ssl verify_client=auto", "127.0.0.1:1 ssl"),
            ("unix:/run/gw.sock mode=660", "unix:/run/gw.sock mode=0660"),
        ] {
            let listen: Listen = text.parse().unwrap();
            assert_eq!(listen.to_string(), shown, "{text}");
            assert_eq!(listen.to_string().parse(), Ok(listen), "{text}");
        }
    }

    #[test]
    fn other_words_are_refused() {
        let word = |word: &str| Err(ListenError::Word(word.into()));
        for other in ["tls", "ssl=on", "proxy-protocol"] {
            assert_eq!(format!("1.2.3.4:5 {other}").parse::<Listen>(), word(other));
        }
        for text in [
            "",
            "ssl",
            "localhost:80",
            "1.2.3.4",
            "unix:",
            "unix:/",
            "unix:gw.sock",
        ] {
            let address = text.split(' ').next().unwrap_or_default();
            assert_eq!(text.parse::<Listen>(), Err(ListenError::Address(address.into())));
        }
        for (text, error) in [
            (
                "1.2.3.4:5 ssl verify_client=yes",
                ListenError::Verify("yes".into()),
            ),
            ("unix:/a mode=0999", ListenError::Mode("0999".into())),
            ("unix:/a mode=7777", ListenError::Mode("7777".into())),
            ("1.2.3.4:5 mode=0600", ListenError::Alone("mode", "IP:PORT")),
            (
                "1.2.3.4:5 verify_client=on",
                ListenError::Alone("verify_client", "a listener without ssl"),
            ),
        ] {
            assert_eq!(text.parse::<Listen>(), Err(error), "{text}");
        }
    }
}
