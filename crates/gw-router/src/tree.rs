//! A persistent radix tree over bytes and whole segments.
//!
//! Nodes are shared between the values of a tree; a change copies the shared ones on the way from the root to the
//! place it touches, and changes in place what nobody else holds.

use std::sync::Arc;

use smallvec::SmallVec;

/// What a node holds at one of its two places.
pub(crate) trait Leaf: Clone + Default {
    /// The best rank in it, by which a search skips what cannot win.
    type Best: Copy + Ord;
    /// The rank of nothing.
    const NOTHING: Self::Best;
    fn best(&self) -> Self::Best;
    fn is_empty(&self) -> bool;
}

/// A node and everything below it.
///
/// Invariant: a node has something at one of its places, or a parameter, or at least two children; so the same
/// contents always make the same tree. Invariant: `firsts` is sorted and parallel to `children`.
#[derive(Clone)]
pub(crate) struct Node<L: Leaf> {
    /// The bytes between the parent and this node, the one the parent chose it by included.
    pub(crate) run: SmallVec<[u8; 24]>,
    /// The first byte of each child's run.
    pub(crate) firsts: SmallVec<[u8; 16]>,
    pub(crate) children: SmallVec<[Arc<Self>; 2]>,
    /// What follows one whole segment.
    pub(crate) param: Option<Arc<Self>>,
    /// What ends here.
    pub(crate) exact: Option<Arc<L>>,
    /// What goes on with any bytes.
    pub(crate) tail: Option<Arc<L>>,
    /// The best rank here and below.
    pub(crate) best: L::Best,
}

/// One step of a key: a byte, or [`PARAM`].
pub(crate) type Step = u16;

/// The step over one whole segment.
pub(crate) const PARAM: Step = 256;

/// Which of a node's two places is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Exact,
    Tail,
}

/// The steps that spell these bytes.
pub(crate) fn steps(bytes: impl IntoIterator<Item = u8>) -> Vec<Step> {
    bytes.into_iter().map(Step::from).collect()
}

/// Changes the contents of one place, which is made if it does not exist. `best` is the rank that the change adds.
pub(crate) fn update<L: Leaf>(
    root: &mut Option<Arc<Node<L>>>,
    key: &[Step],
    place: Place,
    best: L::Best,
    change: impl FnOnce(&mut L),
) {
    let (mut key, mut at) = (key, root.get_or_insert_with(|| Node::leading_to(key)));
    loop {
        let node = Arc::make_mut(at);
        let common = node
            .run
            .iter()
            .zip(key)
            .take_while(|(byte, step)| Step::from(**byte) == **step)
            .count();
        if common < node.run.len() {
            node.split(common);
        }
        node.best = node.best.max(best);
        key = key.get(common..).unwrap_or_default();
        let Some((step, rest)) = key.split_first() else {
            change(Arc::make_mut(node.place_mut(place).get_or_insert_default()));
            return;
        };
        at = match u8::try_from(*step) {
            Ok(byte) => node.child_mut(byte, key),
            Err(_) => {
                key = rest;
                node.param.get_or_insert_with(|| Node::leading_to(rest))
            }
        };
    }
}

/// Changes the contents of one place and tidies up behind: places left empty go, and so do nodes without a purpose.
/// Nothing happens if there is no such place.
pub(crate) fn prune<L: Leaf>(
    root: &mut Option<Arc<Node<L>>>,
    key: &[Step],
    place: Place,
    change: impl FnOnce(&mut L),
) {
    if root
        .as_deref()
        .and_then(|root| seek(root, key))
        .is_none_or(|node| node.place(place).is_none())
    {
        return;
    }
    // The nodes above the one in hand, each without the branch that was taken out of it.
    let mut trail: Vec<(Arc<Node<L>>, Branch)> = Vec::new();
    let (mut key, mut at) = (key, root.take());
    while let Some(mut held) = at.take() {
        let node = Arc::make_mut(&mut held);
        key = key.get(node.run.len()..).unwrap_or_default();
        let Some((step, rest)) = key.split_first() else {
            let slot = node.place_mut(place);
            if let Some(leaf) = slot {
                let leaf = Arc::make_mut(leaf);
                change(leaf);
                if leaf.is_empty() {
                    *slot = None;
                }
            }
            *root = rejoin(held, trail);
            return;
        };
        let branch = match u8::try_from(*step) {
            Ok(byte) => Branch::Child(node.firsts.binary_search(&byte).unwrap_or_else(|at| at)),
            Err(_) => Branch::Param,
        };
        at = match branch {
            Branch::Child(index) => {
                node.firsts.remove(index);
                Some(node.children.remove(index))
            }
            Branch::Param => {
                key = rest;
                node.param.take()
            }
        };
        trail.push((held, branch));
    }
}

