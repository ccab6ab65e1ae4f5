//! Subtrees by the hash of the segment they begin with, where there are many of them.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{kids::best, sole};

/// Bound: how many branches a table has; a change copies one table per digit of the hash.
const WAYS: usize = 8;
const BITS: u32 = WAYS.ilog2();
/// Bound: how many subtrees stand side by side before a digit more parts them.
const FEW: usize = 4;

/// A persistent map from hashes: a trie over their digits, the lowest first.
///
/// It does not know what was hashed: segments with the same hash are parted byte by byte in one subtree.
#[derive(Clone)]
pub(crate) struct Segments<N> {
    root: Table<N>,
    count: usize,
}

#[derive(Clone)]
struct Table<N> {
    cells: [Cell<N>; WAYS],
    /// The best bound of the subtrees.
    bound: u64,
}

/// What knows a bound of what it holds.
pub(crate) trait Bounded: Clone {
    fn bound(&self) -> u64;
}

/// Who is given what is left of a tree that nobody holds any more.
pub(crate) trait Heir<N> {
    /// A subtree that others may hold as well.
    fn shared(&mut self, node: Arc<N>);
    /// The top of a subtree that will be dropped where it stands.
    fn own(&mut self, node: &mut N);
}

/// Subtrees that are no more than [`FEW`] stand with their hashes in one piece, so that the last step of a search leads to
/// no other place in memory.
enum Cell<N> {
    Empty,
    One(u32, Arc<N>),
    Two(Arc<Few<N, 2>>),
    Three(Arc<Few<N, 3>>),
    Four(Arc<Few<N, FEW>>),
    /// More than [`FEW`].
    Table(Arc<Table<N>>),
}

#[derive(Clone)]
#[repr(C)] // What is looked at first stands first, and at the same place whatever the number.
struct Few<N, const C: usize> {
    /// Note: those behind the last have no meaning.
    hashes: [u32; FEW],
    nodes: [N; C],
}

/// What stands in a cell, taken out of it.
type Items<N> = SmallVec<[(u32, N); FEW + 1]>;

impl<N: Bounded> Segments<N> {
    #[inline]
    pub(crate) fn get(&self, hash: u32) -> Option<&N> {
        let (mut table, mut digits) = (&self.root, hash);
        loop {
            let cell = &table.cells[digits as usize % WAYS];
            let Cell::Table(below) = cell else {
                return cell.get(hash);
            };
            table = below;
            digits >>= BITS;
        }
    }

    /// The subtree of a hash, made if there is none; `bound` is that of what it is to hold more.
    pub(crate) fn get_mut(&mut self, hash: u32, bound: u64, make: impl FnOnce() -> N) -> &mut N {
        if self.get(hash).is_none() {
            self.insert(hash, make());
        }
        let (mut table, mut digits) = (&mut self.root, hash);
        loop {
            table.bound = table.bound.max(bound);
            match &mut table.cells[digits as usize % WAYS] {
                Cell::Table(below) => table = Arc::make_mut(below),
                cell => return cell.place(hash).expect("it was there or has just been inserted"),
            }
            digits >>= BITS;
        }
    }

    /// Puts a subtree where none is.
    pub(crate) fn insert(&mut self, hash: u32, node: N) {
        self.count += 1;
        self.root.insert(hash, 0, node);
    }

    /// A copy of the subtree's top.
    pub(crate) fn copy(&self, hash: u32) -> Option<Arc<N>> {
        self.get(hash).cloned().map(Arc::new)
    }

    /// Puts a subtree in the place of one, of which it has no better bound.
    pub(crate) fn put(&mut self, hash: u32, node: Arc<N>) {
        self.root.put(hash, hash, node);
    }

    pub(crate) fn remove(&mut self, hash: u32) {
        if self.get(hash).is_some() {
            self.count -= 1;
            self.root.remove(hash, hash);
        }
    }

    pub(crate) fn bound(&self) -> u64 {
        self.root.bound
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// In no order, but always in the same.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &N> {
        let mut open = vec![self.root.cells.iter()];
        std::iter::from_fn(move || {
            loop {
                match open.last_mut()?.next() {
                    None => {
                        open.pop();
                    }
                    Some(Cell::Table(table)) => open.push(table.cells.iter()),
                    Some(cell) => return Some(cell.nodes()),
                }
            }
        })
        .flatten()
    }

