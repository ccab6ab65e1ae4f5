//! The children of a node by first byte, in a form that fits their number.

use std::sync::Arc;

use super::run::MARK;

/// Bound: how many children stand in place.
const FIVE: usize = 5;
/// Bound: how many stand in one piece, with their first bytes in place.
const FOURTEEN: usize = 14;

/// Children by the first byte of their runs.
///
/// Of a large table nothing is in a cache: what is looked at first stands first, and what tells which child to go to
/// stands in the node, so that a search waits for one place in memory on its way to the child.
///
/// Invariant: the form follows from the number, so that the same children always make the same value.
#[repr(u8)]
pub(crate) enum Kids<N> {
    Five {
        /// Note: the node's own; it stands here because here is room for it.
        open: bool,
        /// Sorted, as the children are; free places have [`MARK`].
        firsts: [u8; FIVE],
        nodes: [Option<Arc<N>>; FIVE],
    },
    Fourteen {
        open: bool,
        firsts: [u8; FOURTEEN],
        nodes: Box<[Option<Arc<N>>; FOURTEEN]>,
    },
    Wide {
        open: bool,
        wide: Box<Wide<N>>,
    },
}

/// By the high half of the byte, then by the low one; a change copies two pieces.
pub(crate) struct Wide<N> {
    count: usize,
    groups: [Option<Arc<Group<N>>>; 16],
}

struct Group<N>([Option<Arc<N>>; 16]);

type Places<'k, N> = &'k [Option<Arc<N>>];

impl<N> Kids<N> {
    pub(crate) const NONE: Self = Self::Five {
        open: false,
        firsts: [MARK; FIVE],
        nodes: [const { None }; FIVE],
    };

    #[inline(always)]
    pub(crate) fn child(&self, byte: u8) -> Option<&N> {
        match self {
            Self::Five { firsts, nodes, .. } => nodes[position(firsts, byte)?].as_deref(),
            Self::Fourteen { firsts, nodes, .. } => nodes[position(firsts, byte)?].as_deref(),
            Self::Wide { wide, .. } => wide.child(byte),
        }
    }

