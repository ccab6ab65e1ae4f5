//! A persistent radix tree over bytes, whole segments, parts of segments and wildcards over several.
//!
//! Nodes are shared between the values of a tree; a change copies the shared ones on the way from the root to the
//! place it touches, and changes in place what nobody else holds.

use std::{mem, sync::Arc};

mod crowd;
mod kids;
mod run;
mod segments;

use crate::{
    bytes,
    key::{Hop, Key},
};
use crowd::PATHS;
pub(crate) use crowd::{By, Crowd, Way};
pub(crate) use kids::Kids;
pub(crate) use run::{MARK, Run};
use segments::{Bounded, Heir};

/// What a node holds at one of its two places.
pub(crate) trait Leaf: Clone + Default {
    /// At least the best rank in it, by which a search skips what cannot win; 0 if it is empty.
    fn bound(&self) -> u64;
    fn is_empty(&self) -> bool;
}

pub(crate) type Root<L> = Option<Arc<Node<L>>>;

/// A node and everything below it.
///
/// Invariant: a node has something at one of its places, or something at its side, or at least two branches; so the
/// same contents always make the same tree.
#[derive(Clone)]
#[repr(C)] // Most nodes of a large table are not in a cache: what a search reads stands in as few lines as can be.
pub(crate) struct Node<L: Leaf> {
    pub(crate) kids: Kids<Self>,
    /// What lies between the parent and this node, the byte the parent chose it by included. It is mostly short where a
    /// search goes on to the children, and read to its end where it goes on to what ends here.
    pub(crate) run: Run,
    /// What ends here.
    pub(crate) exact: L,
    /// The child whose run begins with a whole segment.
    pub(crate) param: Option<Arc<Self>>,
    pub(crate) side: Option<Arc<Side<L>>>,
    /// What goes on with any bytes. Apart, for few nodes have it; never empty.
    pub(crate) tail: Option<Box<L>>,
    /// The best bound here and below.
    pub(crate) bound: u64,
}

/// The rarer ways on from a node.
#[derive(Clone)]
pub(crate) struct Side<L: Leaf> {
    /// By parts of a segment, sorted; what follows the segment.
    pub(crate) templates: Vec<Templated<L>>,
    /// What follows any bytes, then what follows at least one.
    wilds: [Root<L>; 2],
}

/// The rest of a segment, and what follows it.
type Templated<L> = (Box<[u8]>, Arc<Node<L>>);

/// Which of a node's two places is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Exact,
    Tail,
}

/// Changes the contents of one place, which is made if it does not exist. `bound` is that of what the change adds.
pub(crate) fn update<L: Leaf>(
    root: &mut Root<L>,
    key: &Key,
    place: Place,
    bound: u64,
    change: impl FnOnce(&mut L),
) {
    let (mut rest, mut hops) = (key.start(), key.hops());
    let mut at = Arc::make_mut(root.get_or_insert_with(|| Arc::new(Node::leading_to(rest))));
    loop {
        let node = at;
        let run = node.run.bytes();
        let common = bytes::common(run, rest);
        if common < run.len() {
            node.split(common);
        }
        node.bound = node.bound.max(bound);
        rest = rest.get(common..).unwrap_or_default();
        let open = match rest.first() {
            Some(byte) => *byte == MARK,
            None => hops.len() > 0 || place == Place::Tail,
        };
        node.kids.set_open(node.kids.is_open() || open);
        at = if let Some(first) = rest.first() {
            match *first {
                MARK => Arc::make_mut(node.param.get_or_insert_with(|| Arc::new(Node::leading_to(rest)))),
                _ => {
                    let last = hops.len() == 0 && place == Place::Exact;
                    if whole(rest, last).is_some() {
                        node.one_more_segment();
                    }
                    let way = node.way_in(rest, last);
                    node.kids.toward_mut(rest, way, bound, || Node::leading_to(rest))
                }
            }
        } else if let Some((hop, next)) = hops.next() {
            rest = next;
            let side = Arc::make_mut(node.side.get_or_insert_default());
            Arc::make_mut(side.branch_mut(hop, || Node::leading_to(next)))
        } else {
            change(node.place_mut(place));
            return;
        };
    }
}