    /// Hands over every subtree.
    pub(crate) fn drain(self, mut take: impl FnMut(N)) {
        let mut open = vec![self.root];
        while let Some(table) = open.pop() {
            for cell in table.cells {
                match cell {
                    Cell::Table(below) => open.push(Arc::unwrap_or_clone(below)),
                    cell => cell.into_items().into_iter().for_each(|(_, node)| take(node)),
                }
            }
        }
    }

    /// Hands over every subtree that nothing else holds by more than this, and lets go of the others.
    pub(crate) fn release(mut self, heir: &mut impl Heir<N>) {
        self.root.release(heir);
    }
}

impl<N: Bounded> Table<N> {
    const EMPTY: Self = Self {
        cells: [const { Cell::Empty }; WAYS],
        bound: 0,
    };

    fn insert(&mut self, hash: u32, depth: u32, node: N) {
        let (mut table, mut depth) = (self, depth);
        loop {
            table.bound = table.bound.max(node.bound());
            let cell = &mut table.cells[digit(hash, depth)];
            depth += 1;
            if !matches!(cell, Cell::Table(_)) {
                let mut items = std::mem::replace(cell, Cell::Empty).into_items();
                if items.len() < FEW {
                    items.push((hash, node));
                    *cell = Cell::of(items);
                    return;
                }
                let mut below = Self::EMPTY;
                for (hash, node) in items {
                    below.insert(hash, depth, node);
                }
                *cell = Cell::Table(Arc::new(below));
            }
            let Cell::Table(below) = cell else { return };
            table = Arc::make_mut(below);
        }
    }

    /// Bound: as many levels as a hash has digits.
    fn release(&mut self, heir: &mut impl Heir<N>) {
        for cell in &mut self.cells {
            match std::mem::replace(cell, Cell::Empty) {
                Cell::Empty => {}
                Cell::One(_, node) => heir.shared(node),
                Cell::Two(mut few) => release(&mut few, heir),
                Cell::Three(mut few) => release(&mut few, heir),
                Cell::Four(mut few) => release(&mut few, heir),
                Cell::Table(mut below) => {
                    if let Some(below) = sole(&mut below) {
                        below.release(heir);
                    }
                }
            }
        }
    }

    /// Removes what is there, and returns its bound. Bound: as many levels as a hash has digits.
    fn remove(&mut self, hash: u32, digits: u32) -> Option<u64> {
        let removed = self.remove_below(hash, digits)?;
        if removed == self.bound {
            self.bound = best(0, self.bound, self.cells.iter().map(Cell::bound));
        }
        Some(removed)
    }

    /// Bound: as many levels as a hash has digits.
    fn put(&mut self, hash: u32, digits: u32, node: Arc<N>) {
        let before = match &mut self.cells[digits as usize % WAYS] {
            Cell::One(_, place) => std::mem::replace(place, node).bound(),
            Cell::Table(below) => {
                let before = below.bound;
                Arc::make_mut(below).put(hash, digits >> BITS, node);
                before
            }
            cell => {
                let Some(place) = cell.place(hash) else { return };
                std::mem::replace(place, Arc::unwrap_or_clone(node)).bound()
            }
        };
        if before == self.bound {
            self.bound = best(0, self.bound, self.cells.iter().map(Cell::bound));
        }
    }

    fn remove_below(&mut self, hash: u32, digits: u32) -> Option<u64> {
        let cell = &mut self.cells[digits as usize % WAYS];
        if let Cell::Table(below) = cell {
            let table = Arc::make_mut(below);
            let removed = table.remove(hash, digits >> BITS)?;
            if let Some(few) = table.few() {
                *cell = Cell::of(few);
            }
            return Some(removed);
        }
        let mut items = std::mem::replace(cell, Cell::Empty).into_items();
        let index = items.iter().position(|(known, _)| *known == hash);
        let removed = index.map(|index| items.remove(index).1.bound());
        *cell = Cell::of(items);
        removed
    }

    /// What is left in a table, taken out of it, if that is no more than stands side by side.
    fn few(&mut self) -> Option<Items<N>> {
        if self.cells.iter().map(Cell::count).sum::<usize>() > FEW {
            return None;
        }
        let mut few = Items::new();
        for cell in &mut self.cells {
            few.extend(std::mem::replace(cell, Cell::Empty).into_items());
        }
        Some(few)
    }
}

