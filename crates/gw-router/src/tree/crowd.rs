//! Places from which many segments go on: there a whole segment is found by its hash.

use std::{mem, sync::Arc};

use super::{
    Branch, Kids, Leaf, MARK, Node, Run, rejoin,
    segments::{Bounded, Segments},
    settle,
};
use crate::bytes;

/// Bound: about how many segments are told apart byte by byte. Where there are fewer, a hash takes longer to make than the
/// bytes to follow: not in instructions, but each of them waits for the one before.
pub(crate) const CROWD: u8 = 64;

/// Bound: how many paths without wildcards go on from a crowd by segments. Where there are fewer, as in most real tables, to
/// look for one in vain costs more than is won.
pub(super) const PATHS: u8 = 100;

/// Bound: how many nodes are looked at to find out how many segments there are.
const LOOK: usize = 8 * CROWD as usize;

/// What goes on from a place where many segments do.
pub(crate) struct Crowd<N> {
    /// What has all the bytes of a segment, by these.
    pub(crate) segments: Segments<N>,
    /// What ends after several segments without a wildcard, by all its bytes, unless it came early.
    pub(crate) paths: Option<Box<Segments<N>>>,
    /// How many such came, up to [`PATHS`]: before, they go with their first segments.
    pub(super) came: u8,
    /// What has a slash next, or a part of a segment.
    pub(crate) rest: Kids<N>,
}

/// How a child is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By its first byte.
    Byte,
    /// In a crowd by this hash, elsewhere by its first byte.
    Hash(By, u32),
}

/// Of what the children in a crowd have a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Of the segment they begin with.
    Segment,
    /// Of all their bytes.
    Path,
}

impl<N: Bounded> Crowd<N> {
    pub(crate) fn get(&self, by: By, hash: u32) -> Option<&N> {
        self.by(by)?.get(hash)
    }

    pub(super) fn by(&self, by: By) -> Option<&Segments<N>> {
        match by {
            By::Segment => Some(&self.segments),
            By::Path => self.paths.as_deref(),
        }
    }

    pub(super) fn by_mut(&mut self, by: By) -> &mut Segments<N> {
        match by {
            By::Segment => &mut self.segments,
            By::Path => self.paths.get_or_insert_default(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Segments<N>> {
        std::iter::once(&self.segments).chain(self.paths.as_deref())
    }

    /// How many stand by hash.
    pub(crate) fn len(&self) -> usize {
        self.all().map(Segments::len).sum()
    }

    /// Those that stand by hash.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &N> {
        self.all().flat_map(Segments::iter)
    }

    pub(super) fn bound(&self) -> u64 {
        self.all().map(Segments::bound).fold(0, u64::max)
    }
}

impl<L: Leaf> Node<L> {
    /// Makes ready for a segment that is to go on below.
    pub(super) fn one_more_segment(&mut self) {
        let came = self.kids.came();
        if self.kids.is_crowd() || came == Kids::<Self>::UNCOUNTED {
            return;
        }
        let came = (came + 1).min(CROWD);
        self.kids.set_came(came);
        // Note: segments with one hash and nothing else in common hang below an empty run, and so they do if they are
        // many: it must not go on like that.
        if came == CROWD && !self.run.bytes().is_empty() {
            let found = self.segments();
            match found {
                None => self.kids.set_came(Kids::<Self>::UNCOUNTED),
                // A place at the edge is not looked over each time that something comes and goes.
                Some(found) if found.len() < usize::from(CROWD) => {
                    self.kids.set_came((found.len() as u8).min(CROWD - CROWD / 4))
                }
                Some(found) => self.gather(&found),
            }
        }
    }

    /// The whole segments that go on below; `None` if they cannot stand by hash, or are hard to find.
    fn segments(&self) -> Option<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        let mut open: Vec<(Vec<u8>, &Self)> = vec![(Vec::new(), self)];
        let mut looked = 0;
        while let Some((text, node)) = open.pop() {
            looked += 1;
            if looked > LOOK || node.kids.is_crowd() {
                return None;
            }
            for child in node.kids.iter() {
                let run = child.run.bytes();
                let end = run.iter().position(|byte| matches!(*byte, b'/' | MARK));
                let mut text = text.clone();
                text.extend_from_slice(run.get(..end.unwrap_or(run.len())).unwrap_or_default());
                match end {
                    Some(0) => {}
                    // The rest of the segment is a parameter.
                    Some(end) if run.get(end) == Some(&MARK) => {}
                    Some(_) => found.push(text),
                    None => {
                        if child.ends_segment() {
                            found.push(text.clone());
                        }
                        open.push((text, child));
                    }
                }
            }
        }
        let mut hashes: Vec<u32> = found.iter().map(|text| bytes::hash(text)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        (hashes.len() == found.len()).then_some(found)
    }

    /// Whether a segment ends with the run.
    fn ends_segment(&self) -> bool {
        !self.exact.is_empty() || self.kids.child(b'/').is_some()
    }

    fn gather(&mut self, segments: &[Vec<u8>]) {
        let mut gathered = Vec::with_capacity(segments.len());
        for text in segments {
            gathered.extend(self.extract(text).map(|node| (bytes::hash(text), node)));
        }
        self.kids.become_crowd();
        for (hash, node) in gathered {
            self.kids.insert_segment(hash, node);
        }
    }

    /// Takes out what goes on with a whole segment.
    fn extract(&mut self, text: &[u8]) -> Option<Arc<Self>> {
        let first = *text.first()?;
        let mut trail: Vec<(Arc<Self>, Branch)> = Vec::new();
        let mut rest = text;
        let mut held = self.kids.remove(first)?;
        loop {
            let node = Arc::make_mut(&mut held);
            let run = node.run.bytes();
            if run.contains(&b'/') {
                let before = text.get(..text.len() - rest.len()).unwrap_or_default();
                node.run = Run::new(&[before, run].concat());
                self.put_back(first, rejoin(None, trail));
                return Some(held);
            }
            rest = rest.get(run.len()..)?;
            let Some(byte) = rest.first() else { break };
            let below = node.kids.remove(*byte)?;
            trail.push((mem::replace(&mut held, below), Branch::Child(*byte)));
        }
        let node = Arc::make_mut(&mut held);
        let mut taken = Self::leading_to(text);
        taken.exact = mem::take(&mut node.exact);
        taken.bound = taken.exact.bound();
        if let Some(slash) = node.kids.remove(b'/') {
            taken.bound = taken.bound.max(slash.bound);
            taken.kids.insert(b'/', slash);
        }
        self.put_back(first, rejoin(settle(held), trail));
        settle(Arc::new(taken))
    }

    fn put_back(&mut self, first: u8, left: Option<Arc<Self>>) {
        if let Some(left) = left {
            self.kids.insert(first, left);
        }
    }
}