/// Changes the contents of one place and tidies up behind: places left empty go, and so do nodes without a purpose.
/// Nothing happens if there is nothing at that place.
pub(crate) fn prune<L: Leaf>(root: &mut Root<L>, key: &Key, place: Place, change: impl FnOnce(&mut L)) {
    let found = root.as_deref().and_then(|root| seek(root, key, place));
    if found.and_then(|node| node.place(place)).is_none_or(L::is_empty) {
        return;
    }
    // The nodes above the one in hand, each without the branch that was taken out of it.
    let mut trail: Vec<(Arc<Node<L>>, Branch)> = Vec::new();
    let (mut rest, mut hops) = (key.start(), key.hops());
    let mut at = root.take();
    while let Some(mut held) = at.take() {
        let node = Arc::make_mut(&mut held);
        rest = rest.get(node.run.bytes().len()..).unwrap_or_default();
        let branch = if let Some(first) = rest.first() {
            match *first {
                MARK => Branch::Param,
                byte => match node.way_to(rest, hops.len() == 0 && place == Place::Exact) {
                    Way::Hash(by, hash) if node.kids.is_crowd() => Branch::Hashed(by, hash),
                    _ => Branch::Child(byte),
                },
            }
        } else if let Some((hop, next)) = hops.next() {
            rest = next;
            match hop {
                Hop::Wild { least } => Branch::Wild { least: *least },
                Hop::Template(template) => Branch::Template(template.clone()),
            }
        } else {
            change(node.place_mut(place));
            *root = rejoin(settle(held), trail);
            return;
        };
        at = node.take(&branch);
        trail.push((held, branch));
    }
}

/// The node a key leads to.
pub(crate) fn seek<'n, L: Leaf>(root: &'n Node<L>, key: &Key, place: Place) -> Option<&'n Node<L>> {
    let (mut node, mut rest, mut hops) = (root, key.start(), key.hops());
    loop {
        rest = rest.strip_prefix(node.run.bytes())?;
        node = if let Some(first) = rest.first() {
            match *first {
                MARK => node.param.as_deref()?,
                _ => {
                    let way = node.way_to(rest, hops.len() == 0 && place == Place::Exact);
                    node.kids.toward(rest, way)?
                }
            }
        } else if let Some((hop, next)) = hops.next() {
            rest = next;
            node.side.as_deref()?.branch(hop)?
        } else {
            return Some(node);
        };
    }
}

/// The node at which exactly these bytes end.
pub(crate) fn exact<'n, L: Leaf>(root: &'n Node<L>, bytes: &[u8]) -> Option<&'n Node<L>> {
    let (mut node, mut rest) = (root, bytes);
    loop {
        rest = rest.strip_prefix(node.run.bytes())?;
        if rest.is_empty() {
            return Some(node);
        }
        node = node.kids.toward(rest, node.way_to(rest, true))?;
    }
}

/// Bound: how many bytes of a path are hashed at once.
const LONGEST: usize = 128;

/// The hash of what may stand by all its bytes: several segments, not too long.
#[inline]
pub(crate) fn hash_path(rest: &[u8]) -> Option<u32> {
    (rest.len() <= LONGEST).then(|| bytes::hash_all(rest))
}

/// How many bytes go on to the end of a segment, if it is known by them alone: a slash follows, or the end of the key,
/// where `last` says that nothing else may.
pub(crate) fn whole(rest: &[u8], last: bool) -> Option<usize> {
    let end = rest.iter().position(|byte| matches!(*byte, b'/' | MARK));
    let length = match end {
        Some(end) => (rest.get(end) == Some(&b'/')).then_some(end),
        None => last.then_some(rest.len()),
    };
    length.filter(|length| *length > 0)
}

enum Branch {
    Child(u8),
    /// It is not taken out, but copied: where it stands is found again only by looking.
    Hashed(By, u32),
    Param,
    Template(Box<[u8]>),
    Wild {
        least: bool,
    },
}