/// The node a key leads to.
pub(crate) fn seek<'n, L: Leaf>(root: &'n Node<L>, key: &[Step]) -> Option<&'n Node<L>> {
    let (mut node, mut key) = (root, key);
    loop {
        let run = key.get(..node.run.len())?;
        if !node
            .run
            .iter()
            .zip(run)
            .all(|(byte, step)| Step::from(*byte) == *step)
        {
            return None;
        }
        key = key.get(node.run.len()..)?;
        let Some((step, rest)) = key.split_first() else {
            return Some(node);
        };
        node = match u8::try_from(*step) {
            Ok(byte) => node.child(byte)?,
            Err(_) => {
                key = rest;
                node.param.as_deref()?
            }
        };
    }
}

#[derive(Clone, Copy)]
enum Branch {
    Child(usize),
    Param,
}

/// Puts a changed node back under the ones it was taken from.
fn rejoin<L: Leaf>(changed: Arc<Node<L>>, trail: Vec<(Arc<Node<L>>, Branch)>) -> Option<Arc<Node<L>>> {
    let mut carried = settle(changed);
    for (mut held, branch) in trail.into_iter().rev() {
        let node = Arc::make_mut(&mut held);
        match (branch, carried.take()) {
            (_, None) => {}
            (Branch::Param, below) => node.param = below,
            (Branch::Child(index), Some(below)) => {
                node.firsts
                    .insert(index, below.run.first().copied().unwrap_or_default());
                node.children.insert(index, below);
            }
        }
        carried = settle(held);
    }
    carried
}

/// Restores the invariants of a node whose branches changed; `None` if nothing is left of it.
fn settle<L: Leaf>(mut held: Arc<Node<L>>) -> Option<Arc<Node<L>>> {
    let node = Arc::make_mut(&mut held);
    let bare = node.exact.is_none() && node.tail.is_none() && node.param.is_none();
    if bare && node.children.is_empty() {
        return None;
    }
    if bare && node.children.len() == 1 {
        let mut below = node.children.pop()?;
        Arc::make_mut(&mut below).run.insert_from_slice(0, &node.run);
        return Some(below);
    }
    let places = [&node.exact, &node.tail]
        .into_iter()
        .flatten()
        .map(|leaf| leaf.best());
    let below = node.children.iter().chain(&node.param).map(|child| child.best);
    node.best = places.chain(below).max().unwrap_or(L::NOTHING);
    Some(held)
}

impl<L: Leaf> Node<L> {
    /// A node whose run is the literal start of a key.
    fn leading_to(key: &[Step]) -> Arc<Self> {
        let run = key.iter().map_while(|step| u8::try_from(*step).ok()).collect();
        Arc::new(Self {
            run,
            firsts: SmallVec::new(),
            children: SmallVec::new(),
            param: None,
            exact: None,
            tail: None,
            best: L::NOTHING,
        })
    }

    pub(crate) fn child(&self, byte: u8) -> Option<&Self> {
        let index = self.firsts.iter().position(|first| *first == byte)?;
        self.children.get(index).map(Arc::as_ref)
    }

    /// The child for this byte, made from the key if there is none.
    fn child_mut(&mut self, byte: u8, key: &[Step]) -> &mut Arc<Self> {
        let index = self.firsts.binary_search(&byte).unwrap_or_else(|index| {
            self.firsts.insert(index, byte);
            self.children.insert(index, Self::leading_to(key));
            index
        });
        &mut self.children[index]
    }

    fn place(&self, place: Place) -> &Option<Arc<L>> {
        match place {
            Place::Exact => &self.exact,
            Place::Tail => &self.tail,
        }
    }

    fn place_mut(&mut self, place: Place) -> &mut Option<Arc<L>> {
        match place {
            Place::Exact => &mut self.exact,
            Place::Tail => &mut self.tail,
        }
    }

    /// Puts a node of the first bytes of the run above the rest.
    fn split(&mut self, at: usize) {
        let lower = Self {
            run: self.run.get(at..).unwrap_or_default().into(),
            firsts: std::mem::take(&mut self.firsts),
            children: std::mem::take(&mut self.children),
            param: self.param.take(),
            exact: self.exact.take(),
            tail: self.tail.take(),
            best: self.best,
        };
        self.run.truncate(at);
        self.firsts.extend(lower.run.first().copied());
        self.children.push(Arc::new(lower));
    }
}

impl<L: Leaf> Drop for Node<L> {
    /// A chain of nodes can be as long as a pattern; taking it apart here keeps the stack flat.
    fn drop(&mut self) {
        let mut orphans: Vec<Arc<Self>> = self.children.drain(..).chain(self.param.take()).collect();
        while let Some(orphan) = orphans.pop() {
            if let Some(mut node) = Arc::into_inner(orphan) {
                orphans.extend(node.children.drain(..));
                orphans.extend(node.param.take());
            }
        }
    }
}

#[cfg(test)]
mod tests;
