//! Sources and destinations of connections.

use std::{fmt, net::SocketAddr};

use crate::address::Cidr;

/// The addresses, the ports, or both, that one end of a connection may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct Endpoint {
    network: Option<Cidr>,
    port: Option<u16>,
}

impl Endpoint {
    /// Any address in a network, on any port.
    pub fn network(network: Cidr) -> Self {
        Self {
            network: Some(network),
            port: None,
        }
    }

    /// A port of any address.
    pub fn port(port: u16) -> Self {
        Self {
            network: None,
            port: Some(port),
        }
    }

    /// Sets the port.
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Whether every end of a connection that the other admits is admitted.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let network = self
            .network
            .is_none_or(|own| other.network.is_some_and(|other| own.covers(other)));
        network && (self.port.is_none() || self.port == other.port)
    }

    /// Whether one end of a connection can be admitted by both.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        let networks = self.network.zip(other.network);
        let ports = self.port.zip(other.port);
        networks.is_none_or(|(one, two)| one.covers(two) || two.covers(one))
            && ports.is_none_or(|(one, two)| one == two)
    }

    pub(crate) fn admits(&self, address: Option<SocketAddr>) -> bool {
        address.is_some_and(|address| {
            self.network.is_none_or(|network| network.contains(address.ip()))
                && self.port.is_none_or(|port| port == address.port())
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.network, self.port) {
            (Some(network), Some(port)) => write!(f, "{network} port {port}"),
            (Some(network), None) => write!(f, "{network}"),
            (None, Some(port)) => write!(f, "port {port}"),
            (None, None) => f.write_str("anywhere"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    #[test]
    fn endpoints_cover_and_meet_others() {
        let network = |text: &str| Endpoint::network(text.parse().unwrap());
        // Whether the first covers the second, whether the second covers the first, whether they meet.
        let cases = [
            (Endpoint::port(80), Endpoint::port(80), true, true, true),
            (Endpoint::port(80), Endpoint::port(81), false, false, false),
            (network("10.0.0.0/8"), Endpoint::port(80), false, false, true),
            (
                network("10.0.0.0/8"),
                network("10.1.0.0/16").with_port(80),
                true,
                false,
                true,
            ),
            (network("10.0.0.0/8"), network("11.0.0.0/8"), false, false, false),
            (
                network("10.0.0.0/8").with_port(80),
                network("10.1.0.0/16").with_port(81),
                false,
                false,
                false,
            ),
            (network("0.0.0.0/0"), network("::/0"), false, false, false),
        ];
        for (one, other, forth, back, both) in cases {
            assert_eq!(
                (one.covers(&other), other.covers(&one)),
                (forth, back),
                "{one}; {other}"
            );
            assert_eq!(
                (one.meets(&other), other.meets(&one)),
                (both, both),
                "{one}; {other}"
            );
        }
    }

    #[test]
    fn what_is_not_said_does_not_matter() {
        let cases = [
            (Endpoint::network("10.0.0.0/8".parse().unwrap()), true, false),
            (Endpoint::port(80), true, true),
            (
                Endpoint::network("10.0.0.0/8".parse().unwrap()).with_port(81),
                false,
                false,
            ),
            (
                Endpoint::network("::/0".parse().unwrap()).with_port(80),
                false,
                false,
            ),
        ];
        for (endpoint, ten, eleven) in cases {
            let admits = |address: &str| endpoint.admits(Some(address.parse().unwrap()));
            assert_eq!(
                (admits("10.1.2.3:80"), admits("11.1.2.3:80")),
                (ten, eleven),
                "{endpoint:?}"
            );
            assert!(!endpoint.admits(None));
        }
    }
}
