//! What conditions and expressions look at: the facts of one request.

use std::{borrow::Cow, collections::HashMap, fmt, hash::BuildHasher, net::IpAddr};

use http::{HeaderMap, Method};

/// The facts of a request, borrowed from it. Each may be missing: a condition on it then finds it absent.
///
/// Nothing is parsed beforehand: arguments and cookies are looked for where they stand, each time a condition asks.
#[derive(Clone, Copy, Default)]
#[must_use]
pub struct Facts<'q> {
    pub(crate) method: Option<&'q Method>,
    pub(crate) host: Option<&'q [u8]>,
    pub(crate) path: Option<&'q [u8]>,
    pub(crate) query: Option<&'q [u8]>,
    pub(crate) headers: Option<&'q HeaderMap>,
    pub(crate) remote_addr: Option<IpAddr>,
    pub(crate) scheme: Option<&'q str>,
    pub(crate) server_port: Option<u16>,
    pub(crate) variables: Option<&'q dyn Variables>,
}

/// Variables that the caller supplies, for expressions that name none of the built-in ones.
pub trait Variables {
    /// The value of the variable of this name, if it has one.
    fn value(&self, name: &str) -> Option<VariableValue<'_>>;
}

/// The value of a variable that the caller supplies.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum VariableValue<'v> {
    /// A text.
    Text(Cow<'v, str>),
    /// A number. Orderings take a text that reads as a number as well; `in` and `has` keep them apart.
    Number(f64),
    /// A truth value.
    Bool(bool),
    /// Several values, for the operator `has`. A list inside a list equals nothing.
    List(Vec<Self>),
}

impl<'q> Facts<'q> {
    /// No facts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the method.
    pub fn method(mut self, method: &'q Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Gives the host: in lower case, without port.
    pub fn host(mut self, host: &'q (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.host = Some(host.as_ref());
        self
    }

    /// Gives the path, normalised, without query.
    pub fn path(mut self, path: &'q (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.path = Some(path.as_ref());
        self
    }

    /// Gives the query string as it was sent, without the `?`.
    pub fn query(mut self, query: &'q (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.query = Some(query.as_ref());
        self
    }

    /// Gives the headers, in which the cookies are too.
    pub fn headers(mut self, headers: &'q HeaderMap) -> Self {
        self.headers = Some(headers);
        self
    }

    /// Gives the address of the client. An IPv4 address inside IPv6 is taken as IPv4.
    pub fn remote_addr(mut self, address: IpAddr) -> Self {
        self.remote_addr = Some(address.to_canonical());
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

    /// Gives the caller's own variables.
    pub fn variables(mut self, variables: &'q dyn Variables) -> Self {
        self.variables = Some(variables);
        self
    }
}

impl fmt::Debug for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: Option<&'_ [u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        f.debug_struct("Facts")
            .field("method", &self.method)
            .field("host", &text(self.host))
            .field("path", &text(self.path))
            .field("query", &text(self.query))
            .field("headers", &self.headers)
            .field("remote_addr", &self.remote_addr)
            .field("scheme", &self.scheme)
            .field("server_port", &self.server_port)
            .field("variables", &self.variables.is_some())
            .finish()
    }
}

impl<S: BuildHasher> Variables for HashMap<String, String, S> {
    fn value(&self, name: &str) -> Option<VariableValue<'_>> {
        self.get(name).map(|value| value.as_str().into())
    }
}

impl<'v> From<&'v str> for VariableValue<'v> {
    fn from(text: &'v str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for VariableValue<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}
