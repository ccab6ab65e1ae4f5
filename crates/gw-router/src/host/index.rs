//! Things by host: two trees, read from either end of the name, so that the number of hosts does not count.

use std::ops::ControlFlow;

use smallvec::SmallVec;

use crate::{
    bytes,
    host::{HostKind, HostPattern},
    key::Key,
    tree::{Kids, Leaf, Node, Place, Root, exact, prune, seek, update},
};

/// Leaves by host pattern, its port aside.
pub(crate) struct HostIndex<L: Leaf> {
    /// Exact names, and `name.*` as tails.
    forward: Root<L>,
    /// `*.name` as tails, read from the end.
    reverse: Root<L>,
    /// `*`
    any: L,
}

impl<L: Leaf> HostIndex<L> {
    /// Changes the leaf of a host, which is made if there is none.
    pub(crate) fn update(&mut self, host: &HostPattern, bound: u64, change: impl FnOnce(&mut L)) {
        let key = key(host);
        match host.kind() {
            HostKind::Exact => update(&mut self.forward, &key, Place::Exact, bound, change),
            HostKind::Prefix => update(&mut self.forward, &key, Place::Tail, bound, change),
            HostKind::Suffix => update(&mut self.reverse, &key, Place::Tail, bound, change),
            HostKind::Any => change(&mut self.any),
        }
    }

    /// Changes the leaf of a host, if there is one, and drops it if that leaves it empty.
    pub(crate) fn prune(&mut self, host: &HostPattern, change: impl FnOnce(&mut L)) {
        let key = key(host);
        match host.kind() {
            HostKind::Exact => prune(&mut self.forward, &key, Place::Exact, change),
            HostKind::Prefix => prune(&mut self.forward, &key, Place::Tail, change),
            HostKind::Suffix => prune(&mut self.reverse, &key, Place::Tail, change),
            HostKind::Any => change(&mut self.any),
        }
    }

    pub(crate) fn bound(&self) -> u64 {
        let trees = [&self.forward, &self.reverse].into_iter().flatten();
        trees.map(|tree| tree.bound).fold(self.any.bound(), u64::max)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.forward.is_none() && self.reverse.is_none() && self.any.is_empty()
    }

    /// The leaves of all hosts that a name matches: the exact one, those of longer suffixes, those of longer prefixes,
    /// that of any.
    pub(crate) fn visit<'r>(&'r self, name: &[u8], visit: &mut impl FnMut(&'r L)) {
        let mut tails: SmallVec<[&L; 8]> = SmallVec::new();
        if let Some(forward) = &self.forward {
            let exact = descend(forward, name, |leaf| tails.push(leaf));
            exact.into_iter().for_each(&mut *visit);
        }
        if let Some(reverse) = &self.reverse {
            let mut suffixes: SmallVec<[&L; 8]> = SmallVec::new();
            ascend(reverse, name, |leaf| suffixes.push(leaf));
            suffixes.into_iter().rev().for_each(&mut *visit);
        }
        tails.into_iter().rev().for_each(&mut *visit);
        if !self.any.is_empty() {
            visit(&self.any);
        }
    }

    /// The leaf of a host pattern.
    pub(crate) fn leaf(&self, host: &HostPattern) -> Option<&L> {
        let (tree, place) = match host.kind() {
            HostKind::Any => return Some(&self.any),
            HostKind::Exact => (&self.forward, Place::Exact),
            HostKind::Prefix => (&self.forward, Place::Tail),
            HostKind::Suffix => (&self.reverse, Place::Tail),
        };
        seek(tree.as_deref()?, &key(host), place)?.place(place)
    }

    /// The leaves of all hosts, until `visit` breaks.
    pub(crate) fn each<'r>(&'r self, visit: &mut dyn FnMut(&'r L) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut nodes: Vec<&Node<L>> = [&self.forward, &self.reverse]
            .into_iter()
            .filter_map(|tree| tree.as_deref())
            .collect();
        while let Some(node) = nodes.pop() {
            visit(&node.exact)?;
            node.tail.iter().try_for_each(|tail| visit(tail))?;
            nodes.extend(node.branches());
        }
        visit(&self.any)
    }
}

/// Visits the tails along a name, the shortest first, and returns what ends with it.
fn descend<'r, L: Leaf>(root: &'r Node<L>, name: &[u8], mut tail: impl FnMut(&'r L)) -> Option<&'r L> {
    let (mut node, mut rest, mut found) = (root, name, None);
    loop {
        let Some(behind) = bytes::strip(rest, node.run.bytes()) else {
            return found;
        };
        rest = behind;
        // `name.*` wants something in place of the star.
        let Some(byte) = rest.first() else {
            return found.or(Some(&node.exact)).filter(|exact| !exact.is_empty());
        };
        if let Some(leaf) = &node.tail {
            tail(leaf);
        }
        if let Kids::Crowd { crowd, .. } = &node.kids {
            // Tails stand elsewhere, and go on.
            if let Some(named) = crowd.segments.get(bytes::hash(rest)) {
                found = ends(named, rest).or(found);
            }
            if !crowd.has_rest() {
                return found;
            }
        }
        let Some(child) = node.kids.child(*byte) else {
            return found;
        };
        node = child;
    }
}

/// What ends at or below a node where the name does.
#[inline]
fn ends<'r, L: Leaf>(named: &'r Node<L>, rest: &[u8]) -> Option<&'r L> {
    match bytes::strip(rest, named.run.bytes()) {
        Some([]) => Some(&named.exact),
        _ => Some(&exact(named, rest)?.exact),
    }
}

/// Visits the tails along a name from its end on, the shortest first.
fn ascend<'r, L: Leaf>(root: &'r Node<L>, name: &[u8], mut tail: impl FnMut(&'r L)) {
    let (mut node, mut rest) = (root, name);
    loop {
        for byte in node.run.bytes() {
            match rest.split_last() {
                Some((last, before)) if last == byte => rest = before,
                _ => return,
            }
        }
        if let Some(leaf) = &node.tail {
            tail(leaf);
        }
        let Some(child) = rest.last().and_then(|byte| node.kids.child(*byte)) else {
            return;
        };
        node = child;
    }
}

fn key(host: &HostPattern) -> Key {
    match host.kind() {
        HostKind::Suffix => Key::of_bytes(host.name().bytes().rev()),
        _ => Key::of_bytes(host.name().bytes()),
    }
}

impl<L: Leaf> Default for HostIndex<L> {
    fn default() -> Self {
        Self {
            forward: None,
            reverse: None,
            any: L::default(),
        }
    }
}

impl<L: Leaf> Clone for HostIndex<L> {
    fn clone(&self) -> Self {
        Self {
            forward: self.forward.clone(),
            reverse: self.reverse.clone(),
            any: self.any.clone(),
        }
    }
}
