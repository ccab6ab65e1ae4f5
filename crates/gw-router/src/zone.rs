//! The rules of one host, where the host decides first.

use smallvec::SmallVec;

use crate::{
    slot::Slot,
    tree::{Leaf, Root},
};

/// Path trees by port: those with a port first, and at last those of any.
pub(crate) struct Zone<T> {
    ports: SmallVec<[AtPort<T>; 1]>,
}

type AtPort<T> = (Option<u16>, Root<Slot<T>>);

impl<T> Zone<T> {
    /// The tree of a port, which is made if there is none.
    pub(crate) fn at_port(&mut self, port: Option<u16>) -> &mut Root<Slot<T>> {
        let index = match self.ports.iter().position(|(other, _)| *other == port) {
            Some(index) => index,
            None => {
                let index = if port.is_some() { 0 } else { self.ports.len() };
                self.ports.insert(index, (port, None));
                index
            }
        };
        &mut self.ports[index].1
    }

    pub(crate) fn prune(&mut self, port: Option<u16>, change: impl FnOnce(&mut Root<Slot<T>>)) {
        change(self.at_port(port));
        self.ports.retain(|(_, root)| root.is_some());
    }

    /// The tree of exactly this port.
    pub(crate) fn of_port(&self, port: Option<u16>) -> Option<&Root<Slot<T>>> {
        let found = self.ports.iter().find(|(own, _)| *own == port);
        found.map(|(_, root)| root)
    }

    /// All trees.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &Root<Slot<T>>> {
        self.ports.iter().map(|(_, root)| root)
    }

    /// The trees for a request to this port, the more specific first.
    pub(crate) fn for_port(&self, port: Option<u16>) -> impl Iterator<Item = &Root<Slot<T>>> {
        let fits = move |own: &Option<u16>| own.is_none() || *own == port;
        self.ports
            .iter()
            .filter(move |(own, _)| fits(own))
            .map(|(_, root)| root)
    }
}

impl<T> Leaf for Zone<T> {
    fn bound(&self) -> u64 {
        let bounds = self.ports.iter().filter_map(|(_, root)| root.as_deref());
        bounds.map(|root| root.bound).fold(0, u64::max)
    }

    fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }
}

impl<T> Default for Zone<T> {
    fn default() -> Self {
        Self {
            ports: SmallVec::new(),
        }
    }
}

impl<T> Clone for Zone<T> {
    fn clone(&self) -> Self {
        Self {
            ports: self.ports.clone(),
        }
    }
}
