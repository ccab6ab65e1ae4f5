//! The children of a node by first byte, in a form that fits their number.

use std::sync::Arc;

use super::{
    crowd::{By, Crowd, Way},
    run::MARK,
    segments::{Bounded, Heir, Segments},
    sole,
};
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
        /// At least how many segments go on below, as long as they are few; see [`Kids::came`].
        came: u8,
        /// Sorted, as the children are; free places have [`MARK`].
        firsts: [u8; FIVE],
        nodes: [Option<Arc<N>>; FIVE],
    },
    Fourteen {
        open: bool,
        came: u8,
        firsts: [u8; FOURTEEN],
        nodes: Box<[Option<Arc<N>>; FOURTEEN]>,
    },
    Wide {
        open: bool,
        came: u8,
        wide: Box<Wide<N>>,
    },
    /// Whole segments by their hash, in whatever number, and the rest in one of the other forms.
    Crowd { open: bool, crowd: Box<Crowd<N>> },
}

/// By the high half of the byte, then by the low one; a change copies two pieces.
pub(crate) struct Wide<N> {
    count: usize,
    groups: [Option<Arc<Group<N>>>; 16],
}

struct Group<N>([Option<Arc<N>>; 16]);

type Places<'k, N> = &'k [Option<Arc<N>>];

impl<N: Bounded> Kids<N> {
    pub(crate) const NONE: Self = Self::Five {
        open: false,
        came: 0,
        firsts: [MARK; FIVE],
        nodes: [const { None }; FIVE],
    };

    #[inline(always)]
    pub(crate) fn child(&self, byte: u8) -> Option<&N> {
        match self {
            Self::Crowd { crowd, .. } => crowd.child(byte),
            plain => plain.plain_child(byte),
        }
    }

    /// The child by a byte, if this is no crowd. Note: with one form more this would be a jump through a table, which takes
    /// longer than branches.
    #[inline(always)]
    pub(crate) fn plain_child(&self, byte: u8) -> Option<&N> {
        match self {
            Self::Five { firsts, nodes, .. } => nodes[position(firsts, byte)?].as_deref(),
            Self::Fourteen { firsts, nodes, .. } => nodes[position(firsts, byte)?].as_deref(),
            Self::Wide { wide, .. } => wide.child(byte),
            Self::Crowd { .. } => None,
        }
    }

    /// The child that these bytes lead to on this way.
    pub(crate) fn toward(&self, rest: &[u8], way: Way) -> Option<&N> {
        match (self, way) {
            (Self::Crowd { crowd, .. }, Way::Hash(by, hash)) => crowd.get(by, hash),
            _ => self.child(*rest.first()?),
        }
    }

    /// Those that stand by hash, if there are such, and the others.
    pub(crate) fn parted(&self) -> (Option<&Crowd<N>>, &Self) {
        match self {
            Self::Crowd { crowd, .. } => (Some(crowd), &crowd.rest),
            plain => (None, plain),
        }
    }

