//! The children of a node by first byte, in a form that fits their number.

use std::sync::Arc;

use super::run::MARK;

/// Children by the first byte of their runs: up to four in place, more behind a pointer.
///
/// Invariant: the form follows from the number, so that the same children always make the same value.
#[repr(C)] // What is looked at first stands first.
pub(crate) struct Kids<N> {
    more: Option<Box<More<N>>>,
    firsts: [u8; FOUR],
    /// Note: the node's own; it stands here because here is room for it.
    open: bool,
    nodes: [Option<Arc<N>>; FOUR],
}

type Places<'k, N> = &'k [Option<Arc<N>>];

/// Bound: how many children stand in place.
const FOUR: usize = 4;

/// All children, where they are more than four.
enum More<N> {
    Sixteen(Few<N, 16>),
    /// By the high half of the byte, then by the low one; a change copies two pieces.
    Wide(Wide<N>),
}

/// Children beside their first bytes, both sorted; free places have [`MARK`].
#[repr(C)]
struct Few<N, const C: usize> {
    firsts: [u8; C],
    nodes: [Option<Arc<N>>; C],
}

struct Wide<N> {
    count: usize,
    groups: [Option<Arc<Group<N>>>; 16],
}

struct Group<N>([Option<Arc<N>>; 16]);

impl<N> Kids<N> {
    pub(crate) const NONE: Self = Self {
        more: None,
        firsts: [MARK; FOUR],
        open: false,
        nodes: [const { None }; FOUR],
    };

    #[inline(always)]
    pub(crate) fn child(&self, byte: u8) -> Option<&N> {
        match &self.more {
            None => self.nodes[position(&self.firsts, byte)?].as_deref(),
            Some(more) => more.child(byte),
        }
    }

    /// What the node keeps here: whether it has ways on besides its children.
    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    pub(crate) fn set_open(&mut self, open: bool) {
        self.open = open;
    }

    pub(crate) fn len(&self) -> usize {
        match self.more.as_deref() {
            None => len(&self.nodes),
            Some(More::Sixteen(few)) => few.len(),
            Some(More::Wide(wide)) => wide.count,
        }
    }