    /// What the node keeps here: whether it has ways on besides its children.
    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Five { open, .. } | Self::Fourteen { open, .. } | Self::Wide { open, .. } => *open,
        }
    }

    pub(crate) fn set_open(&mut self, to: bool) {
        match self {
            Self::Five { open, .. } | Self::Fourteen { open, .. } | Self::Wide { open, .. } => *open = to,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Five { nodes, .. } => len(nodes),
            Self::Fourteen { nodes, .. } => len(&**nodes),
            Self::Wide { wide, .. } => wide.count,
        }
    }

    /// In the order of their first bytes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<N>> {
        let (few, groups): (Places<'_, N>, Places<'_, Group<N>>) = match self {
            Self::Five { nodes, .. } => (nodes, &[]),
            Self::Fourteen { nodes, .. } => (&**nodes, &[]),
            Self::Wide { wide, .. } => (&[], &wide.groups),
        };
        let many = groups.iter().flatten().flat_map(|group| group.0.iter());
        few.iter().chain(many).flatten()
    }

    /// The child for this byte, made if there is none.
    pub(crate) fn child_mut(&mut self, byte: u8, make: impl FnOnce() -> N) -> &mut Arc<N> {
        if self.child(byte).is_none() {
            self.insert(byte, Arc::new(make()));
        }
        let place = match self {
            Self::Five { firsts, nodes, .. } => {
                position(firsts, byte).and_then(|index| nodes[index].as_mut())
            }
            Self::Fourteen { firsts, nodes, .. } => {
                position(firsts, byte).and_then(|index| nodes[index].as_mut())
            }
            Self::Wide { wide, .. } => wide.place(byte),
        };
        place.expect("it was there or has just been inserted")
    }

    /// Puts a child where none is.
    pub(crate) fn insert(&mut self, byte: u8, node: Arc<N>) {
        self.fit(self.len() + 1);
        self.put(byte, node);
    }

    fn put(&mut self, byte: u8, node: Arc<N>) {
        match self {
            Self::Five { firsts, nodes, .. } => insert(firsts, nodes, byte, node),
            Self::Fourteen { firsts, nodes, .. } => insert(firsts, &mut **nodes, byte, node),
            Self::Wide { wide, .. } => wide.insert(byte, node),
        }
    }

    pub(crate) fn remove(&mut self, byte: u8) -> Option<Arc<N>> {
        let node = match self {
            Self::Five { firsts, nodes, .. } => remove(firsts, nodes, byte),
            Self::Fourteen { firsts, nodes, .. } => remove(firsts, nodes, byte),
            Self::Wide { wide, .. } => wide.remove(byte),
        }?;
        self.fit(self.len());
        Some(node)
    }

    /// Hands over every child.
    pub(crate) fn drain(&mut self, mut take: impl FnMut(Arc<N>)) {
        match self.empty() {
            Self::Five { nodes, .. } => nodes.into_iter().flatten().for_each(take),
            Self::Fourteen { nodes, .. } => nodes.into_iter().flatten().for_each(take),
            Self::Wide { wide, .. } => {
                for group in wide.groups.into_iter().flatten() {
                    let group = Arc::unwrap_or_clone(group);
                    group.0.into_iter().flatten().for_each(&mut take);
                }
            }
        }
    }

    /// Hands over every child of which nothing else knows, and lets go of the others.
    pub(crate) fn release(&mut self, mut take: impl FnMut(N)) {
        let mut each = |node: Option<Arc<N>>| {
            if let Some(node) = node.and_then(Arc::into_inner) {
                take(node);
            }
        };
        match self.empty() {
            Self::Five { nodes, .. } => nodes.into_iter().for_each(each),
            Self::Fourteen { nodes, .. } => nodes.into_iter().for_each(each),
            Self::Wide { wide, .. } => {
                let groups = wide.groups.into_iter().flatten();
                for group in groups.filter_map(Arc::into_inner) {
                    group.0.into_iter().for_each(&mut each);
                }
            }
        }
    }

    /// Takes all children out, and leaves the form for none.
    fn empty(&mut self) -> Self {
        let open = self.is_open();
        let taken = std::mem::replace(self, Self::NONE);
        self.set_open(open);
        taken
    }

    /// Takes the form for so many children.
    fn fit(&mut self, count: usize) {
        match (&*self, count) {
            (Self::Five { .. }, 0..=FIVE)
            | (Self::Fourteen { .. }, 6..=FOURTEEN)
            | (Self::Wide { .. }, 15..) => return,
            _ => {}
        }
        let mut bytes = Vec::with_capacity(count);
        self.each_byte(|byte| bytes.push(byte));
        let mut nodes = Vec::with_capacity(count);
        self.drain(|node| nodes.push(node));
        let open = self.is_open();
        *self = match count {
            0..=FIVE => Self::NONE,
            6..=FOURTEEN => Self::Fourteen {
                open,
                firsts: [MARK; FOURTEEN],
                nodes: Box::new([const { None }; FOURTEEN]),
            },
            _ => Self::Wide {
                open,
                wide: Box::default(),
            },
        };
        self.set_open(open);
        bytes
            .into_iter()
            .zip(nodes)
            .for_each(|(byte, node)| self.put(byte, node));
    }

    fn each_byte(&self, mut visit: impl FnMut(u8)) {
        match self {
            Self::Five { firsts, nodes, .. } => {
                firsts.iter().take(len(nodes)).copied().for_each(visit);
            }
            Self::Fourteen { firsts, nodes, .. } => {
                firsts.iter().take(len(&**nodes)).copied().for_each(visit);
            }
            Self::Wide { wide, .. } => {
                for byte in 0..MARK {
                    if wide.child(byte).is_some() {
                        visit(byte);
                    }
                }
            }
        }
    }
}

impl<N> Clone for Kids<N> {
    fn clone(&self) -> Self {
        match self {
            Self::Five { open, firsts, nodes } => Self::Five {
                open: *open,
                firsts: *firsts,
                nodes: nodes.clone(),
            },
            Self::Fourteen { open, firsts, nodes } => Self::Fourteen {
                open: *open,
                firsts: *firsts,
                nodes: nodes.clone(),
            },
            Self::Wide { open, wide } => Self::Wide {
                open: *open,
                wide: wide.clone(),
            },
        }
    }
}

