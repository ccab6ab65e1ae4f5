//! What is asked of a router: the facts of one request.

use http::{HeaderMap, Method};

/// The facts of a request, borrowed from it.
///
/// A condition on a fact that is not given fails. The path is taken as it is:
/// call [`normalize`](crate::normalize()) before, once.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Lookup<'q> {
    pub(crate) method: Option<&'q Method>,
    pub(crate) host: &'q str,
    pub(crate) path: &'q str,
    pub(crate) headers: Option<&'q HeaderMap>,
    pub(crate) sni: Option<&'q str>,
    pub(crate) port: Option<u16>,
    pub(crate) plaintext: bool,
}

impl<'q> Lookup<'q> {
    /// The method, the host (as in the `host` header, a port included; empty if there is none) and the path.
    pub fn new(method: &'q Method, host: &'q str, path: &'q str) -> Self {
        Self {
            method: Some(method),
            host,
            ..Self::path_only(path)
        }
    }

    /// Only a path: rules with any other condition do not match.
    pub fn path_only(path: &'q str) -> Self {
        Self {
            method: None,
            host: "",
            path,
            headers: None,
            sni: None,
            port: None,
            plaintext: false,
        }
    }

    /// Gives the headers.
    pub fn headers(mut self, headers: &'q HeaderMap) -> Self {
        self.headers = Some(headers);
        self
    }

    /// Gives the server name of the TLS handshake.
    pub fn sni(mut self, sni: &'q str) -> Self {
        self.sni = Some(sni);
        self
    }

    /// Gives the port that stands for itself when the host names none: the default port of the scheme.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Says that the connection is not TLS: conditions on the server name do not apply, as in Kong.
    pub fn plaintext(mut self) -> Self {
        self.plaintext = true;
        self
    }
}
