//! Host patterns, and the host of a request.

use std::{fmt, net::Ipv6Addr, str::FromStr};

mod authority;
mod index;

pub(crate) use authority::Authority;
pub(crate) use index::HostIndex;

/// Bound: the longest host name, as DNS sets it, with room for a trailing wildcard.
const MAX_NAME: usize = 255;

/// A host or a set of hosts, with or without a port, in lower case.
///
/// | written | matches |
/// |---|---|
/// | `example.com` | that host, on any port |
/// | `example.com:8443` | that host on that port |
/// | `*.example.com` | any number of labels before `.example.com` |
/// | `example.*` | any number of labels after `example.` |
/// | `*` | any host |
/// | `[::1]`, `::1`, `[::1]:80` | an IPv6 address |
///
/// ```
/// use gw_router::HostPattern;
///
/// let host: HostPattern = "*.Example.com:8443".parse()?;
/// assert_eq!(host.to_string(), "*.example.com:8443");
/// # Ok::<(), gw_router::HostError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HostPattern {
    kind: HostKind,
    /// Without the `*`, with the dot beside it.
    name: Box<str>,
    port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HostKind {
    Exact,
    /// `*.example.com`
    Suffix,
    /// `example.*`
    Prefix,
    /// `*`
    Any,
}

/// Why a text is not a host pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// There is no name.
    #[error("host `{text}` has no name; write a host such as `example.com`")]
    Empty {
        /// The pattern.
        text: Box<str>,
    },
    /// The name is too long.
    #[error("host name of {length} bytes is too long; the limit is {limit}", limit = MAX_NAME)]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// What follows the colon is not a port.
    #[error("host `{text}` has a port that is not a number from 1 to 65535; correct or drop it")]
    Port {
        /// The pattern.
        text: Box<str>,
    },
    /// A wildcard is not the whole first or last label.
    #[error(
        "host `{text}` has a wildcard in the wrong place; write it once, as `*.example.com` or `example.*`"
    )]
    Wildcard {
        /// The pattern.
        text: Box<str>,
    },
    /// The name holds a character that no host name has.
    #[error(
        "host `{text}` holds `{found}`, which no host name has; use the name alone, an international one in its `xn--` form"
    )]
    Character {
        /// The pattern.
        text: Box<str>,
        /// The character.
        found: char,
    },
    /// The address in brackets is not an IPv6 address.
    #[error("host `{text}` is not an IPv6 address; write it as `[::1]`")]
    Address {
        /// The pattern.
        text: Box<str>,
    },
}

impl HostPattern {
    pub(crate) fn kind(&self) -> HostKind {
        self.kind
    }

    /// The fixed part of the name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The port a request must be for, if it matters.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether this pattern has a `*`.
    pub fn is_wildcard(&self) -> bool {
        self.kind != HostKind::Exact
    }

    /// Whether every host that matches the other pattern matches this one.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        (self.port.is_none() || self.port == other.port) && self.covers_name(other)
    }

    /// As [`Self::covers`], ports aside.
    pub(crate) fn covers_name(&self, other: &Self) -> bool {
        match (self.kind, other.kind) {
            (HostKind::Any, _) => true,
            (_, HostKind::Exact) => self.matches_bytes(other.name.as_bytes()),
            (HostKind::Suffix, HostKind::Suffix) => other.name.ends_with(&*self.name),
            (HostKind::Prefix, HostKind::Prefix) => other.name.starts_with(&*self.name),
            _ => false,
        }
    }

    /// Whether a host can match both patterns.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        let ports = self.port.zip(other.port);
        ports.is_none_or(|(one, two)| one == two) && self.meets_name(other)
    }

    /// As [`Self::meets`], ports aside.
    pub(crate) fn meets_name(&self, other: &Self) -> bool {
        // What begins as one wants can end as the other does.
        let apart = matches!(
            (self.kind, other.kind),
            (HostKind::Prefix, HostKind::Suffix) | (HostKind::Suffix, HostKind::Prefix)
        );
        apart || self.covers_name(other) || other.covers_name(self)
    }

    /// Whether this is what a request wrote, letter for letter.
    #[inline]
    pub(crate) fn is_plainly(&self, written: &str) -> bool {
        self.kind == HostKind::Exact && self.port.is_none() && *self.name == *written
    }

    /// Whether a name in lower case, without port, matches; the pattern's port is not looked at.
    pub(crate) fn matches_bytes(&self, name: &[u8]) -> bool {
        let fixed = self.name.as_bytes();
        match self.kind {
            HostKind::Exact => name == fixed,
            HostKind::Any => !name.is_empty(),
            HostKind::Suffix => name.ends_with(fixed),
            HostKind::Prefix => name.len() > fixed.len() && name.starts_with(fixed),
        }
    }
}