    /// What the node keeps here: whether it has ways on besides its children.
    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Five { open, .. }
            | Self::Fourteen { open, .. }
            | Self::Wide { open, .. }
            | Self::Crowd { open, .. } => *open,
        }
    }

    pub(crate) fn set_open(&mut self, to: bool) {
        match self {
            Self::Five { open, .. }
            | Self::Fourteen { open, .. }
            | Self::Wide { open, .. }
            | Self::Crowd { open, .. } => *open = to,
        }
    }

    /// How many segments may go on below here, at least if they are few: every one that was inserted counts, whether it
    /// is still there or not. [`Self::UNCOUNTED`] stands for too many to tell.
    pub(crate) fn came(&self) -> u8 {
        match self {
            Self::Five { came, .. } | Self::Fourteen { came, .. } | Self::Wide { came, .. } => *came,
            Self::Crowd { .. } => 0,
        }
    }

    pub(crate) fn set_came(&mut self, to: u8) {
        match self {
            Self::Five { came, .. } | Self::Fourteen { came, .. } | Self::Wide { came, .. } => *came = to,
            Self::Crowd { .. } => {}
        }
    }

    pub(crate) const UNCOUNTED: u8 = u8::MAX;

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Five { nodes, .. } => len(nodes),
            Self::Fourteen { nodes, .. } => len(&**nodes),
            Self::Wide { wide, .. } => wide.count,
            Self::Crowd { crowd, .. } => crowd.len() + crowd.rest.len(),
        }
    }

    /// In the order of their first bytes, after those that stand by hash.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &N> {
        let (crowd, plain) = self.parted();
        let (few, groups): (Places<'_, N>, Places<'_, Group<N>>) = match plain {
            Self::Five { nodes, .. } => (nodes, &[]),
            Self::Fourteen { nodes, .. } => (&**nodes, &[]),
            Self::Wide { wide, .. } => (&[], &wide.groups),
            Self::Crowd { .. } => (&[], &[]),
        };
        let many = groups.iter().flatten().flat_map(|group| group.0.iter());
        let hashed = crowd.into_iter().flat_map(Crowd::iter);
        hashed.chain(few.iter().chain(many).flatten().map(|node| &**node))
    }

    /// The child for these bytes on this way, made if there is none.
    pub(crate) fn toward_mut(
        &mut self,
        rest: &[u8],
        way: Way,
        bound: u64,
        make: impl FnOnce() -> N,
    ) -> &mut N {
        match (self, way) {
            (Self::Crowd { crowd, .. }, Way::Hash(by, hash)) => crowd.by_mut(by).get_mut(hash, bound, make),
            (plain, _) => Arc::make_mut(plain.child_mut(rest.first().copied().unwrap_or_default(), make)),
        }
    }

    fn child_mut(&mut self, byte: u8, make: impl FnOnce() -> N) -> &mut Arc<N> {
        if self.child(byte).is_none() {
            self.insert(byte, Arc::new(make()));
        }
        let place = match self.plain_mut() {
            Self::Five { firsts, nodes, .. } => {
                position(firsts, byte).and_then(|index| nodes[index].as_mut())
            }
            Self::Fourteen { firsts, nodes, .. } => {
                position(firsts, byte).and_then(|index| nodes[index].as_mut())
            }
            Self::Wide { wide, .. } => wide.place(byte),
            Self::Crowd { .. } => None,
        };
        place.expect("it was there or has just been inserted")
    }

    /// Those that stand by their first byte.
    fn plain_mut(&mut self) -> &mut Self {
        match self {
            Self::Crowd { crowd, .. } => &mut crowd.rest,
            plain => plain,
        }
    }

    /// Puts a child where none is.
    pub(crate) fn insert(&mut self, byte: u8, node: Arc<N>) {
        let plain = self.plain_mut();
        plain.fit(plain.len() + 1);
        plain.put(byte, node);
    }

    /// Puts a child where none is, among whole segments.
    pub(crate) fn insert_segment(&mut self, hash: u32, node: Arc<N>) {
        if let Self::Crowd { crowd, .. } = self {
            crowd.segments.insert(hash, Arc::unwrap_or_clone(node));
        }
    }

    fn put(&mut self, byte: u8, node: Arc<N>) {
        match self {
            Self::Five { firsts, nodes, .. } => insert(firsts, nodes, byte, node),
            Self::Fourteen { firsts, nodes, .. } => insert(firsts, &mut **nodes, byte, node),
            Self::Wide { wide, .. } => wide.insert(byte, node),
            Self::Crowd { crowd, .. } => crowd.rest.put(byte, node),
        }
    }

    pub(crate) fn remove(&mut self, byte: u8) -> Option<Arc<N>> {
        let plain = self.plain_mut();
        let node = match plain {
            Self::Five { firsts, nodes, .. } => remove(firsts, nodes, byte),
            Self::Fourteen { firsts, nodes, .. } => remove(firsts, nodes, byte),
            Self::Wide { wide, .. } => wide.remove(byte),
            Self::Crowd { .. } => None,
        }?;
        plain.fit(plain.len());
        Some(node)
    }

    /// A copy of a child that stands by hash.
    pub(crate) fn hashed(&self, by: By, hash: u32) -> Option<Arc<N>> {
        self.parted().0?.by(by)?.copy(hash)
    }

    /// Puts a child in the place of one that stands by hash, of which it has no better bound.
    pub(crate) fn put_hashed(&mut self, by: By, hash: u32, node: Arc<N>) {
        if let Self::Crowd { crowd, .. } = self {
            crowd.by_mut(by).put(hash, node);
        }
    }

    pub(crate) fn remove_hashed(&mut self, by: By, hash: u32) {
        if let Self::Crowd { crowd, .. } = self {
            crowd.by_mut(by).remove(hash);
            crowd.paths = crowd.paths.take().filter(|paths| paths.len() > 0);
        }
    }

    pub(crate) fn is_crowd(&self) -> bool {
        matches!(self, Self::Crowd { .. })
    }

    /// From here on whole segments stand by their hash.
    pub(crate) fn become_crowd(&mut self) {
        let open = self.is_open();
        let rest = std::mem::replace(self, Self::NONE);
        let segments = Segments::default();
        *self = Self::Crowd {
            open,
            crowd: Box::new(Crowd {
                segments,
                paths: None,
                came: 0,
                rest,
            }),
        };
    }

    /// A crowd of which nobody is left takes the form of the rest.
    pub(crate) fn disband(&mut self) {
        if let Self::Crowd { open, crowd } = self
            && crowd.len() == 0
        {
            let open = *open;
            *self = std::mem::replace(&mut crowd.rest, Self::NONE);
            self.set_open(open);
        }
    }

    /// The best bound of all children and `own`, if it is known that none is above `most`.
    pub(crate) fn bound(&self, own: u64, most: u64) -> u64 {
        let (own, plain) = match self {
            Self::Crowd { crowd, .. } => (own.max(crowd.bound()), &crowd.rest),
            plain => (own, plain),
        };
        best(own, most, plain.iter().map(|child| child.bound()))
    }

    /// Hands over every child.
    pub(crate) fn drain(&mut self, mut take: impl FnMut(Arc<N>)) {
        let mut taken = self.empty();
        if let Self::Crowd { crowd, .. } = taken {
            let Crowd {
                segments,
                paths,
                rest,
                ..
            } = *crowd;
            let mut own = |node| take(Arc::new(node));
            segments.drain(&mut own);
            paths.into_iter().for_each(|paths| paths.drain(&mut own));
            taken = rest;
        }
        match taken {
            Self::Five { nodes, .. } => nodes.into_iter().flatten().for_each(take),
            Self::Fourteen { nodes, .. } => nodes.into_iter().flatten().for_each(take),
            Self::Wide { wide, .. } => {
                for group in wide.groups.into_iter().flatten() {
                    let group = Arc::unwrap_or_clone(group);
                    group.0.into_iter().flatten().for_each(&mut take);
                }
            }
            Self::Crowd { .. } => {}
        }
    }

    /// Hands over every child that nothing else holds by more than its place here, and lets go of the others.
    pub(crate) fn release(&mut self, heir: &mut impl Heir<N>) {
        let mut taken = self.empty();
        if let Self::Crowd { crowd, .. } = taken {
            let Crowd {
                segments,
                paths,
                rest,
                ..
            } = *crowd;
            segments.release(heir);
            paths.into_iter().for_each(|paths| paths.release(heir));
            taken = rest;
        }
        match taken {
            Self::Five { nodes, .. } => nodes.into_iter().flatten().for_each(|node| heir.shared(node)),
            Self::Fourteen { nodes, .. } => nodes.into_iter().flatten().for_each(|node| heir.shared(node)),
            Self::Wide { wide, .. } => {
                for mut group in wide.groups.into_iter().flatten() {
                    if let Some(group) = sole(&mut group) {
                        let nodes = group.0.iter_mut().filter_map(Option::take);
                        nodes.for_each(|node| heir.shared(node));
                    }
                }
            }
            Self::Crowd { .. } => {}
        }
    }

    /// Takes all children out, and leaves the form for none.
    fn empty(&mut self) -> Self {
        let (open, came) = (self.is_open(), self.came());
        let taken = std::mem::replace(self, Self::NONE);
        self.set_open(open);
        self.set_came(came);
        taken
    }

    /// Takes the form for so many children.
    fn fit(&mut self, count: usize) {
        match (&*self, count) {
            (Self::Five { .. }, 0..=FIVE)
            | (Self::Fourteen { .. }, 6..=FOURTEEN)
            | (Self::Wide { .. }, 15..)
            | (Self::Crowd { .. }, _) => return,
            _ => {}
        }
        let mut bytes = Vec::with_capacity(count);
        self.each_byte(|byte| bytes.push(byte));
        let mut nodes = Vec::with_capacity(count);
        self.drain(|node| nodes.push(node));
        let (open, came) = (self.is_open(), self.came());
        *self = match count {
            0..=FIVE => Self::NONE,
            6..=FOURTEEN => Self::Fourteen {
                open,
                came,
                firsts: [MARK; FOURTEEN],
                nodes: Box::new([const { None }; FOURTEEN]),
            },
            _ => Self::Wide {
                open,
                came,
                wide: Box::default(),
            },
        };
        self.set_open(open);
        self.set_came(came);
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
            Self::Crowd { .. } => {}
        }
    }
}

