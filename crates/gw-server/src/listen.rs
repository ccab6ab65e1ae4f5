//! An address that clients connect to, and what is spoken there, in Kong's words.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::str::FromStr;

use gw_proxy::Listener;

/// `ADDR [ssl] [http2]`, as Kong's `proxy_listen` has it; `:PORT` is that port of every IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listen {
    pub(crate) address: SocketAddr,
    pub(crate) tls: bool,
    http2: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ListenError {
    #[error(
        "`{0}` is not an address; expected IP:PORT, [IPv6]:PORT or :PORT, then `ssl` and `http2` if wanted"
    )]
    Address(Box<str>),
    #[error("`{0}` is no word for a listener; expected `ssl`, `http2` or `http1`")]
    Word(Box<str>),
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split_whitespace();
        let address = words.next().unwrap_or_default();
        let parsed = match address.strip_prefix(':') {
            Some(port) => format!("0.0.0.0:{port}").parse(),
            None => address.parse(),
        };
        let mut listen = Self {
            address: parsed.map_err(|_| ListenError::Address(address.into()))?,
            tls: false,
            http2: true,
        };
        for word in words {
            match word {
                "ssl" => listen.tls = true,
                "http2" => listen.http2 = true,
                "http1" => listen.http2 = false,
                // What these ask nginx for holds here anyway, or is the system's to say.
                "reuseport" | "deferred" | "bind" => {}
                _ if word.starts_with("backlog=") => {}
                _ => return Err(ListenError::Word(word.into())),
            }
        }
        Ok(listen)
    }
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
        Ok(())
    }
}

impl Listen {
    /// Takes a bound socket into service.
    pub(crate) fn on(self, socket: TcpListener) -> Listener {
        let listener = Listener::new(socket).http2(self.http2);
        if self.tls { listener.tls() } else { listener }
    }

    /// How a client addresses it.
    pub(crate) fn scheme(self) -> &'static str {
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
        ] {
            let listen: Listen = text.parse().unwrap();
            assert_eq!(listen.to_string(), shown, "{text}");
            assert_eq!(listen.to_string().parse(), Ok(listen), "{text}");
        }
        let word = |word: &str| Err(ListenError::Word(word.into()));
        assert_eq!("1.2.3.4:5 tls".parse::<Listen>(), word("tls"));
        assert_eq!(
            "1.2.3.4:5 proxy_protocol".parse::<Listen>(),
            word("proxy_protocol")
        );
        for text in ["", "ssl", "localhost:80", "1.2.3.4"] {
            let address = text.split(' ').next().unwrap_or_default();
            assert_eq!(text.parse::<Listen>(), Err(ListenError::Address(address.into())));
        }
    }
}
