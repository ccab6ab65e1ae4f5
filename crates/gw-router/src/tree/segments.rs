//! Subtrees by the hash of the segment they begin with, where there are many of them.

use std::sync::Arc;

use super::{kids::best, sole};

/// Bound: how many branches a table has; a change copies one table per digit of the hash.
const WAYS: usize = 8;
const BITS: u32 = WAYS.ilog2();
/// Bound: how many subtrees stand side by side before a digit more parts them.
const FEW: usize = 4;

/// A persistent map from hashes: a trie over their digits, the lowest first.
///
/// It does not know what was hashed: segments with the same hash are parted byte by byte in one subtree.
pub(crate) struct Segments<N> {
    root: Table<N>,
    count: usize,
}

struct Table<N> {
    cells: [Cell<N>; WAYS],
    /// The best bound of the subtrees.
    bound: u64,
}

/// What knows a bound of what it holds.
pub(crate) trait Bounded {
    fn bound(&self) -> u64;
}

enum Cell<N> {
    Empty,
    One(u32, Arc<N>),
    /// Two at least, the ones there are first.
    Few(Arc<Few<N>>),
    /// More than [`FEW`].
    Table(Arc<Table<N>>),
}

struct Few<N> {
    hashes: [u32; FEW],
    nodes: [Option<Arc<N>>; FEW],
}

impl<N: Bounded> Segments<N> {
    #[inline]
    pub(crate) fn get(&self, hash: u32) -> Option<&N> {
        let (mut table, mut digits) = (&self.root, hash);
        loop {
            match &table.cells[digits as usize % WAYS] {
                Cell::Table(below) => table = below,
                Cell::One(known, node) if *known == hash => return Some(node),
                Cell::Few(few) => return few.get(hash),
                _ => return None,
            }
            digits >>= BITS;
        }
    }

    /// The subtree of a hash, made if there is none; `bound` is that of what it is to hold more.
    pub(crate) fn get_mut(&mut self, hash: u32, bound: u64, make: impl FnOnce() -> N) -> &mut Arc<N> {
        if self.get(hash).is_none() {
            self.insert(hash, Arc::new(make()));
        }
        let (mut table, mut digits) = (&mut self.root, hash);
        loop {
            table.bound = table.bound.max(bound);
            match &mut table.cells[digits as usize % WAYS] {
                Cell::Table(below) => table = Arc::make_mut(below),
                Cell::One(_, node) => return node,
                Cell::Few(few) => return Arc::make_mut(few).place(hash),
                Cell::Empty => unreachable!("it was there or has just been inserted"),
            }
            digits >>= BITS;
        }
    }

    /// Puts a subtree where none is.
    pub(crate) fn insert(&mut self, hash: u32, node: Arc<N>) {
        self.count += 1;
        self.root.insert(hash, 0, node);
    }

    pub(crate) fn shared(&self, hash: u32) -> Option<Arc<N>> {
        let (mut table, mut digits) = (&self.root, hash);
        loop {
            match &table.cells[digits as usize % WAYS] {
                Cell::Table(below) => table = below,
                Cell::One(known, node) if *known == hash => return Some(Arc::clone(node)),
                Cell::Few(few) => return few.nodes[few.position(hash)?].clone(),
                _ => return None,
            }
            digits >>= BITS;
        }
    }

    /// Puts a subtree in the place of one, of which it has no better bound.
    pub(crate) fn put(&mut self, hash: u32, node: Arc<N>) {
        self.root.put(hash, hash, node);
    }

    pub(crate) fn remove(&mut self, hash: u32) -> Option<Arc<N>> {
        self.get(hash)?;
        self.count -= 1;
        self.root.remove(hash, hash)
    }

    pub(crate) fn bound(&self) -> u64 {
        self.root.bound
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// In no order, but always in the same.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<N>> {
        let mut open = vec![self.root.cells.iter()];
        std::iter::from_fn(move || {
            loop {
                match open.last_mut()?.next() {
                    None => {
                        open.pop();
                    }
                    Some(Cell::Empty) => {}
                    Some(Cell::One(_, node)) => return Some((Some(node), None)),
                    Some(Cell::Few(few)) => return Some((None, Some(few))),
                    Some(Cell::Table(table)) => open.push(table.cells.iter()),
                }
            }
        })
        .flat_map(|(one, few)| {
            one.into_iter()
                .chain(few.into_iter().flat_map(|few| few.nodes.iter().flatten()))
        })
    }

