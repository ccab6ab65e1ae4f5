//! How a request came in, and what a router is asked about it.

use std::net::IpAddr;

use gw_core::Protocol;
use gw_router::Lookup;
use http::{HeaderMap, Method};

/// What of a connection decides on the routes of its requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'c> {
    /// The client's address; one of IPv4 is never written as IPv6.
    pub(crate) client: IpAddr,
    pub(crate) scheme: Protocol,
    /// The port it connected to.
    pub(crate) port: u16,
    /// The server name of the TLS handshake.
    pub(crate) sni: Option<&'c str>,
}

/// What of a request's head decides on its route: its host, empty if it names none, and its path in normal form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'q> {
    pub(crate) method: &'q Method,
    pub(crate) host: &'q str,
    pub(crate) path: &'q str,
    pub(crate) query: Option<&'q str>,
    pub(crate) headers: &'q HeaderMap,
}

impl<'c> Arrival<'c> {
    /// The lookup of a request; all of it is borrowed.
    pub(crate) fn lookup<'q>(&self, asked: Asked<'q>) -> Lookup<'q>
    where
        'c: 'q,
    {
        let mut lookup = Lookup::new(asked.method, asked.host, asked.path)
            .headers(asked.headers)
            .remote_addr(self.client)
            .scheme(self.scheme.as_str())
            .server_port(self.port)
            .port(self.default_port());
        if let Some(query) = asked.query {
            lookup = lookup.query(query);
        }
        match (self.scheme, self.sni) {
            (Protocol::Http, _) => lookup.plaintext(),
            (_, Some(sni)) => lookup.sni(sni),
            (_, None) => lookup,
        }
    }

    /// The port that `Host` may leave out.
    fn default_port(&self) -> u16 {
        if self.scheme == Protocol::Https { 443 } else { 80 }
    }
}