    /// In the order of their first bytes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<N>> {
        let (few, groups): (Places<'_, N>, Places<'_, Group<N>>) = match self.more.as_deref() {
            None => (&self.nodes, &[]),
            Some(More::Sixteen(few)) => (&few.nodes, &[]),
            Some(More::Wide(wide)) => (&[], &wide.groups),
        };
        let many = groups.iter().flatten().flat_map(|group| group.0.iter());
        few.iter().chain(many).flatten()
    }

    /// The child for this byte, made if there is none.
    pub(crate) fn child_mut(&mut self, byte: u8, make: impl FnOnce() -> N) -> &mut Arc<N> {
        if self.child(byte).is_none() {
            self.insert(byte, Arc::new(make()));
        }
        let place = match self.more.as_deref_mut() {
            None => position(&self.firsts, byte).and_then(|index| self.nodes[index].as_mut()),
            Some(More::Sixteen(few)) => few.place(byte),
            Some(More::Wide(wide)) => wide.place(byte),
        };
        place.expect("it was there or has just been inserted")
    }

    /// Puts a child where none is.
    pub(crate) fn insert(&mut self, byte: u8, node: Arc<N>) {
        self.fit(self.len() + 1);
        self.put(byte, node);
    }

    fn put(&mut self, byte: u8, node: Arc<N>) {
        match self.more.as_deref_mut() {
            None => insert(&mut self.firsts, &mut self.nodes, byte, node),
            Some(More::Sixteen(few)) => few.insert(byte, node),
            Some(More::Wide(wide)) => wide.insert(byte, node),
        }
    }

    pub(crate) fn remove(&mut self, byte: u8) -> Option<Arc<N>> {
        let node = match self.more.as_deref_mut() {
            None => remove(&mut self.firsts, &mut self.nodes, byte),
            Some(More::Sixteen(few)) => few.remove(byte),
            Some(More::Wide(wide)) => wide.remove(byte),
        }?;
        self.fit(self.len());
        Some(node)
    }

    /// Hands over every child.
    pub(crate) fn drain(&mut self, mut take: impl FnMut(Arc<N>)) {
        self.take_four().into_iter().flatten().for_each(&mut take);
        match self.more.take().map(|more| *more) {
            None => {}
            Some(More::Sixteen(few)) => few.nodes.into_iter().flatten().for_each(take),
            Some(More::Wide(wide)) => {
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
        self.take_four().into_iter().for_each(&mut each);
        match self.more.take().map(|more| *more) {
            None => {}
            Some(More::Sixteen(few)) => few.nodes.into_iter().for_each(each),
            Some(More::Wide(wide)) => {
                let groups = wide.groups.into_iter().flatten();
                for group in groups.filter_map(Arc::into_inner) {
                    group.0.into_iter().for_each(&mut each);
                }
            }
        }
    }

    fn take_four(&mut self) -> [Option<Arc<N>>; FOUR] {
        self.firsts = [MARK; FOUR];
        std::mem::replace(&mut self.nodes, [const { None }; FOUR])
    }

    /// Takes the form for so many children.
    fn fit(&mut self, count: usize) {
        match (self.more.as_deref(), count) {
            (None, 0..=4) | (Some(More::Sixteen(_)), 5..=16) | (Some(More::Wide(_)), 17..) => return,
            _ => {}
        }
        let mut bytes = Vec::with_capacity(count);
        self.each_byte(|byte| bytes.push(byte));
        let mut nodes = Vec::with_capacity(count);
        self.drain(|node| nodes.push(node));
        self.more = match count {
            0..=4 => None,
            5..=16 => Some(Box::new(More::Sixteen(Few::default()))),
            _ => Some(Box::new(More::Wide(Wide::default()))),
        };
        bytes
            .into_iter()
            .zip(nodes)
            .for_each(|(byte, node)| self.put(byte, node));
    }

    fn each_byte(&self, mut visit: impl FnMut(u8)) {
        match self.more.as_deref() {
            None => self.firsts.iter().take(len(&self.nodes)).copied().for_each(visit),
            Some(More::Sixteen(few)) => few.firsts.iter().take(few.len()).copied().for_each(visit),
            Some(More::Wide(wide)) => {
                for byte in 0..MARK {
                    if wide.child(byte).is_some() {
                        visit(byte);
                    }
                }
            }
        }
    }
}

impl<N> More<N> {
    fn child(&self, byte: u8) -> Option<&N> {
        match self {
            Self::Sixteen(few) => few.child(byte),
            Self::Wide(wide) => wide.child(byte),
        }
    }
}

impl<N> Clone for Kids<N> {
    fn clone(&self) -> Self {
        Self {
            more: self.more.clone(),
            firsts: self.firsts,
            open: self.open,
            nodes: self.nodes.clone(),
        }
    }
}

impl<N> Clone for More<N> {
    fn clone(&self) -> Self {
        match self {
            Self::Sixteen(few) => Self::Sixteen(few.clone()),
            Self::Wide(wide) => Self::Wide(wide.clone()),
        }
    }
}

// --- Few ---

impl<N, const C: usize> Few<N, C> {
    #[inline]
    fn child(&self, byte: u8) -> Option<&N> {
        self.nodes[position(&self.firsts, byte)?].as_deref()
    }

    fn len(&self) -> usize {
        len(&self.nodes)
    }

    fn place(&mut self, byte: u8) -> Option<&mut Arc<N>> {
        self.nodes[position(&self.firsts, byte)?].as_mut()
    }

    fn insert(&mut self, byte: u8, node: Arc<N>) {
        insert(&mut self.firsts, &mut self.nodes, byte, node);
    }

    fn remove(&mut self, byte: u8) -> Option<Arc<N>> {
        remove(&mut self.firsts, &mut self.nodes, byte)
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
#[inline]
fn position<const C: usize>(bytes: &[u8; C], byte: u8) -> Option<usize> {
    bytes.iter().position(|other| *other == byte)
}

impl<N, const C: usize> Default for Few<N, C> {
    fn default() -> Self {
        Self {
            firsts: [MARK; C],
            nodes: [const { None }; C],
        }
    }
}

impl<N, const C: usize> Clone for Few<N, C> {
    fn clone(&self) -> Self {
        Self {
            firsts: self.firsts,
            nodes: self.nodes.clone(),
        }
    }
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

    use super::{Kids, More};

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
            let form = match kids.more.as_deref() {
                None => 0..=4,
                Some(More::Sixteen(_)) => 5..=16,
                Some(More::Wide(_)) => 17..=256,
            };
            assert!(form.contains(&model.len()), "{} in {form:?}", model.len());
            assert!(kids.iter().map(|node| **node).eq(model.values().copied()));
            let byte = (next() % 255) as u8;
            assert_eq!(kids.child(byte), model.get(&byte));
        }
    }
}