    /// Hands over every subtree.
    pub(crate) fn drain(self, mut take: impl FnMut(Arc<N>)) {
        let mut open = vec![self.root];
        while let Some(table) = open.pop() {
            for cell in table.cells {
                match cell {
                    Cell::Empty => {}
                    Cell::One(_, node) => take(node),
                    Cell::Few(few) => Arc::unwrap_or_clone(few)
                        .nodes
                        .into_iter()
                        .flatten()
                        .for_each(&mut take),
                    Cell::Table(below) => open.push(Arc::unwrap_or_clone(below)),
                }
            }
        }
    }

    /// Hands over every subtree that nothing else holds by more than this, and lets go of the others.
    pub(crate) fn release(mut self, take: &mut impl FnMut(Arc<N>)) {
        self.root.release(take);
    }
}

impl<N: Bounded> Table<N> {
    const EMPTY: Self = Self {
        cells: [const { Cell::Empty }; WAYS],
        bound: 0,
    };

    fn insert(&mut self, hash: u32, depth: u32, node: Arc<N>) {
        let (mut table, mut depth) = (self, depth);
        loop {
            table.bound = table.bound.max(node.bound());
            let cell = &mut table.cells[digit(hash, depth)];
            depth += 1;
            match cell {
                Cell::Empty => {
                    *cell = Cell::One(hash, node);
                    return;
                }
                Cell::One(..) => {
                    let Cell::One(known, other) = std::mem::replace(cell, Cell::Empty) else {
                        return;
                    };
                    *cell = Cell::Few(Arc::new(Few {
                        hashes: [known, hash, 0, 0],
                        nodes: [Some(other), Some(node), None, None],
                    }));
                    return;
                }
                Cell::Few(few) if few.nodes.last().is_some_and(Option::is_none) => {
                    Arc::make_mut(few).push(hash, node);
                    return;
                }
                Cell::Few(few) => {
                    let few = Arc::unwrap_or_clone(std::mem::replace(few, Arc::new(Few::EMPTY)));
                    let mut below = Self::EMPTY;
                    for (hash, node) in few.hashes.into_iter().zip(few.nodes) {
                        node.into_iter().for_each(|node| below.insert(hash, depth, node));
                    }
                    *cell = Cell::Table(Arc::new(below));
                    let Cell::Table(below) = cell else { return };
                    table = Arc::make_mut(below);
                }
                Cell::Table(below) => table = Arc::make_mut(below),
            }
        }
    }

    /// Bound: as many levels as a hash has digits.
    fn release(&mut self, take: &mut impl FnMut(Arc<N>)) {
        for cell in &mut self.cells {
            match std::mem::replace(cell, Cell::Empty) {
                Cell::Empty => {}
                Cell::One(_, node) => take(node),
                Cell::Few(mut few) => {
                    if let Some(few) = sole(&mut few) {
                        few.nodes.iter_mut().filter_map(Option::take).for_each(&mut *take);
                    }
                }
                Cell::Table(mut below) => {
                    if let Some(below) = sole(&mut below) {
                        below.release(take);
                    }
                }
            }
        }
    }

    /// Removes what is there. Bound: as many levels as a hash has digits.
    fn remove(&mut self, hash: u32, digits: u32) -> Option<Arc<N>> {
        let removed = self.remove_below(hash, digits);
        if removed.as_ref().is_some_and(|node| node.bound() == self.bound) {
            self.bound = best(0, self.bound, self.cells.iter().map(Cell::bound));
        }
        removed
    }

    /// Bound: as many levels as a hash has digits.
    fn put(&mut self, hash: u32, digits: u32, node: Arc<N>) {
        let before = match &mut self.cells[digits as usize % WAYS] {
            Cell::Empty => return,
            Cell::One(_, place) => std::mem::replace(place, node).bound(),
            Cell::Few(few) => std::mem::replace(Arc::make_mut(few).place(hash), node).bound(),
            Cell::Table(below) => {
                let before = below.bound;
                Arc::make_mut(below).put(hash, digits >> BITS, node);
                before
            }
        };
        if before == self.bound {
            self.bound = best(0, self.bound, self.cells.iter().map(Cell::bound));
        }
    }

