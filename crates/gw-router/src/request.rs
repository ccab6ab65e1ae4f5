//! A lookup with what is derived from it, each at most once.

use std::cell::OnceCell;

use crate::{condition::Facts, entry::MethodSet, host::Authority, lookup::Lookup};

pub(crate) struct Request<'q> {
    pub(crate) lookup: &'q Lookup<'q>,
    pub(crate) method: MethodSet,
    host: OnceCell<Option<Authority<'q>>>,
    #[cfg(test)]
    steps: std::cell::Cell<usize>,
}

impl<'q> Request<'q> {
    #[inline]
    pub(crate) fn new(lookup: &'q Lookup<'q>) -> Self {
        Self {
            lookup,
            method: lookup.method.map_or_else(MethodSet::none, MethodSet::one),
            host: OnceCell::new(),
            #[cfg(test)]
            steps: std::cell::Cell::new(0),
        }
    }

    pub(crate) fn host(&self) -> Option<&Authority<'q>> {
        self.host
            .get_or_init(|| Authority::parse(self.lookup.host))
            .as_ref()
    }

    /// What conditions on headers, arguments and cookies look at.
    #[inline]
    pub(crate) fn sources(&self) -> Facts<'q> {
        Facts {
            query: self.lookup.query.map(str::as_bytes),
            headers: self.lookup.headers,
            ..Facts::default()
        }
    }

    /// What expressions look at.
    pub(crate) fn facts(&self) -> Facts<'_> {
        let lookup = self.lookup;
        Facts {
            method: lookup.method,
            host: self.host().map(Authority::name),
            path: Some(lookup.path.as_bytes()).filter(|path| !path.is_empty()),
            query: lookup.query.map(str::as_bytes),
            headers: lookup.headers,
            remote_addr: lookup.remote_addr.map(|address| address.to_canonical()),
            scheme: lookup.scheme,
            server_port: lookup.server_port,
            variables: lookup.variables,
        }
    }

    pub(crate) fn explicit_port(&self) -> Option<u16> {
        self.host().and_then(|host| host.explicit_port)
    }

    /// The port the request is for.
    pub(crate) fn port(&self) -> Option<u16> {
        self.explicit_port().or(self.lookup.port)
    }

    #[cfg(test)]
    pub(crate) fn steps(&self) -> usize {
        self.steps.get()
    }

    /// Counts work, so that a test can say how much there was.
    #[inline]
    pub(crate) fn count(&self, _steps: usize) {
        #[cfg(test)]
        self.steps.set(self.steps.get() + _steps);
    }
}
