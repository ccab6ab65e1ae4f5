//! The variables of expressions, resolved when an expression is read.

use std::fmt;

use http::HeaderName;

use super::seen::Seen;
use crate::condition::{Facts, Occurrence, Source, Text};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    Source(Source),
    Host,
    Uri,
    Method,
    RemoteAddr,
    Scheme,
    ServerPort,
    /// The caller supplies it.
    Other(Box<str>),
}

impl Variable {
    /// `None` where the name is empty, or what follows `arg_`, `http_` or `cookie_` names nothing.
    pub(super) fn read(name: &str, occurrence: Occurrence) -> Option<Self> {
        let given = |name: &str| (!name.is_empty()).then(|| name.into());
        Some(match name {
            "" => return None,
            "host" => Self::Host,
            "uri" => Self::Uri,
            "request_method" => Self::Method,
            "remote_addr" => Self::RemoteAddr,
            "scheme" => Self::Scheme,
            "server_port" => Self::ServerPort,
            _ => {
                if let Some(header) = name.strip_prefix("http_") {
                    let dashes = header.replace('_', "-");
                    Self::Source(Source::Header(HeaderName::from_bytes(dashes.as_bytes()).ok()?))
                } else if let Some(name) = name.strip_prefix("arg_") {
                    Self::Source(Source::Query {
                        name: given(name)?,
                        occurrence,
                    })
                } else if let Some(name) = name.strip_prefix("cookie_") {
                    Self::Source(Source::Cookie {
                        name: given(name)?,
                        occurrence,
                    })
                } else {
                    Self::Other(name.into())
                }
            }
        })
    }

    /// Whether any of the variable's values meets `test`: none does where it is absent.
    pub(super) fn any(&self, facts: &Facts<'_>, mut test: impl FnMut(Seen<'_>) -> bool) -> bool {
        match self {
            Self::Source(source) => source.any(facts, |text| test(Seen::Text(text))),
            Self::RemoteAddr => facts
                .remote_addr
                .is_some_and(|address| test(Seen::Address(address))),
            Self::ServerPort => facts.server_port.is_some_and(|port| test(Seen::Port(port))),
            Self::Other(name) => facts
                .variables
                .and_then(|variables| variables.value(name))
                .is_some_and(|value| test(Seen::from(&value))),
            Self::Host | Self::Uri | Self::Method | Self::Scheme => self
                .text(facts)
                .is_some_and(|text| test(Seen::Text(Text::Plain(text)))),
        }
    }

    fn text<'q>(&self, facts: &Facts<'q>) -> Option<&'q [u8]> {
        match self {
            Self::Host => facts.host,
            Self::Uri => facts.path,
            Self::Method => facts.method.map(|method| method.as_str().as_bytes()),
            Self::Scheme => facts.scheme.map(str::as_bytes),
            Self::Source(_) | Self::RemoteAddr | Self::ServerPort | Self::Other(_) => None,
        }
    }

    /// Whether its values are the items of a list, to the operator `has`.
    pub(super) fn is_list(&self) -> bool {
        matches!(self, Self::Source(source) if source.is_list())
    }

    pub(super) fn cost(&self) -> u32 {
        match self {
            Self::Host | Self::Uri | Self::Method | Self::Scheme | Self::ServerPort | Self::RemoteAddr => 1,
            Self::Source(source) => source.cost(),
            Self::Other(_) => 5,
        }
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(Source::Header(name)) => write!(f, "http_{}", name.as_str().replace('-', "_")),
            Self::Source(Source::Query { name, .. }) => write!(f, "arg_{name}"),
            Self::Source(Source::Cookie { name, .. }) => write!(f, "cookie_{name}"),
            Self::Host => f.write_str("host"),
            Self::Uri => f.write_str("uri"),
            Self::Method => f.write_str("request_method"),
            Self::RemoteAddr => f.write_str("remote_addr"),
            Self::Scheme => f.write_str("scheme"),
            Self::ServerPort => f.write_str("server_port"),
            Self::Other(name) => f.write_str(name),
        }
    }
}