fn len<N>(nodes: &[Option<Arc<N>>]) -> usize {
    nodes.iter().take_while(|node| node.is_some()).count()
}

/// Puts a child in its place among others, where there is room.
fn insert<N>(firsts: &mut [u8], nodes: &mut [Option<Arc<N>>], byte: u8, node: Arc<N>) {
    let index = firsts.partition_point(|first| *first < byte);
    firsts[index..].rotate_right(1);
    nodes[index..].rotate_right(1);
    firsts[index] = byte;
    nodes[index] = Some(node);
}

fn remove<N, const C: usize>(
    firsts: &mut [u8; C],
    nodes: &mut [Option<Arc<N>>; C],
    byte: u8,
) -> Option<Arc<N>> {
    let index = position(firsts, byte)?;
    let node = nodes[index].take();
    firsts[index] = MARK;
    firsts[index..].rotate_left(1);
    nodes[index..].rotate_left(1);
    node
}

/// Where the byte is among these. A loop whose branches are predicted is not waited for, as arithmetic would be.
#[inline(always)]
fn position<const C: usize>(bytes: &[u8; C], byte: u8) -> Option<usize> {
    bytes.iter().position(|other| *other == byte)
}

// --- Wide ---

impl<N> Wide<N> {
    #[inline]
    fn child(&self, byte: u8) -> Option<&N> {
        let group = self.groups[usize::from(byte >> 4)].as_deref()?;
        group.0[usize::from(byte & 15)].as_deref()
    }

    fn place(&mut self, byte: u8) -> Option<&mut Arc<N>> {
        let group = Arc::make_mut(self.groups[usize::from(byte >> 4)].as_mut()?);
        group.0[usize::from(byte & 15)].as_mut()
    }

    fn insert(&mut self, byte: u8, node: Arc<N>) {
        let group = Arc::make_mut(self.groups[usize::from(byte >> 4)].get_or_insert_default());
        group.0[usize::from(byte & 15)] = Some(node);
        self.count += 1;
    }

    fn remove(&mut self, byte: u8) -> Option<Arc<N>> {
        let place = &mut self.groups[usize::from(byte >> 4)];
        let group = Arc::make_mut(place.as_mut()?);
        let node = group.0[usize::from(byte & 15)].take()?;
        if group.0.iter().all(Option::is_none) {
            *place = None;
        }
        self.count -= 1;
        Some(node)
    }
}

impl<N> Default for Wide<N> {
    fn default() -> Self {
        Self {
            count: 0,
            groups: [const { None }; 16],
        }
    }
}

impl<N> Clone for Wide<N> {
    fn clone(&self) -> Self {
        Self {
            count: self.count,
            groups: self.groups.clone(),
        }
    }
}

impl<N> Default for Group<N> {
    fn default() -> Self {
        Self([const { None }; 16])
    }
}

impl<N> Clone for Group<N> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::Kids;

    #[test]
    fn every_form_holds_what_was_put_in() {
        let mut seed = 1_u64;
        let mut next = || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize
        };
        let (mut kids, mut model) = (Kids::NONE, BTreeMap::new());
        for round in 0..20_000 {
            let byte = (next() % 40 * 6) as u8;
            // Grows and shrinks in turn, through all forms.
            if next() % 10 < if round / 500 % 2 == 0 { 7 } else { 3 } {
                let number = next();
                *kids.child_mut(byte, || 0) = Arc::new(number);
                model.insert(byte, number);
            } else {
                let (got, expected) = (kids.remove(byte), model.remove(&byte));
                assert_eq!(got.as_deref(), expected.as_ref());
            }
            assert_eq!(kids.len(), model.len());
            let form = match kids {
                Kids::Five { .. } => 0..=5,
                Kids::Fourteen { .. } => 6..=14,
                Kids::Wide { .. } => 15..=256,
            };
            assert!(form.contains(&model.len()), "{} in {form:?}", model.len());
            assert!(kids.iter().map(|node| **node).eq(model.values().copied()));
            let byte = (next() % 255) as u8;
            assert_eq!(kids.child(byte), model.get(&byte));
        }
    }
}