/// Puts a changed node back under the ones it was taken from.
fn rejoin<L: Leaf>(changed: Root<L>, trail: Vec<(Arc<Node<L>>, Branch)>) -> Root<L> {
    let mut carried = changed;
    for (mut held, branch) in trail.into_iter().rev() {
        match (carried.take(), branch) {
            (Some(below), branch) => Arc::make_mut(&mut held).put(branch, below),
            (None, Branch::Hashed(by, hash)) => Arc::make_mut(&mut held).kids.remove_hashed(by, hash),
            (None, _) => {}
        }
        carried = settle(held);
    }
    carried
}

/// Restores the invariants of a node whose branches changed; `None` if nothing is left of it.
fn settle<L: Leaf>(mut held: Arc<Node<L>>) -> Root<L> {
    let node = Arc::make_mut(&mut held);
    if node.side.as_ref().is_some_and(|side| side.is_empty()) {
        node.side = None;
    }
    node.tail = node.tail.take().filter(|tail| !tail.is_empty());
    let bare = node.exact.is_empty() && node.tail.is_none() && node.side.is_none();
    let branches = node.kids.len() + usize::from(node.param.is_some());
    if bare && branches == 0 {
        return None;
    }
    if bare && branches == 1 {
        let mut sole = node.param.take();
        node.kids.drain(|child| sole = Some(child));
        let mut below = sole?;
        let child = Arc::make_mut(&mut below);
        child.run = Run::new(&[node.run.bytes(), child.run.bytes()].concat());
        return Some(below);
    }
    node.kids.disband();
    let open = node.param.is_some() || node.side.is_some() || node.tail.is_some();
    node.kids.set_open(open);
    // Nothing came to it, so that there is no need to go on when one is found that is as good as all were before.
    let most = node.bound;
    let own = node
        .exact
        .bound()
        .max(node.tail.as_ref().map_or(0, |tail| tail.bound()));
    let below = node.others().map(|child| child.bound).fold(own, u64::max);
    node.bound = if below == most {
        most
    } else {
        node.kids.bound(below, most)
    };
    Some(held)
}

impl<L: Leaf> Node<L> {
    /// An empty node at the end of this run.
    fn leading_to(run: &[u8]) -> Self {
        Self {
            run: Run::new(run),
            kids: Kids::NONE,
            param: None,
            exact: L::default(),
            tail: None,
            side: None,
            bound: 0,
        }
    }