impl<N: Bounded> Cell<N> {
    /// A cell for no more than [`FEW`].
    fn of(items: Items<N>) -> Self {
        let count = items.len();
        let mut items = items.into_iter();
        match count {
            2 => Self::Two(Arc::new(Few::of(items))),
            3 => Self::Three(Arc::new(Few::of(items))),
            4 => Self::Four(Arc::new(Few::of(items))),
            _ => items
                .next()
                .map_or(Self::Empty, |(hash, node)| Self::One(hash, Arc::new(node))),
        }
    }

    /// What stands in it, if it is no table.
    fn into_items(self) -> Items<N> {
        match self {
            Self::Empty | Self::Table(_) => Items::new(),
            Self::One(hash, node) => [(hash, Arc::unwrap_or_clone(node))].into_iter().collect(),
            Self::Two(few) => Arc::unwrap_or_clone(few).into_items().collect(),
            Self::Three(few) => Arc::unwrap_or_clone(few).into_items().collect(),
            Self::Four(few) => Arc::unwrap_or_clone(few).into_items().collect(),
        }
    }

    /// How many stand in it; of a table more than have room.
    #[inline(always)]
    fn count(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One(..) => 1,
            Self::Two(_) => 2,
            Self::Three(_) => 3,
            Self::Four(_) => FEW,
            Self::Table(_) => FEW + 1,
        }
    }

    /// What stands in it, if it is no table.
    fn nodes(&self) -> &[N] {
        match self {
            Self::Empty | Self::Table(_) => &[],
            Self::One(_, node) => std::slice::from_ref(node),
            Self::Two(few) => &few.nodes,
            Self::Three(few) => &few.nodes,
            Self::Four(few) => &few.nodes,
        }
    }

    /// The subtree of a hash, if it stands in it.
    #[inline(always)]
    fn get(&self, hash: u32) -> Option<&N> {
        // In halves, for a jump through a table takes longer than two branches.
        let (hashes, nodes): (_, &[N]) = if self.count() > 2 {
            match self {
                Self::Three(few) => (&few.hashes, &few.nodes),
                Self::Four(few) => (&few.hashes, &few.nodes),
                _ => return None,
            }
        } else {
            match self {
                Self::One(known, node) => return (*known == hash).then_some(&**node),
                Self::Two(few) => (&few.hashes, &few.nodes),
                _ => return None,
            }
        };
        nodes.get(hashes.iter().position(|known| *known == hash)?)
    }

    /// The subtree of a hash, if it stands in it.
    fn place(&mut self, hash: u32) -> Option<&mut N> {
        match self {
            Self::Empty | Self::Table(_) => None,
            Self::One(known, node) => (*known == hash).then(|| Arc::make_mut(node)),
            Self::Two(few) => Arc::make_mut(few).place(hash),
            Self::Three(few) => Arc::make_mut(few).place(hash),
            Self::Four(few) => Arc::make_mut(few).place(hash),
        }
    }

    fn bound(&self) -> u64 {
        match self {
            Self::Table(table) => table.bound,
            cell => cell.nodes().iter().map(N::bound).fold(0, u64::max),
        }
    }
}

impl<N, const C: usize> Few<N, C> {
    /// The first of these, of which there are as many as have room.
    fn of(items: impl Iterator<Item = (u32, N)>) -> Self {
        let mut items = items;
        let mut hashes = [0; FEW];
        let nodes = std::array::from_fn(|index| {
            let (hash, node) = items.next().expect("they were counted");
            hashes[index] = hash;
            node
        });
        Self { hashes, nodes }
    }

    fn place(&mut self, hash: u32) -> Option<&mut N> {
        let index = self.hashes.iter().position(|known| *known == hash)?;
        self.nodes.get_mut(index)
    }

    fn into_items(self) -> impl Iterator<Item = (u32, N)> {
        self.hashes.into_iter().zip(self.nodes)
    }
}

/// Hands over the subtrees in it that nothing else holds.
fn release<N, const C: usize>(few: &mut Arc<Few<N, C>>, heir: &mut impl Heir<N>) {
    if let Some(few) = sole(few) {
        few.nodes.iter_mut().for_each(|node| heir.own(node));
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

impl<N> Clone for Cell<N> {
    fn clone(&self) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::One(hash, node) => Self::One(*hash, Arc::clone(node)),
            Self::Two(few) => Self::Two(Arc::clone(few)),
            Self::Three(few) => Self::Three(Arc::clone(few)),
            Self::Four(few) => Self::Four(Arc::clone(few)),
            Self::Table(table) => Self::Table(Arc::clone(table)),
        }
    }
}
