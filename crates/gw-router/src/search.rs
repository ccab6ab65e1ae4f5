//! The walk through the path tree that finds the best rule for a request.

use std::cell::OnceCell;

use smallvec::SmallVec;

use crate::{
    bytes,
    entry::{Entry, MethodSet},
    host::Authority,
    list::List,
    lookup::Lookup,
    order::{Profile, Rank},
    slot::Slot,
    tree::{Leaf, Node},
};

/// A lookup with what is derived from it, each at most once.
pub(crate) struct Request<'q> {
    pub(crate) lookup: Lookup<'q>,
    pub(crate) method: MethodSet,
    host: OnceCell<Option<Authority<'q>>>,
    #[cfg(test)]
    steps: std::cell::Cell<usize>,
}

impl<'q> Request<'q> {
    #[inline]
    pub(crate) fn new(lookup: &Lookup<'q>) -> Self {
        Self {
            lookup: *lookup,
            method: lookup.method.map_or(MethodSet::NONE, MethodSet::one),
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
    fn count(&self, _steps: usize) {
        #[cfg(test)]
        self.steps.set(self.steps.get() + _steps);
    }
}

// --- Best ---

/// The best entry so far, and what another must surpass.
pub(crate) struct Best<'r, T> {
    entry: Option<&'r Entry<T>>,
    pub(crate) floor: Rank,
}

impl<'r, T> Best<'r, T> {
    /// Takes the best entry of the list that the request satisfies, if it surpasses the floor.
    #[inline]
    pub(crate) fn scan(&mut self, list: &'r List<T>, request: &Request<'_>, rest: bool) {
        let (short, long) = list.pieces();
        if self.scan_piece(short, request, rest) {
            for piece in long {
                if !self.scan_piece(piece, request, rest) {
                    break;
                }
            }
        }
    }

    /// Whether what comes after can still win.
    #[inline]
    fn scan_piece(&mut self, entries: &'r [Entry<T>], request: &Request<'_>, rest: bool) -> bool {
        for entry in entries {
            request.count(1);
            // Ranks only fall from here, and an entry's rank is the best it can have.
            if entry.rank <= self.floor {
                return false;
            }
            if let Some(rank) = entry.admits(request, rest)
                && rank > self.floor
            {
                self.floor = rank;
                self.entry = Some(entry);
            }
        }
        true
    }
}

// --- find ---

/// A node behind us whose wildcards are still to be tried.
struct Choice<'r, T> {
    node: &'r Node<Slot<T>>,
    /// Where the path goes on after the node's run.
    at: usize,
    /// Whether only literals led here. What hangs off one such node has one literal head.
    on_head: bool,
    /// Whether the parameter has been tried.
    tried_param: bool,
}

struct Walk<'r, 's, 'q, T> {
    request: &'s Request<'q>,
    path: &'q [u8],
    profile: Profile,
    best: Best<'r, T>,
    /// Innermost last. Bound: one per literal prefix of the path that has wildcards, plus one per parameter tried.
    choices: SmallVec<[Choice<'r, T>; 32]>,
}

/// The entry that wins, by depth-first search: literals before parameters before the rest of the path, the deepest
/// first. What cannot surpass the best so far is not entered, and no node is entered twice.
pub(crate) fn find<'r, T>(
    root: &'r Node<Slot<T>>,
    request: &Request<'_>,
    profile: Profile,
) -> Option<&'r Entry<T>> {
    let best = Best {
        entry: None,
        floor: Rank::LOWEST,
    };
    let path = request.lookup.path.as_bytes();
    let mut walk = Walk {
        request,
        path,
        profile,
        best,
        choices: SmallVec::new(),
    };
    walk.descend(root, 0, true);
    while let Some(mut choice) = walk.choices.pop() {
        if choice.on_head && !choice.tried_param && walk.decided() {
            break;
        }
        if !choice.tried_param
            && let Some(param) = &choice.node.param
        {
            let (at, node) = (choice.at, &**param);
            if choice.node.tail.is_some() {
                choice.tried_param = true;
                walk.choices.push(choice);
            }
            walk.descend_param(node, at);
        } else if let Some(tail) = &choice.node.tail {
            walk.visit(tail, choice.at);
        }
    }
    walk.best.entry
}

impl<'r, T> Walk<'r, '_, '_, T> {
    /// Under [`Profile::PathFirst`] a longer literal head decides, so that what is found ends the search.
    fn decided(&self) -> bool {
        self.profile == Profile::PathFirst && self.best.entry.is_some()
    }

    /// Follows the literals of the path from a node on, and notes the choices on the way.
    fn descend(&mut self, from: &'r Node<Slot<T>>, from_at: usize, on_head: bool) {
        let (mut node, mut at) = (from, from_at);
        loop {
            self.request.count(1 + node.run.len());
            if node.best <= self.best.floor
                || !self
                    .path
                    .get(at..)
                    .is_some_and(|rest| bytes::starts_with(rest, &node.run))
            {
                return;
            }
            at += node.run.len();
            let choice = Choice {
                node,
                at,
                on_head,
                tried_param: false,
            };
            let Some(next) = self.path.get(at) else {
                if let Some(exact) = &node.exact {
                    self.visit(exact, at);
                }
                if node.tail.is_some() && !(on_head && self.decided()) {
                    self.choices.push(Choice {
                        tried_param: true,
                        ..choice
                    });
                }
                return;
            };
            if node.param.is_some() || node.tail.is_some() {
                self.choices.push(choice);
            }
            let Some(child) = node.child(*next) else { return };
            node = child;
        }
    }

    /// Takes one segment and goes on after it.
    fn descend_param(&mut self, node: &'r Node<Slot<T>>, at: usize) {
        if node.best <= self.best.floor {
            return;
        }
        let rest = self.path.get(at..).unwrap_or_default();
        let length = bytes::segment(rest);
        self.request.count(length);
        if length > 0 {
            self.descend(node, at + length, false);
        }
    }

    fn visit(&mut self, slot: &'r Slot<T>, at: usize) {
        if slot.best() <= self.best.floor {
            return;
        }
        let before = self.best.floor;
        slot.offer(self.request, at < self.path.len(), &mut self.best);
        if self.best.floor != before {
            self.best.floor = self.best.floor.sealed(self.profile);
        }
    }
}