    /// Whether a path that a child takes may also go on another way: a parameter, the side or the tail.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.kids.is_open()
    }

    /// The way to the child that has a key, of which nothing but this is left; `last` says that it is the end of a
    /// path without wildcards. If there is none, the way by which it would be looked for last.
    #[inline]
    pub(crate) fn way_to(&self, rest: &[u8], last: bool) -> Way {
        if !self.kids.is_crowd() {
            return Way::Byte;
        }
        self.way_in_crowd(rest, last, |path, _| self.has(rest, path))
    }

    /// The way to the child that is to have a key.
    fn way_in(&mut self, rest: &[u8], last: bool) -> Way {
        if !self.kids.is_crowd() {
            return Way::Byte;
        }
        let mut segment = Way::Byte;
        let way = self.way_in_crowd(rest, last, |_, other| {
            segment = other;
            // What came before stands where it stood: moving all of it would take long.
            !self.has(rest, other)
        });
        let Way::Hash(By::Path, _) = way else {
            return way;
        };
        match &mut self.kids {
            Kids::Crowd { crowd, .. } if crowd.came < PATHS => {
                crowd.came += 1;
                segment
            }
            _ => way,
        }
    }

    /// By a segment, or by all bytes up to the end of the path, if there are more segments and it is `so`.
    #[inline(never)]
    fn way_in_crowd(&self, rest: &[u8], last: bool, so: impl FnOnce(Way, Way) -> bool) -> Way {
        let Some(length) = whole(rest, last) else {
            return Way::Byte;
        };
        let hash = bytes::hash(rest.get(..length).unwrap_or_default());
        let segment = Way::Hash(By::Segment, hash);
        if !last || length == rest.len() || rest.contains(&MARK) {
            return segment;
        }
        let path = hash_path(rest).map(|hash| Way::Hash(By::Path, hash));
        path.filter(|path| so(*path, segment)).unwrap_or(segment)
    }

    /// Whether something ends where these bytes do, on this way.
    fn has(&self, rest: &[u8], way: Way) -> bool {
        let found = self.kids.toward(rest, way).and_then(|node| exact(node, rest));
        found.is_some_and(|node| !node.exact.is_empty())
    }

    /// All nodes right below this one.
    pub(crate) fn branches(&self) -> impl Iterator<Item = &Self> {
        self.kids.iter().chain(self.others().map(|node| &**node))
    }

    #[inline]
    fn has_branches(&self) -> bool {
        self.kids.len() > 0 || self.param.is_some() || self.side.is_some()
    }

    /// Those that no literal byte leads to.
    fn others(&self) -> impl Iterator<Item = &Arc<Self>> {
        let side = self.side.as_deref();
        let templates = side
            .into_iter()
            .flat_map(|side| side.templates.iter().map(|(_, node)| node));
        let wilds = side.into_iter().flat_map(|side| side.wilds.iter().flatten());
        self.param.iter().chain(templates).chain(wilds)
    }

    pub(crate) fn place(&self, place: Place) -> Option<&L> {
        match place {
            Place::Exact => Some(&self.exact),
            Place::Tail => self.tail.as_deref(),
        }
    }

    fn place_mut(&mut self, place: Place) -> &mut L {
        match place {
            Place::Exact => &mut self.exact,
            Place::Tail => self.tail.get_or_insert_default(),
        }
    }

    /// Puts a node of the first bytes of the run above the rest.
    fn split(&mut self, at: usize) {
        let run = self.run.clone();
        let (upper, lower) = run.bytes().split_at(at);
        // Where the run goes on to another segment, what goes on behind it is of no matter here.
        let came = if lower.contains(&b'/') {
            1
        } else {
            self.kids.came()
        };
        let below = Self {
            run: Run::new(lower),
            kids: mem::replace(&mut self.kids, Kids::NONE),
            param: self.param.take(),
            exact: mem::take(&mut self.exact),
            tail: self.tail.take(),
            side: self.side.take(),
            bound: self.bound,
        };
        self.run = Run::new(upper);
        self.kids.set_came(came);
        self.kids.set_open(lower.first() == Some(&MARK));
        match lower.first() {
            Some(&MARK) => self.param = Some(Arc::new(below)),
            Some(byte) => self.kids.insert(*byte, Arc::new(below)),
            None => {}
        }
    }

    fn take(&mut self, branch: &Branch) -> Root<L> {
        match branch {
            Branch::Child(byte) => self.kids.remove(*byte),
            Branch::Hashed(by, hash) => self.kids.hashed(*by, *hash),
            Branch::Param => self.param.take(),
            Branch::Wild { least } => Arc::make_mut(self.side.as_mut()?).wilds[usize::from(*least)].take(),
            Branch::Template(template) => {
                let templates = &mut Arc::make_mut(self.side.as_mut()?).templates;
                let index = templates
                    .binary_search_by(|(other, _)| other.cmp(template))
                    .ok()?;
                Some(templates.remove(index).1)
            }
        }
    }

    fn put(&mut self, branch: Branch, below: Arc<Self>) {
        match branch {
            Branch::Child(byte) => self.kids.insert(byte, below),
            Branch::Hashed(by, hash) => self.kids.put_hashed(by, hash, below),
            Branch::Param => self.param = Some(below),
            Branch::Wild { least } => {
                Arc::make_mut(self.side.get_or_insert_default()).wilds[usize::from(least)] = Some(below);
            }
            Branch::Template(template) => {
                let templates = &mut Arc::make_mut(self.side.get_or_insert_default()).templates;
                let index = templates.partition_point(|(other, _)| *other < template);
                templates.insert(index, (template, below));
            }
        }
    }
}