impl FromStr for HostPattern {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        if let Some(address) = bracketless(text) {
            return Ok(Self {
                kind: HostKind::Exact,
                name: address,
                port: None,
            });
        }
        if let Some(inside) = text.strip_prefix('[') {
            let wrong = || HostError::Address { text: text.into() };
            let (address, rest) = inside.split_once(']').ok_or_else(wrong)?;
            let address: Ipv6Addr = address.parse().map_err(|_| wrong())?;
            let port = match rest.strip_prefix(':') {
                Some(port) => Some(parse_port(port).ok_or_else(|| HostError::Port { text: text.into() })?),
                None if rest.is_empty() => None,
                None => return Err(wrong()),
            };
            return Ok(Self {
                kind: HostKind::Exact,
                name: format!("[{address}]").into(),
                port,
            });
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (
                name,
                Some(parse_port(port).ok_or_else(|| HostError::Port { text: text.into() })?),
            ),
            None => (text, None),
        };
        let (kind, name) = classify(name, text)?;
        Ok(Self { kind, name, port })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            HostKind::Exact => f.write_str(&self.name)?,
            HostKind::Suffix => write!(f, "*{}", self.name)?,
            HostKind::Prefix => write!(f, "{}*", self.name)?,
            HostKind::Any => f.write_str("*")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostPattern({self})")
    }
}

/// `::1`, the canonical form of which is `[::1]`.
fn bracketless(text: &str) -> Option<Box<str>> {
    text.parse::<Ipv6Addr>()
        .ok()
        .map(|address| format!("[{address}]").into())
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits {
        text.parse().ok().filter(|port| *port > 0)
    } else {
        None
    }
}

fn classify(name: &str, text: &str) -> Result<(HostKind, Box<str>), HostError> {
    if name.len() > MAX_NAME {
        return Err(HostError::TooLong { length: name.len() });
    }
    let (kind, fixed) = if name == "*" {
        return Ok((HostKind::Any, "".into()));
    } else if let Some(rest) = name.strip_prefix('*') {
        (HostKind::Suffix, rest.strip_suffix('.').unwrap_or(rest))
    } else if let Some(rest) = name.strip_suffix('*') {
        (HostKind::Prefix, rest)
    } else {
        (HostKind::Exact, name.strip_suffix('.').unwrap_or(name))
    };
    let misplaced = match kind {
        HostKind::Suffix => !fixed.starts_with('.'),
        HostKind::Prefix => !fixed.ends_with('.'),
        HostKind::Exact | HostKind::Any => false,
    };
    if misplaced || fixed.contains('*') {
        return Err(HostError::Wildcard { text: text.into() });
    }
    if fixed.trim_matches('.').is_empty() {
        return Err(HostError::Empty { text: text.into() });
    }
    let known = |found: char| found.is_ascii_alphanumeric() || matches!(found, '-' | '_' | '.');
    if let Some(found) = fixed.chars().find(|found| !known(*found)) {
        return Err(HostError::Character {
            text: text.into(),
            found,
        });
    }
    Ok((kind, fixed.to_ascii_lowercase().into()))
}

#[cfg(test)]
mod tests;
