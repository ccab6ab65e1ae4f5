//! What is asked of a router: the facts of one request.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use http::{HeaderMap, Method};

use crate::condition::Variables;

/// The facts of a request or connection, borrowed from it, of which each may be missing.
///
/// It is put together by its methods; a filter reads the fields. A condition on a fact that is not given fails. The path is taken as it is: call
/// [`normalize`](crate::normalize()) before, once.
///
/// ```
/// use gw_router::{Condition, Lookup, Router, Rule};
///
/// let mut router = Router::new();
/// router.insert(Rule::any().sni("*.example.com".parse()?), "by server name")?;
/// router.insert(Rule::path("/find")?.condition(Condition::query("q").present()), "search")?;
///
/// let lookup = Lookup::path_only("/find").query("q=rust").remote_addr([127, 0, 0, 1].into());
/// assert_eq!(*router.find(&lookup).expect("added above").value, "search");
/// let connection = Lookup::empty().sni("www.example.com");
/// assert_eq!(*router.find(&connection).expect("added above").value, "by server name");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
#[must_use]
#[non_exhaustive]
pub struct Lookup<'q> {
    /// The path, empty if there is none.
    pub path: &'q str,
    /// The host as it was sent, empty if there is none.
    pub host: &'q str,
    /// The method.
    pub method: Option<&'q Method>,
    /// The headers.
    pub headers: Option<&'q HeaderMap>,
    /// The query string as it was sent.
    pub query: Option<&'q str>,
    /// The scheme.
    pub scheme: Option<&'q str>,
    /// The server name of the TLS handshake.
    pub sni: Option<&'q str>,
    /// The caller's own variables.
    pub variables: Option<&'q dyn Variables>,
    /// The address of the client.
    pub remote_addr: Option<IpAddr>,
    /// The source of the connection.
    pub source: Option<SocketAddr>,
    /// The destination of the connection.
    pub destination: Option<SocketAddr>,
    /// The port that counts as named where the host names none.
    pub port: Option<u16>,
    /// The port on which the request came in.
    pub server_port: Option<u16>,
    /// Whether the connection is known not to be TLS.
    pub plaintext: bool,
}

impl<'q> Lookup<'q> {
    /// The method, the host (as in the `host` header, a port included; empty if there is none) and the path.
    #[inline]
    pub fn new(method: &'q Method, host: &'q str, path: &'q str) -> Self {
        Self {
            method: Some(method),
            host,
            ..Self::path_only(path)
        }
    }

    /// Only a path: rules with any other condition do not match.
    #[inline]
    pub fn path_only(path: &'q str) -> Self {
        Self {
            path,
            ..Self::empty()
        }
    }

    /// Nothing: only rules without conditions match. Lookups by server name or address have no path, and begin here.
    #[inline]
    pub fn empty() -> Self {
        Self {
            path: "",
            host: "",
            method: None,
            headers: None,
            query: None,
            scheme: None,
            sni: None,
            variables: None,
            remote_addr: None,
            source: None,
            destination: None,
            port: None,
            server_port: None,
            plaintext: false,
        }
    }

    /// Gives the method.
    pub fn method(mut self, method: &'q Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Gives the host, as in the `host` header, a port included.
    pub fn host(mut self, host: &'q str) -> Self {
        self.host = host;
        self
    }

    /// Gives the headers, in which the cookies are too.
    pub fn headers(mut self, headers: &'q HeaderMap) -> Self {
        self.headers = Some(headers);
        self
    }

    /// Gives the query string as it was sent, without the `?`.
    pub fn query(mut self, query: &'q str) -> Self {
        self.query = Some(query);
        self
    }

    /// Gives the address of the client. An IPv4 address inside IPv6 is taken as IPv4.
    pub fn remote_addr(mut self, address: IpAddr) -> Self {
        self.remote_addr = Some(address);
        self
    }

    /// Gives the scheme, in lower case.
    pub fn scheme(mut self, scheme: &'q str) -> Self {
        self.scheme = Some(scheme);
        self
    }

    /// Gives the port on which the request came in.
    pub fn server_port(mut self, port: u16) -> Self {
        self.server_port = Some(port);
        self
    }

    /// Gives the caller's own variables, for expressions.
    pub fn variables(mut self, variables: &'q dyn Variables) -> Self {
        self.variables = Some(variables);
        self
    }

    /// Gives the server name of the TLS handshake.
    pub fn sni(mut self, sni: &'q str) -> Self {
        self.sni = Some(sni);
        self
    }

    /// Gives the source of the connection.
    pub fn source(mut self, source: SocketAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// Gives the destination of the connection.
    pub fn destination(mut self, destination: SocketAddr) -> Self {
        self.destination = Some(destination);
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

impl Default for Lookup<'_> {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Lookup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup")
            .field("method", &self.method)
            .field("host", &self.host)
            .field("path", &self.path)
            .field("query", &self.query)
            .field("headers", &self.headers)
            .field("remote_addr", &self.remote_addr)
            .field("scheme", &self.scheme)
            .field("server_port", &self.server_port)
            .field("sni", &self.sni)
            .field("source", &self.source)
            .field("destination", &self.destination)
            .field("port", &self.port)
            .field("plaintext", &self.plaintext)
            .field("variables", &self.variables.is_some())
            .finish()
    }
}