impl<N: Bounded> Crowd<N> {
    /// Whether there are children that stand by their first byte.
    #[inline]
    pub(crate) fn has_rest(&self) -> bool {
        match &self.rest {
            Kids::Five { firsts, .. } => firsts[0] != MARK,
            _ => true,
        }
    }

    /// The child by a byte, of those that stand by one.
    #[inline(never)]
    pub(crate) fn child(&self, byte: u8) -> Option<&N> {
        self.rest.plain_child(byte)
    }
}

/// The best of these, of which none is above `most`.
pub(super) fn best(own: u64, most: u64, others: impl Iterator<Item = u64>) -> u64 {
    let mut others = others;
    let folded = others.try_fold(own, |best, bound| {
        if best >= most {
            Err(best)
        } else {
            Ok(best.max(bound))
        }
    });
    folded.unwrap_or_else(|best| best)
}

impl<N: Bounded> Clone for Kids<N> {
    fn clone(&self) -> Self {
        match self {
            Self::Five {
                open,
                came,
                firsts,
                nodes,
            } => Self::Five {
                open: *open,
                came: *came,
                firsts: *firsts,
                nodes: nodes.clone(),
            },
            Self::Fourteen {
                open,
                came,
                firsts,
                nodes,
            } => Self::Fourteen {
                open: *open,
                came: *came,
                firsts: *firsts,
                nodes: nodes.clone(),
            },
            Self::Wide { open, came, wide } => Self::Wide {
                open: *open,
                came: *came,
                wide: wide.clone(),
            },
            Self::Crowd { open, crowd } => Self::Crowd {
                open: *open,
                crowd: Box::new(Crowd {
                    segments: crowd.segments.clone(),
                    paths: crowd.paths.clone(),
                    came: crowd.came,
                    rest: crowd.rest.clone(),
                }),
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
    use crate::tree::segments::Bounded;

    impl Bounded for usize {
        fn bound(&self) -> u64 {
            0
        }
    }

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
                Kids::Crowd { .. } => 0..=0,
            };
            assert!(form.contains(&model.len()), "{} in {form:?}", model.len());
            assert!(kids.iter().copied().eq(model.values().copied()));
            let byte = (next() % 255) as u8;
            assert_eq!(kids.child(byte), model.get(&byte));
        }
    }
}