    fn remove_below(&mut self, hash: u32, digits: u32) -> Option<Arc<N>> {
        let cell = &mut self.cells[digits as usize % WAYS];
        match cell {
            Cell::Empty => None,
            Cell::One(..) => match std::mem::replace(cell, Cell::Empty) {
                Cell::One(_, node) => Some(node),
                _ => None,
            },
            Cell::Few(few) => {
                let few = Arc::make_mut(few);
                let node = few.remove(hash)?;
                if let [Some(_), None, ..] = &few.nodes {
                    let sole = few.nodes[0].take()?;
                    *cell = Cell::One(few.hashes[0], sole);
                }
                Some(node)
            }
            Cell::Table(below) => {
                let table = Arc::make_mut(below);
                let node = table.remove(hash, digits >> BITS)?;
                if let Some(few) = table.few() {
                    *cell = Cell::Few(Arc::new(few));
                }
                Some(node)
            }
        }
    }

    /// What is left in a table, taken out of it, if that is no more than stands side by side.
    fn few(&mut self) -> Option<Few<N>> {
        let count = |cell: &Cell<N>| match cell {
            Cell::Empty => 0,
            Cell::One(..) => 1,
            Cell::Few(few) => few.nodes.iter().flatten().count(),
            Cell::Table(_) => FEW + 1,
        };
        if self.cells.iter().map(count).sum::<usize>() > FEW {
            return None;
        }
        let mut few = Few::EMPTY;
        for cell in &mut self.cells {
            match std::mem::replace(cell, Cell::Empty) {
                Cell::One(hash, node) => few.push(hash, node),
                Cell::Few(other) => {
                    let other = Arc::unwrap_or_clone(other);
                    let pairs = other.hashes.into_iter().zip(other.nodes);
                    pairs.for_each(|(hash, node)| node.into_iter().for_each(|node| few.push(hash, node)));
                }
                _ => {}
            }
        }
        Some(few)
    }
}

impl<N: Bounded> Cell<N> {
    fn bound(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::One(_, node) => node.bound(),
            Self::Few(few) => few
                .nodes
                .iter()
                .flatten()
                .map(|node| node.bound())
                .fold(0, u64::max),
            Self::Table(table) => table.bound,
        }
    }
}

impl<N> Few<N> {
    const EMPTY: Self = Self {
        hashes: [0; FEW],
        nodes: [const { None }; FEW],
    };

    #[inline]
    fn get(&self, hash: u32) -> Option<&N> {
        self.nodes[self.position(hash)?].as_deref()
    }

    /// Note: a free place may have any hash; it stands behind the others and is found as none.
    #[inline]
    fn position(&self, hash: u32) -> Option<usize> {
        self.hashes.iter().position(|known| *known == hash)
    }

    fn place(&mut self, hash: u32) -> &mut Arc<N> {
        let place = self.position(hash).and_then(|index| self.nodes[index].as_mut());
        place.expect("it was there or has just been inserted")
    }

    /// Adds one where there is room.
    fn push(&mut self, hash: u32, node: Arc<N>) {
        if let Some(free) = self.nodes.iter().position(Option::is_none) {
            self.hashes[free] = hash;
            self.nodes[free] = Some(node);
        }
    }

    fn remove(&mut self, hash: u32) -> Option<Arc<N>> {
        let index = self.position(hash)?;
        let node = self.nodes[index].take();
        self.hashes[index..].rotate_left(1);
        self.nodes[index..].rotate_left(1);
        if let Some(last) = self.hashes.last_mut() {
            *last = 0;
        }
        node
    }
}

fn digit(hash: u32, depth: u32) -> usize {
    (hash >> (depth * BITS)) as usize % WAYS
}

impl<N: Bounded> Default for Segments<N> {
    fn default() -> Self {
        Self {
            root: Table::EMPTY,
            count: 0,
        }
    }
}

impl<N> Clone for Segments<N> {
    fn clone(&self) -> Self {
        Self {
            root: self.root.clone(),
            count: self.count,
        }
    }
}

impl<N> Clone for Table<N> {
    fn clone(&self) -> Self {
        Self {
            cells: self.cells.clone(),
            bound: self.bound,
        }
    }
}

impl<N> Clone for Cell<N> {
    fn clone(&self) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::One(hash, node) => Self::One(*hash, Arc::clone(node)),
            Self::Few(few) => Self::Few(Arc::clone(few)),
            Self::Table(table) => Self::Table(Arc::clone(table)),
        }
    }
}

impl<N> Clone for Few<N> {
    fn clone(&self) -> Self {
        Self {
            hashes: self.hashes,
            nodes: self.nodes.clone(),
        }
    }
}
