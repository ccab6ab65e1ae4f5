//! What makes a candidate fail, in plain words.

use std::fmt;

use http::Method;
use serde_json::Value;

use crate::{address::CidrSet, condition::Condition, host::HostPattern, socket::Endpoint};

/// Why a rule does not match a request that one of its paths fits.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Failure<'r> {
    /// The method is none of the rule's, or not given.
    Method {
        /// Those of the rule.
        allowed: &'r [Method],
    },
    /// The host is none of the rule's, or the port, or neither is given.
    Host {
        /// Those of the rule.
        allowed: &'r [HostPattern],
    },
    /// The host matches, but a more specific one has rules of its own, and
    /// [`Options::host_fallback`](crate::Options::host_fallback) is off.
    NoFallback,
    /// The server name of the TLS handshake is none of the rule's.
    Sni {
        /// Those of the rule.
        allowed: &'r [HostPattern],
    },
    /// The source of the connection is none of the rule's.
    Source {
        /// Those of the rule.
        allowed: &'r [Endpoint],
    },
    /// The destination of the connection is none of the rule's.
    Destination {
        /// Those of the rule.
        allowed: &'r [Endpoint],
    },
    /// The client's address is in none of the rule's networks.
    RemoteAddr {
        /// Those of the rule.
        allowed: &'r CidrSet,
    },
    /// A condition on a header, a query argument or a cookie does not hold.
    Condition(&'r Condition),
    /// This part of the expression does not hold.
    Expression(Value),
    /// The filter does not let the request pass. It is asked only if nothing else fails.
    Filter,
    /// The pattern's regular expression does not match, though the path begins as it must.
    Regex,
    /// The path ends where the pattern wants at least one byte more.
    EmptyRest,
    /// The pattern is a prefix of whole segments, and the path goes on within one.
    CutSegment,
}

/// Bound: how many alternatives a message names.
const NAMED: usize = 8;

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method { allowed } => write!(f, "the method is not {}", Alternatives(allowed)),
            Self::Host { allowed } => write!(f, "the host is not {}", Alternatives(allowed)),
            Self::NoFallback => f.write_str("a more specific host has rules of its own"),
            Self::Sni { allowed } => write!(f, "the server name is not {}", Alternatives(allowed)),
            Self::Source { allowed } => write!(f, "the source is not {}", Alternatives(allowed)),
            Self::Destination { allowed } => write!(f, "the destination is not {}", Alternatives(allowed)),
            Self::RemoteAddr { allowed } => {
                let allowed: Vec<_> = allowed.iter().collect();
                write!(f, "the client's address is not in {}", Alternatives(&allowed))
            }
            Self::Condition(condition) => write!(f, "not so: {condition}"),
            Self::Expression(part) => write!(f, "the expression does not hold at {part}"),
            Self::Filter => f.write_str("the filter does not let it pass"),
            Self::Regex => f.write_str("the regular expression does not match the path"),
            Self::EmptyRest => f.write_str("the path ends where the pattern wants at least one byte more"),
            Self::CutSegment => f.write_str("the path goes on in the segment with which the prefix ends"),
        }
    }
}

struct Alternatives<'a, A>(&'a [A]);

impl<A: fmt::Display> fmt::Display for Alternatives<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, alternative) in self.0.iter().take(NAMED).enumerate() {
            let before = match index {
                0 => "",
                _ if index + 1 == self.0.len() => " or ",
                _ => ", ",
            };
            write!(f, "{before}{alternative}")?;
        }
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, " or one of {more} others"),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::json;

    use super::Failure;
    use crate::{Cidr, CidrSet, Condition, Endpoint, HostPattern};

    #[test]
    fn failures_are_told_in_plain_words() {
        let methods = [Method::GET, Method::PUT, Method::POST];
        let hosts = ["a.com", "*.b.com:80"].map(|host| host.parse::<HostPattern>().unwrap());
        let many: Vec<_> = (0..10).map(|port| Endpoint::port(8000 + port)).collect();
        let network: Cidr = "10.0.0.0/8".parse().unwrap();
        let endpoint = [Endpoint::network(network).with_port(443)];
        let networks: CidrSet = [network].into_iter().collect();
        let condition = Condition::query("v").one_of(["1", "2"]);
        let cases = [
            (
                Failure::Method { allowed: &methods },
                "the method is not GET, PUT or POST",
            ),
            (
                Failure::Host { allowed: &hosts },
                "the host is not a.com or *.b.com:80",
            ),
            (
                Failure::Sni { allowed: &hosts[..1] },
                "the server name is not a.com",
            ),
            (
                Failure::Source { allowed: &many },
                "the source is not port 8000, port 8001, port 8002, port 8003, port 8004, port 8005, port 8006, \
                 port 8007 or one of 2 others",
            ),
            (
                Failure::Destination { allowed: &endpoint },
                "the destination is not 10.0.0.0/8 port 443",
            ),
            (
                Failure::RemoteAddr { allowed: &networks },
                "the client's address is not in 10.0.0.0/8",
            ),
            (
                Failure::Condition(&condition),
                "not so: query argument `v` is one of `1`, `2`",
            ),
            (
                Failure::Expression(json!(["arg_a", "==", "1"])),
                r#"the expression does not hold at ["arg_a","==","1"]"#,
            ),
        ];
        for (failure, expected) in cases {
            assert_eq!(failure.to_string(), expected);
        }
    }
}
