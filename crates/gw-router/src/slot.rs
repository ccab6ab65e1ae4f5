//! All rules at one place of the path tree, indexed by host.

use std::sync::Arc;

use crate::{
    entry::Entry,
    host::HostIndex,
    list::List,
    order::Rank,
    search::{Best, Request},
    tree::Leaf,
};

/// The rules whose path ends (or goes on with anything) at one node.
pub(crate) struct Slot<T> {
    /// Those without a host condition.
    any: List<T>,
    hosts: Option<Arc<HostIndex<T>>>,
    best: Rank,
}

impl<T> Slot<T> {
    pub(crate) fn insert(&mut self, entry: Entry<T>) {
        self.best = self.best.max(entry.rank);
        match entry.host().cloned() {
            None => self.any.insert(entry),
            Some(host) => Arc::make_mut(self.hosts.get_or_insert_default()).insert(&host, entry),
        }
    }

    /// Removes what was inserted as this entry.
    pub(crate) fn remove(&mut self, entry: &Entry<T>) {
        match entry.host() {
            None => self.any.remove(entry.rank),
            Some(host) => {
                if let Some(hosts) = &mut self.hosts {
                    let hosts = Arc::make_mut(hosts);
                    hosts.remove(host, entry.rank);
                    if hosts.is_empty() {
                        self.hosts = None;
                    }
                }
            }
        }
        self.best = self
            .any
            .best()
            .max(self.hosts.as_ref().map_or(Rank::LOWEST, |hosts| hosts.best()));
    }

    /// Offers the request every rule here that could still win.
    pub(crate) fn offer<'r>(&'r self, request: &Request<'_>, rest: bool, best: &mut Best<'r, T>) {
        if let Some(hosts) = &self.hosts
            && hosts.best() > best.floor
            && let Some(host) = request.host()
        {
            hosts.offer(host.name(), request, rest, best);
        }
        best.scan(&self.any, request, rest);
    }
}

impl<T> Leaf for Slot<T> {
    type Best = Rank;
    const NOTHING: Rank = Rank::LOWEST;

    fn best(&self) -> Rank {
        self.best
    }

    fn is_empty(&self) -> bool {
        self.any.is_empty() && self.hosts.is_none()
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            any: List::default(),
            hosts: None,
            best: Rank::LOWEST,
        }
    }
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self {
            any: self.any.clone(),
            hosts: self.hosts.clone(),
            best: self.best,
        }
    }
}
