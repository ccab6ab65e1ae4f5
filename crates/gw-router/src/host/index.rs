//! Rules by host: two trees, read from either end of the name, so that the number of hosts does not count.

use std::sync::Arc;

use crate::{
    entry::Entry,
    host::{HostKind, HostPattern},
    list::List,
    order::Rank,
    search::{Best, Request},
    tree::{Leaf, Node, Place, Step, prune, steps, update},
};

/// The rules with a host condition at one place of the path tree.
pub(crate) struct HostIndex<T> {
    /// Exact names, and `name.*` as tails.
    forward: Option<Arc<Node<List<T>>>>,
    /// `*.name` as tails, read from the end.
    reverse: Option<Arc<Node<List<T>>>>,
    /// `*`
    any: List<T>,
}

impl<T> HostIndex<T> {
    pub(crate) fn insert(&mut self, host: &HostPattern, entry: Entry<T>) {
        let (key, rank) = (key(host), entry.rank);
        match host.kind() {
            HostKind::Exact => update(&mut self.forward, &key, Place::Exact, rank, |list| {
                list.insert(entry)
            }),
            HostKind::Prefix => update(&mut self.forward, &key, Place::Tail, rank, |list| {
                list.insert(entry)
            }),
            HostKind::Suffix => update(&mut self.reverse, &key, Place::Tail, rank, |list| {
                list.insert(entry)
            }),
            HostKind::Any => self.any.insert(entry),
        }
    }

    pub(crate) fn remove(&mut self, host: &HostPattern, rank: Rank) {
        let key = key(host);
        match host.kind() {
            HostKind::Exact => prune(&mut self.forward, &key, Place::Exact, |list| list.remove(rank)),
            HostKind::Prefix => prune(&mut self.forward, &key, Place::Tail, |list| list.remove(rank)),
            HostKind::Suffix => prune(&mut self.reverse, &key, Place::Tail, |list| list.remove(rank)),
            HostKind::Any => self.any.remove(rank),
        }
    }

    pub(crate) fn best(&self) -> Rank {
        let trees = [&self.forward, &self.reverse]
            .into_iter()
            .flatten()
            .map(|tree| tree.best);
        trees.fold(self.any.best(), Rank::max)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.forward.is_none() && self.reverse.is_none() && self.any.is_empty()
    }

    pub(crate) fn offer<'r>(
        &'r self,
        name: &[u8],
        request: &Request<'_>,
        rest: bool,
        best: &mut Best<'r, T>,
    ) {
        let last = name.len() - 1;
        if let Some(forward) = &self.forward {
            descend(
                forward,
                name.len(),
                |at| name[at],
                |list, at, place| {
                    // `name.*` wants something in place of the star.
                    if place == Place::Exact || at < name.len() {
                        best.scan(list, request, rest);
                    }
                },
            );
        }
        if let Some(reverse) = &self.reverse {
            descend(
                reverse,
                name.len(),
                |at| name[last - at],
                |list, _, _| best.scan(list, request, rest),
            );
        }
        best.scan(&self.any, request, rest);
    }
}

/// Visits the lists along a name of `length` bytes.
fn descend<'r, T>(
    root: &'r Node<List<T>>,
    length: usize,
    byte: impl Fn(usize) -> u8,
    mut visit: impl FnMut(&'r List<T>, usize, Place),
) {
    let (mut node, mut at) = (root, 0);
    loop {
        let end = at + node.run.len();
        if end > length || !node.run.iter().zip(at..).all(|(run, at)| *run == byte(at)) {
            return;
        }
        at = end;
        if let Some(tail) = &node.tail {
            visit(tail, at, Place::Tail);
        }
        if at == length {
            if let Some(exact) = &node.exact {
                visit(exact, at, Place::Exact);
            }
            return;
        }
        let Some(child) = node.child(byte(at)) else { return };
        node = child;
    }
}

fn key(host: &HostPattern) -> Vec<Step> {
    match host.kind() {
        HostKind::Suffix => steps(host.name().bytes().rev()),
        _ => steps(host.name().bytes()),
    }
}

impl<T> Default for HostIndex<T> {
    fn default() -> Self {
        Self {
            forward: None,
            reverse: None,
            any: List::default(),
        }
    }
}

impl<T> Clone for HostIndex<T> {
    fn clone(&self) -> Self {
        Self {
            forward: self.forward.clone(),
            reverse: self.reverse.clone(),
            any: self.any.clone(),
        }
    }
}