impl<L: Leaf> Bounded for Node<L> {
    fn bound(&self) -> u64 {
        self.bound
    }
}

/// As [`Arc::get_mut`], which writes to the counters before it looks: nearly all that a change leaves behind is shared, and
/// there a look is enough.
fn sole<V>(shared: &mut Arc<V>) -> Option<&mut V> {
    if Arc::strong_count(shared) > 1 {
        return None;
    }
    Arc::get_mut(shared)
}

impl<L: Leaf> Drop for Node<L> {
    /// A chain of nodes can be as long as a pattern; taking it apart here keeps the stack flat.
    fn drop(&mut self) {
        if !self.has_branches() {
            return;
        }
        let mut orphans = Vec::new();
        orphan(self, &mut orphans);
        while let Some(mut node) = orphans.pop() {
            if let Some(node) = sole(&mut node) {
                orphan(node, &mut orphans);
            }
        }
    }
}

/// Takes out the branches of a node that nobody else holds and that have branches of their own.
fn orphan<L: Leaf>(node: &mut Node<L>, orphans: &mut Vec<Arc<Node<L>>>) {
    node.kids.release(orphans);
    let mut take = |child| orphans.shared(child);
    node.param.take().into_iter().for_each(&mut take);
    if let Some(side) = node.side.take().and_then(Arc::into_inner) {
        let nodes = side
            .templates
            .into_iter()
            .map(|(_, child)| child)
            .chain(side.wilds.into_iter().flatten());
        nodes.for_each(take);
    }
}

impl<L: Leaf> Heir<Node<L>> for Vec<Arc<Node<L>>> {
    fn shared(&mut self, node: Arc<Node<L>>) {
        let mut node = node;
        // What is held elsewhere as well is no orphan; what has no branches can be dropped as it is.
        if sole(&mut node).is_some_and(|node| node.has_branches()) {
            self.push(node);
        }
    }

    fn own(&mut self, node: &mut Node<L>) {
        if node.has_branches() {
            self.push(Arc::new(mem::replace(node, Node::leading_to(&[]))));
        }
    }
}

// --- Side ---

impl<L: Leaf> Side<L> {
    fn is_empty(&self) -> bool {
        self.templates.is_empty() && self.wilds.iter().all(Option::is_none)
    }

    /// All ways on.
    pub(crate) fn ways(&self) -> impl Iterator<Item = (Hop, &Node<L>)> {
        let templates = self.templates.iter();
        let templates = templates.map(|(text, node)| (Hop::Template(text.clone()), &**node));
        let wilds = [false, true].into_iter().filter_map(|least| {
            let node = self.wild(least)?;
            Some((Hop::Wild { least }, node))
        });
        templates.chain(wilds)
    }

    /// What follows a wildcard over several segments.
    pub(crate) fn wild(&self, least: bool) -> Option<&Node<L>> {
        self.wilds[usize::from(least)].as_deref()
    }

    pub(crate) fn branch(&self, hop: &Hop) -> Option<&Node<L>> {
        match hop {
            Hop::Wild { least } => self.wild(*least),
            Hop::Template(template) => {
                let index = self
                    .templates
                    .binary_search_by(|(other, _)| other.cmp(template))
                    .ok()?;
                self.templates.get(index).map(|(_, node)| &**node)
            }
        }
    }

    fn branch_mut(&mut self, hop: &Hop, make: impl FnOnce() -> Node<L>) -> &mut Arc<Node<L>> {
        match hop {
            Hop::Wild { least } => self.wilds[usize::from(*least)].get_or_insert_with(|| Arc::new(make())),
            Hop::Template(template) => {
                let index = self
                    .templates
                    .binary_search_by(|(other, _)| other.cmp(template))
                    .unwrap_or_else(|index| {
                        self.templates.insert(index, (template.clone(), Arc::new(make())));
                        index
                    });
                &mut self.templates[index].1
            }
        }
    }
}

impl<L: Leaf> Default for Side<L> {
    fn default() -> Self {
        Self {
            templates: Vec::new(),
            wilds: [None, None],
        }
    }
}

#[cfg(test)]
mod tests;
